"""Scores of held-out cells, against scikit-learn and a run that was fitted on these cells."""

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

MODEL = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-10, solver="newton-cholesky"))


@pytest.fixture(scope="module")
def data():
    data = toy.prepared(160)
    data.obs["held_out"] = np.random.default_rng(8).random(160) < 0.3
    return data


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """A run in which C is off, and one in which C and dense_1 are off.

    Scores of held-out cells are 30 times as large, so that standardising by all cells would be noticed.
    """
    both = []
    for seed, off in enumerate((["C"], ["C", "dense_1"])):
        path = tmp_path_factory.mktemp("run") / "factors.h5ad"
        both.append(toy.written(toy.factors(data, seed, off=off), data, path))
        both[-1].obsm["scores"][data.obs["held_out"].to_numpy()] *= 30
    return both


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
        row = at(table, metric="projected_accuracy", factor=name, label=label, split="saw_them")
        assert row["value"] == pytest.approx(expected)
    larger = max(y[held].mean(), 1 - y[held].mean())
    assert at(table, metric="projected_baseline", label=label, split="held_out")["value"] == pytest.approx(larger)


def test_scores_are_correlated_with_those_of_a_run_on_all_cells(data, runs):
    factors, other = runs
    table = projection.score(data, factors, {}, other).query("metric == 'score_correlation'")
    held = data.obs["held_out"].to_numpy()
    for split, part in (("seen", ~held), ("held_out", held)):
        for name in ("A", "B", "sparse_1"):
            expected = np.corrcoef(column(factors, name)[part].ravel(), column(other, name)[part].ravel())[0, 1]
            assert at(table, factor=name, split=split)["value"] == pytest.approx(expected)
        assert at(table, factor="dense_1", split=split)["value"] == 0  # off in one of them
        assert np.isnan(at(table, factor="C", split=split)["value"])  # off in both


def test_cells_of_the_other_run_are_matched_by_name(data, runs):
    factors, other = runs
    expected = projection.score(data, factors, {}, other)
    pd.testing.assert_frame_equal(projection.score(data, factors, {}, other[::-1].copy()), expected)
    with pytest.raises(ContractError, match="10 of these cells"):
        projection.score(data, factors, {}, other[10:].copy())


def test_without_held_out_cells_there_are_no_rows(data, runs):
    all_seen = data.copy()
    del all_seen.obs["held_out"]
    assert projection.score(all_seen, runs[0], {}).empty


def test_without_a_run_on_all_cells_nothing_is_compared(data, runs, tmp_path):
    without = projection.score(data, runs[0], {})
    assert len(without)
    assert not without["split"].eq("saw_them").any()
    assert not without["metric"].eq("score_correlation").any()
    none = no_factors(data.n_obs, data.n_vars, "timeout", "killed")
    empty = toy.written(none, data, tmp_path / "f.h5ad")
    pd.testing.assert_frame_equal(projection.score(data, runs[0], {}, empty), without)


def test_a_class_without_seen_cells_has_missing_values(data, runs):
    """All NK cells are held out, and some other cells."""
    other = data.copy()
    other.obs["held_out"] |= (other.obs["cell_type"] == "NK").to_numpy()
    table = projection.score(other, runs[0], {}, runs[1])
    unknown = table[(table["label"] == "cell_type=NK") & (table["metric"] != "projected_baseline")]
    assert len(unknown)
    assert unknown["value"].isna().all()
    known = table[table["label"] == "cell_type=B cells"]
    assert known["value"].notna().all()


def test_held_out_cells_of_one_class_have_accuracies_and_no_auroc(data, runs):
    """Exactly the NK cells are held out, so no held-out cell is a B cell."""
    other = data.copy()
    other.obs["held_out"] = (other.obs["cell_type"] == "NK").to_numpy()
    table = projection.score(other, runs[0], {})
    known = table[(table["label"] == "cell_type=B cells") & (table["metric"] == "projected_accuracy")]
    assert known["value"].notna().all()
    one_class = table[(table["label"] == "cell_type=B cells") & (table["metric"] == "projected_auroc")]
    assert one_class.set_index("split").loc["held_out", "value"].isna().all()
    assert at(table, metric="projected_baseline", label="cell_type=NK")["value"] == 1
