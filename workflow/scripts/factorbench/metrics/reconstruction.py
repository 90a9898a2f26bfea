"""How much of the data the factors explain, and the terms of the paper's objective (eq. 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..contracts.prepared import seen_cells
from ..registry import MetricSpec
from ._rows import check_same, rows

if TYPE_CHECKING:
    from anndata import AnnData

SPEC = MetricSpec(
    name="reconstruction",
    title="Reconstruction, and the terms of eq. 3",
    measures={
        "explained_variance": (-np.inf, 1, "up"),
        "residual": (0, np.inf, "down"),
        "scores_norm": (0, np.inf, ""),
        "group_norm": (0, np.inf, ""),
        "l1_outside": (0, np.inf, "down"),
        "l1_sparse": (0, np.inf, "down"),
    },
    held_out=True,
)
CHUNK = 1024
"""Cells that are made dense at a time."""


def score(data: AnnData, factors: AnnData, params: dict[str, Any], seen: AnnData | None = None) -> pd.DataFrame:
    """Measure how well the factors reconstruct X, and the terms of the objective before they are weighted.

    Returns
    -------
    DataFrame, all about the whole run
        ``explained_variance``: 1 - RSS / TSS over all entries, where the reconstruction is offset + scores @ loadings.T
        (+ covariates) and TSS is around the means of the genes; NaN if the method does not reconstruct X. The terms of
        eqs. 3-6: ``residual`` (only if the method reconstructs X) and ``scores_norm``, means over cells of squared L2
        norms; ``group_norm``, the sum over factors of the L2 norms of their loadings; ``l1_outside``, the L1 norm of
        the loadings outside the gene sets in annotated factors; ``l1_sparse``, the L1 norm of the loadings of sparse
        factors. ``n``: cells (genes for the last three). The first three are measured in the cells of the fit and, if
        cells are held out and covariates explain nothing, again in these (split ``held_out``).
    """
    check_same(data, factors)
    loadings = np.abs(np.asarray(factors.varm["loadings"], float))
    kind = factors.uns["factors"]["kind"].to_numpy(str)
    fitted = seen_cells(data)
    if not len(kind):
        return rows("explained_variance", np.nan, n=int(fitted.sum()))
    annotated = kind == "annotated"
    outside = loadings[:, annotated][~factors.varm["mask"][:, annotated]]
    parts = _of_cells(data, factors, fitted, "")
    if not fitted.all() and "covariates" not in factors.layers:
        parts += _of_cells(data, factors, ~fitted, "held_out")
    parts += [
        rows("group_norm", np.linalg.norm(loadings, axis=0).sum(), n=data.n_vars),
        rows("l1_outside", outside.sum(), n=data.n_vars),
        rows("l1_sparse", loadings[:, kind == "sparse"].sum(), n=data.n_vars),
    ]
    return pd.concat(parts, ignore_index=True)


def _of_cells(data: AnnData, factors: AnnData, cells: np.ndarray, split: str) -> list[pd.DataFrame]:
    """Return the rows of the measures that are about cells, in some of the ``cells`` (bool, shape (n_cells,))."""
    if not cells.all():
        data, factors = data[cells], factors[cells]
    at = {"split": split, "n": data.n_obs}
    norm = rows("scores_norm", (np.asarray(factors.obsm["scores"], float) ** 2).sum() / data.n_obs, **at)
    if "offset" not in factors.varm:
        return [rows("explained_variance", np.nan, **at), norm]
    residual = squared_residual(data, factors)
    explained = rows("explained_variance", 1 - residual / _total(data.X), **at)
    return [explained, rows("residual", residual / data.n_obs, **at), norm]


def squared_residual(data: AnnData, factors: AnnData) -> float:
    """Return the sum of squares of X - offset - scores @ loadings.T - covariates."""
    loadings = np.asarray(factors.varm["loadings"], float)
    offset = np.asarray(factors.varm["offset"], float).ravel()
    total = 0.0
    for begin in range(0, data.n_obs, CHUNK):
        cells = slice(begin, begin + CHUNK)
        difference = data.X[cells].toarray() - offset - np.asarray(factors.obsm["scores"][cells], float) @ loadings.T
        if "covariates" in factors.layers:
            difference -= factors.layers["covariates"][cells]
        total += float(np.einsum("ij,ij->", difference, difference))
    return total


def _total(x: Any) -> float:
    """Return the sum of squares of a sparse matrix around the means of its columns (NaN if nothing varies)."""
    means = np.asarray(x.mean(axis=0, dtype=float)).ravel()
    total = float((x.data.astype(float) ** 2).sum() - x.shape[0] * (means**2).sum())
    return total if total > 0 else np.nan
