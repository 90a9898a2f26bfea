"""Nested gene sets: the planted truth, and the numbers of the table."""

import numpy as np
import pytest
from factorbench.model import InterpretableAutoencoder

from bench import nested

SIZES = {"small": 15, "middle": 40, "large": 100}


@pytest.mark.parametrize("planted", SIZES)
def test_exactly_the_genes_of_the_planted_set_respond(planted):
    data = nested.simulate(planted, seed=3, n_cells=4_000)
    activity = data.obsm["activity"][:, 0]
    follows = np.array([np.corrcoef(gene, activity)[0, 1] for gene in data.X.T])
    inside = data.varm["mask"][:, data.uns["gene_sets"].index(planted)]
    assert inside.sum() == SIZES[planted]
    assert follows[inside].min() > 0.2
    # Counts are shares of the total of a cell, so all other genes fall a little where these rise.
    assert follows[~inside].max() < 0.1
    assert activity.std() == pytest.approx(1, abs=0.05)
    assert np.expm1(data.X).sum(axis=1) == pytest.approx(np.expm1(data.X[0]).sum(), rel=1e-4)


def test_three_sets_are_nested_and_the_others_share_no_genes():
    data = nested.simulate("small", seed=0, n_cells=10)
    mask, names = data.varm["mask"], data.uns["gene_sets"]
    sets = {name: set(np.flatnonzero(mask[:, k])) for k, name in enumerate(names)}
    assert sets["small"] < sets["middle"] < sets["large"]
    assert {name: len(sets[name]) for name in SIZES} == SIZES
    others = [sets[name] for name in names[3:]]
    assert [len(genes) for genes in others] == [40] * 10
    assert len(set.union(sets["large"], *others)) == 100 + 400 == data.n_vars


def test_data_differ_between_seeds_and_not_within():
    first, again, other = (nested.simulate("middle", seed, 20) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.X, again.X)
    assert not np.array_equal(first.X, other.X)


def test_the_table_has_the_means_over_data_of_every_measure():
    table = nested.nested(n_seeds=2, n_cells=150)
    assert list(table.index) == [(weights, planted) for weights in ("equal", "size") for planted in SIZES]
    for (weights, planted), row in table.iterrows():
        best, own, n_on = [], [], []
        for seed in range(2):
            data = nested.simulate(planted, seed, 150)
            model = InterpretableAutoencoder(encoder="linear", group_weights=weights).fit(data)
            scores, on = model.transform(data), model.loadings().any()
            values = {
                name: abs(np.corrcoef(scores[:, k], data.obsm["activity"][:, 0])[0, 1]) if on[name] else 0
                for k, name in enumerate(model.names)
            }
            best.append(max(values, key=values.get) == planted)
            own.append(values[planted])
            n_on.append(sum(on[name] for name in SIZES))
        assert row.tolist() == pytest.approx([np.mean(best), np.mean(own), np.mean(n_on)], rel=1e-4)


def test_a_factor_that_is_off_or_weaker_than_another_is_not_the_best(monkeypatch):
    data = nested.simulate("middle", 0, 50)
    activity, scores = data.obsm["activity"], np.zeros((50, len(data.uns["gene_sets"])))
    monkeypatch.setattr(InterpretableAutoencoder, "transform", lambda self, data: scores)
    off = nested.assess(data, "middle", "equal")
    assert (off["best"], off["correlation"]) == (False, 0)
    scores[:, 1] = -2 * activity[:, 0] + 1
    alone = nested.assess(data, "middle", "equal")
    assert (alone["best"], alone["correlation"]) == (True, pytest.approx(1))
    scores[:, 1] += np.random.default_rng(1).normal(size=50)
    scores[:, 7] = activity[:, 0]
    second = nested.assess(data, "middle", "equal")
    assert not second["best"]
    assert 0.5 < second["correlation"] < 1


def test_the_report_names_every_planted_set(monkeypatch, capsys):
    monkeypatch.setattr(nested, "N_CELLS", 100)
    nested.report(1)
    printed = capsys.readouterr().out
    assert "means over 1 simulated data" in printed
    for word in ("equal", "size", *SIZES, "factor is best", "|correlation|", "nested factors on"):
        assert word in printed
