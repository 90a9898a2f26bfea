"""Univariate logistic regression and the area under the ROC curve, of one score for many classes."""

from __future__ import annotations

import numpy as np

from ._rows import Z95

BLOCK = 100_000
"""Cells times classes looked at in one go: what still fits into a processor's cache is many times as fast."""


def fit(
    x: np.ndarray,
    y: np.ndarray,
    ridge: float = 1.0,
    start: tuple[np.ndarray, np.ndarray] | None = None,
    max_sweeps: int = 200,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Fit logistic regressions of several classes on one score.

    Minimises, for each class on its own,

    .. math:: \tfrac{1}{2} \rho b^2 + \sum_n \log(1 + e^{a + b x_n}) - y_n (a + b x_n),

    which with :math:`\rho = 1` is scikit-learn's ``LogisticRegression()`` (L2, C = 1, free intercept). Newton's method
    with step halving; the labels enter through two sums only, so a sweep costs one exponential per cell and class.

    Parameters
    ----------
    x
        Score of each cell, shape (n_cells,).
    y
        Whether each cell is of the class, bool, shape (n_classes, n_cells); each class with at least one cell in it
        and one outside.
    ridge
        Weight of the penalty on b. A score divided by its standard deviation s asks for s**2 on the undivided one.
    start
        Intercepts and coefficients to start from (none given: the classes' shares, and 0).
    max_sweeps
        Most evaluations of the objective.

    Returns
    -------
    intercept, coefficient : arrays of shape (n_classes,)

    Raises
    ------
    ArithmeticError
        If a fit has not converged after ``max_sweeps``.
    """
    y = np.asarray(y, float)
    powers = np.stack([np.ones_like(x), x, x * x], axis=1)
    seen = y @ powers[:, :2]
    share = seen[:, 0] / len(x)
    point = np.stack(start if start is not None else (np.log(share / (1 - share)), np.zeros(len(y))), axis=1)
    loss = np.full(len(y), np.inf)
    step, slope = np.zeros_like(point), np.zeros(len(y))
    active = np.arange(len(y))
    for _ in range(max_sweeps):
        trial = point[active] + step[active]
        found, gradient, hessian = _derivatives(powers, seen[active], trial, ridge)
        # Armijo's rule, with room for rounding in a sum over all cells.
        better = found <= loss[active] + 1e-4 * slope[active] + 1e-12 * np.abs(found)
        step[active[~better]] /= 2
        slope[active[~better]] /= 2
        accepted = active[better]
        point[accepted], loss[accepted] = trial[better], found[better]
        step[accepted] = -np.linalg.solve(hessian[better], gradient[better, :, None])[:, :, 0]
        slope[accepted] = np.einsum("ij,ij->i", gradient[better], step[accepted])
        active = active[slope[active] < -1e-12]
        if not len(active):
            return point[:, 0], point[:, 1]
    raise ArithmeticError(f"logistic regression did not converge in {max_sweeps} sweeps")


def _derivatives(
    powers: np.ndarray, seen: np.ndarray, point: np.ndarray, ridge: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The objective, its gradient (n_classes, 2) and its Hessian (n_classes, 2, 2) at ``point`` (n_classes, 2)."""
    total, expected, weights = np.empty(len(point)), np.empty((len(point), 2)), np.empty((len(point), 3))
    step = max(1, BLOCK // len(powers))
    for begin in range(0, len(point), step):
        block = slice(begin, begin + step)
        logit = point[block] @ powers[:, :2].T
        small = np.exp(-np.abs(logit))
        tail = small / (1 + small)
        # log(1 + e^t) = max(t, 0) + log(1 + e^-|t|): neither branch overflows.
        total[block] = (np.maximum(logit, 0) + np.log1p(small)).sum(axis=1)
        expected[block] = np.where(logit > 0, 1 - tail, tail) @ powers[:, :2]
        weights[block] = (tail * (1 - tail)) @ powers
    b = point[:, 1]
    loss = total - np.einsum("ij,ij->i", seen, point) + 0.5 * ridge * b**2
    gradient = expected - seen
    gradient[:, 1] += ridge * b
    hessian = weights[:, [[0, 1], [1, 2]]]
    hessian[:, 1, 1] += ridge
    # An intercept far out on the plateau has no curvature left in floating point.
    hessian[:, 0, 0] += 1e-12
    return loss, gradient, hessian


def auroc(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Area under the ROC curve of one score for several classes, with DeLong's 95 % interval.

    The chance that a cell of the class has a higher score than a cell outside it, ties counted half. Variance after
    DeLong et al. 1988 (10.2307/2531595), from counts per distinct score.

    Parameters
    ----------
    x
        Score of each cell, shape (n_cells,).
    y
        bool, shape (n_classes, n_cells).

    Returns
    -------
    area, lower, upper : arrays of shape (n_classes,)
    """
    order = np.argsort(x, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(x[order]) > 0])
    inside = np.add.reduceat(y[:, order].astype(float), starts, axis=1)
    outside = np.diff(np.r_[starts, len(x)]) - inside
    n_inside, n_outside = inside.sum(axis=1, keepdims=True), outside.sum(axis=1, keepdims=True)
    below = (np.cumsum(outside, axis=1) - outside / 2) / n_outside
    above = 1 - (np.cumsum(inside, axis=1) - inside / 2) / n_inside
    area = (inside * below).sum(axis=1, keepdims=True) / n_inside
    spread = np.zeros_like(area)
    for counts, n, placement in ((inside, n_inside, below), (outside, n_outside, above)):
        squares = (counts * (placement - area) ** 2).sum(axis=1, keepdims=True)
        spread += squares / np.maximum(n - 1, 1) / n
    half = Z95 * np.sqrt(spread[:, 0])
    area = area[:, 0]
    return area, np.clip(area - half, 0, 1), np.clip(area + half, 0, 1)
