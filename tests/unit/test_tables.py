"""Tables of a whole benchmark, from small runs and scores worked out by hand."""

import itertools

import numpy as np
import pandas as pd
import pytest
from factorbench.config.plan import extent
from factorbench.contracts.errors import ContractError
from factorbench.contracts.files import read_table, write_table
from factorbench.contracts.run import RUN_KEYS, STATUSES
from factorbench.results.cells import cells_table, choose_term, questions
from factorbench.results.pathways import rank_agreement, top_pathways
from factorbench.results.runtime import RUNTIME_COLUMNS, in_words, runs_table, runtime_table, several_hosts
from factorbench.results.seeds import over_seeds
from factorbench.results.separation import best_by_seed, separation_table, tally
from factorbench.results.tables import add_missing
from factorbench.statistics import interval
from scipy import stats

from tests.unit import metric_fixtures as toy


def back(table, path):
    """``table`` as the next rule reads it."""
    write_table(path, table)
    return read_table(path)


@pytest.fixture(params=["in memory", "read back"])
def through(request, tmp_path):
    """Tables must be the same from tables in memory and from tables read back, where empty text is missing."""
    return (lambda table: table) if request.param == "in memory" else (lambda table: back(table, tmp_path / "t.tsv"))


# --------------------------------------------------------------------------------------------------------------- runs


def test_runs_table_has_one_row_per_run_failures_included(through):
    runs = [toy.run(seed=s, status=status) for s, status in enumerate(STATUSES)]
    table = through(runs_table(runs))
    assert table["status"].tolist() == list(STATUSES)
    assert tuple(table.columns) == RUN_KEYS
    assert table["versions"].tolist() == ['{"numpy": "2.0"}'] * len(runs)


def test_runs_table_refuses_an_incomplete_record():
    with pytest.raises(ContractError, match="lacks"):
        runs_table([{"dataset": "toy"}])


def runtime(through, *runs, reference="ae", datasets=None):
    table = runtime_table(through(runs_table(list(runs))), reference, datasets or {"toy": {}})
    assert tuple(table.columns) == RUNTIME_COLUMNS
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
    assert table[["paper_minutes", "paper_ratio"]].isna().all(axis=None)
    assert table["cells"].tolist() == [120, 120, 50]


@pytest.mark.parametrize(
    ("runs", "seconds", "bound"),
    [
        ([("ok", 10), ("ok", 20), ("timeout", 100)], 20, "exact"),  # the time of the third does not matter
        ([("ok", 10), ("budget", 15), ("ok", 20)], 15, "at least"),
        ([("ok", 10), ("timeout", 100)], 55, "at least"),
        ([("max_iterations", 50)], 50, "at least"),
        ([("ok", 10), ("diverged", 1)], 10, "exact"),
        ([("diverged", 1), ("not_applicable", 0)], np.nan, ""),
    ],
)
def test_a_stopped_run_makes_the_median_a_lower_bound_if_it_could_move_it(through, runs, seconds, bound):
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


def test_machines_are_rows_and_ratios_are_within_one(through):
    """The old machine needs ten times as long: a ratio across the two would be 3 or 300 instead of 30."""
    made = [
        ("ae", "old", 20.0),
        ("ae", "new", 2.0),
        ("slow", "old", 600.0),
        ("slow", "new", 60.0),
        ("pca", "else", 1.0),
    ]
    runs = [toy.run(method=m, seed=s, host=h, processor=f"{h} 1", seconds=t) for s, (m, h, t) in enumerate(made)]
    table = runtime_table(through(runs_table(runs)), "ae", {"toy": {}})
    table = table.set_index(["method", "host"])
    assert list(table.index) == [(m, h) for m, h, _ in made]
    assert table["ratio"].tolist()[:4] == [1, 1, 30, 30]
    assert np.isnan(table.loc[("pca", "else"), "ratio"])
    assert table["seconds"].tolist() == [t for *_, t in made]
    assert table.loc[("slow", "new"), "processor"] == "new 1"
    assert several_hosts(table.reset_index()) == "made on 3 machines; ratios are within a machine"


