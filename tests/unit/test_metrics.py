"""Metrics against scikit-learn, brute force and cases with known answers."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from factorbench.contracts.factors import Factors
from factorbench.contracts.prepared import prepared_record
from factorbench.metrics import _logistic, best_factor, reconstruction, relevance, separation, sparsity, stability
from factorbench.metrics._questions import correct, questions, standardised
from factorbench.statistics import Z95, wilson
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
MODEL = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-10, solver="newton-cholesky"))


@pytest.fixture(scope="module")
def data():
    return toy.prepared()


@pytest.fixture(scope="module")
def factors(data, tmp_path_factory):
    return toy.written(toy.factors(data, off=["C"]), data, tmp_path_factory.mktemp("run") / "factors.h5ad")


@pytest.fixture(scope="module")
def separated(data, factors):
    return separation.score(data, factors, PARAMS)


def row(table, **where):
    """Return the only row with these values of columns."""
    for column, wanted in where.items():
        table = table[table[column] == wanted]
    assert len(table) == 1
    return table.iloc[0]


def value(table, **where):
    return row(table, **where)["value"]


def with_record(data, **changes):
    """Return a copy of prepared data with changes to its record."""
    changed = data.copy()
    changed.uns["factorbench"] = json.dumps(prepared_record(data) | changes)
    return changed


# --------------------------------------------------------------------------------------------------------- questions


def names_of_questions(data):
    return [names for _, names, _ in questions(data)]


def test_cells_outside_the_contrast_and_cells_without_a_label_are_left_out():
    condition = np.array(["stimulated", "control", "other", None] * 15, object)
    ((cells, names, y),) = questions(toy.prepared(60, labels={"condition": condition}))
    assert names == ["condition=stimulated"]
    np.testing.assert_array_equal(cells, np.flatnonzero(np.isin(condition.astype(str), ["stimulated", "control"])))
    np.testing.assert_array_equal(y[0], condition[cells] == "stimulated")


def test_a_contrast_without_a_negative_class_compares_with_all_other_cells():
    data = toy.prepared(60, labels={"condition": np.array(["stimulated", "control", "other"] * 20)})
    contrast = prepared_record(data)["contrast"] | {"negative": ""}
    ((cells, _, y),) = questions(with_record(data, contrast=contrast))
    assert len(cells) == 60
    assert y.sum() == 20


def test_without_a_contrast_each_class_is_a_question_but_not_a_single_class():
    data = toy.prepared(30, contrast=False, labels={"a": np.array(["x", "y", "z"] * 10), "b": np.array(["same"] * 30)})
    assert names_of_questions(data) == [["a=x", "a=y", "a=z"]]


def test_the_contrast_is_the_first_question_in_any_order_of_labels(data):
    other_order = with_record(data, labels={"cell_type": "cell_type", "condition": "condition"})
    assert names_of_questions(other_order)[0] == ["condition=stimulated"]


def test_donors_are_not_a_question(data):
    assert names_of_questions(with_record(data, donor="cell_type")) == [["condition=stimulated"]]


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


def test_a_factor_that_is_switched_off_counts_as_constant(separated):
    for label, table in separated[separated["factor"] == "C"].groupby("label"):
        baseline = value(separated, metric="baseline", label=label)
        assert value(table, metric="accuracy", split="train") == baseline
        assert value(table, metric="accuracy", split="cv") == baseline
        assert value(table, metric="auroc") == 0.5
        assert value(table, metric="coefficient") == 0


def test_the_planted_factor_separates_best(separated):
    accuracy = separated[(separated["metric"] == "accuracy") & (separated["split"] == "cv")]
    for label, factor in (("condition=stimulated", "A"), ("cell_type=B cells", "B")):
        by_factor = accuracy[accuracy["label"] == label].set_index("factor")["value"]
        assert by_factor.idxmax() == factor
        assert by_factor[factor] > 0.85


def test_a_class_with_fewer_cells_than_folds_has_no_cross_validated_accuracy(tmp_path):
    kinds = np.array(["common"] * 40 + ["other"] * 17 + ["rare"] * 3)
    data = toy.prepared(60, contrast=False, labels={"condition": np.repeat(["stimulated"], 60), "cell_type": kinds})
    factors = toy.written(toy.factors(data), data, tmp_path / "f.h5ad")
    table = separation.score(data, factors, PARAMS).query("metric == 'accuracy' and factor == 'A'")
    assert np.isnan(value(table, label="cell_type=rare", split="cv"))
    assert np.isfinite(value(table, label="cell_type=rare", split="train"))
    assert np.isfinite(value(table, label="cell_type=common", split="cv"))


def test_classes_with_fewer_cells_than_folds_are_spread_over_the_folds_together():
    y = np.repeat(np.arange(5), [20, 3, 4, 3, 0]) == np.arange(1, 5)[:, None]
    fold = separation._folds(y, 5, seed=0)
    assert np.bincount(fold).tolist() == [6] * 5
    assert np.bincount(fold[y.any(axis=0)]).tolist() == [2] * 5
    assert np.bincount(separation._folds(y[:, 20:], 5, seed=0)).tolist() == [2] * 5
    assert separation._folds(y[:, 20:], 11, seed=0) is None


@pytest.fixture(scope="module")
def with_donors(data):
    """The data with five donors of very different size, and cells without a donor."""
    rng = np.random.default_rng(4)
    donors = with_record(data, donor="person")
    names = rng.choice(["p1", "p2", "p3", "p4", "p5", None], data.n_obs, p=[0.4, 0.2, 0.15, 0.1, 0.05, 0.1])
    donors.obs["person"] = pd.Categorical(names)
    return donors


def test_accuracy_on_donors_left_out_equals_scikit_learn(with_donors, factors, separated):
    table = separation.score(with_donors, factors, PARAMS)
    by_donor = table[table["split"] == "donor"].set_index("factor")
    known = with_donors.obs["person"].notna().to_numpy()
    y = (with_donors.obs["condition"] == "stimulated").to_numpy()[known]
    person = with_donors.obs["person"].astype(str).to_numpy()[known]
    for k, (name, on) in enumerate(factors.uns["factors"][["name", "active"]].to_numpy()):
        x = factors.obsm["scores"][known, k].astype(float)[:, None] * on
        right = cross_val_predict(MODEL, x, y, groups=person, cv=LeaveOneGroupOut()) == y
        each = pd.Series(right).groupby(person).mean()
        expected = [right.mean(), each.min(), each.max()]
        assert by_donor.loc[name, ["value", "lower", "upper"]].tolist() == pytest.approx(expected)
        assert by_donor.loc[name, "n"] == known.sum()
    assert set(by_donor["label"]) == {"condition=stimulated"}
    pd.testing.assert_frame_equal(table[table["split"] != "donor"], separated)


def test_accuracy_on_donors_needs_two_donors_and_both_classes_in_the_others(with_donors, factors):
    one = with_donors.copy()
    one.obs["person"] = one.obs["person"].cat.set_categories(["p1"])
    assert "donor" not in set(separation.score(one, factors, PARAMS)["split"])
    confounded = with_donors.copy()
    stimulated = confounded.obs["condition"] == "stimulated"
    confounded.obs["person"] = pd.Categorical(np.where(stimulated, "p1", np.where(np.arange(120) % 2, "p2", "p3")))
    table = separation.score(confounded, factors, PARAMS).query("split == 'donor'")
    assert len(table) == 5
    assert table[["value", "lower", "upper"]].isna().all(axis=None)


def test_the_seed_changes_the_folds_and_nothing_else(data, factors, separated):
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
def test_the_fit_is_where_the_gradient_is_zero_on_many_cells(spread):
    """Also for a class that is almost separable, and without a part of the cells."""
    rng = np.random.default_rng(3)
    drawn = {"normal": rng.normal(size=9000), "heavy": rng.standard_t(2.5, 9000), "skewed": rng.gamma(0.3, size=9000)}
    drawn["zeros"] = np.where(rng.random(9000) < 0.8, 0, drawn["skewed"])
    x = standardised(drawn[spread])
    y = np.stack([x + rng.normal(size=9000) * noise > 0.4 for noise in (0.003, 0.3, 1, 5, 100)])
    left_out = rng.random(9000) < 0.3
    full = _logistic.fit(x, y)
    for (a, b), part in ((full, np.ones(9000, bool)), (_logistic.fit_without(x, y, left_out, full), ~left_out)):
        ridge = 1 if part.all() else x[part].var()
        error = 1 / (1 + np.exp(-(a[:, None] + b[:, None] * x[part]))) - y[:, part]
        np.testing.assert_allclose(error.sum(axis=1), 0, atol=1e-8)
        np.testing.assert_allclose(error @ x[part] + ridge * b, 0, atol=1e-8)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(12, 60))
def test_a_fit_without_some_cells_is_the_fit_to_the_standardised_scores_of_the_others(seed, n):
    rng = np.random.default_rng(seed)
    x = standardised(np.round(rng.standard_t(2, n), 1))
    y, left_out = rng.random((2, n)) < 0.3, rng.random(n) < 0.3
    a, b = _logistic.fit_without(x, y, left_out, start=_logistic.fit(x, y))
    rest, y = x[~left_out], y[:, ~left_out]
    intercept, slope = _logistic.fit(standardised(rest), y)
    slope = slope / (rest.std() or 1)
    np.testing.assert_allclose(b, slope, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(a, intercept - slope * rest.mean(), rtol=1e-6, atol=1e-8)
    assert np.isnan(a).tolist() == (y.all(axis=1) | ~y.any(axis=1)).tolist()


def test_a_cell_is_put_into_the_class_where_its_logit_is_positive():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=50), rng.random((5, 50)) < 0.5
    a, b = np.array([0.3, -0.3, 1, -1, 0]), np.array([2, -2, 0, 0, 0])
    expected = [[(a[k] + b[k] * x[n] > 0) == y[k, n] for n in range(50)] for k in range(5)]
    assert correct(x, y, a, b).tolist() == expected


def test_a_class_of_one_cell_far_from_the_others_is_fitted():
    """Full steps of Newton's method diverge for it."""
    x = standardised(np.append(np.linspace(-1, 1, 20), 10))
    y = x == x.max()
    expected = MODEL.fit(x[:, None], y)[-1]
    a, b = _logistic.fit(x, y[None])
    assert [a.item(), b.item()] == pytest.approx([expected.intercept_.item(), expected.coef_.item()], rel=1e-6)


