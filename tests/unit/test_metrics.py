"""Metrics against scikit-learn, brute force and cases with known answers."""

import json

import numpy as np
import pandas as pd
import pytest
from factorbench import registry
from factorbench.contracts.errors import ContractError
from factorbench.contracts.factors import no_factors
from factorbench.contracts.prepared import prepared_record
from factorbench.contracts.scores import METRIC_COLUMNS, check_scores
from factorbench.metrics import (
    _logistic,
    _questions,
    _rows,
    best_factor,
    reconstruction,
    relevance,
    separation,
    sparsity,
    stability,
)
from factorbench.metrics._questions import questions
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import LeaveOneGroupOut, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.planted import scored
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
    held_out = data.copy()
    held_out.obs["held_out"] = np.arange(data.n_obs) % 5 == 0
    table = scored(name, held_out, factors)
    check_scores(table, METRIC_COLUMNS)
    assert len(table)
    assert set(table["metric"]) <= set(metric.SPEC.measures)
    for measure, (lowest, highest, _) in metric.SPEC.measures.items():
        assert table.loc[table["metric"] == measure, "value"].dropna().between(lowest, highest).all()
    assert not table.duplicated(["metric", "factor", "label", "split"]).any()


@pytest.mark.parametrize("name", registry.names("metric"))
def test_every_metric_takes_a_run_without_factors(name, data, tmp_path):
    none = no_factors(data.n_obs, data.n_vars, "timeout", "killed")
    table = scored(name, data, toy.written(none, data, tmp_path / "f.h5ad"))
    check_scores(table, METRIC_COLUMNS)
    assert not table["factor"].astype(bool).any()


@pytest.mark.parametrize("name", registry.names("metric"))
def test_every_metric_refuses_factors_of_other_cells(name, data, factors):
    with pytest.raises(ContractError, match="same cells"):
        scored(name, data[::-1].copy(), factors)


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
    (cells, labels, y), *others = _questions.questions(data)
    assert not others
    assert labels == ["condition=stimulated"]
    np.testing.assert_array_equal(cells, np.flatnonzero(np.isin(condition.astype(str), ["stimulated", "control"])))
    np.testing.assert_array_equal(y[0], condition[cells] == "stimulated")


def test_a_contrast_without_a_negative_class_is_against_all_other_cells():
    data = toy.prepared(60, labels={"condition": np.array(["stimulated", "control", "other"] * 20)})
    record = prepared_record(data)
    record["contrast"]["negative"] = ""
    data.uns["factorbench"] = json.dumps(record)
    ((cells, _, y),) = _questions.questions(data)
    assert len(cells) == 60
    assert y.sum() == 20


def test_without_a_contrast_every_class_is_asked_for_and_a_single_class_is_not():
    data = toy.prepared(30, contrast=False, labels={"a": np.array(["x", "y", "z"] * 10), "b": np.array(["same"] * 30)})
    assert [labels for _, labels, _ in _questions.questions(data)] == [["a=x", "a=y", "a=z"]]


def test_a_class_rarer_than_the_folds_has_no_cross_validated_accuracy(tmp_path):
    kinds = np.array(["common"] * 40 + ["other"] * 17 + ["rare"] * 3)
    data = toy.prepared(60, contrast=False, labels={"condition": np.repeat(["stimulated"], 60), "cell_type": kinds})
    factors = toy.written(toy.factors(data), data, tmp_path / "f.h5ad")
    table = separation.score(data, factors, PARAMS).query("metric == 'accuracy' and factor == 'A'")
    assert np.isnan(value(table, label="cell_type=rare", split="cv"))
    assert np.isfinite(value(table, label="cell_type=rare", split="train"))
    assert np.isfinite(value(table, label="cell_type=common", split="cv"))


@pytest.fixture(scope="module")
def with_donors(data):
    """The data with five donors of very different size, and cells of none."""
    rng = np.random.default_rng(4)
    donors = data.copy()
    names = rng.choice(["p1", "p2", "p3", "p4", "p5", None], data.n_obs, p=[0.4, 0.2, 0.15, 0.1, 0.05, 0.1])
    donors.obs["person"] = pd.Categorical(names)
    record = prepared_record(data)
    donors.uns["factorbench"] = json.dumps(record | {"donor": "person"})
    return donors


