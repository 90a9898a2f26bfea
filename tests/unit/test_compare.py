"""Paired comparison of methods: the binomial by hand, Holm by its definition, and planted differences."""

import math

import numpy as np
import pandas as pd
import pytest
from factorbench.results import comparison
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.unit import metric_fixtures as toy


def right(*rows, names="AB"):
    """What `comparison.right_cells` gives: one row a factor."""
    return pd.DataFrame([np.asarray(row, bool) for row in rows], index=list(names)[: len(rows)])


@given(first=st.integers(0, 30), second=st.integers(0, 30))
def test_mcnemars_mid_p_by_hand(first, second):
    n, k = first + second, min(first, second)
    chance = [math.comb(n, i) / 2**n for i in range(n + 1)]
    expected = 2 * sum(chance[:k]) + chance[k]
    assert comparison.mid_p(np.array([first]), np.array([second]))[0] == pytest.approx(expected)
    assert comparison.mid_p(np.array([second]), np.array([first]))[0] == pytest.approx(expected)


@given(p=st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.02, 0.04, 0.2, 0.5, 1.0]), max_size=12))
def test_holm_by_its_definition(p):
    corrected = comparison.holm(np.array(p, float))
    for alpha in (0.005, 0.01, 0.03, 0.05, 0.1, 0.3):
        rejected = set()
        for step, k in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
            if p[k] > alpha / (len(p) - step):
                break
            rejected.add(k)
        # Strictly apart from alpha, since p * n and alpha / n may round to either side of each other.
        assert {k for k, q in enumerate(corrected) if q < alpha * (1 - 1e-9)} <= rejected
        assert rejected <= {k for k, q in enumerate(corrected) if q < alpha * (1 + 1e-9)}


def test_a_planted_difference_is_found_and_equal_methods_differ_in_nothing():
    rng = np.random.default_rng(0)
    reference = {("ae", s): right(rng.random(500) < 0.7, rng.random(500) < 0.7) for s in range(3)}
    same = {("same", s): table.copy() for (_, s), table in reference.items()}
    better = {("better", s): right(rng.random(500) < 0.9, table.loc["B"]) for (_, s), table in reference.items()}
    table = comparison.compare("toy", "condition=b", reference | same | better, "ae").set_index(["method", "factor"])
    assert (table.loc["same", "difference"] == 0).all()
    assert (table.loc["same", "p_corrected"] == 1).all()
    assert table.loc[("better", "A"), "p_corrected"] < 1e-6
    assert table.loc[("better", "A"), "lower"] > 0.1
    assert table.loc[("better", "B"), "p"] == 1


def test_a_row_is_what_its_columns_say():
    rng = np.random.default_rng(1)
    runs = {(m, s): right(rng.random(60) < 0.6, names="A") for m in ("ae", "pca") for s in range(4)}
    row = comparison.compare("toy", "condition=b", runs, "ae").iloc[0]
    mine, other = (np.stack([runs[m, s].loc["A"] for s in range(4)]) for m in ("pca", "ae"))
    differences = mine.mean(axis=1) - other.mean(axis=1)
    interval = stats.t.interval(0.95, 3, differences.mean(), stats.sem(differences))
    assert row["difference"] == pytest.approx(differences.mean())
    assert (row["lower"], row["upper"]) == pytest.approx(interval)
    assert row["accuracy"] - row["reference_accuracy"] == pytest.approx(row["difference"])
    assert row["only_method"] == (mine & ~other).sum() / 4
    assert row["only_reference"] == (other & ~mine).sum() / 4
    assert (row["seeds"], row["n"]) == (4, 60)
    each = [comparison.mid_p((a & ~b).sum(), (b & ~a).sum()) for a, b in zip(mine, other, strict=True)]
    assert row["p"] == max(each) > min(each)
    assert row["p_corrected"] == row["p"]


def test_seeds_are_paired_and_a_single_run_meets_every_seed():
    cells = right([True, False])
    runs = {(m, s): cells for m, seeds in (("ae", (0, 1, 2)), ("one", (0,)), ("some", (1, 2, 7))) for s in seeds}
    assert list(comparison.paired_seeds(runs, "one", "ae")) == [(0, 0), (0, 1), (0, 2)]
    assert list(comparison.paired_seeds(runs, "some", "ae")) == [(1, 1), (2, 2)]
    table = comparison.compare("toy", "condition=b", runs, "ae").set_index("method")
    assert table["seeds"].to_dict() == {"one": 3, "some": 2}
    assert table["lower"].isna().to_dict() == {"one": False, "some": True}


def test_only_factors_that_both_have_are_compared():
    """A run without factors (a time-out) is passed over, and so is a factor that only one of the methods has."""
    runs = {
        ("ae", 0): right([True, False], [True, True], names="AB"),
        ("ae", 1): right(names=""),
        ("other", 0): right([True, True], [True, True], names="BC"),
        ("other", 1): right([True, True], names="B"),
    }
    table = comparison.compare("toy", "condition=b", runs, "ae")
    assert table[["method", "factor", "seeds"]].to_numpy().tolist() == [["other", "B", 1]]


@pytest.mark.parametrize("reference", ["ae", "absent"])
def test_nothing_to_compare_is_an_empty_table_with_its_columns(reference):
    table = comparison.compare("toy", "", {("ae", 0): right([True])}, reference)
    assert table.empty
    assert tuple(table.columns) == comparison.COLUMNS


def test_right_cells_add_up_to_the_training_accuracy(tmp_path):
    from factorbench.metrics import separation

    data = toy.prepared()
    factors = toy.written(toy.factors(data, off=["C"]), data, tmp_path / "f.h5ad")
    found = comparison.right_cells(data, factors)
    assert list(found.index) == ["A", "B", "C"]
    table = separation.score(data, factors, {"folds": 5, "seed": 0})
    table = table[(table["metric"] == "accuracy") & (table["split"] == "train")].set_index(["label", "factor"])
    expected = table.loc["condition=stimulated", "value"][["A", "B", "C"]]
    assert found.mean(axis=1).to_dict() == pytest.approx(expected.to_dict())
    larger = max(share := (data.obs["condition"] == "stimulated").mean(), 1 - share)
    assert found.loc["C"].mean() == pytest.approx(larger)  # switched off: constant


def test_without_a_contrast_no_cell_is_asked(tmp_path):
    data = toy.prepared(contrast=False)
    factors = toy.written(toy.factors(data), data, tmp_path / "f.h5ad")
    assert comparison.right_cells(data, factors).shape == (3, 0)
