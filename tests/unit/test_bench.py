"""The benchmark: the authors' training is timed but not changed, ours is measured rightly, the machine's rate."""

import time
from functools import partial
from itertools import pairwise

import anndata
import numpy as np
import pandas as pd
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
MEASURED = partial(InterpretableAutoencoder, hidden=[8], epochs=3, min_updates=0)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data():
    return planted(n_cells=130)


@pytest.fixture(scope="module")
def trained(data, one_thread):
    return peer.train_peer(data, seed=4, epochs=EPOCHS)


def centred(data):
    dense = data.X.toarray()
    return dense - dense.mean(axis=0, dtype=np.float64).astype(np.float32)


@pytest.fixture(scope="module")
def unwatched(data, one_thread):
    """The authors' network, trained by their trainer without our code, for one epoch and for all."""
    bare = anndata.AnnData(centred(data), varm={"I": np.asarray(data.varm["mask"]).astype(np.int32)})
    thresholds = {"lambda1": 0.93e-3, "lambda2": 0.43e-3, "lambda3": 0.57e-3}
    networks = []
    for epoch in range(EPOCHS):
        torch.manual_seed(4)
        np.random.seed(4)  # noqa: NPY002
        network = authors.AutoencoderLinearDecoder(*data.varm["mask"].shape, mid_layers_size=400, dropout_rate=0.2)
        authors.train_autoencoder(bare, network, 1e-3, 62, epoch + 1, l2_reg_lambda0=0.1, **thresholds)
        networks.append(network)
    return networks


def test_recording_does_not_change_the_training(trained, unwatched):
    for snapshot, network in zip(trained.snapshots, unwatched, strict=True):
        torch.testing.assert_close(snapshot, dict(network.state_dict()), rtol=0, atol=0)
    assert not trained.training
    torch.testing.assert_close(dict(trained.state_dict()), trained.snapshots[-1], rtol=0, atol=0)
    assert not np.array_equal(trained.loadings(0), trained.loadings())


def test_scores_are_those_of_the_authors_network(trained, unwatched, data):
    expression = torch.from_numpy(centred(data))
    for epoch, network in enumerate(unwatched):
        with torch.no_grad():
            scores, fitted = network(expression)
        np.testing.assert_allclose(trained.scores(data, epoch), scores, atol=1e-5)
        np.testing.assert_allclose(trained.scores(data, epoch) @ trained.loadings(epoch).T, fitted, atol=1e-4)
    # Other cells are centred by the means of the training data.
    np.testing.assert_allclose(trained.scores(data[:7]), trained.scores(data)[:7], atol=1e-5)


def test_seconds_are_those_of_the_training_steps_alone(data, monkeypatch):
    step, nap = 0.02, 0.2

    class Slow(torch.optim.Adam):
        def step(self, closure=None):
            time.sleep(step)
            return super().step(closure)

    def slow(owner, name):
        original = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, **k: (time.sleep(nap), original(*a, **k))[1])

    monkeypatch.setattr(peer, "train_autoencoder", partial(authors.train_autoencoder, optim=Slow))
    slow(peer.WatchedAutoencoder, "state_dict")
    slow(authors.CompositeLinearDecoder, "n_inactive_terms")
    start = time.perf_counter()
    seconds = np.array(peer.train_peer(data, seed=0, epochs=EPOCHS).seconds)
    total = time.perf_counter() - start
    n_steps = 3
    assert (np.diff(seconds, prepend=0) >= n_steps * step).all(), "the steps of every epoch count"
    assert seconds[-1] <= total - EPOCHS * 2 * nap, "snapshots or evaluation count"


def test_the_seed_determines_the_training(trained, data):
    again, other = (peer.train_peer(data, seed=seed, epochs=EPOCHS) for seed in (4, 5))
    assert np.array_equal(again.loadings(), trained.loadings())
    assert not np.array_equal(other.loadings(), trained.loadings())


def test_a_last_batch_of_one_cell_is_refused():
    with pytest.raises(UserError, match=r"125 cells in batches of 62, .* one cell more or less"):
        peer.train_peer(planted(n_cells=125), seed=0)


# -------------------------------------------------------------------------------------------------------- our training


def test_eq_3_of_the_last_snapshot_is_that_of_the_model(data, monkeypatch):
    monkeypatch.setattr(bench, "InterpretableAutoencoder", MEASURED)
    snapshots = bench.ours(data, seed=0)
    model = MEASURED(seed=0).fit(data)
    last = bench.eq3(data, snapshots[-1], model.means)
    assert last == pytest.approx(model.objective(data), rel=1e-4)
    assert len(snapshots) == 3
    assert (np.diff([s.seconds for s in snapshots]) > 0).all()
    first = bench.eq3(data, snapshots[0], model.means)
    assert first["objective"] != pytest.approx(last["objective"], rel=1e-3), "snapshots share their weights"


