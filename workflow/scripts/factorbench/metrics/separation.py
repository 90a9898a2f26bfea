"""How well the score of one factor tells classes of cells apart (the paper's Figure 2, for every factor and label)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..contracts import METRIC_COLUMNS, prepared_record
from ..registry import MetricSpec, Param
from . import _logistic
from ._rows import check_same, rows, wilson

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

    The questions: the contrast (cells of its two classes only), and each class against all others for every other
    label. A label with a single class asks nothing. A regression is scikit-learn's
    ``make_pipeline(StandardScaler(), LogisticRegression())`` on the score of one factor.

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
        are of 95 % and take the cells as independent.
    """
    check_same(data, factors)
    table = factors.uns["factors"]
    scores = np.asarray(factors.obsm["scores"], float) * table["active"].to_numpy(bool)
    names = table["name"].to_numpy(str)
    found = [
        _separate(scores[cells], names, classes, y, params["folds"], params["seed"])
        for cells, classes, y in questions(data)
    ]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=list(METRIC_COLUMNS))


def questions(data: AnnData) -> Iterator[tuple[np.ndarray, list[str], np.ndarray]]:
    """For each label: its cells (indices), names of its classes (``label=class``), bool (n_classes, n_cells)."""
    record = prepared_record(data)
    contrast = record["contrast"] or {"label": None}
    for label in record["labels"]:
        values = data.obs[label].astype(object).map(str, na_action="ignore").to_numpy(object)
        known = ~pd.isna(values)
        classes = sorted(set(values[known]))
        if label == contrast["label"]:
            positive, negative = str(contrast["positive"]), str(contrast.get("negative") or "")
            if negative:
                known &= np.isin(values.astype(str), [positive, negative])
            classes = [positive]
        cells = np.flatnonzero(known)
        y = np.stack([values[cells] == c for c in classes]) if classes else np.zeros((0, len(cells)), bool)
        asked = y.any(axis=1) & ~y.all(axis=1)
        if asked.any():
            yield cells, [f"{label}={c}" for c, a in zip(classes, asked, strict=True) if a], y[asked]


def _separate(
    scores: np.ndarray, names: np.ndarray, labels: list[str], y: np.ndarray, folds: int, seed: int
) -> pd.DataFrame:
    """All rows of one label; ``scores`` (n_cells, n_factors), ``y`` (n_classes, n_cells)."""
    n = y.shape[1]
    tests = _folds(y, folds, seed)
    shape = (len(names), len(labels))
    train, cv, coefficient = np.empty(shape), np.empty(shape), np.empty(shape)
    area, lower, upper = np.empty(shape), np.empty(shape), np.empty(shape)
    for k, x in enumerate(scores.T):
        x = _standardised(x)
        intercept, coefficient[k] = _logistic.fit(x, y)
        train[k] = _right(x, y, intercept, coefficient[k]) / n
        cv[k] = _cross_validated(x, y, tests, intercept, coefficient[k])
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


def _standardised(x: np.ndarray) -> np.ndarray:
    """``x`` with mean 0 and standard deviation 1; zeros where it is constant."""
    return np.zeros_like(x) if np.ptp(x) == 0 else (x - x.mean()) / x.std()


def _right(x: np.ndarray, y: np.ndarray, intercept: np.ndarray, coefficient: np.ndarray) -> np.ndarray:
    """How many cells each fit puts into their class."""
    return ((intercept[:, None] + coefficient[:, None] * x > 0) == y).sum(axis=1)


def _cross_validated(
    x: np.ndarray, y: np.ndarray, tests: list[np.ndarray], intercept: np.ndarray, coefficient: np.ndarray
) -> np.ndarray:
    """Share of cells put into their class by a fit to the other folds; NaN without folds, or a class not in a fold."""
    right = np.zeros(len(y)) if tests else np.full(len(y), np.nan)
    for test in tests:
        train = np.ones(len(x), bool)
        train[test] = False
        x_train, y_train = x[train], y[:, train]
        both = y_train.any(axis=1) & ~y_train.all(axis=1)
        right[~both] = np.nan
        # Each fold's score is divided by its own standard deviation; the penalty says the same without dividing.
        ridge = x_train.var() if np.ptp(x_train) else 1.0
        fitted = _logistic.fit(x_train, y_train[both], ridge, (intercept[both], coefficient[both]))
        right[both] += _right(x[test], y[both][:, test], *fitted)
    return right / len(x)


def _folds(y: np.ndarray, folds: int, seed: int) -> list[np.ndarray]:
    """Cells of each fold, stratified by all classes of the label at once; none if no class fills the folds."""
    from sklearn.model_selection import StratifiedKFold

    strata = np.r_["0,2", ~y.any(axis=0), y].argmax(axis=0)
    # Classes with fewer cells than folds are of no use and would only be warned of.
    rare = np.bincount(strata) < folds
    strata = np.where(rare[strata], len(rare), strata)
    if np.bincount(strata).max() < folds:
        return []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        splits = StratifiedKFold(folds, shuffle=True, random_state=seed).split(strata, strata)
        return [test for _, test in splits]
