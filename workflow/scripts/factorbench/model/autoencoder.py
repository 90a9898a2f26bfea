"""The estimator: fit, transform, loadings, reconstruct, objective, save, load."""

from __future__ import annotations

import inspect
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import Tensor

from ..contracts.budget import Budget
from ..contracts.errors import UserError
from ..contracts.factors import KINDS, distinct_names
from . import files
from .cells import DENSE_LIMIT, Cells, DenseCells, SparseCells, align_genes, chunks, dense_matrix, mean_expression
from .covariance import Covariance, gene_covariance
from .covariates import encode_covariates, learn_covariates, width
from .network import Network
from .objective import evaluate
from .params import PARAMS, check_params, check_size
from .prox import penalty_weights
from .solver import Penalty, Solution, best_encoder, initial_loadings, solve, solve_many
from .training import Outcome, train

if TYPE_CHECKING:
    from anndata import AnnData


class NotFittedError(UserError, AttributeError):
    """A result was read that a model has only once it is fitted."""


class InterpretableAutoencoder:
    """The interpretable autoencoder of Rybakov et al. 2020: Y ~ f(Y) W' (+ covariates), with W sparse by gene sets.

    Parameters
    ----------
    seed
        Determines all random choices (initial weights, batches, dropout). The exact solution has none.
    device
        ``"cpu"`` or ``"cuda"``.
    **params
        Those of `params.PARAMS`, which gives their meaning and ranges.

    Attributes
    ----------
    genes
        Names of the genes of the fit.
    means
        Mean expression of every gene over the cells of the fit, shape (n_genes,).
    mask
        Gene sets of the annotated factors, bool, shape (n_genes, n_sets).
    names
        Names of the factors, in the order of the columns of W.
    outcome
        How training ended (`training.Outcome`).

    References
    ----------
    Rybakov, Lotfollahi, Theis, Wolf (2020): Learning interpretable latent autoencoder representations with annotations
    of feature sets. ICML Workshop on Computational Biology.
    """

    __signature__ = inspect.Signature(
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
            for name, default in {"seed": 0, "device": "cpu", **{k: p.default for k, p in PARAMS.items()}}.items()
        ]
    )

    def __init__(self, *, seed: int = 0, device: str = "cpu", **params: Any):
        self.params = check_params(params)
        self.seed = seed
        self.device = _device(device)

    def __repr__(self) -> str:
        usual = check_params({"recipe": self.params["recipe"]}) | {"recipe": PARAMS["recipe"].default}
        changed = {key: value for key, value in self.params.items() if value != usual[key]}
        return f"InterpretableAutoencoder({', '.join(f'{k}={v!r}' for k, v in {'seed': self.seed, **changed}.items())})"

    def __getattr__(self, name: str) -> Any:
        # Python also calls this for a property whose code raised AttributeError.
        if name in ("network", "genes", "means", "names", "mask", "outcome", "coding", "offset", "factors", "history"):
            raise NotFittedError("this autoencoder is not fitted yet; call fit or load first")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # --------------------------------------------------------------------------------------------------------- fitting

    def fit(
        self,
        adata: AnnData,
        *,
        mask: str | None = "mask",
        names: str = "gene_sets",
        budget: Budget | None = None,
        watch: Callable[[], None] | None = None,
    ) -> Self:
        """Fit the model and return it.

        Parameters
        ----------
        adata
            ``X`` log-normalised, not centred, sparse or dense. To train from disk: a CSR matrix of a file opened with
            ``anndata.read_h5ad(path, backed="r")``.
        mask
            Key of ``varm``: gene sets, bool, shape (n_genes, n_sets). ``None``: no annotated factors.
        names
            Key of ``uns``: names of the gene sets.
        budget
            Time after which training stops and keeps its results so far.
        watch
            Called after every epoch, for example to look at the model. Its time counts as training.

        Raises
        ------
        UserError
            If the data cannot be fitted.
        """
        names, sets = gene_sets(adata, mask, names)
        check_size(adata.n_obs, adata.n_vars, len(names), self.params)
        if not adata.var_names.is_unique:
            raise UserError("names of genes are not unique; make them so")
        self.genes = pd.Index(adata.var_names.astype(str))
        self.mask = sets
        self.names = factor_names(names, self.params)
        self.coding = learn_covariates(adata.obs, self.params["covariates"])
        budget = budget or Budget()
        X = _expression(adata)
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self.seed)
            self.build()
            if self.params["init"] == "exact":
                self._solve(X, adata.obs, budget)
            if self.params["encoder"] == "network":
                cells = self._cells(X, self._covariates(adata, slice(None)))
                self.outcome = train(self.network, cells, self.weights, ~self._mask, self.params, budget, watch)
        return self

    def fit_many(
        self, adata: AnnData, masks: Iterable[np.ndarray], *, names: str = "gene_sets", threads: int = 1
    ) -> Iterator[Self]:
        """Fit the exact solution for many masks, for example of permuted gene sets, with one pass over the cells.

        Parameters
        ----------
        adata, names
            As for `fit`, without a mask.
        masks
            Gene sets, each bool, shape (n_genes, n_sets), with the names in ``uns[names]``. They are taken as they are
            needed.
        threads
            How many are solved at the same time.

        Yields
        ------
        InterpretableAutoencoder
            This model, fitted to one mask after another. The next fit changes it.
        """
        self.genes = pd.Index(adata.var_names.astype(str))
        self.coding = learn_covariates(adata.obs, self.params["covariates"])
        covariance = self._covariance(_expression(adata), adata.obs)
        waiting: deque[np.ndarray] = deque()

        def problems() -> Iterator[tuple[np.ndarray, Penalty]]:
            for mask in masks:
                waiting.append(mask)
                yield self._problem(mask, covariance)

        limits = {"tolerance": self.params["optimality"], "max_sweeps": self.params["max_sweeps"], "threads": threads}
        sets = [str(name) for name in adata.uns[names]]
        for solution in solve_many(covariance.genes, problems(), self.params["lambda0"], **limits):
            self.mask, self.names = waiting.popleft(), factor_names(sets, self.params)
            self.build()
            self._take(solution, covariance)
            yield self

    def _covariance(self, X: Any, obs: pd.DataFrame) -> Covariance:
        """Return the covariance of the genes, and set ``means``."""
        covariance = gene_covariance(X, encode_covariates(obs, self.coding), self.params["center"])
        self.means = covariance.means
        return covariance

    def _problem(self, mask: np.ndarray, covariance: Covariance) -> tuple[np.ndarray, Penalty]:
        """Return the start and the penalty of the exact solution for a mask, bool, shape (n_genes, n_sets)."""
        params = self.params
        start = initial_loadings(mask.T, params["n_sparse"] + params["n_dense"], covariance.genes)
        if params["perturb"]:
            start *= 1 + params["perturb"] * np.random.default_rng(self.seed).standard_normal(start.shape, np.float32)
        weights = penalty_weights(torch.from_numpy(mask), params)
        return start, Penalty(weights.genes.T.numpy(), weights.factors.numpy())

    def _solve(self, X: Any, obs: pd.DataFrame, budget: Budget) -> None:
        """Set ``means`` and ``outcome`` and give the network the exact solution (W only, if it is not linear)."""
        began, params = time.perf_counter(), self.params
        covariance = self._covariance(X, obs)
        start, penalty = self._problem(self.mask, covariance)
        limits = {"tolerance": params["optimality"], "max_sweeps": params["max_sweeps"], "budget": budget}
        before = time.perf_counter() - began
        self._take(solve(covariance.genes, start, penalty, params["lambda0"], **limits), covariance)
        for row in self.outcome.history:
            row["seconds"] += before

    def _take(self, solution: Solution, covariance: Covariance) -> None:
        """Set ``outcome`` and give the network what the exact solution has for it."""
        network = self.network
        with torch.no_grad():
            network.loadings.copy_(torch.from_numpy(solution.loadings.T))
            if self.params["encoder"] == "linear":
                network.encoder[0].weight.copy_(torch.from_numpy(solution.encoder))
                network.encoder[0].bias.zero_()
            if self.coding and not self.params["covariate_hidden"]:
                network.covariates.weight.copy_(torch.from_numpy(covariance.effects))
        self.outcome = Outcome(
            solution.status, solution.reason, len(solution.history) - 1, solution.converged, solution.history
        )

    def _cells(self, X: Any, covariates: Tensor | None) -> Cells:
        """Return the cells to train on, dense if that takes little memory, and set ``means``."""
        limit = torch.cuda.mem_get_info(self.device)[0] // 2 if self.device.type == "cuda" else DENSE_LIMIT
        if isinstance(X, np.ndarray) or (sparse.issparse(X) and 4 * np.prod(X.shape) <= limit):
            expression = dense_matrix(X)
            self.means = expression.mean(axis=0, dtype=np.float64).astype(np.float32)
            expression -= self.offset
            return DenseCells(torch.from_numpy(expression).to(self.device), covariates)
        if self.params["init"] != "exact":  # else they are known
            self.means = mean_expression(X)
        return SparseCells(X, self.offset, covariates, self.device)

    def build(self) -> None:
        """Make the untrained network for this model's genes, gene sets, factors and covariates."""
        params = self.params
        self._mask = torch.from_numpy(self.mask).to(self.device)
        linear = params["encoder"] == "linear"
        self.weights = penalty_weights(self._mask, params)
        self.network = Network(
            len(self.genes),
            len(self.names),
            [] if linear else params["hidden"],
            params["dropout"],
            width(self.coding),
            params["covariate_hidden"],
            subtract=linear,
        ).to(self.device)
        self.network.eval()

    # ---------------------------------------------------------------------------------------------------- fitted model

    @property
    def offset(self) -> np.ndarray:
        """What centring subtracts and a reconstruction adds, shape (n_genes,): ``means``, or zeros if not centred."""
        return self.means if self.params["center"] else np.zeros_like(self.means)

    @property
    def factors(self) -> pd.DataFrame:
        """The factors, one row per column of W: ``name``, ``kind`` (one of `contracts.factors.KINDS`), ``active``."""
        counts = (self.mask.shape[1], self.params["n_sparse"], self.params["n_dense"])
        active = self.loadings().to_numpy().any(axis=0)
        return pd.DataFrame({"name": self.names, "kind": np.repeat(KINDS, counts), "active": active})

    @property
    def history(self) -> pd.DataFrame:
        """The learning curve, one row per epoch or sweep (`training.train`, `solver.Solution`)."""
        return pd.DataFrame(self.outcome.history)

    def loadings(self) -> pd.DataFrame:
        """Return W of eq. 1, genes x factors. A factor that is switched off is a column of zeros."""
        return pd.DataFrame(self.network.loadings.detach().cpu().numpy().copy(), index=self.genes, columns=self.names)

    def transform(self, adata: AnnData, *, min_share: float = 0.5) -> np.ndarray:
        """Return the scores f(Y) of any cells. Only the encoder is used (if it is linear, also the covariates).

        Parameters
        ----------
        adata
            ``X`` normalised as for the fit. Genes are matched by name; genes that the model does not know are ignored,
            and missing genes are set to their mean over the cells of the fit.
        min_share
            Share of the model's genes that ``adata`` must have.

        Returns
        -------
        ndarray, shape (n_cells, n_factors)

        Raises
        ------
        UserError
            If too few genes match, values are not finite, or a covariate is missing or has an unknown category.
        """
        scores = np.empty((adata.n_obs, len(self.names)), np.float32)
        with torch.no_grad():
            for rows, expression, covariates in self._blocks(adata, min_share):
                scores[rows] = self.network.scores(expression, covariates).cpu().numpy()
        return scores

    def own_scores(self, adata: AnnData, *, min_share: float = 0.5) -> np.ndarray | None:
        """Return the scores of any cells if loadings outside the gene sets were zero (see `transform`).

        They are those of the ridge regression on the loadings inside. ``None`` if the encoder is a network, which does
        not follow from the loadings.
        """
        if self.params["encoder"] == "network":
            return None
        inside = np.pad(self.mask, ((0, 0), (0, len(self.names) - self.mask.shape[1])), constant_values=True)
        loadings = np.where(inside, self.loadings().to_numpy(), 0)
        encoder = torch.from_numpy(best_encoder(loadings.T, self.params["lambda0"])).to(self.device)
        scores = np.empty((adata.n_obs, len(self.names)), np.float32)
        with torch.no_grad():
            for rows, expression, covariates in self._blocks(adata, min_share):
                scores[rows] = (self.network.encoded(expression, covariates) @ encoder.T).cpu().numpy()
        return scores

    def reconstruct(self, adata: AnnData, *, min_share: float = 0.5) -> np.ndarray:
        """Return f(Y) W' + d(e(X)) + `offset` for any cells (see `transform`), shape (n_cells, n_genes)."""
        fitted = np.empty((adata.n_obs, len(self.genes)), np.float32)
        with torch.no_grad():
            for rows, expression, covariates in self._blocks(adata, min_share):
                fitted[rows] = self.network(expression, covariates)[1].cpu().numpy()
        return fitted + self.offset

    def explained_by_covariates(self, adata: AnnData) -> np.ndarray | None:
        """Return d(e(X)) of eq. 2, float32, shape (n_cells, n_genes); ``None`` if the model has no covariates."""
        if self.network.covariates is None:
            return None
        with torch.no_grad():
            return self.network.covariates(self._covariates(adata, slice(None))).cpu().numpy()

    def objective(self, adata: AnnData, *, min_share: float = 0.5) -> dict[str, float]:
        """Return the terms of eq. 3 (`objective.objective`) for any cells (see `transform`), in evaluation mode."""
        blocks = (block[1:] for block in self._blocks(adata, min_share))
        return evaluate(self.network, blocks, self.weights, self.params["lambda0"])

    def _blocks(self, adata: AnnData, min_share: float) -> Iterator[tuple[slice, Tensor, Tensor | None]]:
        self.network.eval()
        position = align_genes(adata.var_names, self.genes, min_share)
        for rows, expression in chunks(adata.X, position, self.means):
            expression -= self.offset
            yield rows, torch.from_numpy(expression).to(self.device), self._covariates(adata, rows)

    def _covariates(self, adata: AnnData, rows: slice) -> Tensor | None:
        if not self.coding:
            return None
        return torch.from_numpy(encode_covariates(adata.obs.iloc[rows], self.coding)).to(self.device)

    # ----------------------------------------------------------------------------------------------------------- files

    def save(self, folder: str | Path) -> None:
        """Write the model to ``folder`` (made if missing) as model.safetensors and model.json."""
        tensors = self.network.state_dict() | {"means": torch.from_numpy(self.means), "mask": self._mask}
        record = {
            "seed": self.seed,
            "params": self.params,
            "genes": list(self.genes),
            "names": self.names,
            "covariates": self.coding,
            "outcome": asdict(self.outcome),
        }
        files.write_model(folder, record, tensors)

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> Self:
        """Read a model that `save` wrote; raise `UserError` if the files are no model, or from two models."""
        record, tensors = files.read_model(folder)
        model = cls(seed=record["seed"], device=device, **record["params"])
        model.genes = pd.Index(record["genes"])
        model.names = record["names"]
        model.coding = record["covariates"]
        model.outcome = Outcome(**record["outcome"])
        for row in model.outcome.history:
            row.update({key: math.nan for key, value in row.items() if value is None})
        model.means = tensors.pop("means").numpy()
        model.mask = tensors.pop("mask").numpy()
        try:
            with torch.random.fork_rng(devices=[]):
                model.build()
            model.network.load_state_dict(tensors)
        except RuntimeError as error:
            raise UserError(
                f"{folder}: {files.TENSORS} and {files.RECORD} are from two models; save the model again"
            ) from error
        return model


