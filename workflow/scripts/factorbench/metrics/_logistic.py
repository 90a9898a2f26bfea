"""Univariate logistic regression and the area under the ROC curve, of one score for many classes."""

from __future__ import annotations

import numpy as np

from ..statistics import Z95

BLOCK = 50_000
"""Nodes times fits looked at in one go: what still fits into a processor's cache is many times as fast."""

POINTS = 12
"""Nodes of an interval. Where its width times |b| is at most 1, they give sums to the last digits of a float64."""


def fit(
    x: np.ndarray, y: np.ndarray, group: np.ndarray | None = None, ridge: float = 1.0, max_sweeps: int = 200
) -> tuple[np.ndarray, np.ndarray]:
    r"""Fit logistic regressions of several classes on one score: to all cells and, by groups, to all but one group.

    Minimises, for each class on its own,

    .. math:: \tfrac{1}{2} \rho b^2 + \sum_n \log(1 + e^{a + b x_n}) - y_n (a + b x_n),

    which with :math:`\rho = 1` is scikit-learn's ``LogisticRegression()`` (L2, C = 1, free intercept). Newton's method
    with step halving. The labels enter through two sums only; what is left is a sum over cells of a smooth function of
    the score, which needs a few hundred weighted nodes instead of all cells (`_nodes`).

    Parameters
    ----------
    x
        Score of each cell, shape (n_cells,).
    y
        Whether each cell is of the class, bool or 0 and 1, shape (n_classes, n_cells).
    group
        Group of each cell, from 0 to n_groups - 1, shape (n_cells,).
    ridge
        Weight of the penalty on b. Of a fit that leaves out a group it is multiplied by the variance of the scores it
        is given, which is what dividing them by their own standard deviation would say.
    max_sweeps
        Most evaluations of the objective.

    Returns
    -------
    intercept, coefficient : arrays of shape (n_classes,); with ``group`` (1 + n_groups, n_classes)
        The first row is of all cells, the others leave out one group each. NaN where the cells of a fit lack the class
        or its complement.

    Raises
    ------
    ArithmeticError
        If a fit has not converged after ``max_sweeps``.
    """
    groups = np.zeros(len(x), int) if group is None else group
    member, y = _one_hot(groups), np.asarray(y, float)
    sums = member.sum(axis=1), member @ y.T, (member * x) @ y.T
    n, inside, product = (_leave_out(of_groups, group is not None) for of_groups in sums)
    ridges = [ridge]
    if group is not None:
        rest = [x[group != k] for k in range(len(member))]
        ridges += [ridge * (part.var() if np.ptp(part) else 1.0) for part in rest]
    point = np.full((*inside.shape, 2), np.nan)
    which, column = np.nonzero((inside > 0) & (inside < n[:, None]))
    if len(which):
        seen = np.stack([inside, product], axis=-1)[which, column]
        share = seen[:, 0] / n[which]
        found = np.stack([np.log(share / (1 - share)), np.zeros(len(which))], axis=1)
        width, coarse = x.std() / 4, np.arange(len(which))
        while len(coarse):
            nodes, weights = _nodes(x, groups, width)
            weights = _leave_out(weights, group is not None)
            at = which[coarse], seen[coarse], np.array(ridges)[which[coarse]], found[coarse]
            found[coarse] = _newton(nodes, weights, *at, max_sweeps)
            if len(nodes) == len(x):
                break
            coarse = coarse[width * np.abs(found[coarse, 1]) > 1]
            width /= 4
        point[which, column] = found
    if group is None:
        point = point[0]
    return point[..., 0], point[..., 1]


def _one_hot(group: np.ndarray) -> np.ndarray:
    """1 where a cell belongs to a group, else 0, (n_groups, n_cells)."""
    return (np.arange(group.max() + 1)[:, None] == group).astype(float)


def _leave_out(sums: np.ndarray, groups: bool) -> np.ndarray:
    """Of sums over the cells of each group (first axis): over all cells, then over all but one group each."""
    total = sums.sum(axis=0, keepdims=True)
    return np.concatenate([total, total - sums]) if groups else total


