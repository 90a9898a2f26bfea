"""Univariate logistic regression and area under the ROC curve: one score, many classes at once."""

from __future__ import annotations

import numpy as np

from ..statistics import Z95


def fit(
    x: np.ndarray, y: np.ndarray, ridge: float = 1.0, start: np.ndarray | None = None, max_steps: int = 100
) -> np.ndarray:
    r"""Return the logistic regression of each class on one score: intercepts a, coefficients b, shape (2, n_classes).

    Each regression minimises

    .. math:: \tfrac{1}{2} \rho b^2 + \sum_n \log(1 + e^{a + b x_n}) - y_n (a + b x_n),

    which with :math:`\rho = 1` is scikit-learn's ``LogisticRegression()`` (L2, C = 1, free intercept). NaN for a class
    with all cells or with none. Newton's method: a step is halved while the objective rises at the end of the step more
    than half as steeply as it falls at the start.

    Parameters
    ----------
    x, y
        Score of each cell, shape (n_cells,), and whether it is of each class, bool or 0 and 1, (n_classes, n_cells).
    ridge
        Weight of the penalty on b.
    start
        Where to start, shape (2, n_classes); by default the best intercepts, and coefficients of 0.
    max_steps
        Raise ArithmeticError if a fit has not converged after so many evaluations of the gradient.
    """
    powers = np.stack([np.ones_like(x), x, x * x])
    sums = np.asarray(y, float) @ powers[:2].T
    with np.errstate(divide="ignore"):
        logit = np.log(sums[:, 0]) - np.log(len(x) - sums[:, 0])
    point = np.stack([logit, np.zeros_like(logit)], axis=1) if start is None else start.T.copy()
    step, slope, active = np.zeros_like(point), np.zeros(len(point)), np.flatnonzero(np.isfinite(logit))
    for _ in range(max_steps):
        trial = point[active] + step[active]
        # The probability of the class is (1 + h) / 2, and its variance (1 - h^2) / 4.
        h = trial / 2 @ powers[:2]
        np.tanh(h, out=h)
        gradient = (powers[:2].sum(axis=1) + h @ powers[:2].T) / 2 - sums[active]
        curvature = (powers.sum(axis=1) - np.square(h, out=h) @ powers.T) / 4
        gradient[:, 1] += ridge * trial[:, 1]
        # 1e-12, because no curvature in a is left where all probabilities are rounded to 0 or 1.
        hessian = curvature[:, [0, 1, 1, 2]].reshape(-1, 2, 2) + np.diag([1e-12, ridge])
        good = (gradient * step[active]).sum(axis=1) <= -slope[active] / 2
        accepted, too_long = active[good], active[~good]
        step[too_long] /= 2
        slope[too_long] /= 2
        point[accepted] = trial[good]
        step[accepted] = -np.linalg.solve(hessian[good], gradient[good, :, None])[:, :, 0]
        slope[accepted] = (gradient[good] * step[accepted]).sum(axis=1)
        # A step squares the error, so no step after a small one is needed.
        active = np.concatenate([too_long, accepted[slope[accepted] < -1e-9]])
        if not len(active):
            return np.where(np.isfinite(logit), (point + step).T, np.nan)
    raise ArithmeticError(f"logistic regression did not converge in {max_steps} steps")


def fit_without(x: np.ndarray, y: np.ndarray, left_out: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return the `fit` to all cells but those ``left_out`` (bool, shape (n_cells,)), started at the fit to all cells.

    The penalty is that of a fit to scores divided by their standard deviation in the cells that are not left out.
    """
    x, y = x[~left_out], y[:, ~left_out]
    return fit(x, y) if np.ptp(x) == 0 else fit(x, y, x.var(), start)


def auroc(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the area under the ROC curve of one score for each class and its 95 % interval, each (n_classes,).

    The area is the chance that a cell of the class has a higher score than a cell outside it, where ties count half.
    The variance is that of DeLong et al. 1988 (10.2307/2531595), from counts of cells per distinct score. ``x``: score
    of each cell, shape (n_cells,); ``y``: bool, shape (n_classes, n_cells).
    """
    order = np.argsort(x)
    last = np.flatnonzero(np.append(np.diff(x[order]) > 0, True))  # of each run of equal scores
    inside = np.diff(np.cumsum(y[:, order], axis=1)[:, last], axis=1, prepend=0).astype(float)
    outside = np.diff(last, prepend=-1) - inside
    n_inside, n_outside = inside.sum(axis=1, keepdims=True), outside.sum(axis=1, keepdims=True)
    below = (np.cumsum(outside, axis=1) - outside / 2) / n_outside
    above = 1 - (np.cumsum(inside, axis=1) - inside / 2) / n_inside
    area = (inside * below).sum(axis=1, keepdims=True) / n_inside
    variance = np.zeros_like(area)
    for counts, n, placement in ((inside, n_inside, below), (outside, n_outside, above)):
        squares = (counts * (placement - area) ** 2).sum(axis=1, keepdims=True)
        variance += squares / np.maximum(n - 1, 1) / n
    area, half = area[:, 0], Z95 * np.sqrt(variance[:, 0])
    return area, np.clip(area - half, 0, 1), np.clip(area + half, 0, 1)
