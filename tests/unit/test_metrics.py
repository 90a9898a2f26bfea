"""Metrics against scikit-learn, brute force and cases with known answers."""

import json

import numpy as np
import pandas as pd
import pytest
from factorbench import contracts, registry
from factorbench.metrics import _logistic, _rows, reconstruction, relevance, separation, sparsity
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.unit import metric_fixtures as toy

PARAMS = {"folds": 5, "seed": 0}
MODEL = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-10, max_iter=1000))


@pytest.fixture(scope="module")
def data():
    return toy.prepared()


@pytest.fixture(scope="module")
def factors(data, tmp_path_factory):
    return toy.written(toy.factors(data, off=["C"]), data, tmp_path_factory.mktemp("run") / "factors.h5ad")


@pytest.fixture(scope="module")
def separated(data, factors):
    return separation.score(data, factors, PARAMS)


def value(table, **where):
    """The one value of the row that these columns pick."""
    for column, wanted in where.items():
        table = table[table[column] == wanted]
    assert len(table) == 1
    return table["value"].iloc[0]


@pytest.mark.parametrize("name", registry.names("metric"))
def test_every_metric_keeps_the_contract(name, data, factors):
    metric = registry.load("metric", name)
    table = metric.score(data, factors, registry.resolve(metric.SPEC, {}, name))
    contracts.check_scores(table, contracts.METRIC_COLUMNS)
    assert set(table["metric"]) <= set(metric.SPEC.measures)
    for measure, (lowest, highest, _) in metric.SPEC.measures.items():
        assert table.loc[table["metric"] == measure, "value"].dropna().between(lowest, highest).all()
    assert not table.duplicated(["metric", "factor", "label", "split"]).any()


@pytest.mark.parametrize("name", registry.names("metric"))
def test_every_metric_takes_a_run_without_factors(name, data, tmp_path):
    metric = registry.load("metric", name)
    none = contracts.no_factors(data.n_obs, data.n_vars, "timeout", "killed")
    table = metric.score(data, toy.written(none, data, tmp_path / "f.h5ad"), registry.resolve(metric.SPEC, {}, name))
    contracts.check_scores(table, contracts.METRIC_COLUMNS)
    assert not table["factor"].astype(bool).any()


@pytest.mark.parametrize("name", registry.names("metric"))
def test_every_metric_refuses_factors_of_other_cells(name, data, factors):
    metric = registry.load("metric", name)
    with pytest.raises(contracts.ContractError, match="same cells"):
        metric.score(data[::-1].copy(), factors, registry.resolve(metric.SPEC, {}, name))


# -------------------------------------------------------------------------------------------------------- separation


def test_separation_equals_scikit_learn(data, factors, separated):
    active = factors.uns["factors"].query("active")["name"]
    for label in ("condition=stimulated", "cell_type=B cells", "cell_type=NK", "cell_type=T cells"):
        column, cls = label.split("=")
        y = (data.obs[column] == cls).to_numpy()
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
        strata = np.unique(data.obs[column], return_inverse=True)[1] + 1 if column == "cell_type" else y
        splits = list(folds.split(y, strata))
        for name in active:
            x = factors.obsm["scores"][:, list(factors.uns["factors"]["name"]).index(name)].astype(float)
            fitted = MODEL.fit(x[:, None], y)
            at = {"factor": name, "label": label}
            assert value(separated, metric="coefficient", **at) == pytest.approx(fitted[-1].coef_.item(), abs=1e-5)
            assert value(separated, metric="accuracy", split="train", **at) == fitted.score(x[:, None], y)
            predicted = cross_val_predict(MODEL, x[:, None], y, cv=splits)
            assert value(separated, metric="accuracy", split="cv", **at) == (predicted == y).mean()
            assert value(separated, metric="auroc", **at) == pytest.approx(roc_auc_score(y, x), abs=1e-12)
        assert value(separated, metric="baseline", label=label) == max(y.sum(), (~y).sum()) / len(y)


def test_a_factor_that_is_off_says_nothing_whatever_its_scores(separated):
    for label, rows in separated[separated["factor"] == "C"].groupby("label"):
        baseline = value(separated, metric="baseline", label=label)
        assert value(rows, metric="accuracy", split="train") == baseline
        assert value(rows, metric="accuracy", split="cv") == baseline
        assert value(rows, metric="auroc") == 0.5
        assert value(rows, metric="coefficient") == 0


def test_planted_separation_is_found(separated):
    accuracy = separated[(separated["metric"] == "accuracy") & (separated["split"] == "cv")]
    for label, factor in (("condition=stimulated", "A"), ("cell_type=B cells", "B")):
        rows = accuracy[accuracy["label"] == label].set_index("factor")["value"]
        assert rows.idxmax() == factor
        assert rows[factor] > 0.85