def test_a_machine_without_a_name_is_one_machine(through):
    runs = through(runs_table([toy.run(host=""), toy.run(method="slow", host="", seconds=60.0)]))
    assert runtime_table(runs, "ae", {"toy": {}})["ratio"].tolist() == [1, 30]
    assert several_hosts(runs) == ""


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"n_cells": None, "missing": [], "hold_out": None}, "full"),
        ({"n_cells": 500, "missing": [], "hold_out": None}, "subset"),
        ({"n_cells": None, "missing": ["C51"], "hold_out": None}, "part"),
        ({"n_cells": None, "missing": [], "hold_out": {"share": 0.2}}, "held out"),
        ({"n_cells": 500, "missing": ["C51"], "hold_out": {"share": 0.2}}, "part, subset, held out"),
        ({"piece": True, "n_sets": 40}, "piece, some sets"),
    ],
)
def test_the_extent_names_everything_that_leaves_data_out(entry, words):
    assert extent(entry) == words


def test_published_minutes_are_those_of_the_nearest_dataset_that_has_any(through):
    runs = [toy.run(d, m) for d in ("toy", "small", "tiny", "own", "else") for m in ("ae", "slow", "pca")]
    datasets = {
        **{"toy": {}, "small": {"from": "toy", "n_cells": 50}, "tiny": {"from": "small"}, "else": {}},
        "own": {"from": "small"},
    }
    paper = {"toy": {"ae": 8, "slow": 2203}, "own": {"slow": 5}}
    table = runtime_table(through(runs_table(runs)), "ae", datasets, paper)
    table = table.set_index(["dataset", "method"])
    for dataset in ("toy", "small", "tiny"):
        assert table.loc[(dataset, "slow"), ["paper_minutes", "paper_ratio"]].tolist() == [2203, 2203 / 8]
        assert table.loc[(dataset, "ae"), ["paper_minutes", "paper_ratio"]].tolist() == [8, 1]
        assert np.isnan(table.loc[(dataset, "pca"), "paper_minutes"])
    assert table.loc[("own", "slow"), "paper_minutes"] == 5
    assert np.isnan(table.loc[("own", "slow"), "paper_ratio"])  # its reference was not published
    assert table.loc["else", "paper_minutes"].isna().all()


def test_every_row_names_the_samples_that_its_dataset_lacks(tmp_path):
    datasets = {"toy": {"missing": ["C51", 52]}, "small": {"missing": []}}
    table = pd.DataFrame({"dataset": ["small", "toy", "gone", None], "value": 1.0})
    said = add_missing(table, datasets)
    assert list(said) == ["dataset", "value", "missing"]
    assert said["missing"].tolist() == ["", "C51, 52", "", ""]
    assert list(table) == ["dataset", "value"]
    empty = add_missing(toy.scores({}).iloc[:0], datasets)
    assert list(empty)[-1] == "missing"
    assert empty.empty


def test_statuses_in_words():
    assert in_words(pd.Series(["budget", "ok", "ok", "max_iterations"])) == "2 ok, 1 max iterations, 1 budget"


# ------------------------------------------------------------------------------------------------------------- scores


def test_means_over_seeds_have_students_interval(through):
    values = [0.9, 0.94, 0.98]
    scores = toy.scores(*({"seed": s, "value": v} for s, v in enumerate(values)), {"factor": "", "value": 0.3})
    table = over_seeds(through(scores)).set_index("factor")
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    row = table.loc["A"]
    np.testing.assert_allclose([row["mean"], row["lower"], row["upper"]], [0.94, low, high])
    assert (row["lowest"], row["highest"], row["seeds"], row["n"]) == (0.9, 0.98, 3, 120)
    assert table.loc["", "mean"] == 0.3
    assert np.isnan(table.loc["", "lower"])


def test_missing_values_do_not_count_as_seeds(through):
    scores = toy.scores({"value": 0.9}, {"seed": 1, "value": np.nan})
    assert over_seeds(through(scores))[["mean", "seeds"]].to_numpy().tolist() == [[0.9, 1]]


def test_a_measure_over_seeds_keeps_its_value_and_its_interval(through):
    stability = {"metric": "stability", "seed": np.nan, "split": "", "label": ""}
    scores = toy.scores(
        {**stability, "value": 0.8, "lower": 0.7, "upper": 0.95},
        {**stability, "factor": "B", "value": 0.4},
        *({"seed": s, "value": v, "lower": 0.0, "upper": 1.0} for s, v in enumerate([0.90, 0.94, 0.98])),
    )
    table = over_seeds(through(scores)).set_index(["metric", "factor"])
    columns = ["mean", "lower", "upper", "seeds"]
    assert table.loc[("stability", "A"), columns].tolist() == [0.8, 0.7, 0.95, 1]
    assert table.loc[("stability", "B"), ["mean", "seeds"]].tolist() == [0.4, 1]
    assert table.loc[("stability", "B"), ["lower", "upper"]].isna().all()
    low, high = stats.t.interval(0.95, 2, 0.94, stats.sem([0.90, 0.94, 0.98]))
    np.testing.assert_allclose(table.loc[("accuracy", "A"), ["lower", "upper"]].astype(float), [low, high])


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
    table = top_pathways(through(scores), 2)
    assert table[["method", "rank", "factor", "on", "seeds"]].to_numpy().tolist() == [
        ["ae", 1, "A", 3, 3],
        ["ae", 2, "B", 1, 3],
        ["slow", 1, "D", 1, 1],
    ]
    assert table.loc[1, ["relevance", "lowest", "highest"]].tolist() == pytest.approx([4 / 3, 0, 4])
    assert "C" not in set(top_pathways(scores, 10)["factor"])