def test_accuracy_on_donors_left_out_equals_scikit_learn(with_donors, factors, separated):
    table = separation.score(with_donors, factors, PARAMS)
    found = table[table["split"] == "donor"].set_index("factor")
    known = with_donors.obs["person"].notna().to_numpy()
    y = (with_donors.obs["condition"] == "stimulated").to_numpy()[known]
    person = with_donors.obs["person"].astype(str).to_numpy()[known]
    for k, (name, on) in enumerate(factors.uns["factors"][["name", "active"]].to_numpy()):
        x = factors.obsm["scores"][known, k].astype(float)[:, None] * on
        right = cross_val_predict(MODEL, x, y, groups=person, cv=LeaveOneGroupOut()) == y
        each = pd.Series(right).groupby(person).mean()
        assert found.loc[name, ["value", "lower", "upper"]].tolist() == pytest.approx(
            [right.mean(), each.min(), each.max()]
        )
        assert found.loc[name, "n"] == known.sum()
    assert set(found["label"]) == {"condition=stimulated"}
    pd.testing.assert_frame_equal(table[table["split"] != "donor"], separated)


def test_what_donors_left_out_cannot_say(with_donors, factors):
    one = with_donors.copy()
    one.obs["person"] = one.obs["person"].cat.set_categories(["p1"])
    assert "donor" not in set(separation.score(one, factors, PARAMS)["split"])
    confounded = with_donors.copy()
    stimulated = confounded.obs["condition"] == "stimulated"
    confounded.obs["person"] = pd.Categorical(np.where(stimulated, "p1", np.where(np.arange(120) % 2, "p2", "p3")))
    found = separation.score(confounded, factors, PARAMS).query("split == 'donor'")
    assert len(found) == 5
    assert found[["value", "lower", "upper"]].isna().all(axis=None)


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


@pytest.mark.parametrize("spread", ["normal", "heavy", "skewed", "zeros"])
def test_nodes_in_place_of_many_cells_change_nothing(spread):
    """Also where a class is nearly separable, so that |b| asks for narrow intervals, and where groups are left out."""
    rng = np.random.default_rng(3)
    drawn = {"normal": rng.normal(size=9000), "heavy": rng.standard_t(2.5, 9000), "skewed": rng.gamma(0.3, size=9000)}
    drawn["zeros"] = np.where(rng.random(9000) < 0.8, 0, drawn["skewed"])
    x = _questions.standardised(drawn[spread])
    y = np.stack([x + rng.normal(size=9000) * noise > 0.4 for noise in (0.003, 0.3, 1, 5, 100)])
    group = rng.integers(0, 3, 9000)
    assert len(_logistic._nodes(x, group, x.std() / 4)[0]) < 1000
    for k, (a, b) in enumerate(zip(*_logistic.fit(x, y, group), strict=True)):
        known = x[group != k - 1]
        ridge = known.var() if k else 1
        error = 1 / (1 + np.exp(-(a[:, None] + b[:, None] * known))) - y[:, group != k - 1]
        np.testing.assert_allclose(error.sum(axis=1), 0, atol=1e-8)
        np.testing.assert_allclose(error @ known + ridge * b, 0, atol=1e-8)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(12, 60))
def test_a_fit_without_a_group_is_the_fit_to_the_others(seed, n):
    rng = np.random.default_rng(seed)
    x = _questions.standardised(np.round(rng.standard_t(2, n), 1))
    y, group = rng.random((2, n)) < 0.3, rng.permutation(np.arange(n) % 3)
    a, b = _logistic.fit(x, y, group)
    for k in range(3):
        rest = group != k
        own = _questions.standardised(x[rest])
        expected = _logistic.fit(own, y[:, rest])
        slope = expected[1] / (x[rest].std() or 1)
        np.testing.assert_allclose(b[k + 1], slope, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(a[k + 1], expected[0] - slope * x[rest].mean(), rtol=1e-6, atol=1e-8)
        lacks = y[:, rest].all(axis=1) | ~y[:, rest].any(axis=1)
        assert np.isnan(a[k + 1]).tolist() == lacks.tolist()


def test_cells_are_told_by_a_threshold_as_by_the_sign_of_the_logit():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=50), rng.random((5, 50)) < 0.5
    a, b = np.array([0.3, -0.3, 1, -1, 0]), np.array([2, -2, 0, 0, 0])
    found = _questions.correct(x, y, a, b)
    np.testing.assert_array_equal(found, (a[:, None] + b[:, None] * x > 0) == y)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(10, 80), folds=st.integers(2, 6), classes=st.integers(1, 5))