def test_cells_outside_the_contrast_and_without_a_label_are_left_out():
    condition = np.array(["stimulated", "control", "other", None] * 15, object)
    data = toy.prepared(60, labels={"condition": condition})
    (cells, labels, y), *others = separation.questions(data)
    assert not others
    assert labels == ["condition=stimulated"]
    np.testing.assert_array_equal(cells, np.flatnonzero(np.isin(condition.astype(str), ["stimulated", "control"])))
    np.testing.assert_array_equal(y[0], condition[cells] == "stimulated")


def test_a_contrast_without_a_negative_class_is_against_all_other_cells():
    data = toy.prepared(60, labels={"condition": np.array(["stimulated", "control", "other"] * 20)})
    record = contracts.prepared_record(data)
    record["contrast"]["negative"] = ""
    data.uns["factorbench"] = json.dumps(record)
    ((cells, _, y),) = separation.questions(data)
    assert len(cells) == 60
    assert y.sum() == 20


def test_without_a_contrast_every_class_is_asked_for_and_a_single_class_is_not():
    data = toy.prepared(30, contrast=False, labels={"a": np.array(["x", "y", "z"] * 10), "b": np.array(["same"] * 30)})
    assert [labels for _, labels, _ in separation.questions(data)] == [["a=x", "a=y", "a=z"]]


def test_a_class_rarer_than_the_folds_has_no_cross_validated_accuracy(tmp_path):
    kinds = np.array(["common"] * 40 + ["other"] * 17 + ["rare"] * 3)
    data = toy.prepared(60, contrast=False, labels={"condition": np.repeat(["stimulated"], 60), "cell_type": kinds})
    factors = toy.written(toy.factors(data), data, tmp_path / "f.h5ad")
    table = separation.score(data, factors, PARAMS).query("metric == 'accuracy' and factor == 'A'")
    assert np.isnan(value(table, label="cell_type=rare", split="cv"))
    assert np.isfinite(value(table, label="cell_type=rare", split="train"))
    assert np.isfinite(value(table, label="cell_type=common", split="cv"))


def test_the_seed_deals_the_folds(data, factors, separated):
    pd.testing.assert_frame_equal(separation.score(data, factors, PARAMS), separated)
    other = separation.score(data, factors, {"folds": 5, "seed": 1})
    cv = (separated["metric"] == "accuracy") & (separated["split"] == "cv")
    assert (other["value"] != separated["value"])[cv].any()
    pd.testing.assert_frame_equal(other[~cv], separated[~cv])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 60), scale=st.floats(1e-3, 1e3), ties=st.booleans())
def test_the_fit_is_where_the_gradient_is_zero(seed, n, scale, ties):
    rng = np.random.default_rng(seed)
    x = rng.standard_t(2, n) * scale
    x = np.round(x) if ties else x
    y = rng.random((3, n)) < 0.5
    y[:, 0], y[:, -1] = True, False
    y[2] = np.arange(n) < (n + 1) // 2  # with x sorted, as below, these classes are separable
    x = np.sort(x)
    a, b = _logistic.fit(x, y, ridge=0.7)
    error = 1 / (1 + np.exp(-np.clip(a[:, None] + b[:, None] * x, -700, 700))) - y
    tolerance = 1e-5 * (1 + np.abs(x).max())
    np.testing.assert_allclose(error.sum(axis=1), 0, atol=tolerance)
    np.testing.assert_allclose(error @ x + 0.7 * b, 0, atol=tolerance)


def test_a_fit_that_cannot_end_says_so():
    with pytest.raises(ArithmeticError, match="2 sweeps"):
        _logistic.fit(np.linspace(-1, 1, 50), np.linspace(-1, 1, 50)[None] > 0.3, max_sweeps=2)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(4, 40), levels=st.integers(1, 30))
def test_auroc_is_the_chance_of_a_higher_score_with_delongs_variance(seed, n, levels):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, levels, n).astype(float)
    y = rng.random((2, n)) < 0.5
    y[:, :2], y[:, 2:4] = True, False
    area, lower, upper = _logistic.auroc(x, y)
    for k in range(2):
        inside, outside = x[y[k]], x[~y[k]]
        wins = (inside[:, None] > outside) + 0.5 * (inside[:, None] == outside)
        se = np.sqrt(wins.mean(axis=1).var(ddof=1) / len(inside) + wins.mean(axis=0).var(ddof=1) / len(outside))
        assert area[k] == pytest.approx(wins.mean())
        assert lower[k] == pytest.approx(max(wins.mean() - _rows.Z95 * se, 0), abs=1e-9)
        assert upper[k] == pytest.approx(min(wins.mean() + _rows.Z95 * se, 1), abs=1e-9)


