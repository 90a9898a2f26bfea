"""How well the score of one factor separates classes of cells (the paper's Figure 2, for every factor and label)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..contracts.prepared import prepared_record
from ..registry import MetricSpec, Param
from . import _logistic
from ._questions import contrast_question, correct, questions, scores_of, standardised
from ._rows import check_same, no_rows, rows, share_rows

if TYPE_CHECKING:
    from anndata import AnnData

SPEC = MetricSpec(
    name="separation",
    title="Separation of cell classes by single factors",
    params={
        "folds": Param(5, "Folds of the cross-validation, stratified by class.", minimum=2),
        "seed": Param(0, "Seed for drawing the folds.", minimum=0),
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
    is scikit-learn's ``make_pipeline(StandardScaler(), LogisticRegression())`` on the score of one factor. The score of
    a factor that is switched off counts as constant.

    Returns
    -------
    DataFrame
        For each factor and class: ``accuracy`` with Wilson's interval, ``auroc`` of the score (below 0.5: the score is
        lower in the class) with DeLong's interval, and ``coefficient`` per standard deviation of the score. For each
        class: ``baseline``, the accuracy of always guessing the larger side. Intervals are of 95 % and treat cells as
        independent. Accuracy has up to three splits:

        - ``train``: the fit to all cells predicts the same cells, as in the paper.
        - ``cv``: each cell is predicted by a fit to the other folds. NaN if fewer cells than folds are in the class, or
          fewer are outside it.
        - ``donor``, for the contrast only, if the data have at least two donors: the cells of each donor are predicted
          by a fit to all other donors. ``lower`` and ``upper`` are no interval, but the accuracies of the worst and the
          best donor. Cells without a donor are left out. NaN if all cells of a class are of one donor.
    """
    check_same(data, factors)
    scores, names = scores_of(factors), factors.uns["factors"]["name"].to_numpy(str)
    tables = [_separate(scores[cells], names, classes, y, **params) for cells, classes, y in questions(data)]
    return pd.concat([no_rows(), *tables, _leave_donors_out(data, scores, names)], ignore_index=True)


def _separate(
    scores: np.ndarray, names: np.ndarray, classes: list[str], y: np.ndarray, folds: int, seed: int
) -> pd.DataFrame:
    """Return all rows of one label; ``scores`` (n_cells, n_factors), ``y`` (n_classes, n_cells)."""
    n, inside, fold = y.shape[1], y.sum(axis=1), _folds(y, folds, seed)
    train, cv, area, lower, upper, coefficient = np.full((6, len(names), len(classes)), np.nan)
    for k, x in enumerate(scores.T):
        x = standardised(x)
        regressions = _logistic.fit(x, y)
        coefficient[k] = regressions[1]
        train[k] = correct(x, y, *regressions).mean(axis=1)
        area[k], lower[k], upper[k] = _logistic.auroc(x, y)
        if fold is not None:
            cv[k] = _correct_by_group(x, y, fold, regressions).sum(axis=0) / n
    cv[:, np.minimum(inside, n - inside) < folds] = np.nan
    at = {"factor": names[:, None], "label": classes, "n": n}
    parts = [
        rows("baseline", np.maximum(inside, n - inside) / n, label=classes, n=n),
        share_rows("accuracy", train, split="train", **at),
        share_rows("accuracy", cv, split="cv", **at),
        rows("auroc", area, lower=lower, upper=upper, **at),
        rows("coefficient", coefficient, split="train", **at),
    ]
    return pd.concat(parts, ignore_index=True)


def _correct_by_group(x: np.ndarray, y: np.ndarray, group: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return how many cells of each group a fit to the other groups predicts correctly, (n_groups, n_classes).

    ``group``: from 0 to n_groups - 1, shape (n_cells,). ``start``: the fit to all cells. NaN where the other groups
    have no cells inside or outside a class.
    """
    count = np.empty((group.max() + 1, len(y)))
    for k in range(len(count)):
        left_out = group == k
        regressions = _logistic.fit_without(x, y, left_out, start)
        right = correct(x[left_out], y[:, left_out], *regressions).sum(axis=1)
        count[k] = np.where(np.isfinite(regressions[0]), right, np.nan)
    return count


def _leave_donors_out(data: AnnData, scores: np.ndarray, names: np.ndarray) -> pd.DataFrame:
    """Return the rows of split ``donor``; none if there are fewer than two donors."""
    question, donor = contrast_question(data), prepared_record(data).get("donor")
    if question is None or not donor:
        return no_rows()
    cells, label, y = question
    codes = data.obs[donor].cat.codes.to_numpy()[cells]
    known = codes >= 0
    cells, y = cells[known], y[None, known]
    donors, group = np.unique(codes[known], return_inverse=True)
    if len(donors) < 2 or y.all() or not y.any():
        return no_rows()
    count = np.empty((len(names), len(donors)))
    for k, x in enumerate(scores[cells].T):
        x = standardised(x)
        count[k] = _correct_by_group(x, y, group, _logistic.fit(x, y))[:, 0]
    share = count / np.bincount(group)
    at = {"factor": names, "label": label, "split": "donor", "n": len(cells)}
    return rows("accuracy", count.sum(axis=1) / len(cells), lower=share.min(axis=1), upper=share.max(axis=1), **at)


def _folds(y: np.ndarray, folds: int, seed: int) -> np.ndarray | None:
    """Return the fold of each cell, (n_cells,), stratified by all classes of a label at once.

    Classes with fewer cells than folds are one stratum. ``None`` if no stratum has as many cells as there are folds.
    """
    from sklearn.model_selection import StratifiedKFold

    stratum = np.r_["0,2", ~y.any(axis=0), y].argmax(axis=0)
    rare = np.bincount(stratum) < folds
    stratum = np.where(rare[stratum], len(rare), stratum)
    if np.bincount(stratum).max() < folds:
        return None
    fold = np.empty(len(stratum), int)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # the stratum of rare classes may be that small
        for k, (_, test) in enumerate(StratifiedKFold(folds, shuffle=True, random_state=seed).split(stratum, stratum)):
            fold[test] = k
    return fold
