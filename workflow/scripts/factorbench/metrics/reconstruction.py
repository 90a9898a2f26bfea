"""How much of the data the factors explain, and the terms of the paper's objective (eq. 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

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
)
CHUNK = 1024
"""Cells made dense at a time."""


def score(data: AnnData, factors: AnnData, params: dict[str, Any]) -> pd.DataFrame:
    """Compare X with offset + scores @ loadings.T (+ covariates), and measure scores and loadings.

    Returns
    -------
    DataFrame with `contracts.METRIC_COLUMNS`, all about the whole run
        ``explained_variance``: 1 - RSS / TSS over all entries, TSS around the genes' means (NaN if the method does not
        reconstruct X). Terms of eqs. 3-6 before they are weighted, where defined: ``residual`` and ``scores_norm``
        (means over cells of squared L2 norms), ``group_norm`` (sum of the columns' L2 norms), ``l1_outside`` (annotated
        factors, genes outside the set), ``l1_sparse`` (sparse factors). ``n``: cells (genes for the last three).
    """
    check_same(data, factors)
    scores, loadings = np.asarray(factors.obsm["scores"], float), np.asarray(factors.varm["loadings"], float)
    kind = factors.uns["factors"]["kind"].to_numpy(str)
    if not len(kind):
        return rows("explained_variance", np.nan, n=data.n_obs)
    residual = squared_residual(data, factors) if "offset" in factors.varm else None
    size = np.abs(loadings)
    annotated = kind == "annotated"
    outside = size[:, annotated][~factors.varm["mask"][:, annotated]]
    return pd.concat(
        [
            rows("explained_variance", np.nan if residual is None else 1 - residual / _total(data.X), n=data.n_obs),
            *([] if residual is None else [rows("residual", residual / data.n_obs, n=data.n_obs)]),
            rows("scores_norm", (scores**2).sum() / data.n_obs, n=data.n_obs),
            rows("group_norm", np.linalg.norm(loadings, axis=0).sum(), n=data.n_vars),
            rows("l1_outside", outside.sum(), n=data.n_vars),
            rows("l1_sparse", size[:, kind == "sparse"].sum(), n=data.n_vars),
        ],
        ignore_index=True,
    )


def squared_residual(data: AnnData, factors: AnnData) -> float:
    """Sum of squares of X - offset - scores @ loadings.T - covariates; `CHUNK` cells are dense at a time."""
    loadings = np.asarray(factors.varm["loadings"], float)
    offset = np.asarray(factors.varm["offset"], float).ravel()
    total = 0.0
    for begin in range(0, data.n_obs, CHUNK):
        cells = slice(begin, begin + CHUNK)
        rest = data.X[cells].toarray() - offset - np.asarray(factors.obsm["scores"][cells], float) @ loadings.T
        if "covariates" in factors.layers:
            rest -= factors.layers["covariates"][cells]
        total += float(np.einsum("ij,ij->", rest, rest))
    return total


def _total(x: Any) -> float:
    """Sum of squares of a sparse matrix around the means of its columns (NaN if nothing varies)."""
    means = np.asarray(x.mean(axis=0, dtype=float)).ravel()
    total = float((x.data.astype(float) ** 2).sum() - x.shape[0] * (means**2).sum())
    return total if total > 0 else np.nan