RELEVANCE = pd.Series({"A": 5.0, "B": 4.0, "C": 3.0, "D": 2.0, "E": 1.0, "F": 0.0, "G": 0.0})


def by_hand(found, marked, drawn):
    """Expected number and probability of ``found`` or more, over all choices of ``drawn`` of seven sets."""
    hits = [len(set(choice) & set(marked)) for choice in itertools.combinations(RELEVANCE.index, drawn)]
    return np.mean(hits), np.mean(np.array(hits) >= found)


def test_agreement_of_two_rankings_counts_what_chance_would_give():
    published = ["B", "A", "F", "GONE"]
    found = rank_agreement(RELEVANCE.sample(frac=1, random_state=0), published)
    assert (found["shared"], found["n"], found["kept"]) == (2, 3, 7)
    assert [found["expected"], found["p_overlap"]] == pytest.approx(by_hand(2, ["A", "B", "F"], 4))
    assert found["ranks"] == {"B": 2, "A": 1, "F": 6, "GONE": None}
    assert found["tau"] == pytest.approx((2 - 1) / 3)  # A and B are the one pair in the other order


def test_agreement_counts_ties_as_tau_b_does():
    published = ["A", "F", "G"]  # the two that are off are tied: two pairs agree, of 3 and of 3 - 1 that are not tied
    found = rank_agreement(RELEVANCE, published)
    assert found["tau"] == pytest.approx(2 / np.sqrt(3 * 2))
    assert found["ranks"] == {"A": 1, "F": 6, "G": 6}
    assert found["shared"] == 1


@pytest.mark.parametrize(("published", "tau"), [(list("ABCDE"), 1), (list("EDCBA"), -1)])
def test_agreement_of_equal_and_of_opposite_orders(published, tau):
    found = rank_agreement(RELEVANCE, published)
    assert found["tau"] == pytest.approx(tau)
    assert found["p_tau"] == pytest.approx(2 / 120)
    assert found["shared"] == 5


def test_sets_that_are_off_are_never_shared():
    found = rank_agreement(RELEVANCE * 0, ["A", "B"])
    assert (found["shared"], found["expected"], found["p_overlap"]) == (0, 0, 1)
    assert np.isnan(found["tau"])


@pytest.mark.parametrize("published", [[], ["A"], ["GONE", "LOST"]])
@pytest.mark.parametrize("relevance", [RELEVANCE, RELEVANCE.iloc[:0]])
def test_agreement_of_too_few_sets_is_missing(relevance, published):
    found = rank_agreement(relevance, published)
    assert np.isnan(found["tau"])
    assert 0 <= found["p_overlap"] <= 1
    assert found["expected"] == pytest.approx(len(relevance) and len(published) * found["n"] / 7)


def separated(method, seeds):
    """Rows of one method: ``{seed: {factor: (training accuracy, cross-validated accuracy, AUROC)}}``."""
    measures = [("accuracy", "train"), ("accuracy", "cv"), ("auroc", "")]
    rows = [
        {"method": method, "factor": f, "seed": s, "metric": metric, "split": split, "value": value}
        for s, factors in seeds.items()
        for f, values in factors.items()
        for (metric, split), value in zip(measures, values, strict=True)
    ]
    base = {"method": method, "factor": "", "metric": "baseline", "split": ""}
    return [*rows, *({**base, "seed": s, "value": 0.5} for s in seeds)]


RANDOM = {  # each seed's best factor is another one, as with permuted gene sets
    0: {"A": (0.98, 0.97, 0.99), "B": (0.60, 0.59, 0.40), "C": (0.70, 0.70, 0.75)},
    1: {"A": (0.62, 0.61, 0.55), "B": (0.97, 0.96, 0.02), "C": (0.72, 0.71, 0.77)},
}