def gene_sets(adata: AnnData, mask: str | None, names: str) -> tuple[list[str], np.ndarray]:
    """Return the names of the gene sets and the annotation matrix I, bool, shape (n_genes, n_sets)."""
    if mask is None:
        return [], np.zeros((adata.n_vars, 0), bool)
    if mask not in adata.varm or names not in adata.uns:
        raise UserError(f"varm[{mask!r}] and uns[{names!r}] must hold the gene sets (mask=None: no annotated factors)")
    sets = adata.varm[mask]
    sets = np.asarray(sets.toarray() if sparse.issparse(sets) else sets)
    if not np.isin(sets, (0, 1)).all():
        raise UserError(f"varm[{mask!r}] should hold only true and false")
    set_names = [str(name) for name in adata.uns[names]]
    if len(set_names) != sets.shape[1]:
        raise UserError(f"uns[{names!r}] has {len(set_names)} names, but varm[{mask!r}] has {sets.shape[1]} columns")
    return set_names, sets.astype(bool)


def _expression(adata: AnnData) -> Any:
    """Return ``X`` as an array or a CSR matrix, in memory or on disk."""
    X = adata.X.tocsr() if sparse.issparse(adata.X) else adata.X
    if not isinstance(X, np.ndarray) and getattr(X, "format", "") != "csr":
        raise UserError("X on disk is not a CSR matrix, so cells cannot be read in blocks; write it as CSR")
    return X


def factor_names(sets: list[str], params: dict[str, Any]) -> list[str]:
    """Return the names of all factors: those of the gene sets, then sparse_1, sparse_2, ..., dense_1, dense_2, ..."""
    names = pd.Index(sets)
    if not names.is_unique:
        raise UserError(f"two factors would be called {names[names.duplicated()][0]!r}; rename the gene set")
    others = (f"{kind}_{i + 1}" for kind in KINDS[1:] for i in range(params[f"n_{kind}"]))
    return [*sets, *distinct_names(others, sets)]


def _device(name: str) -> torch.device:
    if name not in ("cpu", "cuda"):
        raise UserError(f"device: {name!r} should be cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device: this machine has no CUDA device; use cpu")
    return torch.device(name)
