"""The estimator: fit, transform, loadings, reconstruct, objective, save, load."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable, Iterator
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
from ..contracts.factors import KINDS
from . import files
from .cells import DENSE_LIMIT, Cells, DenseCells, SparseCells, align_genes, chunks, dense_matrix, mean_expression
from .covariates import encode_covariates, learn_covariates, width
from .network import Network, start_at_mask
from .objective import evaluate
from .params import PARAMS, check_params, check_size
from .prox import l1_weights
from .training import Outcome, train

if TYPE_CHECKING:
    from anndata import AnnData


class NotFittedError(UserError, AttributeError):
    """A model was asked for what only fitting can give."""


class InterpretableAutoencoder:
    """The interpretable autoencoder of Rybakov et al. 2020: Y ~ f(Y) W' (+ covariates), W sparse by gene sets.

    Parameters
    ----------
    seed
        Every random choice (initial weights, batches, dropout) follows from it.
    device
        ``"cpu"`` or ``"cuda"``.
    **params
        Those of `params.PARAMS`, which has their meaning and ranges.

    Attributes
    ----------
    genes
        Names of the genes of the fit.
    means
        Their mean expression over the cells of the fit, shape (n_genes,).
    mask
        Gene sets of the annotated factors, bool, shape (n_genes, n_sets).
    outcome
        How training ended (`training.Outcome`).
    names
        Names of the factors, in the order of the columns of W.

    Raises
    ------
    UserError
        If a setting is unknown or out of range, or the device is not there.

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
        # Reached for properties too, when what they need is not there yet.
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
        """Fit the model.

        Parameters
        ----------
        adata
            ``X`` log-normalised, not centred, sparse or dense; or, to train from disk, of a file opened with
            ``anndata.read_h5ad(path, backed="r")``, CSR.
        mask
            Key of ``varm``: gene sets, bool, shape (n_genes, n_sets). ``None``: no annotated factors.
        names
            Key of ``uns``: names of the gene sets.
        budget
            Time after which training stops itself.
        watch
            Called after every epoch; the model can be looked at, and its time counts.

        Raises
        ------
        UserError
            If the data cannot be fitted: too few cells, values that are not finite, no or inconsistent gene sets,
            unknown covariates.
        """
        names, sets = gene_sets(adata, mask, names)
        check_size(adata.n_obs, adata.n_vars, len(names), self.params)
        if not adata.var_names.is_unique:
            raise UserError("names of genes are not unique; make them so")
        self.genes = pd.Index(adata.var_names.astype(str))
        self.mask = sets
        self.names = factor_names(names, self.params)
        self.coding = learn_covariates(adata.obs, self.params["covariates"])
        cells = self._cells(adata)
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self.seed)
            self.build()
            self.outcome = train(self.network, cells, self.weights, ~self._mask, self.params, budget or Budget(), watch)
        return self

    def _cells(self, adata: AnnData) -> Cells:
        """The cells to train on, and ``means``: dense where that takes little memory, else as they are."""
        X, covariates = adata.X, self._covariates(adata, slice(None))
        in_memory = isinstance(X, np.ndarray) or sparse.issparse(X)
        if in_memory and (not sparse.issparse(X) or 4 * adata.n_obs * adata.n_vars <= self._dense_limit()):
            expression = dense_matrix(X)
            self.means = expression.mean(axis=0, dtype=np.float64).astype(np.float32)
            expression -= self.offset
            return DenseCells(torch.from_numpy(expression).to(self.device), covariates)
        X = X.tocsr() if in_memory else X
        if getattr(X, "format", "") != "csr":
            raise UserError("X on disk must be a CSR matrix, so that cells can be read in blocks; write it as one")
        self.means = mean_expression(X)
        return SparseCells(X, self.offset, covariates, self.device)

    def _dense_limit(self) -> int:
        """Bytes that the expression of all cells may take as one dense tensor on the device."""
        return torch.cuda.mem_get_info(self.device)[0] // 2 if self.device.type == "cuda" else DENSE_LIMIT

    def build(self) -> None:
        """Make the untrained network for the genes, sets, factors and covariates that this model has."""
        params = self.params
        self._mask = torch.from_numpy(self.mask).to(self.device)
        self.weights = l1_weights(
            self._mask, params["n_sparse"], params["n_dense"], params["lambda1"], params["lambda2"]
        )
        self.network = Network(
            len(self.genes),
            len(self.names),
            params["hidden"],
            params["dropout"],
            width(self.coding),
            params["covariate_hidden"],
        ).to(self.device)
        if params["init"] == "mask":
            start_at_mask(self.network.loadings, self._mask)
        self.network.eval()

    # ---------------------------------------------------------------------------------------------------- fitted model

    @property
    def offset(self) -> np.ndarray:
        """What centring took off and a reconstruction adds again, (n_genes,): ``means``, or zeros if not centred."""
        return self.means if self.params["center"] else np.zeros_like(self.means)

    @property
    def factors(self) -> pd.DataFrame:
        """The factors, a row for each column of W: ``name``, ``kind`` (one of `KINDS`), ``active``."""
        counts = (self.mask.shape[1], self.params["n_sparse"], self.params["n_dense"])
        active = self.loadings().to_numpy().any(axis=0)
        return pd.DataFrame({"name": self.names, "kind": np.repeat(KINDS, counts), "active": active})

    @property
    def history(self) -> pd.DataFrame:
        """The learning curve, one row an epoch: see `training.train`."""
        return pd.DataFrame(self.outcome.history)

    def loadings(self) -> pd.DataFrame:
        """W of eq. 1: genes x factors; a factor that is switched off is a column of zeros."""
        return pd.DataFrame(self.network.loadings.detach().cpu().numpy().copy(), index=self.genes, columns=self.names)

    def transform(self, adata: AnnData, *, min_share: float = 0.5) -> np.ndarray:
        """Scores f(Y) of any cells, by the encoder alone.

        Parameters
        ----------
        adata
            ``X`` normalised as for the fit. Genes are found by name; those the model does not know are ignored, those
            it misses are taken to be at their mean over the cells of the fit.
        min_share
            Share of the model's genes that must be there.

        Returns
        -------
        ndarray
            float32, shape (n_cells, n_factors).

        Raises
        ------
        UserError
            If too few genes match, values are not finite, or a covariate is missing or has an unknown category.
        """
        scores = np.empty((adata.n_obs, len(self.names)), np.float32)
        with torch.no_grad():
            for rows, expression, _ in self._blocks(adata, min_share):
                scores[rows] = self.network.encoder(expression).cpu().numpy()
        return scores

    def reconstruct(self, adata: AnnData, *, min_share: float = 0.5) -> np.ndarray:
        """The model's f(Y) W' + d(e(X)) + `offset` for any cells, as in `transform`: shape (n_cells, n_genes)."""
        fitted = np.empty((adata.n_obs, len(self.genes)), np.float32)
        with torch.no_grad():
            for rows, expression, covariates in self._blocks(adata, min_share):
                fitted[rows] = self.network(expression, covariates)[1].cpu().numpy()
        return fitted + self.offset

    def explained_by_covariates(self, adata: AnnData) -> np.ndarray | None:
        """d(e(X)) of eq. 2, float32, shape (n_cells, n_genes); ``None`` if the model has no covariates."""
        if self.network.covariates is None:
            return None
        with torch.no_grad():
            return self.network.covariates(self._covariates(adata, slice(None))).cpu().numpy()

    def objective(self, adata: AnnData, *, min_share: float = 0.5) -> dict[str, float]:
        """Eq. 3 by terms on any cells (see `transform`), in evaluation mode: see `objective.objective`."""
        blocks = (block[1:] for block in self._blocks(adata, min_share))
        return evaluate(self.network, blocks, self.weights, self.params)

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
        """Write the model to ``folder`` (made if need be) as model.safetensors and model.json."""
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
        """Read a model that `save` wrote.

        Raises
        ------
        UserError
            If the files are missing, truncated, of another format, or do not fit each other.
        """
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
                f"{folder}: {files.TENSORS} and {files.RECORD} are not of one model; save it again"
            ) from error
        return model