def test_folds_are_those_of_scikit_learn(seed, n, folds, classes):
    rng = np.random.default_rng(seed)
    strata = rng.permutation(np.r_[np.repeat(np.arange(classes + 1), folds), rng.integers(0, classes + 1, n)])
    y = strata == np.arange(1, classes + 1)[:, None]
    fold = separation._folds(y, folds, seed % 1000)
    splits = StratifiedKFold(folds, shuffle=True, random_state=seed % 1000).split(strata, strata)
    for k, (_, test) in enumerate(splits):
        np.testing.assert_array_equal(np.flatnonzero(fold == k), test)


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


# ------------------------------------------------------------------------------------------------------- best factor


def test_statistics_of_permuted_labels_equal_scikit_learn():
    rng = np.random.default_rng(2)
    scores = rng.gamma(0.3, size=(80, 4))
    scores[:, 3] = np.round(scores[:, 3])
    y = rng.random(80) < 0.3
    labels = np.stack([scores[:, 0] > np.quantile(scores[:, 0], 1 - y.mean()), *(rng.permutation(y) for _ in range(9))])
    labels[0] = np.argsort(np.argsort(-scores[:, 0])) < y.sum()  # separable
    accuracy, area = best_factor.accuracies(scores, labels), best_factor.aurocs(scores, labels)
    for k, x in enumerate(scores.T):
        for j, labelling in enumerate(labels):
            assert accuracy[k, j] == MODEL.fit(x[:, None], labelling).score(x[:, None], labelling)
            assert area[k, j] == pytest.approx(roc_auc_score(labelling, x), abs=1e-12)


def test_the_best_factor_is_held_against_the_best_of_permuted_labels(data, factors):
    table = best_factor.score(data, factors, {"permutations": 30, "seed": 5})
    y = (data.obs["condition"] == "stimulated").to_numpy()
    active = factors.uns["factors"].query("active").index.astype(int)
    random = np.random.default_rng(5)
    labels = [y, *(random.permutation(y) for _ in range(30))]
    x = factors.obsm["scores"].astype(float)
    best = [max(MODEL.fit(x[:, [k]], p).score(x[:, [k]], p) for k in active) for p in labels]
    strength = [max(abs(roc_auc_score(p, x[:, k]) - 0.5) for k in active) for p in labels]
    for name, null, p, values in (
        ("best_accuracy", "null_accuracy", "p_accuracy", best),
        ("best_auroc", "null_auroc_strength", "p_auroc", strength),
    ):
        row = table[table["metric"] == name].iloc[0]
        assert row["factor"] == "A"
        assert abs(row["value"] - 0.5 * (name == "best_auroc")) == pytest.approx(values[0])
        chance = table[table["metric"] == null].iloc[0]
        assert chance[["lower", "value", "upper"]].tolist() == pytest.approx(
            np.quantile(values[1:], [0.025, 0.5, 0.975])
        )
        assert chance["n"] == 30
        assert value(table, metric=p) == 1 / 31  # a planted effect that no permutation reaches


