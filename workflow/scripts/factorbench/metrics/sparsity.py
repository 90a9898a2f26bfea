"""How sparse the loadings are, and how far they keep to the gene sets they were given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..registry import MetricSpec
from ._rows import check_same, rows

if TYPE_CHECKING:
    from anndata import AnnData

SPEC = MetricSpec(
    name="sparsity",
    title="Sparsity, and fidelity to the gene sets",
    measures={
        "active_factors": (0, np.inf, ""),
        "active_share": (0, 1, ""),
        "off_mask_zeros": (0, 1, "up"),
        "off_mask_zeros_all": (0, 1, "up"),
        "genes_added": (0, np.inf, ""),
        "genes_dropped": (0, np.inf, ""),
    },
)


def score(data: AnnData, factors: AnnData, params: dict[str, Any]) -> pd.DataFrame:
    """Count active factors, and zeros of the loadings inside and outside the gene sets.

    Returns
    -------
    DataFrame with `contracts.METRIC_COLUMNS`
        ``active_factors`` and ``active_share`` (``n``: all factors); ``off_mask_zeros``: share of the entries outside
        the gene sets that are exactly zero, in annotated factors that are active, ``off_mask_zeros_all`` in all
        annotated ones (``n``: entries; NaN if there are none). For each annotated factor ``genes_added`` (outside the
        set, not zero) and ``genes_dropped`` (inside, zero; all of them if it is switched off), ``n``: genes in the set.
    """
    check_same(data, factors)
    table = factors.uns["factors"]
    active = table["active"].to_numpy(bool)
    annotated = (table["kind"] == "annotated").to_numpy()
    mask, used = np.asarray(factors.varm["mask"], bool), np.asarray(factors.varm["loadings"]) != 0
    parts = [
        rows("active_factors", active.sum(), n=len(active)),
        rows("active_share", active.mean() if len(active) else np.nan, n=len(active)),
        *(
            rows(name, 1 - used[:, chosen][outside].mean() if outside.any() else np.nan, n=outside.sum())
            for name, chosen in (("off_mask_zeros", annotated & active), ("off_mask_zeros_all", annotated))
            for outside in (~mask[:, chosen],)
        ),
    ]
    if annotated.any():
        mask, used = mask[:, annotated], used[:, annotated]
        at = {"factor": table["name"].to_numpy(str)[annotated], "n": mask.sum(axis=0)}
        parts += [
            rows("genes_added", (used & ~mask).sum(axis=0), **at),
            rows("genes_dropped", (mask & ~used).sum(axis=0), **at),
        ]
    return pd.concat(parts, ignore_index=True)
