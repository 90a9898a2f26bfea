"""The estimator on planted data: what it learns, files, what it refuses, how training ends."""

import inspect
import json
import time

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from factorbench import registry
from factorbench.contracts.budget import Budget
from factorbench.contracts.errors import UserError
from factorbench.contracts.factors import read_factors, write_factors
from factorbench.contracts.files import on_disk
from factorbench.methods import interpretable_ae
from factorbench.model import InterpretableAutoencoder, training
from factorbench.model.cells import DenseCells, SparseCells, batch_sizes
from factorbench.model.covariates import encode_covariates, learn_covariates
from factorbench.model.params import PARAMS, RECIPES, check_params
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from tests.unit.ae_data import BudgetOfChecks, planted

QUICK = {"hidden": [16], "epochs": 3, "min_updates": 0, "batch_size": 62}
THOROUGH = {"hidden": [32], "epochs": 20, "min_updates": 0, "batch_size": 62, "lambda3": 2.0}
AUTHORS = {"hidden": [16], "epochs": 3, "min_updates": 0, "recipe": "authors"}


@pytest.fixture(scope="module")
def data():
    return planted()


@pytest.fixture(scope="module")
def thorough(data):
    return InterpretableAutoencoder(**THOROUGH).fit(data)


@pytest.fixture(scope="module")
def quick(data):
    return InterpretableAutoencoder(**QUICK).fit(data)


def correlation(a, b):
    return abs(np.corrcoef(a, b)[0, 1])


# ------------------------------------------------------------------------------------------------------- planted truth


def test_planted_programmes_are_recovered_and_the_other_factors_switched_off(data, thorough):
    table, truth, W = thorough.factors, data.obsm["truth"], thorough.loadings().to_numpy()
    n_on = truth.shape[1]
    norms = np.linalg.norm(W, axis=0)
    assert norms[:n_on].min() > norms[n_on:].max()
    assert min(correlation(*columns) for columns in zip(thorough.transform(data).T, truth.T, strict=False)) > 0.8
    assert list(table["name"]) == list(data.uns["gene_sets"])
    assert table["active"][:n_on].all()
    assert table["active"].sum() <= n_on + 2
    assert not W[:, ~table["active"]].any()


def test_loadings_outside_the_mask_are_exactly_zero(data, thorough):
    outside = thorough.loadings().to_numpy()[~data.varm["mask"]]
    assert (outside == 0).mean() > 0.95
    assert thorough.history["outside_zero"].iloc[-1] == pytest.approx((outside == 0).mean())


def test_a_large_lambda3_switches_all_factors_off(data):
    ae = InterpretableAutoencoder(**THOROUGH | {"epochs": 10, "lambda3": 300.0}).fit(data)
    assert not ae.factors["active"].any()
    assert not ae.loadings().to_numpy().any()


def test_random_initial_loadings_leave_the_entries_outside_the_mask(data):
    params = AUTHORS | {"hidden": [32], "learning_rate": 3e-3, "epochs": 40, "lambda3": 4.0}
    ae = InterpretableAutoencoder(**params).fit(data)
    assert ae.history["outside_zero"].iloc[0] < 0.5
    assert ae.history["outside_zero"].iloc[-1] > 0.9


@pytest.mark.parametrize(
    ("n_sparse", "n_dense", "mask"),
    [(2, 0, "mask"), (0, 2, "mask"), (2, 3, "mask"), (3, 0, None), (0, 4, None), (1, 1, None)],
)
def test_kinds_of_factors_in_any_combination(data, n_sparse, n_dense, mask):
    ae = InterpretableAutoencoder(n_sparse=n_sparse, n_dense=n_dense, **QUICK).fit(data, mask=mask)
    n_sets = data.varm["mask"].shape[1] if mask else 0
    assert list(ae.factors["kind"]) == ["annotated"] * n_sets + ["sparse"] * n_sparse + ["dense"] * n_dense
    assert ae.factors["name"].is_unique
    assert ae.transform(data).shape == (data.n_obs, n_sets + n_sparse + n_dense)
    assert ae.loadings().shape == (data.n_vars, n_sets + n_sparse + n_dense)
    if mask is None:
        assert np.isnan(ae.history["outside_zero"]).all()


def test_sparse_factors_are_sparser_than_dense_ones(data):
    params = THOROUGH | {"n_sparse": 2, "n_dense": 2, "lambda2": 2.0, "epochs": 30, "lambda3": 0.5}
    zeros = (InterpretableAutoencoder(**params).fit(data).loadings() == 0).mean()
    assert zeros[["sparse_1", "sparse_2"]].min() > 0.5
    assert zeros[["dense_1", "dense_2"]].max() < 0.1


