"""Planted truth: in_set, difference and recovery against definitions, the oracle, and the shape of simulated data."""

import json
import re

import anndata
import numpy as np
import pandas as pd
import pytest
from factorbench import registry
from factorbench.contracts.budget import Budget
from factorbench.contracts.errors import ContractError, UserError
from factorbench.contracts.factors import Factors, read_factors, write_factors
from factorbench.contracts.prepared import TRUE_MASK
from factorbench.contracts.truth import read_truth, without_truth
from factorbench.data import altered_sets
from factorbench.data.readers import _template, simulated
from scipy import sparse, stats

from tests.planted import planted, scored


@pytest.fixture
def written(tmp_path):
    """A function that writes factors and reads them back."""

    def write(data, factors):
        write_factors(tmp_path / "f.h5ad", factors, data)
        return read_factors(tmp_path / "f.h5ad")

    return write


def factors_of(use, data, **params):
    method = registry.load("method", use)
    return method.fit(data, registry.method_params(use, params, use), 0, "cpu", Budget())


def values(table, metric):
    rows = table[table["metric"] == metric]
    return dict(zip(rows["factor"], rows["value"], strict=True))


# -------------------------------------------------------------------------------------------------------------- in_set


def test_the_share_in_the_set_is_that_of_squared_loadings(written):
    data = planted()
    mask = data.varm["mask"]
    loadings = np.where(mask, 1.0, 0.0)
    loadings[:, 1] = np.where(mask[:, 1], 0, 2.0)  # all outside
    loadings[:, 2] = 0
    loadings[np.flatnonzero(~mask[:, 3])[0], 3] = 3.0
    table = pd.DataFrame({"name": data.uns["gene_sets"], "kind": "annotated", "active": loadings.any(axis=0)})
    factors = Factors(scores=data.X @ loadings, loadings=loadings, table=table, mask=mask)
    share = values(scored("in_set", data, written(data, factors)), "in_set_share")
    n = mask[:, 3].sum()
    assert share["SET_0"] == 1
    assert share["SET_1"] == 0
    assert np.isnan(share["SET_2"])
    assert share["SET_3"] == pytest.approx(n / (n + 9))


def test_scores_of_the_set_alone_are_the_ridge_regression_on_its_loadings(written):
    data = planted(n_genes=80)
    factors = factors_of("interpretable_ae", data, encoder="linear", lambda1=0.05)
    W = np.asarray(factors.loadings, float)
    assert (W[~data.varm["mask"]] != 0).any()
    inside, Y = np.where(data.varm["mask"], W, 0), data.X.toarray() - data.X.toarray().mean(axis=0)
    expected = Y @ inside @ np.linalg.inv(inside.T @ inside + 0.1 * np.eye(W.shape[1]))
    np.testing.assert_allclose(factors.own_scores, expected, atol=1e-3)
    table = scored("in_set", data, written(data, factors))
    assert set(table["metric"]) == {"in_set_share", "in_set_accuracy", "in_set_auroc"}
    assert factors_of("interpretable_ae", data, epochs=1).own_scores is None


# ---------------------------------------------------------------------------------------------------------- difference


def test_donors_are_compared_as_a_paired_test_of_their_means(written):
    data = planted(donors=True)
    factors = written(data, factors_of("gene_set_mean", data))
    table = scored("difference", data, factors)
    scores = np.asarray(factors.obsm["scores"], float) / np.asarray(factors.obsm["scores"], float).std(axis=0)
    stimulated, donor = (data.obs["condition"] == "b").to_numpy(), data.obs["donor"].astype(object).to_numpy()
    mean = [[scores[(donor == d) & (stimulated == s)].mean(axis=0) for d in ("d1", "d2", "d3")] for s in (True, False)]
    p = table[(table["metric"] == "p_difference") & (table["split"] == "donor")]
    np.testing.assert_allclose(p["value"], stats.ttest_rel(*mean).pvalue, rtol=1e-6)
    assert set(p["n"]) == {3}
    cell = table[(table["metric"] == "p_difference") & (table["split"] == "cell")]["value"]
    expected = stats.ttest_ind(scores[stimulated], scores[~stimulated], equal_var=False).pvalue
    np.testing.assert_allclose(cell, expected, rtol=1e-5)


def test_donors_of_one_condition_each_are_compared_by_welch(written):
    data = planted(donors=True)
    condition = np.where(data.obs["condition"] == "b", "b", "a")
    data.obs["donor"] = pd.Categorical([f"{c}{i % 2}" for i, c in enumerate(condition)])
    factors = written(data, factors_of("gene_set_mean", data))
    table = scored("difference", data, factors)
    scores = pd.DataFrame(np.asarray(factors.obsm["scores"], float))
    mean = (scores / scores.std(ddof=0)).groupby(data.obs["donor"].to_numpy()).mean()
    p = table[(table["metric"] == "p_difference") & (table["split"] == "donor")]
    expected = stats.ttest_ind(mean.loc[["b0", "b1"]], mean.loc[["a0", "a1"]], equal_var=False).pvalue
    np.testing.assert_allclose(p["value"], expected, rtol=1e-6)
    assert set(p["n"]) == {4}