def test_a_pair_and_the_recipes_are_tabulated_from_the_models_themselves(data, monkeypatch):
    monkeypatch.setattr(bench, "InterpretableAutoencoder", MEASURED)
    monkeypatch.setattr(bench, "INTERFERON", {"FIRST": "SET_0"})
    table = bench.pair(data, 0, EPOCHS)
    model = MEASURED(seed=0).fit(data)
    assert table.loc["eq. 3", "ours"] == pytest.approx(model.objective(data)["objective"], rel=1e-4)
    assert table.loc["active factors", "ours"] == model.factors["active"].sum()
    assert table.loc[bench.TO_FINAL, "theirs"] <= table.loc[bench.WHOLE, "theirs"]
    assert table.loc["lowest eq. 3 after any epoch", "theirs"] <= table.loc["eq. 3", "theirs"]
    held_out = planted(n_cells=130, held_out=True)
    fitted = held_out[~held_out.obs["held_out"]]
    rows = bench.recipes(held_out, [0, 1]).set_index(["recipe", "seed"])
    expected = MEASURED(seed=1, recipe="fast").fit(fitted).objective(fitted)
    assert rows.loc[("fast", 1), "eq. 3"] == pytest.approx(expected["objective"])
    assert rows.loc["authors", "eq. 3"].nunique() == 2


def test_time_to_a_target_is_that_of_the_first_epoch_at_or_below_it():
    curve = pd.Series([9, 5, 4, 6], index=[1.0, 2.0, 3.0, 4.0])
    assert [bench.first_time(curve, target) for target in (5, 4.5, 3)] == [2.0, 3.0, float("inf")]


def test_accuracy_is_one_for_a_score_that_separates_and_the_larger_class_for_a_constant():
    positive = np.random.default_rng(0).random(300) < 0.4
    assert bench.accuracy(1e-3 * positive, positive) == 1
    assert bench.accuracy(np.zeros(300), positive) == pytest.approx(1 - positive.mean())


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


def test_an_alternating_step_evaluates_the_products_that_are_counted(data):
    model = InterpretableAutoencoder(hidden=[8, 8], epochs=1, min_updates=0, batch_size=data.n_obs).fit(data)
    model.network.train()
    updates = Alternating(model.network, model.weights, model.params, n_updates=2)
    expected = rates.alternating_products(data.n_obs, data.n_vars, (8, 8), len(model.names))
    for held, products_of_step in ((0, expected), (1, expected[:-3])):
        updates.held, updates.done = held, 0
        with Products() as products:
            updates.step(torch.from_numpy(centred(data)), None)
        # Gradients may be evaluated transposed, with as many operations.
        assert sorted(2 * np.prod(p[:3]) for p in products.seen) == sorted(p.flops for p in products_of_step)


def test_products_of_layers_are_those_that_torch_evaluates():
    widths = [50, 30, 30, 6, 50]
    layers = [torch.nn.Linear(a, b) for a, b in pairwise(widths)]
    with Products() as products:
        torch.nn.Sequential(*layers)(torch.randn(7, 50)).square().sum().backward()
    assert sorted(rates.linear_products(7, widths)) == sorted(products.seen)


def test_the_seconds_of_a_product_that_takes_5_ms(monkeypatch):
    monkeypatch.setattr(rates, "SECONDS", 0.01)
    monkeypatch.setattr(torch, "mm", lambda left, right, out: time.sleep(5e-3))
    assert 5e-3 < rates.seconds(rates.Product(10, 20, 30)) < 7.5e-3


def test_the_share_of_the_rate_is_the_time_of_all_products_over_that_of_the_training(data, monkeypatch):
    monkeypatch.setattr(bench, "InterpretableAutoencoder", partial(MEASURED, batch_size=65))
    monkeypatch.setattr(rates, "seconds", lambda product: product.flops / 1e9)
    products = rates.alternating_products(65, data.n_vars, [8], 4)
    n_updates = 6  # two in each of three epochs; none of them leaves W unchanged
    flops = n_updates * sum(product.flops for product in products)
    expected = {"training": flops / 2e9, "machine": 1, "share": flops / 1e9 / 2}
    assert bench.share_of_rate(data, seconds=2) == pytest.approx(expected)
