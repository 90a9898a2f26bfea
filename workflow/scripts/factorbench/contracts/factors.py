"""factors.h5ad: what a method returns - scores, loadings, and the table that names its factors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .errors import ContractError
from .files import atomic, plain
from .prepared import GENE_ID, HELD_OUT
from .run import STATUSES

if TYPE_CHECKING:
    from anndata import AnnData

KINDS = ("annotated", "sparse", "dense")
"""The kinds of factors of section 2 of Rybakov et al. 2020, in the order of the columns of W."""

FACTOR_COLUMNS = ("name", "kind", "active", "relevance", "sign")


@dataclass
class Factors:
    """What a method returns.

    Attributes
    ----------
    scores
        Score of every factor in every cell, f(Y) in eq. 1, shape (n_cells, n_factors).
    loadings
        Loadings W of eq. 1, shape (n_genes, n_factors). A factor that is switched off is a column of zeros.
    table
        One row per factor, in column order: ``name``, ``kind`` (one of `KINDS`), ``active`` (bool). Further columns
        (the method's own relevance, for example) are kept.
    mask
        The gene sets that the factors were given, bool, shape (n_genes, n_factors); False for factors that are not
        annotated.
    status, reason
        One of `run.STATUSES`, and one sentence on why the run ended so.
    iterations
        Epochs or updates, whichever the method counts (``None``: it does not iterate).
    start_seconds
        Seconds of the fit before the first iteration (``None``: unknown).
    converged
        Whether the method's own criterion was met (``None``: it has none).
    history
        One dict of plain numbers per epoch or check, for learning curves.
    covariates
        The part of X that observed covariates explain (eq. 2), shape (n_cells, n_genes), if the model has covariates.
    own_scores
        The scores that the same method gives with loadings of zero outside the gene sets, shape (n_cells, n_factors):
        what the genes of each set alone say. ``None``: unknown, because scores are no known function of the loadings.
    offset
        Added to scores @ loadings.T it gives the method's reconstruction of X: shape (n_genes,), in the units of X;
        the gene means for methods that centre. ``None``: the method does not reconstruct X.
    model
        An object with ``save(folder)``, if the method has a model to keep.
    project
        A function that scores any cells with the genes of the fit, without a new fit: AnnData -> shape (n_cells,
        n_factors). Required where `registry.MethodSpec.projects`; ``None``: the method cannot score new cells.
    """

    scores: np.ndarray
    loadings: np.ndarray
    table: pd.DataFrame
    mask: np.ndarray
    status: str = "ok"
    reason: str = ""
    iterations: int | None = None
    start_seconds: float | None = None
    converged: bool | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    covariates: np.ndarray | None = None
    own_scores: np.ndarray | None = None
    offset: np.ndarray | None = None
    model: Any = None
    project: Callable[[AnnData], np.ndarray] | None = None


def no_factors(n_cells: int, n_genes: int, status: str, reason: str) -> Factors:
    """Return an empty but valid result, for a run without factors (timed out, killed, not applicable)."""
    return Factors(
        scores=np.zeros((n_cells, 0), np.float32),
        loadings=np.zeros((n_genes, 0), np.float32),
        table=pd.DataFrame(
            {"name": pd.Series(dtype=str), "kind": pd.Series(dtype=str), "active": pd.Series(dtype=bool)}
        ),
        mask=np.zeros((n_genes, 0), bool),
        status=status,
        reason=reason,
    )


def add_held_out(factors: Factors, seen: np.ndarray, held_out_scores: np.ndarray) -> Factors:
    """Combine the factors of the seen cells with the scores of the held-out cells.

    Parameters
    ----------
    factors
        As fitted on the seen cells.
    seen
        Whether each cell was seen, bool, shape (n_cells,).
    held_out_scores
        Scores of the other cells, in their order, shape (n_cells - n_seen, n_factors). What covariates explain of
        these cells is unknown (NaN), and so are their ``own_scores``.
    """

    def combine(of_seen: np.ndarray, of_others: np.ndarray | float) -> np.ndarray:
        combined = np.empty((len(seen), of_seen.shape[1]), np.float32)
        combined[seen], combined[~seen] = of_seen, of_others
        return combined

    unknown = {
        name: None if values is None else combine(values, np.nan)
        for name, values in (("covariates", factors.covariates), ("own_scores", factors.own_scores))
    }
    return replace(factors, scores=combine(factors.scores, held_out_scores), **unknown)


def factor_signs(loadings: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return signs (+1 or -1) that make the loadings inside the mask sum to a positive number, shape (n_factors,).

    A factor without a mask (sparse, dense) is signed by the sum of all its loadings. A sum of zero keeps its sign.
    """
    annotated = mask.any(axis=0)
    total = np.where(annotated, np.where(mask, loadings, 0).sum(axis=0), loadings.sum(axis=0))
    return np.where(total < 0, -1, 1).astype(np.int8)


def distinct_names(names: Iterable[str], gene_sets: Iterable[str]) -> list[str]:
    """Return names of factors that are not annotated; one that is also the name of a gene set gets ``_`` at its end."""
    taken, distinct = set(gene_sets), []
    for name in names:
        while name in taken:
            name += "_"
        distinct.append(name)
    return distinct


def check_factors(data: AnnData) -> None:
    """Raise `ContractError` unless ``data`` is a valid factors.h5ad (`write_factors`)."""

    def need(ok: bool, what: str) -> None:
        if not ok:
            raise ContractError(f"factors: {what}")

    table = data.uns["factors"]
    need(set(FACTOR_COLUMNS) <= set(table.columns), f"the table of factors needs the columns {FACTOR_COLUMNS}")
    n = len(table)
    arrays_of = {"scores": data.obsm, "loadings": data.varm, "mask": data.varm}
    if "own_scores" in data.obsm:
        arrays_of["own_scores"] = data.obsm
    for name, arrays in arrays_of.items():
        need(name in arrays, f"{name} missing")
        need(arrays[name].ndim == 2 and arrays[name].shape[1] == n, f"{name} must have {n} columns, one per factor")
    need(bool(np.isfinite(data.obsm["scores"]).all()), "scores must be finite")
    need(bool(np.isfinite(data.varm["loadings"]).all()), "loadings must be finite")
    need(table["name"].is_unique, "names of factors must be unique")
    need(set(table["kind"]) <= set(KINDS), f"kinds of factors must be among {KINDS}")
    off = ~table["active"].to_numpy(bool)
    need(not np.any(data.varm["loadings"][:, off]), "a factor that is switched off must have loadings of zero")


def write_factors(path: str | Path, factors: Factors, data: AnnData) -> None:
    """Write the factors of ``data`` (prepared) as factors.h5ad. The signs are fixed here, once.

    ``obsm["scores"]`` (cells x factors) and ``varm["loadings"]`` (genes x factors) float32, ``varm["mask"]`` bool,
    ``uns["factors"]`` a table: name (`distinct_names`), kind, active, relevance (L2 norm of the loadings, the paper's
    measure), sign (by which the method's own scores and loadings were multiplied, `factor_signs`), and the method's own
    columns; ``uns["history"]`` json text; ``varm["offset"]``, ``obsm["own_scores"]`` and ``layers["covariates"]`` if
    the method has them; ``var["id"]`` and ``obs["held_out"]`` if ``data`` have them.

    Raises
    ------
    ContractError
        If shapes, names, kinds or numbers are not valid.
    """
    import anndata

    if factors.status not in STATUSES:
        raise ContractError(f"status {factors.status!r} is not one of {STATUSES}")
    scores = np.asarray(factors.scores, np.float32)
    loadings = np.asarray(factors.loadings, np.float32)
    mask = np.asarray(factors.mask, bool)
    n_factors = len(factors.table)
    shapes = (data.n_obs, n_factors), (data.n_vars, n_factors), (data.n_vars, n_factors)
    if (scores.shape, loadings.shape, mask.shape) != shapes:
        raise ContractError(
            f"shapes of scores {scores.shape}, loadings {loadings.shape}, mask {mask.shape} do not fit "
            f"{data.n_obs} cells, {data.n_vars} genes and {n_factors} factors"
        )
    sign = factor_signs(loadings, mask)
    table = factors.table.reset_index(drop=True).assign(relevance=np.linalg.norm(loadings, axis=0), sign=sign)
    other = table["kind"] != "annotated"
    table.loc[other, "name"] = distinct_names(table.loc[other, "name"], data.uns["gene_sets"])
    table.index = table.index.astype(str)
    held_out = data.obs[[column for column in data.obs if column == HELD_OUT]].copy()
    result = anndata.AnnData(obs=held_out, var=data.var[[column for column in data.var if column == GENE_ID]].copy())
    result.obsm["scores"] = scores * sign
    result.varm["loadings"] = loadings * sign
    result.varm["mask"] = mask
    result.uns["factors"] = table
    result.uns["history"] = json.dumps(plain(factors.history))
    if factors.own_scores is not None:
        result.obsm["own_scores"] = np.asarray(factors.own_scores, np.float32) * sign
    if factors.offset is not None:
        result.varm["offset"] = np.asarray(factors.offset, np.float32).reshape(-1, 1)
    if factors.covariates is not None:
        result.layers["covariates"] = np.asarray(factors.covariates, np.float32)
    check_factors(result)
    with atomic(path) as part:
        result.write_h5ad(part, compression="lzf")


def read_factors(path: str | Path) -> AnnData:
    import anndata

    data = anndata.read_h5ad(path)
    data.uns["factors"] = data.uns["factors"].astype({"active": bool})
    check_factors(data)
    return data