# ------------------------------------------------------------------------------------------------------------ recovery


def test_the_oracle_wins_and_shuffled_activities_are_chance(written):
    data = planted()
    oracle = written(data, factors_of("oracle", data))
    table = scored("recovery", data, oracle)
    for measure in ("activity_correlation", "matched_correlation", "matched_by_name", "aupr", "precision", "recall"):
        assert list(values(table, measure).values()) == pytest.approx([1, 1], abs=1e-6), measure
    assert values(table, "decoy_auroc")[""] == values(table, "decoys_off")[""] == 1
    order = np.random.default_rng(0).permutation(data.n_obs)
    data.obsm["activity"] = data.obsm["activity"][order]
    shuffled = values(scored("recovery", data, oracle), "activity_correlation")
    assert max(map(abs, shuffled.values())) < 4 / np.sqrt(data.n_obs)


def test_exchanged_names_of_the_truth_are_noticed(written):
    data = planted()
    oracle = written(data, factors_of("oracle", data))
    programmes = json.loads(data.uns["truth"])
    programmes[0]["name"], programmes[1]["name"] = "SET_1", "SET_0"
    data.uns["truth"] = json.dumps(programmes)
    table = scored("recovery", data, oracle)
    assert list(values(table, "matched_by_name").values()) == [0, 0]
    assert list(values(table, "matched_correlation").values()) == pytest.approx([1, 1], abs=1e-6)
    assert max(values(table, "activity_correlation").values()) < 0.5


def test_the_direction_of_a_programme_counts(written):
    data = planted()
    data.varm["weights"] = -data.varm["weights"]
    factors = factors_of("gene_set_mean", data)
    table = scored("recovery", data, written(data, factors))
    assert values(table, "activity_correlation")["SET_0"] < -0.5


def test_copied_gene_sets_have_what_they_were_given_and_restore_nothing(written):
    data = planted(n_genes=200)
    data = without_truth(data)
    true = data.varm["mask"]
    data.varm["mask"], data.varm[TRUE_MASK] = altered_sets.corrupt(true, 0.25, 0.5, 0), true
    table = scored("recovery", data, written(data, factors_of("gene_set_mean", data)))
    for k, name in enumerate(data.uns["gene_sets"]):
        kept, given = (true & data.varm["mask"])[:, k].sum(), data.varm["mask"][:, k]
        assert values(table, "recall")[name] == pytest.approx(kept / true[:, k].sum())
        assert values(table, "precision")[name] == pytest.approx(kept / given.sum())
        missing = (true[:, k] & ~given).sum() / (~given).sum()
        assert values(table, "aupr_missing")[name] == pytest.approx(missing)  # that of a guess
        assert values(table, "auroc_added")[name] == 0.5
        assert values(table, "aupr_top")[name] == pytest.approx(
            kept / given.sum()
        )  # genes without a loading are left out
    best = scored("recovery", data, written(data, factors_of("oracle", data)))
    for measure in ("aupr", "aupr_missing", "auroc_added", "precision", "recall"):
        assert set(values(best, measure).values()) == {1.0}, measure


def test_data_without_truth_have_no_rows(written):
    data = without_truth(planted())
    assert scored("recovery", data, written(data, factors_of("gene_set_mean", data))).empty
    with pytest.raises(Exception, match="oracle: these data have no truth"):
        factors_of("oracle", data)


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (lambda data: data.obsm.pop("activity"), "the truth lacks activity"),
        (
            lambda data: data.varm.update({"weights": data.varm["weights"][:, :2]}),
            "does not fit 120 cells and 60 genes",
        ),
        (lambda data: data.uns.update(truth=data.uns["truth"].replace("decoy", "lure")), "kinds among gene set"),
    ],
)
def test_a_truth_that_does_not_fit_is_refused(change, pattern):
    data = planted()
    change(data)
    with pytest.raises(ContractError, match=re.escape(pattern)):
        read_truth(data)


# ---------------------------------------------------------------------------------------------------------- simulation