@pytest.mark.parametrize(("right", "n"), [(0, 10), (7, 10), (10, 10), (940, 1000)])
def test_wilson_equals_scipy(right, n):
    expected = stats.binomtest(right, n).proportion_ci(method="wilson")
    np.testing.assert_allclose(_rows.wilson(right / n, n), (expected.low, expected.high), atol=1e-12)


# ---------------------------------------------------------------------------------------- reconstruction and the rest


def test_reconstruction_equals_the_dense_formulas(data, factors, monkeypatch):
    monkeypatch.setattr(reconstruction, "CHUNK", 7)
    table = reconstruction.score(data, factors, {})
    x, scores, loadings = data.X.toarray().astype(float), factors.obsm["scores"], factors.varm["loadings"]
    rest = x - factors.varm["offset"].ravel() - scores.astype(float) @ loadings.T.astype(float)
    outside = np.abs(loadings[:, :3])[~data.varm["mask"]]
    expected = {
        "explained_variance": 1 - (rest**2).sum() / ((x - x.mean(axis=0)) ** 2).sum(),
        "residual": (rest**2).sum(axis=1).mean(),
        "scores_norm": (scores.astype(float) ** 2).sum(axis=1).mean(),
        "group_norm": np.sqrt((loadings.astype(float) ** 2).sum(axis=0)).sum(),
        "l1_outside": outside.sum(),
        "l1_sparse": np.abs(loadings[:, 3]).sum(),
    }
    assert dict(zip(table["metric"], table["value"], strict=True)) == pytest.approx(expected, rel=1e-6)


def test_a_perfect_reconstruction_explains_everything_also_with_covariates(data, tmp_path):
    x = data.X.toarray().astype(float)
    offset = x.mean(axis=0)
    u, s, v = np.linalg.svd(x - offset, full_matrices=False)
    found = toy.factors(data)
    found.table = pd.DataFrame({"name": [f"PC{i}" for i in range(12)], "kind": "dense", "active": True})
    found.scores, found.loadings, found.mask, found.offset = u * s, v.T, np.zeros((12, 12), bool), offset
    table = reconstruction.score(data, toy.written(found, data, tmp_path / "a.h5ad"), {})
    assert value(table, metric="explained_variance") == pytest.approx(1, abs=1e-6)
    found.covariates = (u * s) @ v
    found.scores = np.zeros_like(u)
    table = reconstruction.score(data, toy.written(found, data, tmp_path / "b.h5ad"), {})
    assert value(table, metric="explained_variance") == pytest.approx(1, abs=1e-6)


def test_a_method_that_does_not_reconstruct_has_no_explained_variance(data, tmp_path):
    factors = toy.written(toy.factors(data, offset=False), data, tmp_path / "f.h5ad")
    table = reconstruction.score(data, factors, {})
    assert np.isnan(value(table, metric="explained_variance"))
    assert "residual" not in set(table["metric"])


def test_sparsity_by_counting(data, factors):
    table = sparsity.score(data, factors, {})
    mask, loadings = factors.varm["mask"], factors.varm["loadings"]
    assert value(table, metric="active_factors") == 4
    assert value(table, metric="active_share") == 0.8
    for metric, columns in (("off_mask_zeros", [0, 1]), ("off_mask_zeros_all", [0, 1, 2])):
        entries = [loadings[g, k] == 0 for k in columns for g in range(12) if not mask[g, k]]
        assert value(table, metric=metric) == np.mean(entries)
    for k, name in enumerate("ABC"):
        added = sum(loadings[g, k] != 0 and not mask[g, k] for g in range(12))
        dropped = sum(loadings[g, k] == 0 and mask[g, k] for g in range(12))
        assert value(table, metric="genes_added", factor=name) == added
        assert value(table, metric="genes_dropped", factor=name) == dropped
    assert value(table, metric="genes_dropped", factor="C") == mask[:, 2].sum()


def test_relevance_ranks_factors_that_are_off_last(data, factors):
    table = relevance.score(data, factors, {}).set_index(["metric", "factor"])
    norms = pd.Series(np.linalg.norm(factors.varm["loadings"], axis=0), factors.uns["factors"]["name"].to_numpy())
    np.testing.assert_allclose(table.loc["relevance", "value"][norms.index], norms, rtol=1e-6)
    assert table.loc["rank", "value"].sort_values().index.tolist() == norms.sort_values(ascending=False).index.tolist()
    assert table.loc[("rank", "C"), "value"] == 5
    assert table.loc["rank", "label"].to_dict() == {
        **dict.fromkeys("ABC", "kind=annotated"), "sparse_1": "kind=sparse", "dense_1": "kind=dense"
    }  # fmt: skip
