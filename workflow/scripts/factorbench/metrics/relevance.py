"""Which factors matter most, by the measure of the paper: the L2 norm of the loadings of a factor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..registry import MetricSpec
from ._rows import check_same, no_rows, rows

if TYPE_CHECKING:
    from anndata import AnnData

SPEC = MetricSpec(
    name="relevance",
    title="Relevance of factors",
    measures={"relevance": (0, np.inf, ""), "rank": (1, np.inf, "")},
)


def score(data: AnnData, factors: AnnData, params: dict[str, Any]) -> pd.DataFrame:
    """Measure and rank the relevance of each factor.

    Returns
    -------
    DataFrame
        For each factor ``relevance``, the L2 norm of its loadings (0: switched off), and ``rank`` (1: the largest; all
        factors that are switched off share the last rank). The label is the kind of factor: ``kind=annotated``,
        ``kind=sparse`` or ``kind=dense``. ``n``: genes with a loading other than zero.
    """
    check_same(data, factors)
    table = factors.uns["factors"]
    if table.empty:
        return no_rows()
    loadings = np.asarray(factors.varm["loadings"], float)
    norm = np.linalg.norm(loadings, axis=0)
    rank = pd.Series(np.where(table["active"], -norm, np.inf)).rank(method="min").to_numpy()
    at = {
        "factor": table["name"].to_numpy(str),
        "label": "kind=" + table["kind"].to_numpy(str).astype(object),
        "n": (loadings != 0).sum(axis=0),
    }
    return pd.concat([rows("relevance", norm, **at), rows("rank", rank, **at)], ignore_index=True)
