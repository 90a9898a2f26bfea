"""Eq. 3 against loops over its definition, and both kinds of updates against steps written out in numpy."""

import numpy as np
import pytest
import torch
from factorbench.model.network import Network
from factorbench.model.objective import evaluate, gram_terms, objective, smooth_terms
from factorbench.model.params import check_params
from factorbench.model.prox import l1_weights
from factorbench.model.training import HOLD, RAMP, RISE, Alternating, Together

N_CELLS, N_GENES, N_SETS, N_SPARSE, N_DENSE = 40, 9, 3, 2, 1
N_FACTORS = N_SETS + N_SPARSE + N_DENSE
LAMBDAS = {"lambda0": 0.3, "lambda1": 0.7, "lambda2": 0.4, "lambda3": 0.6}


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(1)
    Y = torch.randn(N_CELLS, N_GENES, generator=generator)
    mask = torch.rand(N_GENES, N_SETS, generator=generator) < 0.4
    return Y - Y.mean(dim=0), mask, l1_weights(mask, N_SPARSE, N_DENSE, LAMBDAS["lambda1"], LAMBDAS["lambda2"])


def make(hidden, seed=0, **given):
    torch.manual_seed(seed)
    params = check_params({**LAMBDAS, "optimizer": "sgd", **given})
    return Network(N_GENES, N_FACTORS, hidden, dropout=0.0), params


def eq3(Y, Z, fitted, W, mask, lambda0, lambda1, lambda2, lambda3):
    """Eqs. 3-6 as printed, in loops."""
    total = sum(float(((y - f) ** 2).sum()) for y, f in zip(Y, fitted, strict=True)) / len(Y)
    total += lambda0 / len(Y) * sum(float((z**2).sum()) for z in Z)
    for k in range(N_SETS):
        total += lambda1 * sum(abs(float(W[g, k])) for g in range(N_GENES) if not mask[g, k])
    for k in range(N_SETS, N_SETS + N_SPARSE):
        total += lambda2 * sum(abs(float(w)) for w in W[:, k])
    return total + lambda3 * sum(float((W[:, k] ** 2).sum()) ** 0.5 for k in range(N_FACTORS))


def test_objective_is_eq_3(problem):
    Y, mask, weights = problem
    network, _ = make([5])
    Z, fitted = network(Y)
    terms = objective(smooth_terms(Y, fitted, Z, LAMBDAS["lambda0"]), network.loadings, weights, LAMBDAS["lambda3"])
    arrays = [a.detach().numpy() for a in (Y, Z, fitted, network.loadings)]
    assert terms["objective"] == pytest.approx(eq3(*arrays, mask, **LAMBDAS), rel=1e-5)
    assert terms["objective"] == pytest.approx(sum(v for k, v in terms.items() if k != "objective"))


def test_evaluation_does_not_depend_on_the_blocks(problem):
    Y, _, weights = problem
    network, params = make([5])
    whole = evaluate(network, [(Y, None)], weights, params)
    blocks = evaluate(network, [(y, None) for y in Y.split(7)], weights, params)
    assert blocks == pytest.approx(whole, rel=1e-6)


def test_step_of_eq_7_equals_one_written_by_hand(problem):
    """With a linear encoder: its gradients, then the prox of eq. 8."""
    Y, mask, weights = problem
    eta = 0.01
    network, params = make([], learning_rate=eta)
    A, b, W = (p.detach().double().numpy().copy() for p in (*network.encoder[0].parameters(), network.loadings))
    Together(network, weights, params, n_updates=1).step(Y, None)

    y = Y.double().numpy()
    Z = y @ A.T + b
    residual = Z @ W.T - y
    d_scores = 2 / N_CELLS * (residual @ W + LAMBDAS["lambda0"] * Z)
    V = W - eta * 2 / N_CELLS * residual.T @ Z
    for k in range(N_FACTORS):
        if k < N_SETS + N_SPARSE:
            outside = ~mask[:, k].numpy() if k < N_SETS else np.ones(N_GENES, bool)
            threshold = eta * np.where(outside, LAMBDAS["lambda1" if k < N_SETS else "lambda2"], 0)
            V[:, k] = np.sign(V[:, k]) * np.maximum(np.abs(V[:, k]) - threshold, 0)
        V[:, k] *= max(1 - eta * LAMBDAS["lambda3"] / np.linalg.norm(V[:, k]), 0)

    moved = [p.detach().numpy() for p in (*network.encoder[0].parameters(), network.loadings)]
    for new, expected in zip(moved, (A - eta * d_scores.T @ y, b - eta * d_scores.sum(axis=0), V), strict=True):
        np.testing.assert_allclose(new, expected, atol=1e-6)


@pytest.mark.parametrize("hidden", [[], [7], [8, 6]])
@pytest.mark.parametrize("seed", range(3))
def test_every_full_batch_step_of_eq_7_lowers_eq_3(problem, hidden, seed):
    Y, _, weights = problem
    eta = 1e-3
    network, params = make(hidden, seed, learning_rate=eta)
    updates = Together(network, weights, params, n_updates=15)

    def value():
        with torch.no_grad():  # in training mode, because this is the function whose gradient the step uses
            Z, fitted = network.train()(Y)
            smooth = smooth_terms(Y, fitted, Z, params["lambda0"])
            return objective(smooth, network.loadings, weights, params["lambda3"])["objective"]

    values = [value()]
    for _ in range(15):
        updates.step(Y, None)
        values.append(value())
    assert (np.diff(values) < 0).all()


