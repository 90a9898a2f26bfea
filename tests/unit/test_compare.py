"""Paired comparison of methods: the binomial by hand, Holm by its definition, and planted differences."""

import math

import numpy as np
import pandas as pd
import pytest
from factorbench.metrics import separation
from factorbench.results.comparison import COLUMNS, compare, compare_right, paired_seeds, right_cells
from factorbench.statistics import holm, mid_p
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.unit import metric_fixtures as toy


def right(*cells, names="AB"):
    """Return a table as `right_cells` does: one row per factor."""
    return pd.DataFrame([np.asarray(row, bool) for row in cells], index=list(names)[: len(cells)])


@given(first=st.integers(0, 30), second=st.integers(0, 30))
def test_mid_p_of_mcnemar_by_hand(first, second):
    n, k = first + second, min(first, second)
    chance = [math.comb(n, i) / 2**n for i in range(n + 1)]
    expected = 2 * sum(chance[:k]) + chance[k]
    assert mid_p(np.array([first, second]), np.array([second, first])) == pytest.approx([expected] * 2)


@given(p=st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.02, 0.04, 0.2, 0.5, 1.0]), max_size=12))
def test_holm_by_its_definition(p):
    corrected = holm(np.array(p, float))
    for alpha in (0.005, 0.01, 0.03, 0.05, 0.1, 0.3):
        rejected = set()
        for step, k in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
            if p[k] > alpha / (len(p) - step):
                break
            rejected.add(k)
        # Not exactly at alpha, because p * n and alpha / n are rounded differently.
        assert {k for k, q in enumerate(corrected) if q < alpha * (1 - 1e-9)} <= rejected
        assert rejected <= {k for k, q in enumerate(corrected) if q < alpha * (1 + 1e-9)}


def test_a_planted_difference_is_detected_and_equal_methods_have_none():
    rng = np.random.default_rng(0)
    reference = {("ae", s): right(rng.random(500) < 0.7, rng.random(500) < 0.7) for s in range(3)}
    same = {("same", s): table.copy() for (_, s), table in reference.items()}
    better = {("better", s): right(rng.random(500) < 0.9, table.loc["B"]) for (_, s), table in reference.items()}
    table = compare_right("toy", "condition=b", reference | same | better, "ae").set_index(["method", "factor"])
    assert (table.loc["same", "difference"] == 0).all()
    assert (table.loc["same", "p_corrected"] == 1).all()
    assert table.loc[("better", "A"), "p_corrected"] < 1e-6
    assert table.loc[("better", "A"), "lower"] > 0.1
    assert table.loc[("better", "B"), "p"] == 1


def test_every_column_by_its_definition():
    rng = np.random.default_rng(1)
    runs = {(m, s): right(rng.random(60) < 0.6, names="A") for m in ("ae", "pca") for s in range(4)}
    row = compare_right("toy", "condition=b", runs, "ae").iloc[0]
    pca, ae = (np.stack([runs[m, s].loc["A"] for s in range(4)]) for m in ("pca", "ae"))
    differences = pca.mean(axis=1) - ae.mean(axis=1)
    interval = stats.t.interval(0.95, 3, differences.mean(), stats.sem(differences))
    assert row["difference"] == pytest.approx(differences.mean())
    assert (row["lower"], row["upper"]) == pytest.approx(interval)
    assert row["accuracy"] - row["reference_accuracy"] == pytest.approx(row["difference"])
    assert row["only_method"] == (pca & ~ae).sum() / 4
    assert row["only_reference"] == (ae & ~pca).sum() / 4
    assert (row["seeds"], row["n"]) == (4, 60)
    p = [mid_p((a & ~b).sum(), (b & ~a).sum()) for a, b in zip(pca, ae, strict=True)]
    assert row["p"] == max(p) > min(p)
    assert row["p_corrected"] == row["p"]


def test_runs_with_the_same_seed_are_paired_and_a_single_run_with_every_seed():
    cells = right([True, False])
    runs = {(m, s): cells for m, seeds in (("ae", (0, 1, 2)), ("one", (0,)), ("some", (1, 2, 7))) for s in seeds}
    assert list(paired_seeds(runs, "one", "ae")) == [(0, 0), (0, 1), (0, 2)]
    assert list(paired_seeds(runs, "some", "ae")) == [(1, 1), (2, 2)]
    table = compare_right("toy", "condition=b", runs, "ae").set_index("method")
    assert table["seeds"].to_dict() == {"one": 3, "some": 2}
    assert table["lower"].isna().to_dict() == {"one": False, "some": True}


def test_only_factors_that_both_methods_have_are_compared():
    """A run without factors (a time-out) is left out too."""
    runs = {
        ("ae", 0): right([True, False], [True, True], names="AB"),
        ("ae", 1): right(names=""),
        ("other", 0): right([True, True], [True, True], names="BC"),
        ("other", 1): right([True, True], names="B"),
    }
    table = compare_right("toy", "condition=b", runs, "ae")
    assert table[["method", "factor", "seeds"]].to_numpy().tolist() == [["other", "B", 1]]


@pytest.mark.parametrize("reference", ["ae", "absent"])
def test_without_a_second_method_the_table_is_empty_and_has_its_columns(reference):
    table = compare_right("toy", "", {("ae", 0): right([True])}, reference)
    assert table.empty
    assert tuple(table.columns) == COLUMNS


def test_the_share_of_right_cells_is_the_training_accuracy(tmp_path):
    data = toy.prepared()
    factors = toy.written(toy.factors(data, off=["C"]), data, tmp_path / "f.h5ad")
    share = right_cells(data, factors).mean(axis=1)
    assert list(share.index) == ["A", "B", "C"]
    table = separation.score(data, factors, {"folds": 5, "seed": 0})
    table = table[(table["metric"] == "accuracy") & (table["split"] == "train")].set_index(["label", "factor"])
    assert share.to_dict() == pytest.approx(table.loc["condition=stimulated", "value"][["A", "B", "C"]].to_dict())
    stimulated = (data.obs["condition"] == "stimulated").mean()
    assert share["C"] == pytest.approx(max(stimulated, 1 - stimulated))  # switched off: constant


@pytest.mark.parametrize("contrast", [True, False])
def test_runs_are_compared_on_the_contrast(tmp_path, contrast):
    data = toy.prepared(contrast=contrast)
    runs = [
        ((method, seed), toy.written(toy.factors(data, seed), data, tmp_path / f"{method}{seed}.h5ad"))
        for method in ("ae", "other")
        for seed in (0, 1)
    ]
    table = compare("toy", data, runs, "ae")
    if not contrast:
        assert table.empty
        assert right_cells(data, runs[0][1]).shape == (3, 0)
        return
    assert table["factor"].tolist() == ["A", "B", "C"]
    assert set(table["label"]) == {"condition=stimulated"}
    assert (table["difference"] == 0).all()
