"""W of eq. 3 from the covariance of the genes: block coordinate descent, with scores at their optimum.

For given W, the part of eq. 3 that belongs to one cell, |y - W z|^2 + lambda0 |z|^2, is smallest at the scores of a
ridge regression, z = M y with M = (W'W + lambda0 I)^-1 W'. No encoder can do better, so eq. 3 becomes a function of W
and of S = Y'Y / N alone:

    L(W) = tr S - tr(S W M) + R(W)

One sweep minimises eq. 3 over one column of W after another, at the scores Z = Y M' of the W before the sweep. These
scores enter through B = Y'Z / N = S M' and H = Z'Z / N = M S M'. For column k the minimum is exact: with
v = (B_k - sum over j != k of W_j H_jk) / H_kk it is the proximal operator of R / (2 H_kk) at v, the soft threshold and
then the group soft threshold (eq. 8). So a sweep never increases L. Between sweeps W is extrapolated along its last
step (Nesterov 1983). If that has increased L, the step is taken back.

L is not convex. The result is a point that meets the optimality conditions; from other starts it may be another one.

Arrays here have a row for each factor, because a factor is updated as a whole.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numba
import numpy as np
from scipy import linalg
from threadpoolctl import threadpool_limits

from ..contracts.budget import Budget
from ..progress import bar

RISE = 40
"""Sweeps during which lambda3 rises linearly to its full value. At full strength from the start it would switch off
factors for good that the other factors have not yet made room for."""

START = 0.05
"""Size of the initial loadings (`initial_loadings`)."""

ROUNDING = 1e-7
"""Relative increase of L that is taken for rounding."""


# Compiled for these types when the module is imported, once: numba keeps the machine code on disk beside the module, or
# in the user's cache. Threads may run at the same time, because the interpreter's lock is released.
_MATRIX = [f"float{bits}[:, ::1]" for bits in (32, 64)]
_VECTOR = [f"float{bits}[::1]" for bits in (32, 64)]
_COMPILE = {"cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}


# No compiled function returns an array: numba would unpickle the array's type, and a run reads no pickle.
@numba.njit([f"void({m}, {m}, {m})" for m in _MATRIX], **_COMPILE)
def _add_product(loadings, covariance, product):
    """Add W S to ``product``, for sparse W. Each row of S is read once."""
    n_factors, n_genes = loadings.shape
    for gene in range(n_genes):
        for factor in range(n_factors):
            loading = loadings[factor, gene]
            if loading != 0:
                for other in range(n_genes):
                    product[factor, other] += loading * covariance[gene, other]


@numba.njit([f"void({m}, {m}, {m}, {m}, {v})" for m, v in zip(_MATRIX, _VECTOR, strict=True)], **_COMPILE)
def _sweep(loadings, residual, gram, genes, factors):
    """Minimise eq. 3 over one row of W after another, in place; ``residual``, B - H W, follows every change."""
    n_factors, n_genes = loadings.shape
    new, change, changed = np.empty_like(loadings[0]), np.empty_like(loadings[0]), np.empty(n_genes, np.int64)
    for k in range(n_factors):
        curvature, norm = gram[k, k], 0.0
        new[:] = 0
        if curvature > 0:
            for gene in range(n_genes):
                value = loadings[k, gene] + residual[k, gene] / curvature
                threshold = genes[k, gene] / (2 * curvature)
                new[gene] = max(value - threshold, 0) + min(value + threshold, 0)
                norm += new[gene] ** 2
            norm = np.sqrt(norm)
            threshold = factors[k] / (2 * curvature)
            new *= 1 - threshold / norm if norm > threshold else 0
        n_changed = 0
        for gene in range(n_genes):
            if new[gene] != loadings[k, gene]:
                changed[n_changed], change[n_changed] = gene, new[gene] - loadings[k, gene]
                loadings[k, gene] = new[gene]
                n_changed += 1
        for j in range(n_factors):
            if gram[j, k] != 0:
                for i in range(n_changed):
                    residual[j, changed[i]] -= gram[j, k] * change[i]


@numba.njit([f"float64({m}, {m}, {m}, {v})" for m, v in zip(_MATRIX, _VECTOR, strict=True)], **_COMPILE)
def violation(loadings, residual, genes, factors):
    """Return how far W is from the optimality conditions of L.

    For each row of W: the distance of -2 ``residual``, the gradient of the smooth part, from the subdifferential of
    -R(W), in the L2 norm. The result is the largest. A row of zeros fulfils the conditions, since its gradient is zero.
    """
    n_factors, n_genes = loadings.shape
    largest = 0.0
    for k in range(n_factors):
        norm = 0.0
        for gene in range(n_genes):
            norm += loadings[k, gene] ** 2
        norm = np.sqrt(norm)
        distance = 0.0
        if norm > 0:
            for gene in range(n_genes):
                loading = loadings[k, gene]
                slope = factors[k] * loading / norm - 2 * residual[k, gene]
                if loading != 0:
                    slope += np.sign(loading) * genes[k, gene]
                else:
                    slope = max(abs(slope) - genes[k, gene], 0)
                distance += slope**2
        largest = max(largest, distance)
    return np.sqrt(largest)


class Penalty(NamedTuple):
    """R(W): the weights of abs(W), shape (n_factors, n_genes), and of the L2 norms of its rows, shape (n_factors,)."""

    genes: np.ndarray
    factors: np.ndarray


@dataclass
class Solution:
    """What `solve` returns.

    Attributes
    ----------
    loadings
        W, transposed, shape (n_factors, n_genes).
    encoder
        M, which gives the scores z = M y of any cell, shape (n_factors, n_genes).
    history
        The start and every sweep: ``epoch`` (sweeps so far), ``seconds``, the terms of eq. 3 as in
        `objective.objective` (with lambda3 at its full value), ``n_active`` factors and ``violation`` (see `solve`).
    status, reason
        As in `contracts.factors.Factors`.
    converged
        Whether the optimality conditions hold to the tolerance.
    """

    loadings: np.ndarray
    encoder: np.ndarray
    history: list[dict[str, float]] = field(default_factory=list)
    status: str = "max_iterations"
    reason: str = ""
    converged: bool = False


class State(NamedTuple):
    """W and what follows from it: M, the negative half gradient B - H W of the smooth part of L, H, and B."""

    loadings: np.ndarray
    encoder: np.ndarray
    residual: np.ndarray
    gram: np.ndarray
    cross: np.ndarray


def state_at(loadings: np.ndarray, covariance: np.ndarray, lambda0: float) -> State:
    """Return the `State` of W, shape (n_factors, n_genes), for S, shape (n_genes, n_genes); both of one type."""
    inverse = _inverse(loadings, lambda0)
    product = np.zeros_like(loadings)
    _add_product(loadings, covariance, product)
    cross = inverse @ product
    gram = cross @ loadings.T @ inverse
    gram = (gram + gram.T) / 2
    return State(loadings, inverse @ loadings, cross - gram @ loadings, gram, cross)


def best_encoder(loadings: np.ndarray, lambda0: float) -> np.ndarray:
    """Return M, which gives the best scores z = M y of any cell for W; both of shape (n_factors, n_genes)."""
    return _inverse(loadings, lambda0) @ loadings


def _inverse(loadings: np.ndarray, lambda0: float) -> np.ndarray:
    """Return (W'W + lambda0 I)^-1, shape (n_factors, n_factors)."""
    ridge = (loadings @ loadings.T).astype(np.float64) + lambda0 * np.eye(len(loadings))
    return np.linalg.inv(ridge).astype(loadings.dtype)


def terms(state: State, total: float, lambda0: float, penalty: Penalty) -> dict[str, float]:
    """Return the terms of eq. 3 and their sum, as `objective.objective`; ``total`` is tr S."""
    W = state.loadings
    scores = lambda0 * float(np.trace(state.gram, dtype=np.float64))
    result = {
        "reconstruction": total - float(np.sum(W * state.cross, dtype=np.float64)) - scores,
        "scores": scores,
        "genes": float(np.sum(penalty.genes * np.abs(W), dtype=np.float64)),
        "factors": float(penalty.factors @ np.linalg.norm(W, axis=1)),
    }
    return result | {"objective": sum(result.values())}


def initial_loadings(mask: np.ndarray, n_others: int, covariance: np.ndarray) -> np.ndarray:
    """Return an initial W, shape (n_factors, n_genes), without chance.

    Annotated factors have `START` inside the gene set (``mask``, bool, shape (n_sets, n_genes)) and 0 outside. The
    others are the first ``n_others`` principal axes, where their root mean square is `START`. If there are more factors
    than genes, the last are 0, which switches them off.
    """
    n_sets, n_genes = mask.shape
    loadings = np.zeros((n_sets + n_others, n_genes), covariance.dtype)
    loadings[:n_sets] = START * mask
    if n_axes := min(n_others, n_genes):
        axes = linalg.eigh(covariance, subset_by_index=(n_genes - n_axes, n_genes - 1))[1].T[::-1]
        # The sign of an axis is arbitrary; make its largest entry positive.
        largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
        loadings[n_sets : n_sets + n_axes] = START * np.sqrt(n_genes) * np.sign(largest) * axes
    return loadings


def solve(
    covariance: np.ndarray,
    start: np.ndarray,
    penalty: Penalty,
    lambda0: float,
    *,
    tolerance: float = 1e-3,
    max_sweeps: int = 1000,
    rise: int = RISE,
    budget: Budget | None = None,
    quiet: bool = False,
) -> Solution:
    """Minimise L over W.

    Parameters
    ----------
    covariance
        S, float32 or float64, shape (n_genes, n_genes).
    start
        Initial W, shape (n_factors, n_genes). A factor that starts at zero stays there.
    penalty
        R(W), lambdas included.
    lambda0
        Weight of the squared scores; above zero. (If scores cost nothing, W can become as small as it likes, and R(W)
        with it.)
    tolerance
        The solution has converged if the `violation` of the optimality conditions is at most this share of the largest
        gradient of the squared error, 2 |B_k|.
    max_sweeps, budget
        Limits. What was reached is kept.
    rise
        Sweeps during which the weights of ``penalty.factors`` rise.
    quiet
        Whether no progress is shown.
    """
    budget, began, total = budget or Budget(), time.perf_counter(), float(np.trace(covariance, dtype=np.float64))
    kind = covariance.dtype
    covariance = np.ascontiguousarray(covariance)
    penalty = Penalty(*(np.ascontiguousarray(weights, kind) for weights in penalty))
    last = np.ascontiguousarray(start, kind)  # the end of the last sweep
    point, momentum, best = last, 1.0, np.inf
    solution = Solution(last, np.zeros_like(last), reason=f"{max_sweeps} sweeps were not enough")
    with bar(max_sweeps, "exact solution", "sweeps", shown=not quiet) as progress:
        for sweep in range(max_sweeps + 1):
            risen = min(1.0, (sweep + 1) / rise)
            weights = (risen * penalty.factors).astype(kind)
            state = state_at(point, covariance, lambda0)
            row = terms(state, total, lambda0, penalty)
            if risen == 1 and row["objective"] > best + ROUNDING * total and point is not last:
                point, momentum = last, 1.0
                state = state_at(point, covariance, lambda0)
                row = terms(state, total, lambda0, penalty)
            if not np.isfinite(row["objective"]):
                solution.status, solution.reason = "diverged", f"eq. 3 was not finite after {sweep} sweeps"
                break
            best = row["objective"] if risen == 1 else np.inf
            scale = 2 * float(np.linalg.norm(state.cross, axis=1).max()) or 1.0
            row["violation"] = violation(state.loadings, state.residual, penalty.genes, weights) / scale
            on = int(state.loadings.any(axis=1).sum())
            solution.loadings, solution.encoder = state.loadings, state.encoder
            solution.history.append({"epoch": sweep, "seconds": time.perf_counter() - began, **row, "n_active": on})
            progress.set_postfix(objective=row["objective"], violation=row["violation"], refresh=False)
            progress.update()
            if risen == 1 and row["violation"] <= tolerance:
                solution.status, solution.reason, solution.converged = "ok", "the optimality conditions hold", True
                break
            if budget.spent():
                solution.status, solution.reason = "budget", f"the budget was spent after {sweep} sweeps"
                break
            new = point.copy()
            _sweep(new, state.residual, state.gram, penalty.genes, weights)
            momentum, before = (1 + np.sqrt(1 + 4 * momentum**2)) / 2, momentum
            share = kind.type((before - 1) / momentum)
            # Only loadings that are not zero are extrapolated, so zeros stay exact.
            point = np.where(new != 0, new + share * (new - last), 0) if share else new
            last = new
    return solution


def solve_many(
    covariance: np.ndarray,
    problems: Iterable[tuple[np.ndarray, Penalty]],
    lambda0: float,
    *,
    threads: int = 1,
    **limits: Any,
) -> Iterator[Solution]:
    """Yield the solutions of many problems with one covariance, in their order, several at the same time.

    Parameters
    ----------
    problems
        Start and penalty of each (`solve`), for example of permuted gene sets. They are taken as they are needed.
    threads
        How many are solved at the same time, each by one thread.
    limits
        Further parameters of `solve`.
    """
    one = partial(solve, covariance, lambda0=lambda0, quiet=True, **limits)
    with ThreadPoolExecutor(threads) as pool, threadpool_limits(1, user_api="blas"):
        waiting: deque[Future[Solution]] = deque()
        for start, penalty in problems:
            waiting.append(pool.submit(one, start, penalty))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
