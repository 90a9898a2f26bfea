"""Eq. 3 against loops over its definition, and both kinds of updates against their definitions."""

import numpy as np
import pytest
import torch
from factorbench.model.network import Network
from factorbench.model.objective import evaluate, gram_terms, objective, smooth_terms
from factorbench.model.params import check_params
from factorbench.model.prox import penalty_weights
from factorbench.model.training import RISE, EncoderAlone, Together

N_CELLS, N_GENES, N_SETS, N_SPARSE, N_DENSE = 40, 9, 3, 2, 1
N_FACTORS = N_SETS + N_SPARSE + N_DENSE
LAMBDAS = {"lambda0": 0.3, "lambda1": 0.7, "lambda2": 0.4, "lambda3": 0.6}


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(1)
    Y = torch.randn(N_CELLS, N_GENES, generator=generator)
    mask = torch.rand(N_GENES, N_SETS, generator=generator) < 0.4
    params = check_params({**LAMBDAS, "n_sparse": N_SPARSE, "n_dense": N_DENSE})
    return Y - Y.mean(dim=0), mask, penalty_weights(mask, params)


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
    terms = objective(smooth_terms(Y, fitted, Z, LAMBDAS["lambda0"]), network.loadings, weights)
    arrays = [a.detach().numpy() for a in (Y, Z, fitted, network.loadings)]
    assert terms["objective"] == pytest.approx(eq3(*arrays, mask, **LAMBDAS), rel=1e-5)
    assert terms["objective"] == pytest.approx(sum(v for k, v in terms.items() if k != "objective"))


def test_evaluation_does_not_depend_on_the_blocks(problem):
    Y, _, weights = problem
    network, params = make([5])
    whole = evaluate(network, [(Y, None)], weights, params["lambda0"])
    blocks = evaluate(network, [(y, None) for y in Y.split(7)], weights, params["lambda0"])
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
            return objective(smooth, network.loadings, weights)["objective"]

    values = [value()]
    for _ in range(15):
        updates.step(Y, None)
        values.append(value())
    assert (np.diff(values) < 0).all()


def test_the_prox_lowers_both_penalties(problem):
    Y, _, weights = problem
    network, params = make([], learning_rate=0.01)
    before = objective(torch.zeros(2), network.loadings, weights)
    Together(network, weights, params, n_updates=1).step(Y, None)
    after = objective(torch.zeros(2), network.loadings, weights)
    assert after["genes"] < before["genes"]
    assert after["factors"] < before["factors"]


# -------------------------------------------------------------------------------------------------- the encoder alone


@pytest.mark.parametrize("n_covariates", [0, 2])
def test_the_gram_form_has_the_values_and_gradients_of_eq_3(problem, n_covariates):
    """A step of the encoder alone differentiates F of eq. 3, with covariates."""
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
    W = network.loadings.detach()
    terms = gram_terms(target, scores, W, W.T @ W, LAMBDAS["lambda0"])
    np.testing.assert_allclose(terms.detach(), direct.detach(), rtol=1e-10)
    gradients = torch.autograd.grad(terms.sum(), others)
    for gradient, of_direct in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, of_direct, atol=1e-10)


def test_the_encoder_alone_moves_in_one_cycle_of_learning_rates(problem):
    Y, _, weights = problem
    network, params = make([5], optimizer="encoder", init="normal", learning_rate=1e-2)
    W, first = network.loadings.detach().clone(), network.encoder[0].weight.detach().clone()
    n_updates, rates, values = 50, [], []
    updates = EncoderAlone(network, weights, params, n_updates)
    for _ in range(n_updates):
        rates.append(updates.schedule.get_last_lr()[0])
        values.append(updates.step(Y, None).sum().item())
    assert torch.equal(network.loadings, W)
    assert not torch.equal(network.encoder[0].weight, first)
    assert values[-1] < values[0]
    assert np.argmax(rates) == pytest.approx(n_updates * RISE, abs=1)
    assert max(rates) == pytest.approx(1e-2, rel=0.05)
    assert rates[-1] < 1e-4