def gene_sets(adata: AnnData, mask: str | None, names: str) -> tuple[list[str], np.ndarray]:
    """Names of the gene sets and their annotation matrix I, bool, shape (n_genes, n_sets).

    Raises
    ------
    UserError
        If they are missing or do not fit each other or the data.
    """
    if mask is None:
        return [], np.zeros((adata.n_vars, 0), bool)
    if mask not in adata.varm or names not in adata.uns:
        raise UserError(f"varm[{mask!r}] and uns[{names!r}] must hold the gene sets (mask=None: no annotated factors)")
    sets = adata.varm[mask]
    sets = np.asarray(sets.toarray() if sparse.issparse(sets) else sets)
    if not np.isin(sets, (0, 1)).all():
        raise UserError(f"varm[{mask!r}] should hold true and false only")
    found = [str(name) for name in adata.uns[names]]
    if len(found) != sets.shape[1]:
        raise UserError(f"uns[{names!r}] has {len(found)} names, varm[{mask!r}] {sets.shape[1]} columns")
    return found, sets.astype(bool)


def factor_names(sets: list[str], params: dict[str, Any]) -> list[str]:
    """Names of all factors: the gene sets', then sparse_1, sparse_2, ... and dense_1, dense_2, ..."""
    names = [*sets, *(f"{kind}_{i + 1}" for kind in KINDS[1:] for i in range(params[f"n_{kind}"]))]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"two factors would be called {twice[0]!r}; rename the gene set")
    return names


def _device(name: str) -> torch.device:
    if name not in ("cpu", "cuda"):
        raise UserError(f"device: {name!r} should be cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device: cuda was asked for and there is none here; say cpu")
    return torch.device(name)
