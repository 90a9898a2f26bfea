"""The benchmark: the authors' training is timed but not changed, ours is measured rightly, the machine's rate."""

import time
from functools import partial

import anndata
import numpy as np
import pytest
import torch
from factorbench.contracts.errors import UserError
from factorbench.model import InterpretableAutoencoder
from factorbench.model.training import Alternating
from intercode import linear_decoder as authors
from torch.utils._python_dispatch import TorchDispatchMode

from bench import peer, rates
from bench import run as bench
from tests.planted import planted

pytestmark = pytest.mark.slow

EPOCHS = 2


@pytest.fixture(scope="module")
def data():
    return planted(n_cells=130)


@pytest.fixture(scope="module")
def trace(data):
    return peer.train_peer(data, seed=4, epochs=EPOCHS, threads=1)


def centred(data):
    dense = data.X.toarray()
    return dense - dense.mean(axis=0, dtype=np.float64).astype(np.float32)


def trained_unwatched(data, seed, epochs):
    """Train the authors' network with their trainer and without our code."""
    bare = anndata.AnnData(centred(data), varm={"I": np.asarray(data.varm["mask"]).astype(np.int32)})
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    network = authors.AutoencoderLinearDecoder(*data.varm["mask"].shape, mid_layers_size=400, dropout_rate=0.2)
    authors.train_autoencoder(
        bare, network, 1e-3, 62, epochs, l2_reg_lambda0=0.1, lambda1=0.93e-3, lambda2=0.43e-3, lambda3=0.57e-3
    )
    return network


@pytest.fixture(scope="module")
def unwatched(data):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    networks = [trained_unwatched(data, 4, epochs + 1) for epochs in range(EPOCHS)]
    torch.set_num_threads(threads)
    return networks


def test_recording_does_not_change_the_training(trace, unwatched):
    for snapshot, network in zip(trace.snapshots, unwatched, strict=True):
        state = network.state_dict()
        assert snapshot.keys() == state.keys()
        for name, value in state.items():
            assert torch.equal(snapshot[name], value), name


def test_the_last_snapshot_is_the_trained_network(trace):
    assert not trace.network.training
    for name, value in trace.network.state_dict().items():
        assert torch.equal(trace.snapshots[-1][name], value), name
    assert not np.array_equal(trace.loadings(0), trace.loadings())


def test_scores_are_those_of_the_authors_network(trace, unwatched, data):
    expression = torch.from_numpy(centred(data))
    for epoch, network in enumerate(unwatched):
        with torch.no_grad():
            scores, fitted = network(expression)
        np.testing.assert_allclose(trace.scores(data, epoch), scores, atol=1e-5)
        np.testing.assert_allclose(trace.scores(data, epoch) @ trace.loadings(epoch).T, fitted, atol=1e-4)
    # Other cells are centred by the means of the training data.
    np.testing.assert_allclose(trace.scores(data[:7]), trace.scores(data)[:7], atol=1e-5)


def test_seconds_are_those_of_the_training_steps_alone(data, monkeypatch):
    step, nap = 0.02, 0.2

    class Slow(torch.optim.Adam):
        def step(self, closure=None):
            time.sleep(step)
            return super().step(closure)

    state_dict, inactive = peer.WatchedAutoencoder.state_dict, authors.CompositeLinearDecoder.n_inactive_terms
    trainer = authors.train_autoencoder
    monkeypatch.setattr(peer, "train_autoencoder", lambda *a, **k: trainer(*a, **k, optim=Slow))
    monkeypatch.setattr(
        peer.WatchedAutoencoder, "state_dict", lambda self, *a, **k: (time.sleep(nap), state_dict(self, *a, **k))[1]
    )
    monkeypatch.setattr(
        authors.CompositeLinearDecoder, "n_inactive_terms", lambda self: (time.sleep(nap), inactive(self))[1]
    )
    start = time.perf_counter()
    seconds = np.array(peer.train_peer(data, seed=0, epochs=EPOCHS, threads=1).seconds)
    total = time.perf_counter() - start
    n_steps = 3
    assert (np.diff(seconds, prepend=0) >= n_steps * step).all(), "the steps of every epoch count"
    assert seconds[-1] <= total - EPOCHS * 2 * nap, "snapshots or evaluation count"


def test_the_seed_determines_the_training(trace, data):
    again, other = (peer.train_peer(data, seed=seed, epochs=EPOCHS, threads=1) for seed in (4, 5))
    assert np.array_equal(again.loadings(), trace.loadings())
    assert not np.array_equal(other.loadings(), trace.loadings())


def test_threads_of_torch_are_restored(data):
    before = torch.get_num_threads()
    peer.train_peer(data, seed=0, epochs=1, threads=before + 1)
    assert torch.get_num_threads() == before


