"""Eq. 3 against loops over its definition, and the update of eq. 7 against a hand-written one."""

import numpy as np
import pytest
import torch
from factorbench.model.network import Network
from factorbench.model.objective import evaluate, objective, smooth_terms
from factorbench.model.prox import l1_weights
from factorbench.model.settings import check_settings
from factorbench.model.training import make_optimizer, step

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
    settings = check_settings({**LAMBDAS, "optimizer": "sgd", **given})
    return Network(N_GENES, N_FACTORS, hidden, dropout=0.0), settings


def eq3(Y, Z, fitted, W, mask, lambda0, lambda1, lambda2, lambda3):
    """Eqs. 3-6 as they are printed, in loops."""
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
    found = objective(smooth_terms(Y, fitted, Z, LAMBDAS["lambda0"]), network.loadings, weights, LAMBDAS["lambda3"])
    arrays = [a.detach().numpy() for a in (Y, Z, fitted, network.loadings)]
    assert found["objective"] == pytest.approx(eq3(*arrays, mask, **LAMBDAS), rel=1e-5)
    assert found["objective"] == pytest.approx(sum(v for k, v in found.items() if k != "objective"))


def test_evaluation_does_not_depend_on_the_blocks_and_uses_no_batch_statistics(problem):
    Y, _, weights = problem
    network, settings = make([5])
    whole = evaluate(network, [(Y, None)], weights, settings)
    blocks = evaluate(network, [(y, None) for y in Y.split(7)], weights, settings)
    assert blocks == pytest.approx(whole, rel=1e-6)


def test_step_is_eq_7_written_by_hand(problem):
    """A linear encoder, its gradients written out, then the prox of eq. 8 written out."""
    Y, mask, weights = problem
    eta = 0.01
    network, settings = make([], learning_rate=eta)
    A, b, W = (p.detach().double().numpy().copy() for p in (*network.encoder[0].parameters(), network.loadings))
    step(network, make_optimizer(network, "sgd", eta), Y, None, weights, settings)

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

    found = [p.detach().numpy() for p in (*network.encoder[0].parameters(), network.loadings)]
    for new, expected in zip(found, (A - eta * d_scores.T @ y, b - eta * d_scores.sum(axis=0), V), strict=True):
        np.testing.assert_allclose(new, expected, atol=1e-6)


@pytest.mark.parametrize("hidden", [[], [7], [8, 6]])
@pytest.mark.parametrize("seed", range(3))
def test_every_full_batch_step_of_eq_7_lowers_eq_3(problem, hidden, seed):
    Y, _, weights = problem
    eta = 1e-3
    network, settings = make(hidden, seed, learning_rate=eta)
    optimizer = make_optimizer(network, "sgd", eta)

    def value():
        with torch.no_grad():  # in training mode: the function of the weights whose gradient the step takes
            Z, fitted = network.train()(Y)
            smooth = smooth_terms(Y, fitted, Z, settings["lambda0"])
            return objective(smooth, network.loadings, weights, settings["lambda3"])["objective"]

    values = [value()]
    for _ in range(15):
        step(network, optimizer, Y, None, weights, settings)
        values.append(value())
    assert (np.diff(values) < 0).all()


def test_gradient_alone_does_not_lower_eq_3_as_the_prox_does(problem):
    """Without the prox the penalty stays: the test above would fail if the prox were left out or ran uphill."""
    Y, _, weights = problem
    network, settings = make([], learning_rate=0.01)
    before = objective(torch.zeros(2), network.loadings, weights, settings["lambda3"])
    step(network, make_optimizer(network, "sgd", 0.01), Y, None, weights, settings)
    after = objective(torch.zeros(2), network.loadings, weights, settings["lambda3"])
    assert after["genes"] < before["genes"]
    assert after["factors"] < before["factors"]