# --------------------------------------------------------------------------------------------- the same data and seed


def test_the_seed_determines_everything(data, quick):
    before = torch.random.get_rng_state()
    again = InterpretableAutoencoder(**QUICK).fit(data)
    assert torch.equal(before, torch.random.get_rng_state()), "the caller's generator was changed"
    np.testing.assert_array_equal(again.transform(data), quick.transform(data))
    other = InterpretableAutoencoder(**QUICK, seed=1).fit(data)
    assert not np.array_equal(other.transform(data), quick.transform(data))


@pytest.mark.parametrize("convert", [sparse.csr_matrix, sparse.csc_matrix, lambda X: X.astype(np.float64)])
def test_sparse_dense_and_double_precision_give_the_same(data, quick, convert):
    other = data.copy()
    other.X = convert(data.X)
    ae = InterpretableAutoencoder(**QUICK).fit(other)
    np.testing.assert_array_equal(ae.transform(other), quick.transform(data))
    np.testing.assert_array_equal(ae.reconstruct(other), quick.reconstruct(data))


def test_fit_and_transform_do_not_change_the_data(data):
    X = data.X.copy()
    InterpretableAutoencoder(**QUICK).fit(data).transform(data)
    np.testing.assert_array_equal(data.X, X)


def test_centring_equals_fitting_centred_data(data, quick):
    np.testing.assert_allclose(quick.offset, data.X.mean(axis=0), rtol=1e-5)
    assert not InterpretableAutoencoder(center=False, **QUICK).fit(data).offset.any()
    centred = data.copy()
    centred.X = data.X - quick.means
    other = InterpretableAutoencoder(center=False, **QUICK).fit(centred)
    np.testing.assert_allclose(other.transform(centred), quick.transform(data), atol=1e-5)


def test_reconstruction_and_objective_follow_from_scores_and_loadings(data, quick):
    scores, W = quick.transform(data).astype(np.float64), quick.loadings().to_numpy().astype(np.float64)
    fitted = scores @ W.T + quick.offset
    np.testing.assert_allclose(quick.reconstruct(data), fitted, atol=1e-4)
    terms, lambdas = quick.objective(data), quick.params
    assert terms["reconstruction"] == pytest.approx(((data.X - fitted) ** 2).sum(axis=1).mean(), rel=1e-5)
    assert terms["scores"] == pytest.approx(lambdas["lambda0"] * (scores**2).sum(axis=1).mean(), rel=1e-5)
    assert terms["genes"] == pytest.approx(lambdas["lambda1"] * np.abs(W[~data.varm["mask"]]).sum(), rel=1e-5)
    assert terms["factors"] == pytest.approx(lambdas["lambda3"] * np.linalg.norm(W, axis=0).sum(), rel=1e-5)
    assert terms["objective"] == pytest.approx(sum(v for k, v in terms.items() if k != "objective"))


# ----------------------------------------------------------------------------------------------------------- new cells


def test_scores_of_a_cell_do_not_depend_on_other_cells(data, quick):
    whole = quick.transform(data)
    np.testing.assert_allclose(quick.transform(data[:1]), whole[:1], atol=1e-6)
    np.testing.assert_allclose(quick.transform(data[::-1]), whole[::-1], atol=1e-6)


def test_genes_are_matched_by_name(data, quick):
    shuffled = data[:, np.random.default_rng(0).permutation(data.n_vars)].copy()
    np.testing.assert_array_equal(quick.transform(shuffled), quick.transform(data))
    shuffled.X = sparse.csr_matrix(shuffled.X)
    np.testing.assert_array_equal(quick.transform(shuffled), quick.transform(data))


def test_extra_genes_are_ignored_and_missing_genes_are_at_their_mean(data, quick):
    expected = data.copy()
    expected.X[:, :50] = data.X.mean(axis=0)[:50]
    other = data[:, 20:].copy()
    other.var_names = [f"NEW{i}" if i < 30 else name for i, name in enumerate(other.var_names)]
    np.testing.assert_allclose(quick.transform(other), quick.transform(expected), atol=1e-5)


def test_too_few_genes_are_refused_with_numbers_and_examples(data, quick):
    few = data[:, :60].copy()
    with pytest.raises(UserError, match=r"only 60 of the model's 180 genes .* 50% .*G0060.*min_share"):
        quick.transform(few)
    assert quick.transform(few, min_share=0.3).shape[0] == data.n_obs
    few.var_names = few.var_names.str.lower()
    with pytest.raises(UserError, match=r"only 0 of .*G0000.*g0000"):
        quick.transform(few, min_share=0.1)


