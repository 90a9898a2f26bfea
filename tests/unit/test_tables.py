"""Tables of a whole benchmark, from small runs and scores worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from factorbench import contracts, tables
from scipy import stats

from tests.unit import metric_fixtures as toy


def back(table, path):
    """``table`` as the next rule reads it."""
    contracts.write_table(path, table)
    return contracts.read_table(path)


@pytest.fixture(params=["in memory", "read back"])
def through(request, tmp_path):
    """Tables must be the same from tables in memory and from tables read back, where empty text is missing."""
    return (lambda table: table) if request.param == "in memory" else (lambda table: back(table, tmp_path / "t.tsv"))


# --------------------------------------------------------------------------------------------------------------- runs


def test_runs_table_has_a_row_a_run_failures_included(through):
    runs = [toy.run(seed=s, status=status) for s, status in enumerate(contracts.STATUSES)]
    table = through(tables.runs_table(runs))
    assert table["status"].tolist() == list(contracts.STATUSES)
    assert tuple(table.columns) == contracts.RUN_KEYS
    assert table["versions"].tolist() == ['{"numpy": "2.0"}'] * len(runs)


def test_runs_table_refuses_what_is_no_run():
    with pytest.raises(contracts.ContractError, match="lacks"):
        tables.runs_table([{"dataset": "toy"}])


def runtime(through, *runs, reference="ae", datasets=None):
    table = tables.runtime_table(through(tables.runs_table(list(runs))), reference, datasets or {"toy": {}})
    assert tuple(table.columns) == tables.RUNTIME_COLUMNS
    return table.set_index(["dataset", "method"])


def test_runtime_gives_medians_and_ratios_to_the_reference_on_the_same_dataset(through):
    table = runtime(
        through,
        *(toy.run(seed=s, seconds=t) for s, t in enumerate([2.0, 4.0, 3.0])),
        *(toy.run(method="slow", seed=s, seconds=t, converged=s < 2) for s, t in enumerate([60.0, 120.0, 90.0])),
        toy.run("small", "slow", seconds=30.0, n_cells=50),
        datasets={"toy": {"n_cells": None}, "small": {"n_cells": 50}},
    )
    slow = table.loc[("toy", "slow")]
    assert (slow["seconds"], slow["fastest"], slow["slowest"], slow["minutes"]) == (90, 60, 120, 1.5)
    assert (slow["ratio"], slow["bound"], slow["converged"], slow["statuses"]) == (30, "exact", "2 of 3", "3 ok")
    assert table.loc[("toy", "ae"), "ratio"] == 1
    assert pd.isna(table.loc[("toy", "ae"), "converged"])
    assert np.isnan(table.loc[("small", "slow"), "ratio"])
    assert table["extent"].tolist() == ["full", "full", "subset"]
    assert table["cells"].tolist() == [120, 120, 50]


@pytest.mark.parametrize(
    ("runs", "seconds", "bound"),
    [
        ([("ok", 10), ("ok", 20), ("timeout", 100)], 20, "exact"),  # whatever the third would have taken
        ([("ok", 10), ("budget", 15), ("ok", 20)], 15, "at least"),
        ([("ok", 10), ("timeout", 100)], 55, "at least"),
        ([("max_iterations", 50)], 50, "at least"),
        ([("ok", 10), ("diverged", 1)], 10, "exact"),
        ([("diverged", 1), ("not_applicable", 0)], np.nan, ""),
    ],
)
def test_a_stopped_run_makes_a_median_a_lower_bound_where_it_could_move_it(through, runs, seconds, bound):
    slow = [toy.run(method="slow", seed=s, status=status, seconds=t) for s, (status, t) in enumerate(runs)]
    row = runtime(through, toy.run(seconds=5), *slow).loc[("toy", "slow")]
    assert row["seconds"] == pytest.approx(seconds, nan_ok=True)
    assert row["ratio"] == pytest.approx(seconds / 5, nan_ok=True)
    assert row["bound"] == bound
    assert row["seeds"] == len(runs)
    assert row["ok"] == sum(status == "ok" for status, _ in runs)


def test_no_ratio_to_a_reference_that_was_stopped(through):
    table = runtime(through, toy.run(status="budget", seconds=5), toy.run(method="slow", seconds=50))
    assert table["ratio"].isna().all()


def test_statuses_in_words():
    assert tables.in_words(pd.Series(["budget", "ok", "ok", "max_iterations"])) == "2 ok, 1 max iterations, 1 budget"


# ------------------------------------------------------------------------------------------------------------- scores


def test_means_over_seeds_have_students_interval(through):
    values = [0.9, 0.94, 0.98]
    scores = toy.scores(*({"seed": s, "value": v} for s, v in enumerate(values)), {"factor": "", "value": 0.3})
    table = tables.over_seeds(through(scores)).set_index("factor")
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    row = table.loc["A"]
    np.testing.assert_allclose([row["mean"], row["lower"], row["upper"]], [0.94, low, high])
    assert (row["lowest"], row["highest"], row["seeds"], row["n"]) == (0.9, 0.98, 3, 120)
    assert table.loc["", "mean"] == 0.3
    assert np.isnan(table.loc["", "lower"])


def test_missing_values_do_not_count_as_seeds(through):
    scores = toy.scores({"value": 0.9}, {"seed": 1, "value": np.nan})
    assert tables.over_seeds(through(scores))[["mean", "seeds"]].to_numpy().tolist() == [[0.9, 1]]


def test_top_pathways_rank_annotated_factors_by_mean_relevance(through):
    relevance = {"A": [3, 1, 2], "B": [4, 0, 0], "C": [0, 0, 0], "D": [1, 1, 1], "dense_1": [9, 9, 9]}
    scores = toy.scores(
        *(
            {"metric": "relevance", "factor": f, "seed": s, "value": float(v), "split": "", "label": f"kind={kind}"}
            for f, values in relevance.items()
            for s, v in enumerate(values)
            for kind in ["dense" if f == "dense_1" else "annotated"]
        ),
        {"method": "slow", "metric": "relevance", "label": "kind=annotated", "factor": "D", "value": 7.0},
    )
    table = tables.top_pathways(through(scores), 2)
    assert table[["method", "rank", "factor", "on", "seeds"]].to_numpy().tolist() == [
        ["ae", 1, "A", 3, 3],
        ["ae", 2, "B", 1, 3],
        ["slow", 1, "D", 1, 1],
    ]
    assert table.loc[1, ["relevance", "lowest", "highest"]].tolist() == pytest.approx([4 / 3, 0, 4])
    assert "C" not in set(tables.top_pathways(scores, 10)["factor"])


def test_separation_picks_the_factor_whose_auroc_is_farthest_from_one_half(through):
    values = {  # three seeds each: training accuracy, cross-validated, AUROC
        "A": [(0.90, 0.89, 0.70)] * 3,
        "B": [(0.91, 0.90, 0.05), (0.93, 0.92, 0.95), (0.92, 0.91, 0.5)],  # its sign differs between seeds
    }
    scores = toy.scores(
        *(
            {"factor": f, "seed": s, "metric": metric, "split": split, "value": value}
            for f, seeds in values.items()
            for s, row in enumerate(seeds)
            for (metric, split), value in zip(
                [("accuracy", "train"), ("accuracy", "cv"), ("auroc", "")], row, strict=True
            )
        ),
        *({"factor": "", "seed": s, "metric": "baseline", "split": "", "value": 0.9} for s in (0, 1, 2)),
    )  # fmt: skip
    (row,) = tables.separation_table(through(scores)).to_dict("records")
    assert (row["factor"], row["candidates"], row["seeds"], row["n"]) == ("B", 2, 3, 120)
    assert [row[k] for k in ("accuracy", "cv_accuracy", "auroc", "baseline")] == pytest.approx([0.92, 0.91, 0.5, 0.9])
    assert row["lower"] < 0.92 < row["upper"]


def test_tables_of_no_scores_are_empty(through):
    scores = through(toy.scores({"metric": "explained_variance", "label": "", "factor": "", "split": ""}))
    assert tables.top_pathways(scores, 5).empty
    assert tables.separation_table(scores).empty


# ------------------------------------------------------------------------------------------------------------ figures


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    data = toy.prepared()
    return data, toy.written(toy.factors(data, off=["C"]), data, tmp_path_factory.mktemp("run") / "factors.h5ad")


def test_cells_take_the_first_term_that_is_on_and_say_what_was_passed_over(found):
    data, factors = found
    table = tables.cells_table(data, factors, ["A"], ["GONE", "C", "B", "A"], ["condition"])
    np.testing.assert_array_equal(table["x"], factors.obsm["scores"][:, 0])
    np.testing.assert_array_equal(table["y"], factors.obsm["scores"][:, 1])
    assert table["cell"].tolist() == data.obs_names.tolist()
    assert table["condition"].tolist() == data.obs["condition"].tolist()
    assert set(table["x_term"]) == {"A"}
    assert set(table["y_term"]) == {"B"}
    assert set(table["note"]) == {
        "y axis: GONE was filtered out (too few genes); C was switched off by the method"
    }  # fmt: skip


def test_cells_without_any_term_left_are_kept_without_scores(found, tmp_path):
    data, factors = found
    table = back(tables.cells_table(data, factors, ["GONE"], ["A"], []), tmp_path / "cells.tsv.gz")
    assert len(table) == data.n_obs
    assert table["x"].isna().all()
    assert table["x_term"].isna().all()
    assert table["note"].iloc[0] == "x axis: GONE was filtered out (too few genes); no term is left"


def test_a_gene_set_that_the_method_has_no_factor_for_is_not_called_filtered_out():
    assert tables.choose_term(["A", "PC1"], {"PC1": True}, {"A"}) == ("PC1", ["A is not a factor of this run"])