def test_a_fit_that_does_not_converge_raises():
    with pytest.raises(ArithmeticError, match="2 steps"):
        _logistic.fit(np.linspace(-1, 1, 50), np.linspace(-1, 1, 50)[None] > 0.3, max_steps=2)


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
        assert lower[k] == pytest.approx(max(wins.mean() - Z95 * se, 0), abs=1e-9)
        assert upper[k] == pytest.approx(min(wins.mean() + Z95 * se, 1), abs=1e-9)


@pytest.mark.parametrize(("right", "n"), [(0, 10), (7, 10), (10, 10), (940, 1000)])
def test_wilson_equals_scipy(right, n):
    expected = stats.binomtest(right, n).proportion_ci(method="wilson")
    np.testing.assert_allclose(wilson(right / n, n), (expected.low, expected.high), atol=1e-12)


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


def test_held_out_cells_have_rows_of_their_own(data, factors):
    held_out = data.copy()
    new = np.arange(data.n_obs) % 3 == 0
    held_out.obs["held_out"] = new
    table = reconstruction.score(held_out, factors, {}).set_index(["metric", "split"])["value"]
    whole = reconstruction.score(data, factors, {}).set_index("metric")["value"]
    for split, cells in (("", ~new), ("held_out", new)):
        alone = reconstruction.score(data[cells].copy(), factors[cells].copy(), {}).set_index("metric")["value"]
        for name in ("explained_variance", "residual", "scores_norm"):
            assert table[name, split] == pytest.approx(alone[name])
    assert table["group_norm", ""] == whole["group_norm"]
    assert len(table) == len(whole) + 3


