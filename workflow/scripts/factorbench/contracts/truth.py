"""What was planted in simulated data, beside the data: in raw.h5ad and in prepared.h5ad.

``uns["truth"]`` json text, one entry for each programme: ``name`` (of its gene set, if it has one), ``kind`` (one of
`KINDS`) and ``where`` it is active; ``obsm["activity"]`` (CSR, n_cells x n_programmes) and ``varm["weights"]`` (n_genes
x n_programmes): the natural logarithm of the mean of a gene in a cell changes by the sum of activity times weight.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from .errors import ContractError

if TYPE_CHECKING:
    from anndata import AnnData

KINDS = ("gene set", "decoy", "unannotated", "technical")
"""A gene set that is active, one that is not (activity and weights are zero), a programme of genes that are no set, and
one of all genes."""

PARTS = ("obsm", "activity"), ("varm", "weights"), ("uns", "truth")
"""Where the truth is in an AnnData."""


class Truth(NamedTuple):
    """The truth: one row of ``programmes`` (name, kind, where) for each column of ``activity`` and ``weights``."""

    programmes: pd.DataFrame
    activity: np.ndarray
    weights: np.ndarray


def has_truth(data: AnnData) -> bool:
    return "truth" in data.uns


def check_truth(data: AnnData) -> pd.DataFrame:
    """Return the programmes of the truth of ``data``; raise `ContractError` if it does not fit them."""
    programmes = pd.DataFrame(json.loads(data.uns["truth"]), columns=["name", "kind", "where"])
    missing = [name for group, name in PARTS if name not in getattr(data, group)]
    if missing:
        raise ContractError(f"the truth lacks {' and '.join(missing)}")
    n, activity, weights = len(programmes), data.obsm["activity"], np.asarray(data.varm["weights"], float)
    if tuple(activity.shape) != (data.n_obs, n) or weights.shape != (data.n_vars, n):
        raise ContractError(
            f"the truth has {n} programmes, activities {tuple(activity.shape)} and weights {weights.shape}, which does "
            f"not fit {data.n_obs} cells and {data.n_vars} genes"
        )
    if not set(programmes["kind"]) <= set(KINDS) or not programmes["name"].is_unique:
        raise ContractError(f"programmes of the truth must have different names and kinds among {', '.join(KINDS)}")
    if not np.isfinite(weights).all():
        raise ContractError("weights of the truth must be finite")
    return programmes


def read_truth(data: AnnData) -> Truth:
    """Return the truth of ``data`` in memory; raise `ContractError` if it does not fit them."""
    programmes, activity = check_truth(data), data.obsm["activity"]
    activity = activity.toarray() if hasattr(activity, "toarray") else np.asarray(activity)
    return Truth(programmes, activity.astype(float), np.asarray(data.varm["weights"], float))


def without_truth(data: AnnData) -> AnnData:
    """Return ``data`` without the truth and the true gene sets, which no method may see (itself if it has none)."""
    import anndata

    from .prepared import TRUE_MASK

    hidden = {"activity", "weights", "truth", TRUE_MASK}
    groups = {name: dict(getattr(data, name)) for name in ("layers", "obsm", "varm", "uns")}
    if not any(hidden & set(group) for group in groups.values()):
        return data
    shown = {name: {k: v for k, v in group.items() if k not in hidden} for name, group in groups.items()}
    return anndata.AnnData(X=data.X, obs=data.obs, var=data.var, **shown)