def _nodes(x: np.ndarray, group: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Few weighted nodes with the same sums of smooth functions as the cells.

    A function is nearly a polynomial in an interval of ``width``, so that its value in a cell is that of the polynomial
    through `POINTS` Chebyshev nodes of the cell's interval: a sum of the values there, with weights that depend on the
    cell alone. Weights of cells add up. (Of the logistic function, whose poles are at distance pi, the error falls by
    a factor of at least 2 pi / (width |b|) with each node.)

    Returns
    -------
    nodes (n_nodes,), weights (n_groups, n_nodes)
        The cells themselves, where these are not more.
    """
    if width == 0:
        return x[:1], np.bincount(group)[:, None]
    place = np.floor(x / width)
    used, interval = np.unique(place, return_inverse=True)
    if len(used) * POINTS >= len(x):
        return x, _one_hot(group)
    polynomials = np.polynomial.chebyshev.chebvander(2 * (x / width - place) - 1, POINTS - 1).T
    angle = np.pi * (np.arange(POINTS) + 0.5) / POINTS
    back = np.cos(np.arange(POINTS)[:, None] * angle) * np.where(np.arange(POINTS) == 0, 1, 2)[:, None] / POINTS
    cell, n_groups = group * len(used) + interval, group.max() + 1
    moments = [np.bincount(cell, values, n_groups * len(used)) for values in polynomials]
    nodes = (used[:, None] + (np.cos(angle) + 1) / 2) * width
    return nodes.ravel(), (np.stack(moments, axis=1) @ back).reshape(n_groups, -1)


def _newton(
    x: np.ndarray,
    weights: np.ndarray,
    which: np.ndarray,
    seen: np.ndarray,
    ridge: np.ndarray,
    start: np.ndarray,
    max_sweeps: int,
) -> np.ndarray:
    """Minimise the objective of `fit` from ``start`` (n_fits, 2), intercepts and coefficients.

    On nodes ``x``, each fit with its row ``which`` (n_fits,) of ``weights`` (n_rows, n_nodes); ``seen`` (n_fits, 2):
    sums of 1 and of the score over the cells of its class.
    """
    powers = np.stack([np.ones_like(x), x, x * x], axis=1)
    point, loss = start.copy(), np.full(len(start), np.inf)
    step, slope = np.zeros_like(point), np.zeros(len(point))
    active = np.arange(len(point))
    for _ in range(max_sweeps):
        trial = point[active] + step[active]
        found, gradient, hessian = _derivatives(powers, weights, which[active], seen[active], trial, ridge[active])
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
            # Steps are that small now that the last one need not be checked.
            return point + step
    raise ArithmeticError(f"logistic regression did not converge in {max_sweeps} sweeps")


def _derivatives(
    powers: np.ndarray, weights: np.ndarray, which: np.ndarray, seen: np.ndarray, point: np.ndarray, ridge: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The objective, its gradient (n_fits, 2) and its Hessian (n_fits, 2, 2) at ``point`` (n_fits, 2)."""
    total, expected, curvature = np.empty(len(point)), np.empty((len(point), 2)), np.empty((len(point), 3))
    step = max(1, BLOCK // len(powers))
    for begin in range(0, len(point), step):
        block = slice(begin, begin + step)
        weight = weights if len(weights) == 1 else weights[which[block]]
        logit = point[block] @ powers[:, :2].T
        small = np.exp(-np.abs(logit))
        tail = small / (1 + small)
        # log(1 + e^t) = max(t, 0) + log(1 + e^-|t|): neither branch overflows.
        total[block] = ((np.maximum(logit, 0) + np.log1p(small)) * weight).sum(axis=1)
        expected[block] = (np.where(logit > 0, 1 - tail, tail) * weight) @ powers[:, :2]
        curvature[block] = (tail * (1 - tail) * weight) @ powers
    b = point[:, 1]
    loss = total - np.einsum("ij,ij->i", seen, point) + 0.5 * ridge * b**2
    gradient = expected - seen
    gradient[:, 1] += ridge * b
    hessian = curvature[:, [[0, 1], [1, 2]]]
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
    order = np.argsort(x)
    ends = np.flatnonzero(np.r_[np.diff(x[order]) > 0, True])
    inside = np.diff(np.cumsum(y[:, order], axis=1)[:, ends], axis=1, prepend=0).astype(float)
    outside = np.diff(ends, prepend=-1) - inside
    n_inside, n_outside = inside.sum(axis=1, keepdims=True), outside.sum(axis=1, keepdims=True)
    below = (np.cumsum(outside, axis=1) - outside / 2) / n_outside
    above = 1 - (np.cumsum(inside, axis=1) - inside / 2) / n_inside
    area = np.einsum("ij,ij->i", inside, below)[:, None] / n_inside
    spread = np.zeros_like(area)
    for counts, n, placement in ((inside, n_inside, below), (outside, n_outside, above)):
        placement -= area
        squares = np.einsum("ij,ij,ij->i", counts, placement, placement)[:, None]
        spread += squares / np.maximum(n - 1, 1) / n
    half = Z95 * np.sqrt(spread[:, 0])
    area = area[:, 0]
    return area, np.clip(area - half, 0, 1), np.clip(area + half, 0, 1)