# ---------------------------------------------------------------------------------------------------------- covariates


@pytest.fixture(scope="module")
def batched():
    return planted(batch_effect=0.5, seed=1)


@pytest.fixture(scope="module")
def without_covariates(batched):
    return InterpretableAutoencoder(**THOROUGH).fit(batched)


@pytest.mark.parametrize("covariate_hidden", [[], [8, 4]], ids=["linear", "networks"])
def test_covariates_explain_a_planted_batch_effect(batched, without_covariates, covariate_hidden):
    params = THOROUGH | {"covariates": ["batch", "age"], "covariate_hidden": covariate_hidden}
    model = InterpretableAutoencoder(**params).fit(batched)
    batch = batched.obs["batch"] == "b"

    def association(ae):
        """Highest accuracy of a regression of the batch on a factor."""
        columns = ae.transform(batched)[:, ae.factors["active"]].T[:, :, None]
        return max(LogisticRegression().fit(score, batch).score(score, batch) for score in columns)

    assert association(model) < association(without_covariates) - 0.02
    explained = model.explained_by_covariates(batched)
    effect = batched.X[batch].mean(axis=0) - batched.X[~batch].mean(axis=0)
    assert correlation(explained[batch].mean(axis=0) - explained[~batch].mean(axis=0), effect) > 0.9
    assert model.objective(batched)["reconstruction"] < without_covariates.objective(batched)["reconstruction"]
    scores, W = model.transform(batched), model.loadings().to_numpy()
    np.testing.assert_allclose(model.reconstruct(batched), scores @ W.T + explained + model.offset, atol=1e-4)


def test_covariates_of_new_cells(batched, tmp_path):
    model = InterpretableAutoencoder(covariates=["batch", "age"], **QUICK).fit(batched)
    rows = (batched.obs["batch"] == "b").to_numpy()
    half = batched[rows].copy()  # a single category keeps its column
    np.testing.assert_allclose(model.reconstruct(half), model.reconstruct(batched)[rows], atol=1e-5)
    model.save(tmp_path)
    again = InterpretableAutoencoder.load(tmp_path)
    np.testing.assert_array_equal(again.reconstruct(half), model.reconstruct(half))
    half.obs["batch"] = "c"
    with pytest.raises(UserError, match=r"obs\['batch'\]: .* not fitted on c .*knows a, b"):
        model.reconstruct(half)
    with pytest.raises(UserError, match="not fitted on c"):
        model.transform(half)
    del half.obs["batch"]
    with pytest.raises(UserError, match="no column 'batch'"):
        model.reconstruct(half)


def test_categories_become_columns_and_numbers_are_standardised(batched):
    coding = learn_covariates(batched.obs, ["batch", "age"])
    X = encode_covariates(batched.obs.astype({"batch": "category"}), coding)
    np.testing.assert_array_equal(X[:, :2], np.column_stack([batched.obs["batch"] == "a", batched.obs["batch"] == "b"]))
    assert X[:, 2].mean() == pytest.approx(0, abs=1e-5)
    assert X[:, 2].std() == pytest.approx(1, rel=1e-5)
    with pytest.raises(UserError, match=r"obs\['age'\]: the model was fitted on numbers"):
        encode_covariates(batched.obs.assign(age="old"), coding)
    with pytest.raises(UserError, match=r"obs\['age'\]: 1 cells have no"):
        encode_covariates(batched.obs.assign(age=batched.obs["age"].where(batched.obs.index != "cell3")), coding)


# --------------------------------------------------------------------------------------------------------------- files


def test_load_restores_the_model(data, quick, tmp_path):
    quick.save(tmp_path / "model")
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["model.json", "model.safetensors"]
    again = InterpretableAutoencoder.load(tmp_path / "model")
    np.testing.assert_array_equal(again.transform(data), quick.transform(data))
    assert again.objective(data) == quick.objective(data)
    pd.testing.assert_frame_equal(again.loadings(), quick.loadings())
    pd.testing.assert_frame_equal(again.factors, quick.factors)
    pd.testing.assert_frame_equal(again.history, quick.history)
    assert repr(again) == repr(quick)