def mixed_cells(n_cells=1500, n_genes=150):
    """Counts of three cell types with their own genes and overdispersion, as prepared data have them."""
    rng = np.random.default_rng(5)
    rate = rng.lognormal(-1, 1, (1, n_genes)) * np.ones((3, 1))
    for k in range(3):
        rate[k, 20 * k : 20 * k + 20] *= 5
    mean = rate[rng.integers(0, 3, n_cells)] * rng.lognormal(0, 0.4, (n_cells, 1))
    counts = sparse.csr_matrix(rng.poisson(mean * rng.gamma(3, 1 / 3, mean.shape)).astype(np.float32))
    data = anndata.AnnData(counts, layers={"counts": counts}, varm={"mask": rng.random((n_genes, 8)) < 0.15})
    data.var_names = [f"GENE{i}" for i in range(n_genes)]
    data.uns["gene_sets"] = [f"S{k}" for k in range(8)]
    return data


def test_simulated_data_have_the_margins_of_the_data_they_are_fitted_to(tmp_path):
    real = mixed_cells()
    real.write_h5ad(tmp_path / "prepared.h5ad")
    options = {"fit_to": "real", "n_cells": 3000, "effect": 0.0, "n_types": 1, "n_active": 0, "background": "as_is"}
    options = registry.resolve(simulated.SPEC, options, "options")
    drawn = simulated.read({"fit_to": tmp_path / "prepared.h5ad"}, options)
    assert list(drawn.var_names) == list(real.var_names)
    a, b = real.X.toarray().astype(float), drawn.X.toarray().astype(float)
    assert np.median(np.abs(np.log(b.mean(axis=0) / a.mean(axis=0)))) < 0.1
    assert np.median(np.abs(np.log(b.var(axis=0) / a.var(axis=0)))) < 0.2
    assert np.median(np.abs((b == 0).mean(axis=0) - (a == 0).mean(axis=0))) < 0.03
    assert stats.ks_2samp(a.sum(axis=1), b.sum(axis=1)).statistic < 0.05
    related = [np.corrcoef(np.log1p(x).T)[np.triu_indices(60, 1)] for x in (a[:, :60], b[:, :60])]
    assert np.corrcoef(*related)[0, 1] > 0.8


def test_a_shuffled_background_has_the_same_genes_in_other_places(tmp_path):
    mixed_cells().write_h5ad(tmp_path / "prepared.h5ad")
    template = _template.learn(tmp_path / "prepared.h5ad")
    shuffled = template.shuffled(np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(shuffled.log_mean), np.sort(template.log_mean))
    assert np.abs(np.corrcoef(shuffled.log_mean, template.log_mean)[0, 1]) > 0.9
    assert (shuffled.background != template.background).any(axis=1).mean() > 0.8


@pytest.mark.parametrize(("how", "fits"), [("apart", lambda x: x < 0.2), ("nested", lambda x: x >= 0.8)])
def test_active_sets_are_apart_or_nested(how, fits):
    rng = np.random.default_rng(0)
    outer = rng.random((200, 12)) < 0.2
    member = np.column_stack([outer, outer & (rng.random(outer.shape) < 0.5), rng.random((200, 40)) < 0.03])
    options = {"choose": how, "n_condition": 1, "n_types": 1, "n_active": 4}
    chosen = simulated.choose(member, options, np.random.default_rng(1))
    assert len(set(chosen)) == 6
    sets = [set(np.flatnonzero(member[:, k])) for k in chosen]
    largest = [max(len(a & b) / min(len(a), len(b)) for b in sets if b is not a) for a in sets]
    assert all(map(fits, largest))
    with pytest.raises(
        UserError, match=r"options\.choose: nested: 0 such gene sets were found, and 6 are to be active"
    ):
        simulated.choose(np.eye(50, dtype=bool), options | {"choose": "nested"}, rng)


def test_what_is_planted_follows_the_options():
    given = {"n_cells": 300, "n_condition": 2, "n_active": 4, "responding": 0.5, "down": 1.0, "n_unannotated": 2}
    given |= {"batch_effect": 0.3, "n_donors": 4, "paired": False, "n_sets": 14}
    data = simulated.read({}, registry.resolve(simulated.SPEC, given, "options"))
    truth = read_truth(data)
    kinds = truth.programmes["kind"].value_counts()
    assert dict(kinds) == {"gene set": 9, "decoy": 5, "unannotated": 2, "technical": 2}
    active = truth.programmes["kind"].eq("gene set").to_numpy()
    assert (truth.weights[:, active] <= 0).all()
    assert 0.3 < (truth.weights[:, active] != 0).sum() / (9 * 20) < 0.7
    library = truth.activity[:, truth.programmes["name"] == "library size"]
    np.testing.assert_allclose(np.expm1(library), data.X.sum(axis=1))
    stimulated = (data.obs["condition"] == "stimulated").to_numpy()
    np.testing.assert_array_equal(truth.activity[:, :2], np.c_[stimulated, stimulated])
    assert data.obs.groupby("donor", observed=True)["condition"].nunique().max() == 1