def test_a_perfect_reconstruction_explains_all_variance_also_with_covariates(data, tmp_path):
    x = data.X.toarray().astype(float)
    offset = x.mean(axis=0)
    u, s, v = np.linalg.svd(x - offset, full_matrices=False)
    table = pd.DataFrame({"name": [f"PC{i}" for i in range(12)], "kind": "dense", "active": True})
    by_factors = Factors(u * s, v.T, table, np.zeros((12, 12), bool), offset=offset)
    by_covariates = replace(by_factors, scores=np.zeros_like(u), covariates=(u * s) @ v)
    for name, factors in (("factors", by_factors), ("covariates", by_covariates)):
        scores = reconstruction.score(data, toy.written(factors, data, tmp_path / name), {})
        assert value(scores, metric="explained_variance") == pytest.approx(1, abs=1e-6)


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


def test_the_best_factor_is_compared_with_the_best_factor_for_permuted_labels(data, factors):
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
        observed, chance = row(table, metric=name), row(table, metric=null)
        assert observed["factor"] == "A"
        assert abs(observed["value"] - 0.5 * (name == "best_auroc")) == pytest.approx(values[0])
        quantiles = np.quantile(values[1:], [0.025, 0.5, 0.975])
        assert chance[["lower", "value", "upper"]].tolist() == pytest.approx(quantiles)
        assert chance["n"] == 30
        assert value(table, metric=p) == 1 / 31  # a planted effect that no permutation reaches