def test_load_restores_undefined_numbers_of_the_history(data, tmp_path):
    ae = InterpretableAutoencoder(n_dense=2, **QUICK).fit(data, mask=None)
    ae.save(tmp_path)
    pd.testing.assert_frame_equal(InterpretableAutoencoder.load(tmp_path).history, ae.history)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("model.safetensors", truncate, "truncated or damaged"),
        ("model.safetensors", lambda p: p.write_bytes(b""), "truncated or damaged"),
        ("model.safetensors", lambda p: p.unlink(), "not found"),
        ("model.json", truncate, "truncated or damaged"),
        ("model.json", lambda p: p.unlink(), "not found"),
        ("model.json", lambda p: p.write_text("[1]", encoding="utf-8"), "not a saved autoencoder"),
        ("model.json", lambda p: edit(p, format="other"), "not a saved autoencoder"),
        ("model.json", lambda p: edit(p, version=1), "format version 1, .* reads 3; fit again"),
        ("model.json", lambda p: edit(p, genes=["G0000"]), "from two models"),
    ],
)
def test_damaged_models_are_refused_in_one_line(quick, tmp_path, file, damage, message):
    quick.save(tmp_path)
    damage(tmp_path / file)
    with pytest.raises(UserError, match=message) as error:
        InterpretableAutoencoder.load(tmp_path)
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


# --------------------------------------------------------------------------------------------------- how training ends


def test_training_without_early_stopping_ends_as_ok(quick):
    assert (quick.outcome.status, quick.outcome.converged, quick.outcome.epochs) == ("ok", None, 3)
    terms = ["reconstruction", "scores", "genes", "factors", "objective"]
    assert list(quick.history) == ["epoch", "seconds", *terms, "n_active", "outside_zero"]
    assert list(quick.history["epoch"]) == [1, 2, 3]


@pytest.mark.parametrize(
    ("n_cells", "epochs", "min_updates", "expected"), [(13576, 30, 6570, 30), (500, 30, 6570, 730), (500, 30, 0, 30)]
)
def test_small_data_take_more_epochs_for_as_many_updates(n_cells, epochs, min_updates, expected):
    params = {"batch_size": 62, "epochs": epochs, "min_updates": min_updates}
    assert training.n_epochs(n_cells, params) == expected


def test_early_stopping_keeps_the_best_epoch(data):
    params = AUTHORS | {"epochs": 200, "patience": 2, "tolerance": 0.05, "learning_rate": 3e-3}
    ae = InterpretableAutoencoder(**params).fit(data)
    assert (ae.outcome.status, ae.outcome.converged) == ("ok", True)
    assert ae.outcome.epochs < 200
    assert ae.objective(data)["objective"] == pytest.approx(ae.history["evaluated"].min(), rel=1e-6)
    unfinished = InterpretableAutoencoder(**params | {"epochs": 2}).fit(data)
    assert (unfinished.outcome.status, unfinished.outcome.converged) == ("max_iterations", False)


def test_a_spent_budget_stops_training_between_two_updates(data):
    updates = []
    forward = torch.nn.BatchNorm1d.forward
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.BatchNorm1d, "forward", lambda *a: updates.append(a[0].training) or forward(*a))
        ae = InterpretableAutoencoder(**AUTHORS | {"batch_size": 60}).fit(data, budget=BudgetOfChecks(14))
    # 10 updates and a check after the epoch, then 4 updates, the last of which finds the budget spent
    assert sum(updates) == 14
    assert (ae.outcome.status, ae.outcome.epochs, len(ae.history)) == ("budget", 1, 2)
    assert np.isfinite(ae.transform(data)).all()

    began = time.perf_counter()
    ae = InterpretableAutoencoder(hidden=[16], epochs=100_000).fit(data, budget=Budget(0.3))
    assert ae.outcome.status == "budget"
    assert time.perf_counter() - began < 5


def test_divergence_keeps_the_last_finite_weights(data):
    params = AUTHORS | {"hidden": [], "optimizer": "sgd", "learning_rate": 0.3, "epochs": 50}
    ae = InterpretableAutoencoder(**params).fit(data)
    assert ae.outcome.status == "diverged"
    assert ae.outcome.epochs == len(ae.history) - 1
    assert np.isfinite(ae.loadings()).all(axis=None)
    assert all(bool(t.isfinite().all()) for t in ae.network.state_dict().values())


def test_plain_proximal_sgd_learns(data):
    ae = InterpretableAutoencoder(optimizer="sgd", **AUTHORS | {"epochs": 15}).fit(data)
    assert ae.history["objective"].is_monotonic_decreasing


# ------------------------------------------------------------------------------------------------- cells and batches


@pytest.mark.parametrize(
    ("n_cells", "size", "expected"),
    [(9, 4, [3, 3, 3]), (8, 4, [4, 4]), (3, 2, [3]), (2, 9, [2]), (13, 4, [4, 3, 3, 3])],
)
def test_no_batch_is_a_single_cell(n_cells, size, expected):
    assert batch_sizes(n_cells, size) == expected


