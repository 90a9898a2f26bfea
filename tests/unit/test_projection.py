"""Held-out cells: from a run that has not seen them to what their scores are worth."""

import numpy as np
import pandas as pd
import pytest
from factorbench.contracts.errors import ContractError
from factorbench.contracts.factors import no_factors
from factorbench.metrics import projection
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.unit import metric_fixtures as toy

MODEL = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-10, max_iter=1000))


@pytest.fixture(scope="module")
def data():
    data = toy.prepared(160)
    data.obs["held_out"] = np.random.default_rng(8).random(160) < 0.3
    return data


def run(data, folder, seed, **options):
    return toy.written(toy.factors(data, seed, **options), data, folder / f"{seed}.h5ad")


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """A run in which C is off, and one in which C and dense_1 are; scores of held-out cells spread more than others."""
    folder = tmp_path_factory.mktemp("runs")
    found = run(data, folder, 0, off=["C"]), run(data, folder, 1, off=["C", "dense_1"])
    for factors in found:
        factors.obsm["scores"][data.obs["held_out"].to_numpy()] *= 30
    return found


def at(table, **where):
    for column, wanted in where.items():
        table = table[table[column] == wanted]
    assert len(table) == 1
    return table.iloc[0]


def column(factors, name):
    k = list(factors.uns["factors"]["name"]).index(name)
    return factors.obsm["scores"][:, [k]].astype(float) * bool(factors.uns["factors"]["active"].iloc[k])


@pytest.mark.parametrize("label", ["condition=stimulated", "cell_type=B cells", "cell_type=NK", "cell_type=T cells"])
def test_projection_equals_scikit_learn(data, runs, label):
    factors, other = runs
    table = projection.score(data, factors, {}, other)
    held = data.obs["held_out"].to_numpy()
    key, cls = label.split("=")
    y = (data.obs[key] == cls).to_numpy()
    for name in ("A", "B", "C", "sparse_1", "dense_1"):
        x = column(factors, name)
        fitted = MODEL.fit(x[~held], y[~held])
        for split, part in (("seen", ~held), ("held_out", held)):
            where = {"factor": name, "label": label, "split": split}
            row = at(table, metric="projected_accuracy", **where)
            assert row["value"] == pytest.approx(fitted.score(x[part], y[part]))
            assert row["n"] == part.sum()
            assert row["lower"] < row["value"] < row["upper"] or row["value"] in (0, 1)
            area = at(table, metric="projected_auroc", **where)["value"]
            assert area == pytest.approx(roc_auc_score(y[part], x[part].ravel()), abs=1e-12)
        x = column(other, name)
        expected = MODEL.fit(x[~held], y[~held]).score(x[held], y[held])
        found = at(table, metric="projected_accuracy", factor=name, label=label, split="saw_them")
        assert found["value"] == pytest.approx(expected)
    larger = max(y[held].mean(), 1 - y[held].mean())
    assert at(table, metric="projected_baseline", label=label, split="held_out")["value"] == pytest.approx(larger)


def test_scores_are_held_against_those_of_a_model_that_saw_the_cells(data, runs):
    factors, other = runs
    table = projection.score(data, factors, {}, other).query("metric == 'score_correlation'")
    held = data.obs["held_out"].to_numpy()
    for split, part in (("seen", ~held), ("held_out", held)):
        for name in ("A", "B", "sparse_1"):
            expected = np.corrcoef(column(factors, name)[part].ravel(), column(other, name)[part].ravel())[0, 1]
            assert at(table, factor=name, split=split)["value"] == pytest.approx(expected)
        assert at(table, factor="dense_1", split=split)["value"] == 0  # off in one of them
        assert np.isnan(at(table, factor="C", split=split)["value"])  # off in both


def test_cells_of_the_other_run_are_found_by_name(data, runs):
    factors, other = runs
    expected = projection.score(data, factors, {}, other)
    turned = other[::-1].copy()
    pd.testing.assert_frame_equal(projection.score(data, factors, {}, turned), expected)
    with pytest.raises(ContractError, match="10 of these cells"):
        projection.score(data, factors, {}, other[10:].copy())


def test_without_held_out_cells_there_is_nothing_to_say(data, runs):
    seen = data.copy()
    del seen.obs["held_out"]
    assert projection.score(seen, runs[0], {}).empty


def test_without_a_run_that_saw_the_cells_nothing_is_compared(data, runs, tmp_path):
    without = projection.score(data, runs[0], {})
    assert len(without)
    assert not without["split"].eq("saw_them").any()
    assert not without["metric"].eq("score_correlation").any()
    none = no_factors(data.n_obs, data.n_vars, "timeout", "killed")
    empty = toy.written(none, data, tmp_path / "f.h5ad")
    pd.testing.assert_frame_equal(projection.score(data, runs[0], {}, empty), without)


def test_a_class_that_was_not_seen_cannot_be_learnt(data, runs):
    """All NK cells are held out, and some others."""
    other = data.copy()
    other.obs["held_out"] |= (other.obs["cell_type"] == "NK").to_numpy()
    table = projection.score(other, runs[0], {}, runs[1])
    unknown = table[(table["label"] == "cell_type=NK") & (table["metric"] != "projected_baseline")]
    assert len(unknown)
    assert unknown["value"].isna().all()
    known = table[table["label"] == "cell_type=B cells"]
    assert known["value"].notna().all()


def test_held_out_cells_of_one_class_have_accuracies_and_no_auroc(data, runs):
    """All NK cells are held out, and nothing else: none of them is a B cell."""
    other = data.copy()
    other.obs["held_out"] = (other.obs["cell_type"] == "NK").to_numpy()
    table = projection.score(other, runs[0], {})
    known = table[(table["label"] == "cell_type=B cells") & (table["metric"] == "projected_accuracy")]
    assert known["value"].notna().all()
    one_class = table[(table["label"] == "cell_type=B cells") & (table["metric"] == "projected_auroc")]
    assert one_class.set_index("split").loc["held_out", "value"].isna().all()
    assert at(table, metric="projected_baseline", label="cell_type=NK")["value"] == 1