def test_the_best_factor_is_chosen_in_every_seed(through):
    """A mean over seeds of one name would show C, with 0.71: no seed has such a best factor."""
    (row,) = separation_table(through(toy.scores(*separated("random", RANDOM)))).to_dict("records")
    assert row["accuracy"] == pytest.approx((0.98 + 0.97) / 2)
    assert row["cv_accuracy"] == pytest.approx((0.97 + 0.96) / 2)
    assert row["auroc"] == pytest.approx((0.99 + 0.98) / 2), "an AUROC near 0 separates as well as one near 1"
    assert row["factors"] == "A (1 seed), B (1)"
    assert (row["candidates"], row["seeds"], row["n"], row["baseline"]) == (3, 2, 120, 0.5)
    assert np.isnan(row["lower"]), "two seeds have no interval"


def test_a_factor_that_is_best_in_every_seed_is_named_alone_with_students_interval(through):
    seeds = {s: {"A": (v, v - 0.01, 0.9), "B": (0.99, 0.99, 0.6)} for s, v in enumerate((0.9, 0.92, 0.97))}
    scores = toy.scores(*separated("ae", seeds))
    best = best_by_seed(through(scores))
    assert best["factor"].tolist() == ["A", "A", "A"]
    (row,) = separation_table(through(scores)).to_dict("records")
    low, high = stats.t.interval(0.95, 2, 0.93, stats.sem([0.9, 0.92, 0.97]))
    assert [row["accuracy"], row["lower"], row["upper"]] == pytest.approx([0.93, low, high])
    assert (row["factor"], row["factors"]) == ("A", "A")


def test_methods_and_labels_are_chosen_apart(through):
    scores = toy.scores(*separated("ae", RANDOM), *separated("slow", {0: RANDOM[1]}))
    table = separation_table(through(scores)).set_index("method")
    assert table["factor"].to_dict() == {"ae": "A", "slow": "B"}
    assert table.loc["slow", "accuracy"] == 0.97


@pytest.mark.parametrize(
    ("names", "text"), [("A", "A"), ("AAA", "A"), ("AAB", "A (2 seeds), B (1)"), ("AB", "A (1 seed), B (1)")]
)
def test_which_factor_was_best_in_how_many_seeds(names, text):
    assert tally(names) == text


def test_tables_of_no_scores_are_empty(through):
    scores = through(toy.scores({"metric": "explained_variance", "label": "", "factor": "", "split": ""}))
    assert top_pathways(scores, 5).empty
    assert separation_table(scores).empty


# ------------------------------------------------------------------------------------------------------------ figures


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    data = toy.prepared()
    return data, toy.written(toy.factors(data, off=["C"]), data, tmp_path_factory.mktemp("run") / "factors.h5ad")


NO_SCORES = toy.scores({}).iloc[:0]


def test_an_axis_shows_the_first_term_that_is_on_and_notes_the_others(found):
    data, factors = found
    table = cells_table(data, factors, NO_SCORES, ["A"], ["GONE", "C", "B", "A"], ["condition", "cell_type"])
    np.testing.assert_array_equal(table["x"], factors.obsm["scores"][:, 0])
    np.testing.assert_array_equal(table["y"], factors.obsm["scores"][:, 1])
    assert table["cell"].tolist() == data.obs_names.tolist()
    for label in ("condition", "cell_type"):
        assert table[label].tolist() == data.obs[label].tolist()
    assert set(table["x_term"]) == {"A"}
    assert set(table["y_term"]) == {"B"}
    assert set(table["note"]) == {
        "y axis: GONE is not among the gene sets kept; C was switched off by the method"
    }  # fmt: skip


def test_cells_without_any_term_left_are_kept_without_scores(found, tmp_path):
    data, factors = found
    table = back(cells_table(data, factors, NO_SCORES, ["GONE"], ["A"], []), tmp_path / "cells.tsv.gz")
    assert len(table) == data.n_obs
    assert table["x"].isna().all()
    assert table["x_term"].isna().all()
    assert table["note"].iloc[0] == "x axis: GONE is not among the gene sets kept; no gene set is left"


def test_cells_without_a_label_are_of_an_unknown_class(found, tmp_path):
    data, factors = found
    data = data.copy()
    data.obs["cluster"] = pd.Categorical([None, *(str(i % 12) for i in range(1, data.n_obs))])
    table = cells_table(data, factors, NO_SCORES, ["A"], ["B"], ["cluster"])
    assert back(table, tmp_path / "cells.tsv.gz")["cluster"].tolist()[:4] == ["unknown", "1", "2", "3"]


