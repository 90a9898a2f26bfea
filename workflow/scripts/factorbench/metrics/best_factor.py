"""Is the best factor better than the best of as many factors would be by chance?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..registry import MetricSpec, Param
from . import _logistic
from ._questions import contrast_question, correct, scores_of, standardised
from ._rows import check_same, no_rows, rows

if TYPE_CHECKING:
    from anndata import AnnData

SPEC = MetricSpec(
    name="best_factor",
    title="Best factor, against permuted labels",
    params={
        "permutations": Param(
            100, "Permutations of the contrast's labels; p is at least 1 / (1 + so many).", minimum=1
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
    """Compare the factor that tells the contrast best with the best factor for permuted labels.

    The best of K factors is chosen after the fact, so its chance level is not that of one factor. Under every
    permutation of the labels the largest statistic over all factors is taken, which keeps the correlation of factors
    as it is (max-statistic: Westfall and Young 1993, Resampling-Based Multiple Testing). Two statistics: training
    accuracy of the univariate logistic regression (as in ``separation``), and strength of the AUROC, its distance
    from 1/2. What permutations cannot know: cells of one donor are not independent, so a small p says that cells
    differ, not that donors do.

    Returns
    -------
    DataFrame with `contracts.METRIC_COLUMNS`, about the contrast only; empty if no factor varies
        ``best_accuracy`` and ``best_auroc`` (as it is, below 0.5: lower in the class) with the name of their factor;
        ``null_accuracy`` and ``null_auroc_strength``: median over permutations of the largest over factors, with its
        2.5 and 97.5 % points; ``p_accuracy`` and ``p_auroc``: (1 + permutations with at least the observed value) /
        (1 + permutations). ``n``: cells for the first two, permutations for the others.
    """
    check_same(data, factors)
    asked = contrast_question(data)
    if asked is None:
        return no_rows()
    cells, label, y = asked
    scores = scores_of(factors)[cells]
    varies = np.ptp(scores, axis=0) > 0
    if not varies.any():
        return no_rows()
    scores = scores[:, varies]
    names = factors.uns["factors"]["name"].to_numpy(str)[varies]
    random = np.random.default_rng(params["seed"])
    # The labels as they are come first.
    labels = np.stack([y, *(random.permutation(y) for _ in range(params["permutations"]))])
    accuracy, area = accuracies(scores, labels), aurocs(scores, labels)
    parts = []
    for name, null, values, statistic in (
        ("accuracy", "null_accuracy", accuracy, accuracy),
        ("auroc", "null_auroc_strength", area, np.abs(area - 0.5)),
    ):
        best = statistic[:, 0].argmax()
        chance = statistic[:, 1:].max(axis=0)
        p = (1 + (chance >= statistic[best, 0]).sum()) / (1 + len(chance))
        lower, median, upper = np.quantile(chance, [0.025, 0.5, 0.975])
        at = {"label": label, "n": len(chance)}
        parts += [
            rows(f"best_{name}", values[best, 0], factor=names[best], label=label, n=len(cells)),
            rows(null, median, lower=lower, upper=upper, **at),
            rows(f"p_{name}", p, **at),
        ]
    return pd.concat(parts, ignore_index=True)


def accuracies(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Training accuracy of the logistic regression of every labelling on every factor, (n_factors, n_labellings).

    ``scores`` (n_cells, n_factors), none constant; ``labels`` bool (n_labellings, n_cells), all with as many in the
    class.
    """
    y = labels.astype(float)
    result = np.empty((scores.shape[1], len(labels)))
    for k, x in enumerate(scores.T):
        x = standardised(x)
        result[k] = correct(x, labels, *_logistic.fit(x, y)).mean(axis=1)
    return result


def aurocs(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of every factor for every labelling, (n_factors, n_labellings); ties count half."""
    inside, n = labels[0].sum(), labels.shape[1]
    # Ranks around their mean: sums of multiples of 1/2 are exact, so that equal areas are equal.
    ranks = pd.DataFrame(scores).rank().to_numpy() - (n + 1) / 2
    return 0.5 + (labels.astype(float) @ ranks).T / (inside * (n - inside))