def test_p_is_uniform_without_an_effect():
    """In 200 data sets, p of the strongest factor is at most 0.05, 0.25 and 0.5 about that often."""
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


def test_a_best_factor_no_better_than_guessing_has_a_large_p(data, tmp_path):
    """One factor, with the same mean in both classes: the larger class is guessed, as for most permuted labels."""
    guess = toy.factors(data)
    y = (data.obs["condition"] == "stimulated").to_numpy()
    noise = np.random.default_rng(0).normal(size=data.n_obs)
    guess.scores = np.zeros_like(guess.scores)
    guess.scores[:, 3] = noise - np.where(y, noise[y].mean(), noise[~y].mean())
    table = scored("best_factor", data, toy.written(guess, data, tmp_path / "f.h5ad"))
    assert value(table, metric="best_accuracy") == pytest.approx(max(y.mean(), 1 - y.mean()))
    assert value(table, metric="p_accuracy") > 0.9


def test_without_a_contrast_or_a_factor_that_varies_there_is_no_best_factor(data, tmp_path):
    off = toy.written(toy.factors(data, off=["A", "B", "C", "sparse_1", "dense_1"]), data, tmp_path / "f.h5ad")
    assert scored("best_factor", data, off).empty
    other = toy.prepared(contrast=False)
    assert scored("best_factor", other, toy.written(toy.factors(other), other, tmp_path / "g.h5ad")).empty


# --------------------------------------------------------------------------------------------------------- stability


def test_stability_equals_the_definitions(data, tmp_path):
    """B is off in one of three seeds, C in two."""
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
            mean = row(table, metric=metric, factor=name)
            assert mean["value"] == pytest.approx(np.mean(values), abs=1e-6)
            assert mean["n"] == len(values)
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


def test_a_seed_agrees_with_itself_and_one_seed_gives_no_rows(data, factors):
    table = stability.score(data, [factors, factors], {})
    on = table[~table["factor"].isin(["C"])]
    assert np.allclose(on["value"], 1)
    assert table.loc[table["factor"] == "C", "value"].dropna().tolist() == [0]  # off in both: only on_share is defined
    assert stability.score(data, [factors], {}).empty


def test_a_factor_with_the_opposite_sign_is_as_stable(data, factors):
    turned = factors.copy()
    turned.obsm["scores"] = -turned.obsm["scores"]
    table = stability.score(data, [factors, turned], {}).query("metric == 'score_agreement' and factor == 'A'")
    assert table["value"].item() == pytest.approx(1)