def areas(**labels):
    """AUROC of a run: ``label={factor: value}``, as metrics write it; a label of several classes takes a list."""
    return toy.scores(
        *(
            {"metric": "auroc", "split": "", "label": f"{label}={c}", "factor": factor, "value": v}
            for label, values in labels.items()
            for factor, given in values.items()
            for c, v in (given if isinstance(given, dict) else {"stimulated": given}).items()
        )
    )


CONDITION = {"A": 0.9, "B": 0.2, "sparse_1": 0.05, "C": 0.5}
TYPES = {
    "A": {"B cells": 0.6, "NK": 0.55},
    "B": {"B cells": 0.1, "NK": 0.97},
    "sparse_1": {"B cells": 0.99, "NK": 0.4},
    "C": {"B cells": 0.5, "NK": 0.5},
}


@pytest.mark.parametrize(
    ("x", "y", "chosen"),
    [
        ([], [], ("sparse_1", "B")),  # sparse_1 separates the B cells best, but is taken
        (["sparse_1"], [], ("sparse_1", "B")),
        (["A"], [], ("A", "sparse_1")),
        ([], ["sparse_1"], ("A", "sparse_1")),
    ],
)
def test_an_axis_without_terms_shows_the_factor_that_separates_best(found, x, y, chosen):
    data, factors = found
    table = cells_table(data, factors, areas(condition=CONDITION, cell_type=TYPES), x, y, [])
    assert (table["x_term"].iloc[0], table["y_term"].iloc[0]) == chosen
    note = table["note"].iloc[0]
    assert note.count("chosen after the fact") == (not x) + (not y)
    if not x and not y:
        assert "of 3 factors the one that separates condition=stimulated best (AUROC 0.05)" in note
        assert "of 2 factors the one that separates cell_type=NK best (AUROC 0.97)" in note


def test_without_a_second_label_the_runner_up_is_the_other_axis(found):
    data, factors = found
    table = cells_table(data, factors, areas(condition=CONDITION), [], [], [])
    assert (table["x_term"].iloc[0], table["y_term"].iloc[0]) == ("sparse_1", "A")


def test_without_a_contrast_the_labels_come_in_their_order(found):
    data, factors = found
    data = data.copy()
    data.uns["factorbench"] = toy.prepared(contrast=False).uns["factorbench"]
    scores = areas(condition=CONDITION, cell_type=TYPES)
    table = cells_table(data, factors, scores, [], [], [])
    assert (table["x_term"].iloc[0], table["y_term"].iloc[0]) == ("sparse_1", "B")
    types_only = cells_table(data, factors, areas(cell_type=TYPES), [], [], [])
    assert (types_only["x_term"].iloc[0], types_only["y_term"].iloc[0]) == ("sparse_1", "B")


def test_donors_are_the_last_question():
    record = {"labels": ["donor", "condition", "cell_type"], "donor": "donor", "contrast": None}
    scores = areas(condition=CONDITION, cell_type=TYPES, donor=TYPES)
    asked = [set(rows["label"].str.split("=").str[0]) for rows in questions(scores, record)]
    assert asked == [{"condition"}, {"cell_type"}]
    record["contrast"] = {"label": "cell_type"}
    asked = [set(rows["label"].str.split("=").str[0]) for rows in questions(scores, record)]
    assert asked == [{"cell_type"}, {"condition"}]


def test_where_no_factor_separates_an_axis_stays_empty_and_says_so(found, tmp_path):
    data, factors = found
    for scores in (NO_SCORES, back(NO_SCORES, tmp_path / "none.tsv"), areas(condition={"A": 0.5, "B": 0.5})):
        table = cells_table(data, factors, scores, [], ["A"], [])
        assert table["x"].isna().all()
        assert table["note"].iloc[0] == "x axis: no factor separates any classes"


def test_a_gene_set_that_the_method_has_no_factor_for_is_not_called_filtered_out():
    assert choose_term(["A", "PC1"], {"PC1": True}, {"A"}) == ("PC1", ["A is not a factor of this run"])


def test_the_interval_is_students_over_seeds():
    mean, lower, upper = interval([0.9, 0.95, 0.97])
    half = 4.302652729749464 * np.std([0.9, 0.95, 0.97], ddof=1) / np.sqrt(3)
    np.testing.assert_allclose([mean, lower, upper], [0.94, 0.94 - half, 0.94 + half])
    assert np.isnan(interval([0.9, 0.95])[1:]).all()