def test_a_last_batch_of_one_cell_is_refused_in_one_line():
    with pytest.raises(UserError, match=r"125 cells in batches of 62, .* one cell more or less") as error:
        peer.train_peer(planted(n_cells=125), seed=0)
    assert "\n" not in str(error.value)


# -------------------------------------------------------------------------------------------------------- our training


def test_eq_3_of_the_last_snapshot_is_that_of_the_model(data, monkeypatch):
    quick = partial(InterpretableAutoencoder, hidden=[8], epochs=3, min_updates=0)
    monkeypatch.setattr(bench, "InterpretableAutoencoder", quick)
    snapshots = bench.ours(data, seed=0, threads=1)
    model = quick(seed=0).fit(data)
    last = bench.eq3(data, snapshots[-1], model.means)
    assert last == pytest.approx(model.objective(data), rel=1e-4)
    assert len(snapshots) == 3
    assert (np.diff([s.seconds for s in snapshots]) > 0).all()
    first = bench.eq3(data, snapshots[0], model.means)
    assert first["objective"] != pytest.approx(last["objective"], rel=1e-3), "snapshots share their weights"


def test_time_to_a_target_is_that_of_the_first_epoch_at_or_below_it():
    trace = [bench.Snapshot(seconds, None, None) for seconds in (1.0, 2.0, 3.0, 4.0)]
    assert bench.first_time(trace, [9, 5, 4, 6], 5) == 2.0
    assert bench.first_time(trace, [9, 5, 4, 6], 4.5) == 3.0
    assert bench.first_time(trace, [9, 5, 4, 6], 3) == float("inf")


def test_accuracy_is_one_for_a_score_that_separates_and_the_larger_class_for_a_constant():
    positive = np.random.default_rng(0).random(300) < 0.4
    assert bench.accuracy(1e-3 * positive, positive) == 1
    assert bench.accuracy(np.zeros(300), positive) == pytest.approx(1 - positive.mean())


def test_an_alternating_step_evaluates_the_products_that_are_counted(data):
    model = InterpretableAutoencoder(hidden=[8, 8], epochs=1, min_updates=0, batch_size=data.n_obs).fit(data)
    model.network.train()
    updates = Alternating(model.network, model.weights, model.params, n_updates=2)
    expression = torch.from_numpy(bench.dense_matrix(data.X) - model.means)
    expected = rates.alternating_products(data.n_obs, data.n_vars, (8, 8), len(model.names))
    for held, products_of_step in ((0, expected), (1, expected[:-3])):
        updates.held = held
        updates.done = 0
        with Products() as products:
            updates.step(expression, None)
        # Gradients may be evaluated transposed, with as many operations.
        assert sorted(2 * np.prod(p[:3]) for p in products.seen) == sorted(p.flops for p in products_of_step)


# ------------------------------------------------------------------------------------------------------------- the rate


class Products(TorchDispatchMode):
    """Record every matrix product that torch evaluates: its sizes, and which side is stored transposed."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default):
            left, right = args[-2:]
            sizes = (left.shape[0], left.shape[1], right.shape[1])
            self.seen.append((*sizes, not left.is_contiguous(), not right.is_contiguous()))
        return function(*args, **(kwargs or {}))


def test_products_of_a_step_are_those_that_torch_evaluates():
    B, G, H, K = 7, 50, 30, 6
    layers = [torch.nn.Linear(a, b) for a, b in [(G, H), (H, H), (H, K), (K, G)]]
    with Products() as products:
        torch.nn.Sequential(*layers)(torch.randn(B, G)).square().sum().backward()
    expected = rates.step_products(B, G, (H, H), K)
    assert sorted(product[1:] for product in expected) == sorted(products.seen)
    assert rates.step_flops(B, G, (H, H), K) == 2 * B * (2 * G * H + 3 * H**2 + 3 * H * K + 3 * K * G)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rates_are_operations_per_second_and_times_add_up(dtype, monkeypatch):
    monkeypatch.setattr(rates, "SECONDS", 0.002)
    products = rates.step_products(16, 30, (20, 20), 5)
    measured = rates.matrix_rates(products, threads=1, dtype=dtype)
    assert list(measured) == products
    assert min(measured.values()) > 0
    one, two = products[:2]
    assert rates.seconds_at({one: 3.0, two: 5.0}, [one, two, two]) == one.flops / 3 + 2 * two.flops / 5


def test_the_rate_of_a_product_that_takes_5_ms(monkeypatch):
    monkeypatch.setattr(rates, "SECONDS", 0.01)
    monkeypatch.setattr(torch, "mm", lambda left, right, out: time.sleep(5e-3))
    product = rates.Product("", 10, 20, 30)
    (rate,) = rates.matrix_rates([product], 1, torch.float32).values()
    assert rate == pytest.approx(product.flops / 5e-3, rel=0.5)
    assert rate < product.flops / 5e-3