def test_the_prox_lowers_both_penalties(problem):
    Y, _, weights = problem
    network, params = make([], learning_rate=0.01)
    before = objective(torch.zeros(2), network.loadings, weights, params["lambda3"])
    Together(network, weights, params, n_updates=1).step(Y, None)
    after = objective(torch.zeros(2), network.loadings, weights, params["lambda3"])
    assert after["genes"] < before["genes"]
    assert after["factors"] < before["factors"]


# ------------------------------------------------------------------------------------------------- alternating steps


@pytest.mark.parametrize("n_covariates", [0, 2])
def test_the_gram_form_has_the_values_and_gradients_of_eq_3(problem, n_covariates):
    """An alternating step differentiates F of eq. 3, with covariates."""
    Y = problem[0].double()
    torch.manual_seed(0)
    network = Network(N_GENES, N_FACTORS, [5], dropout=0.0, n_covariates=n_covariates).double()
    X = torch.randn(N_CELLS, n_covariates, dtype=torch.double) if n_covariates else None
    scores, fitted = network(Y, X)
    direct = smooth_terms(Y, fitted, scores, LAMBDAS["lambda0"])
    others = [p for p in network.parameters() if p is not network.loadings]
    expected = torch.autograd.grad(direct.sum(), others)
    scores = network.encoder(Y)
    target = Y - network.covariates(X) if n_covariates else Y
    terms = gram_terms(target, scores, network.loadings.detach(), LAMBDAS["lambda0"])
    np.testing.assert_allclose(terms.detach(), direct.detach(), rtol=1e-10)
    gradients = torch.autograd.grad(terms.sum(), others)
    for gradient, of_direct in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, of_direct, atol=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_step_of_the_loadings_equals_one_written_by_hand_and_never_raises_eq_3(problem, seed):
    Y, mask, weights = problem
    network, params = make([5], seed, optimizer="alternating", learning_rate=1e-2)
    updates = Alternating(network, weights, params, n_updates=10)
    Z = torch.randn(N_CELLS, N_FACTORS) * torch.logspace(-1, 1, N_FACTORS)  # scores of very different sizes
    W = 3 * torch.randn(N_GENES, N_FACTORS)
    for _ in range(30):
        new = updates.descend(W, Z, Y, LAMBDAS["lambda3"])
        A, V = (Z.T @ Z / N_CELLS).numpy(), W.numpy().copy()
        for k in range(N_FACTORS):
            step = 1 / (2 * np.abs(A[k]).sum())
            v = W[:, k].numpy() - step * 2 * (W.numpy() @ A[:, k] - (Y.T @ Z[:, k]).numpy() / N_CELLS)
            v = np.sign(v) * np.maximum(np.abs(v) - step * weights[:, k].numpy(), 0)
            V[:, k] = v * max(1 - step * LAMBDAS["lambda3"] / max(np.linalg.norm(v), 1e-30), 0)
        np.testing.assert_allclose(new, V, atol=2e-5)
        before, after = (eq3(Y, Z, Z @ w.T, w, mask, **LAMBDAS) for w in (W, new))
        assert after <= before + 1e-4
        W = new


def test_a_factor_with_scores_of_zero_is_switched_off_and_stays_finite(problem):
    Y, _, weights = problem
    network, params = make([5], optimizer="alternating", learning_rate=1e-2)
    Z = torch.randn(N_CELLS, N_FACTORS)
    Z[:, 2] = 0
    W = Alternating(network, weights, params, 10).descend(network.loadings.detach(), Z, Y, LAMBDAS["lambda3"])
    assert W.isfinite().all()
    assert not W[:, 2].any()
    assert W[:, 0].any()


def test_schedule_holds_the_loadings_raises_lambda3_and_cycles_the_learning_rate(problem):
    Y, _, weights = problem
    network, params = make([5], optimizer="alternating", learning_rate=1e-2)
    n_updates = 50
    updates, seen = Alternating(network, weights, params, n_updates), []
    descend = updates.descend
    updates.descend = lambda *a: seen.append((updates.done, a[3])) or descend(*a)
    start, rates = network.loadings.detach().clone(), []
    for _ in range(n_updates):
        assert torch.equal(network.loadings, start) == (updates.done <= HOLD * n_updates)
        rates.append(updates.schedule.get_last_lr()[0])
        updates.step(Y, None)
    done, strengths = np.array(seen).T
    held, grown = int(HOLD * n_updates), int(RAMP * n_updates)
    np.testing.assert_array_equal(done, range(held, n_updates))
    expected = np.interp(done, [held, RAMP * n_updates], [0, LAMBDAS["lambda3"]])
    np.testing.assert_allclose(strengths, expected, rtol=1e-6)
    assert strengths[grown - held] == LAMBDAS["lambda3"]
    assert np.argmax(rates) == pytest.approx(n_updates * RISE, abs=1)
    assert max(rates) == pytest.approx(1e-2, rel=0.05)
    assert rates[-1] < 1e-4


def test_a_training_of_one_update_moves_the_loadings(problem):
    Y, _, weights = problem
    network, params = make([5], optimizer="alternating", learning_rate=1e-2)
    start = network.loadings.detach().clone()
    Alternating(network, weights, params, n_updates=1).step(Y, None)
    assert not torch.equal(network.loadings, start)
