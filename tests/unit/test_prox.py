"""The proximal operators against their variational definition (eq. 8) and against pyproximal."""

import numpy as np
import pyproximal
import pytest
import torch
from factorbench.model.prox import (
    Weights,
    group_penalty,
    group_soft_threshold,
    l1_penalty,
    penalty_weights,
    proximal_operator,
    soft_threshold,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

N_GENES, N_SETS, N_SPARSE, N_DENSE = 6, 3, 2, 2
SHAPE = (N_GENES, N_SETS + N_SPARSE + N_DENSE)
matrices = arrays(np.float64, SHAPE, elements=st.floats(-3, 3, width=32))
masks = arrays(bool, (N_GENES, N_SETS))
lambdas = st.floats(0, 4, width=32)
steps = st.floats(2**-10, 1, width=32)


def weights_of(mask, lambda1, lambda2, lambda3, n_sparse=N_SPARSE, n_dense=N_DENSE, group_weights="equal"):
    params = {"n_sparse": n_sparse, "n_dense": n_dense, "group_weights": group_weights}
    return penalty_weights(
        torch.from_numpy(mask), params | {"lambda1": lambda1, "lambda2": lambda2, "lambda3": lambda3}
    )


def composed(V, mask, lambda1, lambda2, lambda3, step):
    return proximal_operator(torch.from_numpy(V), weights_of(mask, lambda1, lambda2, lambda3), step)


def eq8(L, V, weights, step):
    """The function of L that eq. 8 minimises."""
    return 0.5 * (L - V).square().sum() + step * (l1_penalty(L, weights) + group_penalty(L, weights))


@settings(max_examples=150, deadline=None)
@given(matrices, masks, lambdas, lambdas, lambdas, steps, st.integers(0, 2**31))
def test_no_perturbation_is_better_than_the_prox(V, mask, lambda1, lambda2, lambda3, step, seed):
    weights = Weights(*(part.double() for part in weights_of(mask, lambda1, lambda2, lambda3)))
    best = composed(V, mask, lambda1, lambda2, lambda3, step)
    V = torch.from_numpy(V)
    lowest = eq8(best, V, weights, step)
    rng = np.random.default_rng(seed)
    for scale in (1e-4, 1e-2, 1.0):
        for _ in range(5):
            other = best + scale * torch.from_numpy(rng.normal(size=SHAPE))
            # Strong convexity: the minimiser is better by at least half the squared distance.
            assert eq8(other, V, weights, step) >= lowest + 0.499 * (other - best).square().sum() - 1e-7
    for special in (V, torch.zeros(SHAPE, dtype=V.dtype), best * (torch.arange(SHAPE[1]) % 2)):
        assert eq8(special, V, weights, step) >= lowest - 1e-7


@pytest.mark.parametrize("seed", range(6))
def test_the_composition_is_the_prox_of_the_sum(seed):
    """Dykstra's algorithm computes the prox of the sum from the two parts, without Yu's theorem."""
    rng = np.random.default_rng(seed)
    V, mask, step = rng.normal(size=SHAPE), rng.random((N_GENES, N_SETS)) < 0.4, 0.5
    lambda1, lambda2, lambda3 = rng.uniform(0.3, 2, size=3)
    result = composed(V, mask, lambda1, lambda2, lambda3, step).numpy()

    weights = weights_of(mask, lambda1, lambda2, lambda3).genes.double().numpy()
    l21 = pyproximal.L21(ndim=N_GENES, sigma=lambda3)
    x, p, q = V, 0, 0
    for _ in range(3000):
        y = np.sign(x + p) * np.maximum(np.abs(x + p) - step * weights, 0)
        p = x + p - y
        x = l21.prox((y + q).ravel(), step).reshape(SHAPE)
        q = y + q - x
    np.testing.assert_allclose(result, x, atol=1e-4)
    assert result.any()
    assert not result.all()


@settings(max_examples=50, deadline=None)
@given(matrices, lambdas, steps)
def test_soft_threshold_is_pyproximal_l1(V, sigma, step):
    expected = pyproximal.L1(sigma=sigma).prox(V.ravel(), step).reshape(SHAPE)
    np.testing.assert_allclose(soft_threshold(torch.from_numpy(V), sigma * step), expected, atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(matrices, st.floats(2**-6, 4, width=32), steps)  # at 0 pyproximal divides 0 by 0
def test_group_soft_threshold_is_pyproximal_l21(V, sigma, step):
    operator = pyproximal.L21(ndim=N_GENES, sigma=sigma)
    expected = operator.prox(V.ravel(), step).reshape(SHAPE)
    np.testing.assert_allclose(group_soft_threshold(torch.from_numpy(V), sigma * step), expected, atol=1e-12)
    weights = Weights(torch.zeros(SHAPE), torch.full(SHAPE[1:], sigma, dtype=torch.double))
    np.testing.assert_allclose(group_penalty(torch.from_numpy(V), weights), operator(V.ravel()), rtol=1e-12, atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(matrices, masks, lambdas, lambdas, steps)
def test_each_kind_of_factor_keeps_its_free_entries(V, mask, lambda1, lambda2, step):
    V = V.astype(np.float32)
    result = composed(V, mask, lambda1, lambda2, 0.0, step).numpy()
    annotated, dense = result[:, :N_SETS], result[:, N_SETS + N_SPARSE :]
    np.testing.assert_array_equal(annotated[mask], V[:, :N_SETS][mask])  # bit for bit
    np.testing.assert_array_equal(dense, V[:, N_SETS + N_SPARSE :])
    small = np.abs(V[:, :N_SETS][~mask]) <= np.float32(step) * np.float32(lambda1)
    assert not annotated[~mask][small].any()


def test_weights_by_hand():
    mask = np.array([[True, False], [False, True], [True, False], [True, False], [True, False]])
    outside = [[0, 0.9, 0.4, 0], [0.9, 0, 0.4, 0], *[[0, 0.9, 0.4, 0]] * 3]
    for group_weights, factors in {"equal": [0.6] * 4, "size": [0.8, 0.4, 0.6, 0.6]}.items():
        weights = weights_of(mask, 0.9, 0.4, 0.6, n_sparse=1, n_dense=1, group_weights=group_weights)
        np.testing.assert_allclose(weights.genes, np.float32(outside))
        np.testing.assert_allclose(weights.factors, np.float32(factors), rtol=1e-6)


@pytest.mark.parametrize("group_weights", ["equal", "size"])
def test_weights_without_gene_sets_and_of_empty_sets_are_finite(group_weights):
    for mask in (np.zeros((5, 0), bool), np.zeros((5, 2), bool)):
        weights = weights_of(mask, 0.9, 0.4, 0.6, group_weights=group_weights)
        assert all(bool(part.isfinite().all()) for part in weights)


@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_a_column_of_zeros_stays_zero_and_finite(threshold):
    V = torch.zeros(4, 2)
    V[:, 1] = 0.25  # norm 0.5: exactly at the threshold
    result = group_soft_threshold(V, threshold)
    assert not result[:, 0].any()
    assert bool(result[:, 1].any()) == (threshold < 0.5)


def test_operators_do_not_change_their_argument():
    V = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    before = V.clone()
    soft_threshold(V, 0.3)
    group_soft_threshold(V, 0.3)
    assert torch.equal(V, before)
