"""How well the score of one factor tells classes of cells apart (the paper's Figure 2, for every factor and label)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..contracts.prepared import prepared_record
from ..registry import MetricSpec, Param
from ..statistics import wilson
from . import _logistic
from ._questions import contrast_question, correct, questions, scores_of, standardised
from ._rows import check_same, no_rows, rows

if TYPE_CHECKING:
    from anndata import AnnData

SPEC = MetricSpec(
    name="separation",
    title="Separation of cell classes by single factors",
    params={
        "folds": Param(5, "Folds of the cross-validation, stratified by class.", minimum=2),
        "seed": Param(0, "Seed that deals the cells out to the folds.", minimum=0),
    },
    measures={
        "accuracy": (0, 1, "up"),
        "auroc": (0, 1, ""),
        "coefficient": (-np.inf, np.inf, ""),
        "baseline": (0, 1, ""),
    },
)


def score(data: AnnData, factors: AnnData, params: dict[str, Any]) -> pd.DataFrame:
    """Fit a univariate logistic regression for every factor and every question about the cells.

    The questions are those of `_questions.questions`: the contrast, and each class of every other label. A regression
    is scikit-learn's ``make_pipeline(StandardScaler(), LogisticRegression())`` on the score of one factor.

    Parameters
    ----------
    data
        Prepared data (`contracts.check_prepared`).
    factors
        Factors of a run on the same cells (`contracts.check_factors`). A factor that is switched off has no loadings,
        so its score says nothing: it counts as constant.
    params
        ``folds`` and ``seed`` of the cross-validation.

    Returns
    -------
    DataFrame with `contracts.METRIC_COLUMNS`
        For each factor and label: ``accuracy`` (split ``train``, the paper's, and ``cv``: each cell predicted by a fit
        that has not seen it; NaN where the class or its complement has fewer cells than folds) with Wilson's interval,
        ``auroc`` of the score as it is (below 0.5: lower in the class) with DeLong's, ``coefficient`` per standard
        deviation of the score. For each label: ``baseline``, the share of the larger of the two classes. Intervals
        are of 95 % and take the cells as independent. For the contrast, where the data name at least two donors,
        ``accuracy`` has a split ``donor``: the cells of each donor are predicted by a fit to all other donors, and
        ``lower`` and ``upper`` are no interval but the donors with the lowest and the highest accuracy; cells without
        a donor are left out, and it is NaN if all cells of a class are of one donor.
    """
    check_same(data, factors)
    scores, names = scores_of(factors), factors.uns["factors"]["name"].to_numpy(str)
    found = [
        _separate(scores[cells], names, classes, y, params["folds"], params["seed"])
        for cells, classes, y in questions(data)
    ]
    return pd.concat([no_rows(), *found, _leave_donors_out(data, scores, names)], ignore_index=True)


def _separate(
    scores: np.ndarray, names: np.ndarray, labels: list[str], y: np.ndarray, folds: int, seed: int
) -> pd.DataFrame:
    """All rows of one label; ``scores`` (n_cells, n_factors), ``y`` (n_classes, n_cells)."""
    n = y.shape[1]
    fold = _folds(y, folds, seed)
    shape = (len(names), len(labels))
    train, cv, coefficient = np.empty(shape), np.full(shape, np.nan), np.empty(shape)
    area, lower, upper = np.empty(shape), np.empty(shape), np.empty(shape)
    for k, x in enumerate(scores.T):
        x = standardised(x)
        intercepts, coefficients = np.atleast_2d(*_logistic.fit(x, y, fold))
        coefficient[k] = coefficients[0]
        train[k] = correct(x, y, intercepts[0], coefficient[k]).mean(axis=1)
        if fold is not None:
            cv[k] = _right_by_group(x, y, fold, intercepts[1:], coefficients[1:]).sum(axis=0) / n
        area[k], lower[k], upper[k] = _logistic.auroc(x, y)
    cv[:, np.minimum(y.sum(axis=1), (~y).sum(axis=1)) < folds] = np.nan
    at = {"factor": np.repeat(names, len(labels)), "label": np.tile(labels, len(names)), "n": n}
    inside = y.sum(axis=1)
    parts = [rows("baseline", np.maximum(inside, n - inside) / n, label=labels, n=n)]
    for split, right in (("train", train), ("cv", cv)):
        low, high = wilson(right, n)
        parts.append(rows("accuracy", right.ravel(), split=split, lower=low.ravel(), upper=high.ravel(), **at))
    parts.append(rows("auroc", area.ravel(), lower=lower.ravel(), upper=upper.ravel(), **at))
    parts.append(rows("coefficient", coefficient.ravel(), split="train", **at))
    return pd.concat(parts, ignore_index=True)


def _right_by_group(
    x: np.ndarray, y: np.ndarray, group: np.ndarray, intercepts: np.ndarray, coefficients: np.ndarray
) -> np.ndarray:
    """How many cells of each group a fit to the other groups puts into their class, (n_groups, n_classes).

    NaN where there is no fit (`_logistic.fit`), whose ``intercepts`` and ``coefficients`` are (n_groups, n_classes).
    """
    right = np.full(intercepts.shape, np.nan)
    for k, (intercept, coefficient) in enumerate(zip(intercepts, coefficients, strict=True)):
        fitted = np.isfinite(intercept)
        own = group == k
        found = correct(x[own], y[fitted][:, own], intercept[fitted], coefficient[fitted])
        right[k, fitted] = found.sum(axis=1)
    return right


def _leave_donors_out(data: AnnData, scores: np.ndarray, names: np.ndarray) -> pd.DataFrame:
    """Rows of the contrast's accuracy on donors that the fit has not seen; none without two donors."""
    asked, donor = contrast_question(data), prepared_record(data).get("donor")
    if asked is None or not donor:
        return no_rows()
    cells, label, y = asked
    codes = data.obs[donor].cat.codes.to_numpy()[cells]
    known = codes >= 0
    cells, y = cells[known], y[None, known]
    donors, group = np.unique(codes[known], return_inverse=True)
    if len(donors) < 2 or not (y.any() and not y.all()):
        return no_rows()
    right = np.empty((len(names), len(donors)))
    for k, x in enumerate(scores[cells].T):
        x = standardised(x)
        intercepts, coefficients = _logistic.fit(x, y, group)
        right[k] = _right_by_group(x, y, group, intercepts[1:], coefficients[1:])[:, 0]
    share = right / np.bincount(group)
    at = {"factor": names, "label": label, "split": "donor", "n": len(cells)}
    return rows("accuracy", right.sum(axis=1) / len(cells), lower=share.min(axis=1), upper=share.max(axis=1), **at)


def _folds(y: np.ndarray, folds: int, seed: int) -> np.ndarray | None:
    """Fold of each cell, (n_cells,), stratified by all classes of the label at once; none if no class fills the folds.

    Dealt as by scikit-learn's ``StratifiedKFold(folds, shuffle=True, random_state=seed)``, without its import, which
    takes longer than all regressions of a small run.
    """
    strata = np.r_["0,2", ~y.any(axis=0), y].argmax(axis=0)
    # Classes with fewer cells than folds are of no use on their own.
    rare = np.bincount(strata) < folds
    strata = np.where(rare[strata], len(rare), strata)
    _, first, strata = np.unique(strata, return_index=True, return_inverse=True)
    strata = np.argsort(np.argsort(first))[strata]  # numbered as they appear
    if np.bincount(strata).max() < folds:
        return None
    random = np.random.RandomState(seed)
    ordered, fold = np.sort(strata), np.empty(len(strata), int)
    for stratum in range(len(first)):
        sizes = [np.count_nonzero(ordered[k::folds] == stratum) for k in range(folds)]
        dealt = np.repeat(np.arange(folds), sizes)
        random.shuffle(dealt)
        fold[strata == stratum] = dealt
    return fold
