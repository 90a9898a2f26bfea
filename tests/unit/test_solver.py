"""The exact solution of eq. 3: against its definition, generic solvers and its optimality conditions; without cells."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from factorbench.model import solver
from factorbench.model.solver import Penalty, initial_loadings, solve, solve_many, state_at, terms, violation
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from tests.unit.ae_data import BudgetOfChecks

LAMBDA0, LAMBDA1, LAMBDA2, LAMBDA3 = 0.3, 0.2, 0.1, 0.4


def problem(seed=0, n_cells=60, n_genes=14, n_sets=4, n_sparse=1, n_dense=1, dtype=np.float64, strength=1.0):
    """Return centred cells Y with planted factors, S, a mask, R(W) and a start."""
    rng = np.random.default_rng(seed)
    mask = rng.random((n_sets, n_genes)) < 0.4
    mask[:, 0] = True
    Y = rng.normal(size=(n_cells, n_sets)) @ (mask * rng.normal(size=mask.shape)) + 0.5 * rng.normal(
        size=(n_cells, n_genes)
    )
    Y -= Y.mean(axis=0)
    S = (Y.T @ Y / n_cells).astype(dtype)
    others = np.repeat([LAMBDA2, 0.0], [n_sparse, n_dense])[:, None] * np.ones(n_genes)
    genes = strength * np.concatenate([LAMBDA1 * ~mask, others])
    factors = strength * np.full(len(genes), LAMBDA3)
    return SimpleNamespace(
        Y=Y, S=S, mask=mask, penalty=Penalty(genes, factors), start=initial_loadings(mask, n_sparse + n_dense, S)
    )


def penalty_of(W, penalty):
    return float((penalty.genes * np.abs(W)).sum() + (penalty.factors * np.sqrt((W**2).sum(axis=1))).sum())


def eq3(Y, Z, W, penalty):
    """Eq. 3 by loops over the cells."""
    total = sum(((y - W.T @ z) ** 2).sum() + LAMBDA0 * (z**2).sum() for y, z in zip(Y, Z, strict=True))
    return total / len(Y) + penalty_of(W, penalty)


def best_scores(Y, W):
    """The scores of each cell as the solution of a least-squares problem with rows sqrt(lambda0) I appended."""
    stacked = np.concatenate([W.T, np.sqrt(LAMBDA0) * np.eye(len(W))])
    return np.array([np.linalg.lstsq(stacked, np.concatenate([y, np.zeros(len(W))]), rcond=None)[0] for y in Y])


def reduced(W, S):
    """The smooth part of L(W), and its gradient by the derivative of an inverse."""
    A = np.linalg.inv(W @ W.T + LAMBDA0 * np.eye(len(W)))
    P = W.T @ A  # genes x factors
    return np.trace(S) - np.trace(A @ W @ S @ W.T), -2 * A @ W @ S + 2 * (P.T @ S @ P) @ W


def value(W, p):
    return reduced(W, p.S)[0] + penalty_of(W, p.penalty)


# ------------------------------------------------------------------------------------------------------ the objective


@pytest.mark.parametrize("seed", range(4))
def test_the_reduced_objective_is_eq_3_at_the_best_scores(seed):
    p = problem(seed)
    W = np.random.default_rng(seed).normal(size=p.start.shape)
    state = state_at(W, p.S, LAMBDA0)
    Z = best_scores(p.Y, W)
    np.testing.assert_allclose(p.Y @ state.encoder.T, Z, atol=1e-10)
    result = terms(state, float(np.trace(p.S)), LAMBDA0, p.penalty)
    assert result["objective"] == pytest.approx(eq3(p.Y, Z, W, p.penalty), rel=1e-10)
    assert result["scores"] == pytest.approx(LAMBDA0 * (Z**2).sum() / len(Z), rel=1e-10)
    assert result["genes"] + result["factors"] == pytest.approx(penalty_of(W, p.penalty), rel=1e-10)
    np.testing.assert_allclose(-2 * state.residual, reduced(W, p.S)[1], atol=1e-9)


def test_the_gradient_is_that_of_finite_differences():
    p, step = problem(n_genes=5, n_sets=2), 1e-6
    W = np.random.default_rng(0).normal(size=p.start.shape)
    gradient = -2 * state_at(W, p.S, LAMBDA0).residual
    for index in np.ndindex(W.shape):
        moved = [W.copy() for _ in range(2)]
        moved[0][index] += step
        moved[1][index] -= step
        assert gradient[index] == pytest.approx(
            np.subtract(*(reduced(w, p.S)[0] for w in moved)) / (2 * step), abs=1e-5
        )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_no_scores_are_better_than_those_of_the_encoder(seed):
    p = problem(seed, n_cells=12)
    W = np.random.default_rng(seed).normal(size=p.start.shape)
    Z = p.Y @ state_at(W, p.S, LAMBDA0).encoder.T
    other = Z + np.random.default_rng(seed).normal(size=Z.shape) * 10.0 ** -(seed % 4)
    assert eq3(p.Y, other, W, p.penalty) > eq3(p.Y, Z, W, p.penalty)


# ------------------------------------------------------------------------------------------------------------- sweeps


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 4))
def test_a_sweep_never_raises_the_objective(seed, strength):
    p = problem(seed, strength=strength)
    W = np.random.default_rng(seed).normal(size=p.start.shape)
    for _ in range(5):
        state, before = state_at(W, p.S, LAMBDA0), value(W, p)
        solver._sweep(W, state.residual, state.gram, *p.penalty)
        assert value(W, p) <= before + 1e-10
        np.testing.assert_allclose(state.residual, state.cross - state.gram @ W, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_with_extrapolation_no_step_raises_the_objective(seed):
    p = problem(seed)
    curve = [row["objective"] for row in solve(p.S, p.start, p.penalty, LAMBDA0, rise=1).history]
    assert len(curve) > 5
    assert (np.diff(curve) <= 1e-7 * np.trace(p.S)).all()


@pytest.mark.parametrize("seed", range(3))
def test_sweeps_at_fixed_scores_end_where_a_generic_solver_does(seed):
    """The step for W is convex. L-BFGS-B solves it for W = P - N with P, N >= 0, without any proximal operator."""
    p = problem(seed, n_genes=8, n_sets=3)
    state = state_at(np.random.default_rng(seed).normal(size=p.start.shape), p.S, LAMBDA0)
    W, shape, (genes, factors) = np.zeros_like(p.start), p.start.shape, p.penalty

    def at_fixed_scores(W):
        return float(np.trace(W.T @ state.gram @ W) - 2 * (W * state.cross).sum())

    residual = state.cross.copy()
    for _ in range(2000):
        solver._sweep(W, residual, state.gram, genes, factors)

    def smooth(parts):
        positive, negative = parts.reshape(2, *shape)
        V = positive - negative
        norms = np.sqrt((V**2).sum(axis=1) + 1e-14)
        slope = 2 * (state.gram @ V - state.cross) + (factors / norms)[:, None] * V
        total = at_fixed_scores(V) + (genes * (positive + negative)).sum() + factors @ norms
        return total, np.stack([slope + genes, -slope + genes]).ravel()

    start = np.full((2, *shape), 0.1).ravel()
    limits = {"maxiter": 20_000, "maxfun": 200_000, "ftol": 1e-15, "gtol": 1e-9}
    other = optimize.minimize(
        smooth, start, jac=True, bounds=[(0, None)] * start.size, method="L-BFGS-B", options=limits
    )
    assert at_fixed_scores(W) + penalty_of(W, p.penalty) == pytest.approx(other.fun, abs=1e-5)
    np.testing.assert_allclose(W, np.subtract(*other.x.reshape(2, *shape)), atol=5e-3)
    assert (W == 0).any()


# --------------------------------------------------------------------------------------------------------- the solution


def distance_by_definition(W, p):
    """The largest distance of the gradient from the subdifferential of -R: by minimising over the subgradients."""
    gradient = reduced(W, p.S)[1]
    result = []
    for w, g, l1, l2 in zip(W, gradient, *p.penalty, strict=True):
        if not w.any():
            continue  # zero: the gradient is zero, and zero is a subgradient
        signs = [(np.sign(x),) * 2 if x else (-1, 1) for x in w]
        fit = optimize.lsq_linear(np.diag(np.where(l1, l1, 1e-9)), -g - l2 * w / np.linalg.norm(w), bounds=(
            [low - 1e-9 * (low == high) for low, high in signs], [high + 1e-9 * (low == high) for low, high in signs]
        ))  # fmt: skip
        result.append(np.sqrt(2 * fit.cost))
    return max(result, default=0.0)


@pytest.mark.parametrize(("seed", "kinds"), [*itertools.product(range(3), [(1, 1), (0, 0), (2, 0), (0, 2)])])
def test_the_solution_fulfils_the_optimality_conditions(seed, kinds):
    p = problem(seed, n_sparse=kinds[0], n_dense=kinds[1])
    result = solve(p.S, p.start, p.penalty, LAMBDA0, tolerance=1e-7, max_sweeps=20_000)
    W = result.loadings
    assert result.converged
    assert result.status == "ok"
    distance = distance_by_definition(W, p)
    scale = 2 * np.linalg.norm(state_at(W, p.S, LAMBDA0).cross, axis=1).max()
    assert distance <= 1.1e-7 * scale + 1e-7
    assert W.any(axis=1).sum() > 1


@pytest.mark.parametrize("seed", range(3))
def test_the_violation_is_the_distance_from_the_subdifferential(seed):
    p = problem(seed)
    W = np.random.default_rng(seed).normal(size=p.start.shape) * (np.random.default_rng(1).random(p.start.shape) < 0.6)
    W[1] = 0
    measured = violation(W, state_at(W, p.S, LAMBDA0).residual, *p.penalty)
    assert measured == pytest.approx(distance_by_definition(W, p), rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_a_generic_solver_finds_nothing_lower_nearby(seed):
    p = problem(seed, n_genes=10, n_sets=3)
    W = solve(p.S, p.start, p.penalty, LAMBDA0, tolerance=1e-7, max_sweeps=20_000).loadings

    def smoothed(flat):
        w = flat.reshape(W.shape)
        total, gradient = reduced(w, p.S)
        size, norms = np.sqrt(w**2 + 1e-12), np.sqrt((w**2).sum(axis=1) + 1e-12)
        total += (p.penalty.genes * size).sum() + p.penalty.factors @ norms
        return total, (gradient + p.penalty.genes * w / size + (p.penalty.factors / norms)[:, None] * w).ravel()

    other = optimize.minimize(smoothed, W.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 5000})
    assert value(other.x.reshape(W.shape), p) >= value(W, p) - 1e-5


def test_single_precision_ends_at_the_same_value():
    double, single = problem(), problem(dtype=np.float32)
    results = [solve(p.S, p.start, p.penalty, LAMBDA0) for p in (double, single)]
    assert [r.loadings.dtype for r in results] == [np.float64, np.float32]
    assert value(results[1].loadings.astype(float), double) == pytest.approx(
        value(results[0].loadings, double), rel=1e-4
    )
    assert all(r.converged for r in results)


@pytest.mark.parametrize("seed", range(3))
def test_perturbed_starts_end_at_nearly_the_same_value(seed):
    p = problem()
    changed = p.start * (1 + 0.3 * np.random.default_rng(seed).normal(size=p.start.shape))
    values = [value(solve(p.S, start, p.penalty, LAMBDA0).loadings, p) for start in (p.start, changed)]
    assert values[1] == pytest.approx(values[0], rel=0.01)


def test_planted_factors_are_found():
    rng = np.random.default_rng(0)
    mask = np.kron(np.eye(6, dtype=bool), np.ones((1, 10), bool))
    W = mask * rng.uniform(0.5, 1, mask.shape)
    W[4:] = 0  # two gene sets without a programme
    S = W.T @ W + 0.1 * np.eye(60)
    genes = 0.2 * ~mask
    result = solve(S, initial_loadings(mask, 0, S), Penalty(genes, np.full(6, 0.3)), 0.1)
    assert list(result.loadings.any(axis=1)) == [True] * 4 + [False] * 2
    assert not result.loadings[~mask].any()
    assert all(
        np.corrcoef(found[m], true[m])[0, 1] > 0.9 for found, true, m in zip(result.loadings[:4], W, mask, strict=False)
    )


# --------------------------------------------------------------------------------------------------- starts and endings


def test_initial_loadings_are_the_mask_and_principal_axes():
    p = problem(n_sparse=0, n_dense=0)
    start = initial_loadings(p.mask, 3, p.S)
    np.testing.assert_array_equal(start[: len(p.mask)], solver.START * p.mask)
    axes = np.linalg.svd(p.Y, full_matrices=False)[2][:3]
    np.testing.assert_allclose(
        np.abs(start[len(p.mask) :]), solver.START * np.sqrt(p.S.shape[0]) * np.abs(axes), atol=1e-10
    )
    assert (start[len(p.mask) :].max(axis=1) >= -start[len(p.mask) :].min(axis=1)).all()
    more = initial_loadings(p.mask, 20, p.S)
    assert list(more.any(axis=1)) == [True] * (len(p.mask) + 14) + [False] * 6


def test_factors_that_are_off_stay_off_and_a_large_lambda3_switches_all_off():
    p = problem()
    start = p.start.copy()
    start[2] = 0
    result = solve(p.S, start, p.penalty, LAMBDA0)
    assert not result.loadings[2].any()
    assert result.loadings.any()
    off = solve(p.S, p.start, Penalty(p.penalty.genes, 1e3 * p.penalty.factors), LAMBDA0)
    assert not off.loadings.any()
    assert off.converged
    assert off.history[-1]["objective"] == pytest.approx(np.trace(p.S))


def test_constant_genes_only_end_at_zero():
    p = problem()
    result = solve(np.zeros_like(p.S), p.start, p.penalty, LAMBDA0)
    assert result.converged
    assert not result.loadings.any()


@pytest.mark.parametrize(
    ("limits", "status", "reason"),
    [
        ({"max_sweeps": 3}, "max_iterations", "3 sweeps"),
        ({"budget": BudgetOfChecks(4)}, "budget", "after 4 sweeps"),
    ],
)
def test_limits_keep_what_was_reached(limits, status, reason):
    p = problem()
    result = solve(p.S, p.start, p.penalty, LAMBDA0, tolerance=1e-12, **limits)
    assert (result.status, result.converged) == (status, False)
    assert reason in result.reason
    assert value(result.loadings, p) < value(p.start, p)
    np.testing.assert_allclose(result.encoder, state_at(result.loadings, p.S, LAMBDA0).encoder)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_values_that_overflow_count_as_divergence():
    p = problem(dtype=np.float32)
    result = solve(p.S * np.float32(1e38), p.start, p.penalty, LAMBDA0)
    assert (result.status, result.converged) == ("diverged", False)
    np.testing.assert_array_equal(result.loadings, p.start)


# --------------------------------------------------------------------------------------------------------- many at once


@pytest.mark.parametrize("threads", [1, 2])
def test_many_problems_have_the_solutions_of_each(threads):
    p = problem(n_sparse=0, n_dense=0)
    orders = [np.random.default_rng(i).permutation(p.S.shape[0]) for i in range(9)]
    problems = [(p.start[:, order], Penalty(p.penalty.genes[:, order], p.penalty.factors)) for order in orders]
    taken = []
    lazily = (taken.append(i) or problem for i, problem in enumerate(problems))
    results = solve_many(p.S, lazily, LAMBDA0, threads=threads, max_sweeps=7)
    first = next(results)
    assert len(taken) < 9, "all problems were made before the first was solved"
    for (start, penalty), result in zip(problems, [first, *results], strict=True):
        alone = solve(p.S, start, penalty, LAMBDA0, max_sweeps=7)
        np.testing.assert_array_equal(result.loadings, alone.loadings)
