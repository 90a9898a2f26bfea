"""How sparse the loadings are, and how closely they follow the gene sets."""

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
    DataFrame
        ``active_factors`` and ``active_share`` (``n``: all factors). ``off_mask_zeros``: share of the entries outside
        the gene sets that are exactly zero, in active annotated factors; ``off_mask_zeros_all``: the same in all
        annotated factors (``n``: entries; NaN if there are none). For each annotated factor, ``genes_added``: genes
        outside the set with a loading other than zero; ``genes_dropped``: genes of the set with a loading of zero (all
        genes if the factor is switched off) (``n``: genes in the set).
    """
    check_same(data, factors)
    table = factors.uns["factors"]
    active = table["active"].to_numpy(bool)
    annotated = (table["kind"] == "annotated").to_numpy()
    mask, used = np.asarray(factors.varm["mask"], bool), np.asarray(factors.varm["loadings"]) != 0
    parts = [
        rows("active_factors", active.sum(), n=len(active)),
        rows("active_share", active.mean() if len(active) else np.nan, n=len(active)),
    ]
    for name, columns in (("off_mask_zeros", annotated & active), ("off_mask_zeros_all", annotated)):
        outside = used[:, columns][~mask[:, columns]]
        parts.append(rows(name, 1 - outside.mean() if len(outside) else np.nan, n=len(outside)))
    if annotated.any():
        mask, used = mask[:, annotated], used[:, annotated]
        at = {"factor": table["name"].to_numpy(str)[annotated], "n": mask.sum(axis=0)}
        parts += [
            rows("genes_added", (used & ~mask).sum(axis=0), **at),
            rows("genes_dropped", (mask & ~used).sum(axis=0), **at),
        ]
    return pd.concat(parts, ignore_index=True)