@given(st.integers(2, 400), st.integers(2, 300))
def test_batches_are_as_equal_as_possible(n_cells, size):
    sizes = batch_sizes(n_cells, size)
    assert sum(sizes) == n_cells
    assert min(sizes) >= 2
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= max(size, 3)


@pytest.fixture(params=["dense", "sparse", "disk"])
def cells(request, tmp_path):
    """1,500 cells x 7 genes. The first gene and the covariate are the number of the cell."""
    n_cells = 1500
    X = np.zeros((n_cells, 7), np.float32)
    X[:, 0], X[:, 3] = np.arange(n_cells), 1
    covariates = torch.arange(n_cells, dtype=torch.float32)[:, None]
    if request.param == "dense":
        yield DenseCells(torch.from_numpy(X - X.mean(axis=0)), covariates), X
        return
    matrix, offset = sparse.csr_matrix(X), X.mean(axis=0)
    if request.param == "sparse":
        yield SparseCells(matrix, offset, covariates, torch.device("cpu")), X
        return
    anndata.AnnData(matrix).write_h5ad(tmp_path / "cells.h5ad")
    with on_disk(tmp_path / "cells.h5ad") as data:
        yield SparseCells(data.X, offset, covariates, torch.device("cpu")), X


@pytest.mark.parametrize("n_blocks", [2, 64])
def test_batches_have_every_cell_once_in_an_order_that_torch_draws(cells, n_blocks, monkeypatch):
    monkeypatch.setattr("factorbench.model.cells.N_BLOCKS", n_blocks)
    cells, X = cells
    orders = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        batches = list(cells.batches(62))
        assert [len(expression) for expression, _ in batches] == batch_sizes(1500, 62)
        number = torch.cat([covariates for _, covariates in batches])[:, 0].long().numpy()
        np.testing.assert_allclose(torch.cat([e for e, _ in batches]), (X - X.mean(axis=0))[number], atol=1e-3)
        assert sorted(number) == list(range(1500))
        orders.append(number)
    assert (orders[0] == orders[1]).all()
    assert (orders[0] != orders[2]).any()
    assert np.median(np.abs(np.diff(orders[0]))) > 100, "neighbours in the data are neighbours in a batch"
    whole = [torch.cat(parts).numpy() for parts in zip(*cells.blocks(), strict=True)]
    np.testing.assert_allclose(whole[0], X - X.mean(axis=0), atol=1e-3)
    np.testing.assert_array_equal(whole[1][:, 0], np.arange(1500))


def test_training_from_disk_is_as_good_as_in_memory_even_if_cells_are_sorted(data, tmp_path, monkeypatch):
    monkeypatch.setattr("factorbench.model.cells.BLOCK", 16)
    ordered = data[np.argsort(data.obsm["truth"][:, 0])].copy()
    ordered.X = sparse.csr_matrix(ordered.X)
    ordered.write_h5ad(tmp_path / "cells.h5ad")
    with_batch = THOROUGH | {"covariates": ["batch"]}
    in_memory = InterpretableAutoencoder(**with_batch).fit(ordered)
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    same = InterpretableAutoencoder(**with_batch).fit(backed)
    backed.file.close()
    with on_disk(tmp_path / "cells.h5ad") as stored:
        ae = InterpretableAutoencoder(**with_batch).fit(stored)
        np.testing.assert_array_equal(same.loadings(), ae.loadings())
        np.testing.assert_allclose(ae.means, in_memory.means, rtol=1e-6)
        scores, terms = ae.transform(stored), ae.objective(stored)
    np.testing.assert_allclose(scores, ae.transform(ordered), atol=1e-5)
    assert terms["objective"] == pytest.approx(in_memory.objective(ordered)["objective"], rel=0.01)


def test_only_small_sparse_data_are_made_dense(data, monkeypatch):
    def cells_of(adata):
        return InterpretableAutoencoder(recipe="authors")._cells(adata.X, None)

    other = data.copy()
    other.X = sparse.csr_matrix(data.X)
    assert isinstance(cells_of(other), DenseCells)
    monkeypatch.setattr("factorbench.model.autoencoder.DENSE_LIMIT", 4 * data.n_obs * data.n_vars - 1)
    assert isinstance(cells_of(other), SparseCells)
    assert isinstance(cells_of(data), DenseCells), "these data are dense already"
    other.X[3, 5] = np.nan
    with pytest.raises(UserError, match=r"NaN or infinite .*cell number 3"):
        InterpretableAutoencoder(**QUICK).fit(other)


