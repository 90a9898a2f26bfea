"""Does a factor still mean its gene set? How much of it lies in the set, and what the genes of the set alone say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..registry import MetricSpec
from ._questions import accuracies, aurocs, questions
from ._rows import check_same, no_rows, rows, share_rows

if TYPE_CHECKING:
    from anndata import AnnData

SPEC = MetricSpec(
    name="in_set",
    title="Does a factor still mean its gene set?",
    measures={"in_set_share": (0, 1, "up"), "in_set_accuracy": (0, 1, "up"), "in_set_auroc": (0, 1, "")},
)


def score(data: AnnData, factors: AnnData, params: dict[str, Any]) -> pd.DataFrame:
    """Measure how much of each annotated factor lies inside its gene set, and how well that part separates cells.

    Returns
    -------
    DataFrame
        For each annotated factor ``in_set_share``, the sum of its squared loadings inside the set over that of all its
        loadings (NaN if it is switched off; ``n``: genes in the set). If the method can score cells without the
        loadings outside (`contracts.factors.Factors.own_scores`), for each question of ``separation``:
        ``in_set_accuracy`` with Wilson's interval and ``in_set_auroc``, as the training accuracy and the AUROC there,
        but of these scores (``n``: cells).
    """
    check_same(data, factors)
    table = factors.uns["factors"]
    annotated = (table["kind"] == "annotated").to_numpy()
    if not annotated.any():
        return no_rows()
    names, mask = table["name"].to_numpy(str)[annotated], np.asarray(factors.varm["mask"], bool)[:, annotated]
    squares = np.asarray(factors.varm["loadings"], float)[:, annotated] ** 2
    total = squares.sum(axis=0)
    share = np.divide((squares * mask).sum(axis=0), total, out=np.full(len(total), np.nan), where=total > 0)
    parts = [rows("in_set_share", share.clip(0, 1), factor=names, n=mask.sum(axis=0))]
    if "own_scores" in factors.obsm:
        scores = np.asarray(factors.obsm["own_scores"], float)[:, annotated]
        for cells, classes, y in questions(data):
            at = {"factor": names[:, None], "label": classes, "n": len(cells)}
            parts.append(share_rows("in_set_accuracy", accuracies(scores[cells], y), **at))
            parts.append(rows("in_set_auroc", aurocs(scores[cells], y), **at))
    return pd.concat(parts, ignore_index=True)
