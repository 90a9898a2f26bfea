"""Does the best factor separate the contrast better than the best factor does for permuted labels?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..registry import MetricSpec, Param
from ._questions import accuracies, aurocs, contrast_question, scores_of
from ._rows import check_same, no_rows, rows

if TYPE_CHECKING:
    from anndata import AnnData

SPEC = MetricSpec(
    name="best_factor",
    title="Best factor, against permuted labels",
    params={
        "permutations": Param(
            100, "Permutations of the contrast's labels; no p is smaller than 1 / (1 + permutations).", minimum=1
        ),
        "seed": Param(0, "Seed of the permutations.", minimum=0),
    },
    measures={
        "best_accuracy": (0, 1, "up"),
        "null_accuracy": (0, 1, ""),
        "p_accuracy": (0, 1, "down"),
        "best_auroc": (0, 1, ""),
        "null_auroc_strength": (0, 0.5, ""),
        "p_auroc": (0, 1, "down"),
    },
)


def score(data: AnnData, factors: AnnData, params: dict[str, Any]) -> pd.DataFrame:
    """Compare the factor that separates the contrast best with the best factor for permuted labels.

    The best of K factors is chosen with the labels in view, so its chance level is higher than that of one factor.
    Each permutation of the labels therefore gives the largest statistic over all factors, which keeps the correlation
    of the factors (max-statistic: Westfall and Young 1993, Resampling-Based Multiple Testing). There are two
    statistics: the training accuracy of the univariate logistic regression (as in ``separation``), and the distance of
    the AUROC from 1/2. Permutations treat cells as independent. Cells of one donor are not, so a small p says that
    cells differ, not that donors do.

    Returns
    -------
    DataFrame, about the contrast only; empty if no factor varies
        ``best_accuracy`` and ``best_auroc`` (below 0.5: the score is lower in the class) with the name of the factor
        (``n``: cells). ``null_accuracy`` and ``null_auroc_strength``: median over permutations of the largest
        statistic, with its 2.5 and 97.5 % quantiles. ``p_accuracy`` and ``p_auroc``: (1 + permutations with at least
        the observed statistic) / (1 + permutations). (``n`` of the last four: permutations.)
    """
    check_same(data, factors)
    question = contrast_question(data)
    if question is None:
        return no_rows()
    cells, label, y = question
    scores = scores_of(factors)[cells]
    varies = np.ptp(scores, axis=0) > 0
    if not varies.any():
        return no_rows()
    scores, names = scores[:, varies], factors.uns["factors"]["name"].to_numpy(str)[varies]
    random = np.random.default_rng(params["seed"])
    labellings = np.stack([y, *(random.permutation(y) for _ in range(params["permutations"]))])
    accuracy, area = accuracies(scores, labellings), aurocs(scores, labellings)
    parts = []
    for name, null_name, values, statistic in (
        ("accuracy", "null_accuracy", accuracy, accuracy),
        ("auroc", "null_auroc_strength", area, np.abs(area - 0.5)),
    ):
        best = statistic[:, 0].argmax()
        null = statistic[:, 1:].max(axis=0)
        p = (1 + (null >= statistic[best, 0]).sum()) / (1 + len(null))
        lower, median, upper = np.quantile(null, [0.025, 0.5, 0.975])
        parts += [
            rows(f"best_{name}", values[best, 0], factor=names[best], label=label, n=len(cells)),
            rows(null_name, median, label=label, lower=lower, upper=upper, n=len(null)),
            rows(f"p_{name}", p, label=label, n=len(null)),
        ]
    return pd.concat(parts, ignore_index=True)