def test_data_on_disk_that_are_not_stored_by_cells_are_refused(data, tmp_path):
    other = data.copy()
    other.X = sparse.csc_matrix(data.X)
    other.write_h5ad(tmp_path / "cells.h5ad")
    with on_disk(tmp_path / "cells.h5ad") as stored, pytest.raises(UserError, match="CSR"):
        InterpretableAutoencoder(**QUICK).fit(stored)


@pytest.mark.parametrize(("n_cells", "batch_size"), [(67, 11), (600, 1000)], ids=["remainder of one", "one batch"])
def test_any_batch_size_trains(data, n_cells, batch_size):
    ae = InterpretableAutoencoder(**QUICK | {"batch_size": batch_size}).fit(data[:n_cells])
    assert (ae.outcome.status, ae.outcome.epochs) == ("ok", 3)


# ------------------------------------------------------------------------------------------------------------ mistakes


def change_X(data, value):
    data.X[3, 5] = value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: change_X(d, np.nan), "NaN or infinite .*cell number 3"),
        (lambda d: change_X(d, np.inf), "NaN or infinite"),
        (lambda d: d.uns.update(gene_sets=["A"]), "1 names.*12 columns"),
        (lambda d: d.uns.update(gene_sets=["A"] * 12), "two factors would be called 'A'"),
        (lambda d: d.varm.update(mask=np.full((180, 12), 7)), "true and false"),
        (lambda d: d.varm.pop("mask"), r"varm\['mask'\] and uns\['gene_sets'\]"),
    ],
)
def test_data_that_cannot_be_fitted_are_refused(data, quick, change, message):
    broken = data.copy()
    change(broken)
    with pytest.raises(UserError, match=message) as error:
        InterpretableAutoencoder(**QUICK).fit(broken)
    assert "\n" not in str(error.value)
    if "NaN" in message:
        with pytest.raises(UserError, match=message):
            quick.transform(broken)


def test_a_model_that_is_not_fitted_is_refused():
    ae = InterpretableAutoencoder()
    for use in (ae.loadings, lambda: ae.transform(planted(n_cells=70)), lambda: ae.factors, lambda: ae.save("x")):
        with pytest.raises(UserError, match="not fitted yet"):
            use()
    assert not hasattr(ae, "network")
    with pytest.raises(AttributeError, match="no attribute 'loading'"):
        ae.loading  # noqa: B018


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"lambda_1": 1.0}, "lambda_1: .*did you mean lambda1"),
        ({"lambda1": -1.0}, "lambda1: .*at least 0"),
        ({"lambda3": float("inf")}, "lambda3: .*finite"),
        ({"hidden": [0]}, "hidden: .*above zero"),
        ({"hidden": 400}, "hidden: .*list"),
        ({"covariates": [1]}, "covariates: .*names"),
        ({"optimizer": "lbfgs"}, "optimizer: .*encoder, adam, sgd"),
        ({"encoder": "linear", "epochs": 5}, "epochs: only encoder: network uses it; leave it out .or at 10"),
        ({"encoder": "linear", "recipe": "authors"}, "recipe: only encoder: network"),
        ({"encoder": "linear", "hidden": []}, "hidden: only encoder: network"),
        ({"recipe": "authors", "perturb": 0.1}, "perturb: only the exact solution .init: exact. uses it"),
        ({"lambda0": 0.0}, "lambda0: 0 has no exact solution"),
        ({"lambda0": 0.0, "encoder": "linear"}, "lambda0: 0 has no exact solution"),
        ({"recipe": "slow"}, "recipe: .*fast, authors"),
        ({"epochs": 0}, "epochs: .*at least 1"),
        ({"device": "tpu"}, "device: .*cpu or cuda"),
    ],
)
def test_wrong_parameters_are_refused(params, message):
    with pytest.raises(UserError, match=message):
        InterpretableAutoencoder(**params)


# --------------------------------------------------------------------------------------------------- the exact solution


LINEAR = {"encoder": "linear", "lambda3": 2.0}


@pytest.fixture(scope="module")
def linear(data):
    return InterpretableAutoencoder(**LINEAR, n_sparse=1, n_dense=1).fit(data)


