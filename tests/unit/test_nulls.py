"""The null of gene sets: random sets of the same size and expression, fitted in the same way."""

import json

import numpy as np
import pytest
from factorbench import registry
from factorbench.contracts.budget import Budget
from factorbench.contracts.factors import read_factors, write_factors
from factorbench.metrics._questions import questions, scores_of
from factorbench.results import nulls
from factorbench.runs.permuted import permuted_masks, scores_for, with_mask
from sklearn.metrics import roc_auc_score

from tests.planted import planted

LINEAR = registry.method_params("interpretable_ae", {"encoder": "linear"}, "ae")


@pytest.fixture(scope="module")
def data():
    return planted(n_cells=200, n_genes=120, n_sets=6)


@pytest.fixture(scope="module")
def mean_factors(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("mean") / "f.h5ad"
    write_factors(path, registry.load("method", "gene_set_mean").fit(data, {}, 0, "cpu", Budget()), data)
    return read_factors(path)


def test_strengths_are_those_of_scikit_learn(data, mean_factors):
    scores, asked = scores_of(mean_factors), list(questions(data))
    expected = [[abs(roc_auc_score(label, x) - 0.5) for x in scores[cells].T] for cells, _, y in asked for label in y]
    np.testing.assert_allclose(nulls.strengths(scores, asked), expected, atol=1e-12)
    # Questions about different cells
    asked = [(cells[k:], names, y[:, k:]) for k, (cells, names, y) in enumerate(asked)]
    assert nulls.strengths(scores, asked).shape == (3, scores.shape[1])


def test_p_counts_permutations_that_do_as_well(data, mean_factors):
    asked = list(questions(data))
    own = nulls.strengths(scores_of(mean_factors), asked)
    random = np.random.default_rng(0).uniform(0, 0.5, (19, *own.shape))
    table = nulls.null_rows(data, mean_factors, random).set_index(["metric", "factor", "label"])["value"]
    labels = [name for _, names, _ in asked for name in names]
    for q, label in enumerate(labels):
        p = []
        for k, name in enumerate(data.uns["gene_sets"]):
            p.append((1 + sum(draw[q, k] >= own[q, k] for draw in random)) / 20)
            best = (1 + sum(draw[q].max() >= own[q, k] for draw in random)) / 20
            assert table["p_random_set", name, label] == pytest.approx(p[-1])
            assert table["p_best_random_set", name, label] == pytest.approx(best)
        # Benjamini and Hochberg 1995: the smallest p_(j) m / j over all ranks j from that of the factor on
        order = np.argsort(p)
        steps = np.array(p)[order] * len(p) / np.arange(1, len(p) + 1)
        for rank, k in enumerate(order):
            expected = min(1, steps[rank:].min())
            assert table["q_random_set", data.uns["gene_sets"][k], label] == pytest.approx(expected)


def test_the_planted_set_beats_random_sets_and_decoys_do_not(tmp_path):
    decoys = []
    for seed in range(5):
        data = planted(n_cells=200, n_genes=120, n_sets=6, seed=seed)
        write_factors(
            tmp_path / "f.h5ad", registry.load("method", "gene_set_mean").fit(data, {}, 0, "cpu", Budget()), data
        )
        random = nulls.random_strengths("gene_set_mean", data, {}, 0, 1, 99, None)
        assert random.shape == (99, 3, 6)
        table = nulls.null_rows(data, read_factors(tmp_path / "f.h5ad"), random)
        table = table[(table["metric"] == "p_random_set") & (table["label"] == "condition=b")]
        p = table.set_index("factor")["value"]
        assert p["SET_0"] <= 0.02
        decoys += list(p[["SET_2", "SET_3", "SET_4", "SET_5"]])
    assert 0.2 < np.median(decoys) < 0.9
    assert np.mean(np.array(decoys) <= 0.02) <= 0.1


def test_many_fits_of_the_exact_solution_equal_single_fits(data):
    masks = [mask for mask, _ in zip(permuted_masks(data, "here"), range(3), strict=False)]
    shared = list(scores_for(masks, "interpretable_ae", data, LINEAR, 0, 2, Budget()))
    for mask, scores in zip(masks, shared, strict=True):
        single = registry.load("method", "interpretable_ae").fit(with_mask(data, mask), LINEAR, 0, "cpu", Budget())
        np.testing.assert_allclose(scores, single.scores, atol=1e-4)
    assert np.abs(shared[0] - shared[1]).max() > 0.1


def test_random_sets_are_those_of_a_dataset_with_permuted_sets(data):
    first = next(permuted_masks(data, "here"))
    np.testing.assert_array_equal(first.sum(axis=0), data.varm["mask"].sum(axis=0))
    assert (first != data.varm["mask"]).any()
    np.testing.assert_array_equal(first, next(permuted_masks(data, "here")))


def test_a_spent_budget_ends_after_the_first_permutation(data):
    assert len(nulls.random_strengths("gene_set_mean", data, {}, 0, 1, 50, 1e-9)) == 1


def test_methods_do_not_see_the_truth_in_permutations(data, monkeypatch):
    seen = []
    mean = registry.load("method", "gene_set_mean")
    fit = mean.fit
    monkeypatch.setattr(
        mean, "fit", lambda data, *rest: seen.append([*data.uns, *data.obsm, *data.varm]) or fit(data, *rest)
    )
    nulls.random_strengths("gene_set_mean", data, {}, 0, 1, 2, None)
    assert json.loads(data.uns["truth"])
    assert len(seen) == 2
    assert all(not {"truth", "activity", "weights", "true_mask"} & set(names) for names in seen)