def test_p_is_uniform_where_there_is_nothing_to_find():
    """200 data sets without an effect: p of the strongest factor is at most 0.05, 0.25, 0.5 about as often."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(120, 6))
    p = []
    for _ in range(200):
        y = rng.permutation(np.arange(120) < 50)
        labels = np.stack([y, *(rng.permutation(y) for _ in range(19))])
        strength = np.abs(best_factor.aurocs(scores, labels) - 0.5).max(axis=0)
        p.append((1 + (strength[1:] >= strength[0]).sum()) / 20)
    for level in (0.05, 0.25, 0.5):
        assert abs(np.mean(np.array(p) <= level) - level) < 4 * np.sqrt(level * (1 - level) / 200)


def test_a_best_factor_as_good_as_guessing_is_no_finding(data, tmp_path):
    """One factor, with the same mean in both classes: the larger class is guessed, as with most permuted labels."""
    found = toy.factors(data)
    y = (data.obs["condition"] == "stimulated").to_numpy()
    noise = np.random.default_rng(0).normal(size=data.n_obs)
    found.scores = np.zeros_like(found.scores)
    found.scores[:, 3] = noise - np.where(y, noise[y].mean(), noise[~y].mean())
    table = scored("best_factor", data, toy.written(found, data, tmp_path / "f.h5ad"))
    assert value(table, metric="best_accuracy") == pytest.approx(max(y.mean(), 1 - y.mean()))
    assert value(table, metric="p_accuracy") > 0.9


def test_there_is_no_best_factor_without_a_contrast_or_a_factor_that_varies(data, tmp_path):
    off = toy.written(toy.factors(data, off=["A", "B", "C", "sparse_1", "dense_1"]), data, tmp_path / "f.h5ad")
    assert scored("best_factor", data, off).empty
    other = toy.prepared(contrast=False)
    assert scored("best_factor", other, toy.written(toy.factors(other), other, tmp_path / "g.h5ad")).empty


# --------------------------------------------------------------------------------------------------------- stability


def test_stability_equals_the_definitions(data, tmp_path):
    """Three seeds; B is off in one of them, C in two."""
    off = [(), ("C",), ("B", "C")]
    runs = [toy.written(toy.factors(data, s, off=o), data, tmp_path / f"{s}.h5ad") for s, o in enumerate(off)]
    table = stability.score(data, runs, {})

    def column(run, name, part):
        return getattr(run, part[0])[part[1]][:, list(run.uns["factors"]["name"]).index(name)].astype(float)

    pairs = [(0, 1), (0, 2), (1, 2)]
    for name, gone in {"A": [], "B": [2], "C": [1, 2]}.items():
        agree = {"score_agreement": [], "loading_agreement": []}
        for i, j in pairs:
            if i in gone and j in gone:
                continue
            one_off = i in gone or j in gone
            x, y = (column(runs[s], name, ("obsm", "scores")) for s in (i, j))
            agree["score_agreement"].append(0 if one_off else abs(stats.pearsonr(x, y).statistic))
            x, y = (column(runs[s], name, ("varm", "loadings")) for s in (i, j))
            agree["loading_agreement"].append(0 if one_off else x @ y / np.sqrt((x @ x) * (y @ y)))
        for metric, values in agree.items():
            row = table[(table["metric"] == metric) & (table["factor"] == name)].iloc[0]
            assert row["value"] == pytest.approx(np.mean(values), abs=1e-6)
            assert row["n"] == len(values)
        assert value(table, metric="on_share", factor=name) == pytest.approx(1 - len(gone) / 3)
    assert value(table, metric="active_agreement") == pytest.approx(np.mean([2 / 3, 1 / 3, 1 / 2]))
    relevance = [run.uns["factors"]["relevance"].to_numpy()[:3] for run in runs]
    expected = np.mean([stats.spearmanr(relevance[i], relevance[j]).statistic for i, j in pairs])
    assert value(table, metric="rank_agreement") == pytest.approx(expected)
    assert set(table["factor"]) == {"A", "B", "C", ""}


def test_the_most_relevant_factors_of_two_seeds():
    a, b = np.array([5, 4, 3, 2, 1.0, 0]), np.array([1, 5, 4, 0, 0, 0.0])
    assert stability.overlap(a, b, 2) == 0.5
    assert stability.overlap(a, b, 10) == 1  # three are on in both
    assert np.isnan(stability.overlap(a, 0 * b, 2))


def test_a_seed_agrees_with_itself_and_one_seed_says_nothing(data, factors):
    table = stability.score(data, [factors, factors], {})
    on = table[~table["factor"].isin(["C"])]
    assert np.allclose(on["value"], 1)
    assert table.loc[table["factor"] == "C", "value"].dropna().tolist() == [0]  # off in both: only on_share speaks
    assert stability.score(data, [factors], {}).empty


def test_a_factor_that_turns_its_sign_is_as_stable(data, factors):
    turned = factors.copy()
    turned.obsm["scores"] = -turned.obsm["scores"]
    table = stability.score(data, [factors, turned], {}).query("metric == 'score_agreement' and factor == 'A'")
    assert table["value"].item() == pytest.approx(1)


def test_the_contrast_is_asked_first_whatever_the_order_of_labels():
    data = toy.prepared()
    record = json.loads(data.uns["factorbench"])
    record["labels"] = {"cell_type": "cell_type", "condition": "condition"}
    data.uns["factorbench"] = json.dumps(record)
    assert next(names for _, names, _ in questions(data)) == ["condition=stimulated"]


def test_donors_are_no_question():
    data = toy.prepared()
    record = json.loads(data.uns["factorbench"])
    data.uns["factorbench"] = json.dumps(record | {"donor": "cell_type"})
    assert [names for _, names, _ in questions(data)] == [["condition=stimulated"]]