def test_linear_scores_are_those_of_a_ridge_regression(data, linear):
    W, Y = linear.loadings().to_numpy(float), data.X - linear.means
    expected = np.linalg.solve(W.T @ W + linear.params["lambda0"] * np.eye(W.shape[1]), W.T @ Y.T).T
    np.testing.assert_allclose(linear.transform(data), expected, atol=1e-4)
    assert linear.objective(data)["objective"] == pytest.approx(linear.history["objective"].iloc[-1], rel=1e-5)
    assert linear.outcome.converged is True
    assert linear.outcome.epochs == linear.history["epoch"].iloc[-1] > 0
    assert linear.history["seconds"].is_monotonic_increasing


def test_linear_recovers_planted_programmes(data):
    ae, truth = InterpretableAutoencoder(**LINEAR).fit(data), data.obsm["truth"]
    assert list(ae.factors["active"]) == [True] * 4 + [False] * 8
    assert min(correlation(*columns) for columns in zip(ae.transform(data).T, truth.T, strict=False)) > 0.9


def test_only_a_perturbed_start_depends_on_the_seed(data, linear):
    params = LINEAR | {"n_sparse": 1, "n_dense": 1}
    other = InterpretableAutoencoder(**params, seed=7).fit(data)
    np.testing.assert_array_equal(other.loadings(), linear.loadings())
    starts = [InterpretableAutoencoder(**params, seed=seed, perturb=0.3, max_sweeps=1).fit(data) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(starts[0].loadings(), starts[1].loadings())
    assert not np.array_equal(starts[0].loadings(), starts[2].loadings())
    ended = InterpretableAutoencoder(**params, seed=1, perturb=0.3).fit(data)
    assert ended.objective(data)["objective"] == pytest.approx(linear.objective(data)["objective"], rel=0.01)


def test_a_linear_model_is_saved_and_scores_new_cells(data, linear, tmp_path):
    linear.save(tmp_path)
    again = InterpretableAutoencoder.load(tmp_path)
    np.testing.assert_array_equal(again.transform(data[:9]), linear.transform(data[:9]))
    assert again.params == linear.params
    assert repr(again) == "InterpretableAutoencoder(seed=0, encoder='linear', n_sparse=1, n_dense=1, lambda3=2.0)"
    assert again.outcome.converged is True


def test_linear_covariates_are_regressed_out(batched, without_covariates):
    names = ["batch", "age"]
    model = InterpretableAutoencoder(**LINEAR, covariates=names).fit(batched)
    X = encode_covariates(batched.obs, model.coding).astype(float)
    Y = batched.X - batched.X.mean(axis=0)
    effects = np.linalg.lstsq(X, Y, rcond=None)[0]
    np.testing.assert_allclose(model.explained_by_covariates(batched), X @ effects, atol=1e-4)
    rest = batched.copy()
    rest.X = (Y - X @ effects).astype(np.float32)
    alone = InterpretableAutoencoder(**LINEAR, center=False).fit(rest)
    np.testing.assert_allclose(model.loadings(), alone.loadings(), atol=1e-3)
    np.testing.assert_allclose(model.transform(batched), alone.transform(rest), atol=1e-2)
    scores, W = model.transform(batched), model.loadings().to_numpy()
    fitted = scores @ W.T + model.explained_by_covariates(batched) + model.offset
    np.testing.assert_allclose(model.reconstruct(batched), fitted, atol=1e-4)
    assert model.objective(batched)["objective"] == pytest.approx(model.history["objective"].iloc[-1], rel=1e-4)
    new = batched[:5].copy()
    np.testing.assert_allclose(model.transform(new), scores[:5], atol=1e-5)
    new.obs["batch"] = "c"
    with pytest.raises(UserError, match="not fitted on c"):
        model.transform(new)


def test_a_spent_budget_stops_the_exact_solution(data):
    ae = InterpretableAutoencoder(**LINEAR, optimality=1e-12).fit(data, budget=BudgetOfChecks(5))
    assert (ae.outcome.status, ae.outcome.epochs, ae.outcome.converged) == ("budget", 5, False)
    few = InterpretableAutoencoder(**LINEAR, max_sweeps=2).fit(data)
    assert (few.outcome.status, few.outcome.epochs, few.outcome.converged) == ("max_iterations", 2, False)


@pytest.mark.parametrize("group_weights", ["equal", "size"])
def test_weights_of_the_group_lasso_are_in_the_objective(data, group_weights):
    ae = InterpretableAutoencoder(**LINEAR, group_weights=group_weights).fit(data[:, :170].copy())
    sizes = np.sqrt(ae.mask.sum(axis=0)) if group_weights == "size" else np.ones(ae.mask.shape[1])
    norms = np.linalg.norm(ae.loadings(), axis=0)
    expected = 2.0 * (norms * sizes / sizes.mean()).sum()
    assert ae.objective(data[:, :170])["factors"] == pytest.approx(expected, rel=1e-5)
    assert ae.outcome.converged


# ---------------------------------------------------------------------------------------------------------- parameters


def test_the_signature_shows_every_parameter_and_its_default():
    shown = inspect.signature(InterpretableAutoencoder).parameters
    assert list(shown) == ["seed", "device", *PARAMS]
    assert shown["lambda1"].default == 0.93


def test_a_recipe_sets_the_training_parameters_that_are_not_given():
    authors = {"dropout": 0.2, "init": "normal", "optimizer": "adam", "learning_rate": 1e-3, "batch_size": 62}
    params = InterpretableAutoencoder(recipe="authors").params
    assert {key: params[key] for key in authors} == authors
    assert InterpretableAutoencoder().params == InterpretableAutoencoder(recipe="fast").params
    for recipe, values in RECIPES.items():
        assert set(values) == {key for key, param in PARAMS.items() if param.default is None}
        assert check_params({"recipe": recipe, **values}) == check_params({"recipe": recipe})
    mixed = InterpretableAutoencoder(recipe="authors", dropout=0, epochs=7)
    assert (mixed.params["dropout"], mixed.params["epochs"], mixed.params["batch_size"]) == (0, 7, 62)
    assert repr(mixed) == "InterpretableAutoencoder(seed=0, recipe='authors', dropout=0.0, epochs=7)"


def test_objectives_are_ordered_as_expected(data):
    """On planted data, with the paper's lambdas; on real data: docs/performance.md."""
    common = {"hidden": [32], "min_updates": 0}
    exact = InterpretableAutoencoder(encoder="linear").fit(data)
    ours = InterpretableAutoencoder(**common, epochs=20, batch_size=62).fit(data)
    authors = InterpretableAutoencoder(**common, epochs=30, recipe="authors").fit(data)
    np.testing.assert_array_equal(ours.loadings(), exact.loadings())
    values = [ae.objective(data)["objective"] for ae in (exact, ours, authors)]
    assert values == sorted(values)
    new = planted(seed=3)
    assert exact.objective(new)["objective"] < ours.objective(new)["objective"], "no encoder is better with this W"


def test_models_do_not_share_their_defaults():
    InterpretableAutoencoder().params["hidden"].append(1)
    assert InterpretableAutoencoder().params["hidden"] == [400, 400]


# ------------------------------------------------------------------------------------------------------------- methods


@pytest.mark.parametrize("recipe", RECIPES)
def test_resolved_parameters_say_how_the_model_is_trained(recipe):
    params = registry.method_params(interpretable_ae.SPEC.name, {"recipe": recipe, "epochs": 7}, "here")
    assert {key: params[key] for key in RECIPES[recipe]} == RECIPES[recipe] | {"epochs": 7}
    assert params["recipe"] == recipe
    assert None not in params.values()
    assert InterpretableAutoencoder(**params).params == params, "completed parameters are complete"
    with pytest.raises(UserError, match=r"here\.hidden: .*above zero"):
        registry.method_params(interpretable_ae.SPEC.name, {"recipe": recipe, "hidden": [0]}, "here")


def test_the_method_returns_valid_factors(data, tmp_path):
    params = registry.method_params(
        interpretable_ae.SPEC.name, {**QUICK, "n_dense": 2, "covariates": ["batch"]}, "here"
    )
    factors = interpretable_ae.fit(data, params, 0, "cpu", Budget())
    write_factors(tmp_path / "factors.h5ad", factors, data)
    assert read_factors(tmp_path / "factors.h5ad").n_obs == data.n_obs
    assert (factors.status, factors.iterations) == ("ok", 3)
    fitted = factors.scores @ factors.loadings.T + factors.covariates + factors.offset
    np.testing.assert_allclose(fitted, factors.model.reconstruct(data), atol=1e-4)


def test_the_method_refuses_a_single_cell_before_training():
    params = registry.method_params(interpretable_ae.SPEC.name, {}, "here")
    interpretable_ae.check(2, 100, 10, params)
    with pytest.raises(UserError, match="needs two"):
        interpretable_ae.check(1, 100, 10, params)


def test_scores_that_are_not_finite_count_as_divergence(data, monkeypatch):
    monkeypatch.setattr(InterpretableAutoencoder, "transform", lambda self, data: np.full((data.n_obs, 12), np.inf))
    factors = interpretable_ae.fit(data, QUICK, 0, "cpu", Budget())
    assert (factors.status, factors.scores.shape) == ("diverged", (data.n_obs, 0))
