"""Scaling: planted laws are recovered; stopped runs are extrapolated and never shown as measured."""

import copy

import numpy as np
import pandas as pd
import pytest
from factorbench.config import figures
from factorbench.contracts.errors import UserError
from factorbench.contracts.files import read_table, write_table
from factorbench.contracts.scores import SCORE_COLUMNS
from factorbench.reporting import facts
from factorbench.reporting.claims import verdicts
from factorbench.reporting.plots import _style as style
from factorbench.reporting.plots import scaling as plot_scaling
from factorbench.results import scaling
from factorbench.results.runtime import runs_table, runtime_table
from factorbench.results.tables import add_missing
from scipy import stats

from tests.unit import metric_fixtures as toy
from tests.unit.test_plots import clashes, dots, drawn, entries, texts

SIZES = [(n, k) for k in (25, 130) for n in (250, 500, 1000, 2000, 5000, 13_576)] + [(1000, 60)]
PER_ITERATION = {"slow": 6e-8, "slow_reassociated": 1.5e-8}
"""Seconds of an iteration for a cell and a term, of a model and of the same one with another order of operations."""
CONVERGED_AFTER = {250: 701, 500: 1401, 1000: 1101}


def name(cells, terms):
    return f"toy_{terms}_{cells}"


def study(budget=40.0, seeds=(0,), noise=0.0, sizes=SIZES):
    """Runs of a scaling study whose times follow known laws, the terms of its datasets, and its config.

    ``ae``: 0.01 cells^0.6 terms^0.3 s, always finished. ``slow`` and its re-associated twin: 2 s and `PER_ITERATION`
    cells terms^1.5 s an iteration, stopped before the first iteration that begins after the ``budget``.
    """
    rng = np.random.default_rng(0)
    config = toy.config()
    toy_entry = config["datasets"]["toy"] | {"raw": "toy"}
    config["datasets"] = {"toy": toy_entry} | {
        name(*size): toy_entry | {"from": "toy", "title": name(*size), "n_cells": size[0]} for size in sizes
    }
    config["methods"] |= {"slow_reassociated": {"title": "Slow twin", "use": "fsclvm_reassociated", "params": {}}}
    runs = []
    for cells, terms in sizes:
        for seed in seeds:
            of = {
                "dataset": name(cells, terms),
                "n_cells": cells,
                "n_genes": 8 * terms,
                "n_factors": terms,
                "seed": seed,
            }
            seconds = 0.01 * cells**0.6 * terms**0.3 * np.exp(noise * rng.normal())
            runs.append(toy.run(**of, use="interpretable_ae", seconds=seconds, iterations=30))
            for method, cost in PER_ITERATION.items():
                cost = cost * cells * terms**1.5 * np.exp(noise * rng.normal())
                needed = CONVERGED_AFTER.get(cells, 2001)
                made = min(needed, int((budget - 2) / cost) + 1)
                done = made == needed
                more = {"status": "ok" if done else "budget", "iterations": made, "converged": done}
                use = config["methods"][method]["use"]
                runs.append(toy.run(method=method, use=use, **of, **more, seconds=2 + made * cost, start_seconds=2.0))
    return runs_table(runs), {name(*size): size[1] for size in sizes}, config


def found(runs, terms, config, path):
    """The two tables as the next rule reads them."""
    sized = scaling.families(runs, terms, config["datasets"])
    made = {"scaling": scaling.laws(sized), "full_time": scaling.full_times(sized, "ae")}
    for key, table in made.items():
        write_table(path / f"{key}.tsv", add_missing(table, config["datasets"]))
    return {key: read_table(path / f"{key}.tsv") for key in made}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    runs, terms, config = study()
    return runs, config, found(runs, terms, config, tmp_path_factory.mktemp("tables"))


def law_of(tables, method, of):
    return tables["scaling"].set_index(["method", "of"]).loc[(method, of)]


# ---------------------------------------------------------------------------------------------------------------- laws


def test_a_planted_law_is_found(world):
    law = law_of(world[2], "ae", "fit")
    np.testing.assert_allclose([law["cells_exponent"], law["terms_exponent"]], [0.6, 0.3], atol=1e-5)
    np.testing.assert_allclose(law["seconds"], 0.01 * 1000**0.6 * 100**0.3, rtol=1e-5)
    assert (law["runs"], law["sizes"]) == (13, 6)


def test_intervals_are_those_of_linear_regression():
    rng = np.random.default_rng(1)
    cells = np.tile([250.0, 500.0, 1000.0, 4000.0], 3)
    seconds = cells**0.8 * np.exp(rng.normal(size=12))
    law = scaling.power_law(cells, np.full(12, 40), seconds)
    expected = stats.linregress(np.log(cells), np.log(seconds))
    half = stats.t.ppf(0.975, 10) * expected.stderr
    np.testing.assert_allclose(law["cells_exponent"], expected.slope)
    np.testing.assert_allclose([law["cells_lower"], law["cells_upper"]], expected.slope + half * np.array([-1, 1]))
    np.testing.assert_allclose(law["seconds"], np.exp(expected.intercept) * 1000**expected.slope)
    assert np.isnan(law["terms_exponent"])
    assert "one number of gene sets" in law["reason"]


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(2)
    cells, terms = np.array(SIZES, float).T
    held = []
    for _ in range(400):
        law = scaling.power_law(cells, terms, cells**1.1 * terms**0.5 * np.exp(0.3 * rng.normal(size=len(cells))))
        held.append([law["cells_lower"] < 1.1 < law["cells_upper"], law["terms_lower"] < 0.5 < law["terms_upper"]])
    np.testing.assert_allclose(np.mean(held, axis=0), 0.95, atol=0.035)


def test_another_clock_changes_the_seconds_alone():
    cells, terms = np.array(SIZES, float).T
    seconds = np.random.default_rng(3).gamma(2, size=len(cells))
    one, other = scaling.power_law(cells, terms, seconds), scaling.power_law(cells, terms, 7 * seconds)
    assert one.pop("seconds") * 7 == pytest.approx(other.pop("seconds"))
    assert one == pytest.approx(other)


@pytest.mark.parametrize(
    ("cells", "terms", "words"),
    [
        ([], [], "0 numbers of cells"),
        ([100, 100, 100], [10, 20, 30], "1 number of cells, 3 are needed"),
        ([100, 200, 400, 400], [10, 20, 40, 40], "grow together"),
        ([100, 200, 400], [10, 10, 40], "3 runs, one more is needed"),
    ],
)
def test_a_design_that_says_too_little_gives_a_reason_and_no_number(cells, terms, words):
    law = scaling.power_law(cells, terms, np.ones(len(cells)))
    assert words in law["reason"]
    assert all(np.isnan(value) for key, value in law.items() if key != "reason")


def test_stopped_runs_are_in_the_law_of_iterations_only(world):
    runs, _, made = world
    done = runs[(runs["method"] == "slow") & (runs["status"] == "ok")]
    assert 0 < len(done) < len(SIZES)
    assert law_of(made, "slow", "fit")["runs"] == len(done)
    law = law_of(made, "slow", "iteration")
    assert law["runs"] == len(SIZES)
    # The 2 s of the start are in no iteration.
    np.testing.assert_allclose([law["cells_exponent"], law["terms_exponent"]], [1, 1.5], rtol=1e-5)
    assert "iteration" not in made["scaling"].set_index("method").loc[["ae"], "of"].tolist()


def test_a_run_of_one_iteration_says_nothing_of_their_cost():
    runs, terms, config = study(budget=2.5)  # the largest begin one iteration
    sized = scaling.families(runs, terms, config["datasets"])
    rows = scaling.full_times(sized, "ae").set_index(["dataset", "method"])
    row = rows.loc[(name(13_576, 130), "slow")]
    assert row["how"] == "stopped"
    assert row["reason"] == "stopped before 2 iterations, so the cost of one is unknown"
    assert np.isnan([row["seconds"], row["upper"], row["ratio_upper"]]).all()
    assert row["lower"] == row["ran"]


# ------------------------------------------------------------------------------------------------------------ machines


def elsewhere(runs, chosen, factor=10.0):
    """``runs`` with those ``chosen`` made on a machine that is ``factor`` times slower."""
    slower = {key: runs[key].astype(float) * np.where(chosen, factor, 1.0) for key in ("fit_seconds", "start_seconds")}
    return runs.assign(host=np.where(chosen, "old", "new"), **slower)


def test_runs_of_two_machines_follow_no_one_law(tmp_path):
    runs, terms, config = study()
    mixed = elsewhere(runs, (runs["n_cells"] > 2000) & (runs["method"] == "ae"))
    made = found(mixed, terms, config, tmp_path)
    law = law_of(made, "ae", "fit")
    assert law["reason"] == scaling.SEVERAL_HOSTS
    assert np.isnan(law["cells_exponent"])
    assert law_of(made, "slow", "iteration")["cells_exponent"] == pytest.approx(1, rel=1e-5)
    figure = plot_scaling.plot(made, {"dataset": "toy", "title": "Growth"}, config)
    assert entries(figure)[0] == f"Interpretable AE: no law, {scaling.SEVERAL_HOSTS}"
    assert "2 machines" in texts(figure)


def test_ratios_of_full_times_are_within_a_machine(world, tmp_path):
    runs, terms, config = study()
    both = pd.concat([elsewhere(runs, False), elsewhere(runs, True)], ignore_index=True)
    full = found(both, terms, config, tmp_path)["full_time"].set_index(["dataset", "method", "host"])
    one = world[2]["full_time"].set_index(["dataset", "method"])
    at = (name(13_576, 130), "slow")
    for host in ("new", "old"):
        for column in ("ratio_lower", "ratio_upper", "converged"):
            assert full.loc[(*at, host), column] == pytest.approx(one.loc[at, column], rel=1e-5)
    assert full.loc[(*at, "old"), "seconds"] == pytest.approx(10 * one.loc[at, "seconds"], rel=1e-5)
    apart = elsewhere(runs, runs["method"] == "ae")
    full = found(apart, terms, config, tmp_path)["full_time"]
    assert full[["ratio_lower", "ratio_upper"]].isna().all(axis=None)
    assert facts.growth(full, config) == []


def test_growth_on_two_machines_is_reported_for_each(tmp_path):
    runs, terms, config = study()
    config["report"]["paper_minutes"] = {}
    both = pd.concat([elsewhere(runs, False), elsewhere(runs, True)], ignore_index=True)
    full = found(both, terms, config, tmp_path)["full_time"]
    rows = facts.growth(full, config)
    assert sorted(row["host"] for row in rows) == ["new", "new", "old", "old"]
    ratios = {(row["method"], row["host"]): row["ratio_lower"] for row in rows}
    assert ratios["slow", "new"] == pytest.approx(ratios["slow", "old"], rel=1e-5)
    seconds = {row["host"]: row["reference_seconds"] for row in rows}
    assert seconds["old"] == pytest.approx(10 * seconds["new"], rel=1e-5)
    np.testing.assert_allclose(scaling.variants(both)["factor"], 4)
    assert {row["host"] for row in facts.variants(full, both, config)} == {"new", "old"}
    apart = elsewhere(runs, runs["method"] == "slow")
    assert scaling.variants(apart).empty


# ------------------------------------------------------------------------------------------------------- extrapolation


def test_the_time_of_a_stopped_run_is_its_cost_times_iterations_seen_elsewhere(world):
    runs, _, made = world
    row = made["full_time"].set_index(["dataset", "method"]).loc[(name(13_576, 130), "slow")]
    run = runs.set_index(["dataset", "method"]).loc[(name(13_576, 130), "slow")]
    cost = (run["fit_seconds"] - 2) / run["iterations"]
    assert row["how"] == "extrapolated"
    bounds = np.array([2 + cost * 701, 2 + cost * 2001])
    np.testing.assert_allclose([row["lower"], row["upper"]], bounds, rtol=1e-5)
    ae = 0.01 * 13_576**0.6 * 130**0.3
    np.testing.assert_allclose([row["ratio_lower"], row["ratio_upper"]], bounds / ae, rtol=1e-5)
    assert (row["iterations_lower"], row["iterations_upper"]) == (701, 2001)
    # Where either of the twins converged, once.
    twins = runs[runs["method"].str.startswith("slow") & (runs["status"] == "ok")]
    assert row["converged"] == twins["dataset"].nunique() < len(twins)


def test_measured_and_extrapolated_are_never_mixed(world):
    runs, _, made = world
    full = made["full_time"].set_index(["dataset", "method"])
    status = runs.set_index(["dataset", "method"])["status"]
    for key, row in full.iterrows():
        assert row["how"] == ("measured" if status[key] == "ok" else "extrapolated")
        if row["how"] == "measured":
            assert row["seconds"] == row["lower"] == row["upper"] == row["ran"]
            assert np.isnan(row["iterations_lower"])
        else:
            assert row["ran"] < row["lower"] <= row["seconds"] <= row["upper"]


def test_iterations_that_the_stopped_run_has_passed_do_not_count():
    runs, terms, config = study()
    sized = scaling.families(runs, terms, config["datasets"])
    chosen = (sized["dataset"] == name(13_576, 130)) & (sized["method"] == "slow")
    for made, expected in ((1200, 1401), (1401, 2001)):
        row = scaling.full_times(sized.assign(iterations=sized["iterations"].mask(chosen, made)), "ae")
        row = row.set_index(["dataset", "method"]).loc[(name(13_576, 130), "slow")]
        assert row["iterations_lower"] == expected
    row = scaling.full_times(sized.assign(iterations=sized["iterations"].mask(chosen, 3000)), "ae")
    row = row.set_index(["dataset", "method"]).loc[(name(13_576, 130), "slow")]
    assert (row["how"], row["reason"]) == ("stopped", "stopped after more iterations than any run that converged")


def test_iterations_of_another_model_do_not_count():
    runs, terms, config = study()
    runs["params"] = np.where(runs["status"] == "budget", '{"n_dense": 3}', runs["params"])
    rows = scaling.full_times(scaling.families(runs, terms, config["datasets"]), "ae")
    rows = rows[rows["method"].str.startswith("slow") & (rows["statuses"] != "1 ok")]
    assert len(rows) > 3
    assert set(rows["how"]) == {"stopped"}
    assert set(rows["reason"]) == {"none of its runs converged, so the number of iterations it needs is unknown"}


def test_the_spread_of_the_reference_is_in_the_ratio():
    runs, terms, config = study(seeds=(0, 1, 2), noise=0.1)
    rows = scaling.full_times(scaling.families(runs, terms, config["datasets"]), "ae").set_index(["dataset", "method"])
    ae, slow = rows.loc[(name(250, 25), "ae")], rows.loc[(name(250, 25), "slow")]
    assert ae["lower"] < ae["seconds"] < ae["upper"]
    assert slow["ratio_lower"] == pytest.approx(slow["lower"] / ae["upper"])
    assert slow["ratio_upper"] == pytest.approx(slow["upper"] / ae["lower"])
    assert np.isnan(ae["ratio_lower"])


def test_no_ratio_to_a_reference_that_was_stopped():
    runs, terms, config = study()
    runs.loc[runs["method"] == "ae", "status"] = "budget"
    rows = scaling.full_times(scaling.families(runs, terms, config["datasets"]), "ae")
    assert rows[["ratio_lower", "ratio_upper"]].isna().all(axis=None)


@pytest.mark.parametrize("sizes", [[(500, 40), (13_576, 130)], [(500, 40), (1000, 130), (2000, 130)]])
def test_too_few_sizes_give_empty_tables_that_can_be_read(sizes, tmp_path):
    made = found(*study(sizes=sizes), tmp_path)
    assert [len(table) for table in made.values()] == [0, 0]
    assert tuple(made["scaling"].columns) == (*scaling.LAW_COLUMNS, "missing")
    assert tuple(made["full_time"].columns) == (*scaling.FULL_COLUMNS, "missing")


def test_held_out_data_are_no_size():
    runs, terms, config = study(sizes=[(250, 25), (500, 25), (1000, 25)])
    assert len(scaling.families(runs, terms, config["datasets"])) == len(runs)
    config["datasets"][name(500, 25)]["hold_out"] = {"share": 0.2}
    assert scaling.families(runs, terms, config["datasets"]).empty


# --------------------------------------------------------------------------------------------------- what is said of it


@pytest.fixture
def config(world):
    config = copy.deepcopy(world[1])
    config["report"]["paper_minutes"] = {"toy": {"ae": 8, "slow": 2203}}
    for key, entry in config["datasets"].items():
        entry["n_cells"] = None if key == name(13_576, 130) else entry["n_cells"]
    return config


def test_growth_is_that_of_the_largest_size_with_its_range(world, config):
    full = world[2]["full_time"]
    first, twin = facts.growth(full, config)
    row = full.set_index(["dataset", "method"]).loc[(name(13_576, 130), "slow")]
    assert (first["method"], first["cells"], first["how"]) == ("slow", 13_576, "extrapolated")
    assert (first["ratio_lower"], first["ratio_upper"]) == (row["ratio_lower"], row["ratio_upper"])
    assert (first["iterations_lower"], first["iterations_upper"]) == (701, 2001)
    assert first["reference_seconds"] == pytest.approx(0.01 * 13_576**0.6 * 130**0.3, rel=1e-5)
    assert twin["method"] == "slow_reassociated"


def test_growth_without_extrapolation_has_no_upper_end(world, config):
    full = world[2]["full_time"].copy()
    stopped = full["how"] == "extrapolated"
    full["how"], full["reason"] = full["how"].mask(stopped, "stopped"), "none of its runs converged"
    full.loc[stopped, ["seconds", "upper", "ratio_upper"]] = np.nan
    row = facts.growth(full, config)[0]
    assert (row["how"], row["ratio_upper"], row["reason"]) == ("stopped", None, "none of its runs converged")


def test_how_much_of_the_time_is_implementation(world, config):
    (pair,) = facts.variants(world[2]["full_time"], world[0], config)
    run = world[0].set_index(["dataset", "method"]).loc[name(13_576, 130)]
    costs = (run["fit_seconds"] - run["start_seconds"].astype(float).fillna(0)) / run["iterations"]
    assert (pair["method"], pair["method_variant"], pair["of"]) == ("slow", "slow_reassociated", "iteration")
    assert pair["share"] == pytest.approx(costs["slow"] / costs["slow_reassociated"])
    assert pair["published"] == 2203 / 8
    assert pair["whole"]
    assert pair["differs_by"]
    assert [row["how"] for row in pair["ratios"]] == ["extrapolated"]


def test_without_a_study_the_variant_is_compared_where_it_was_run(tmp_path):
    runs, terms, config = study(budget=1e5, sizes=[(500, 40), (300, 20)])
    config["report"]["paper_minutes"] = {"toy": {"ae": 8, "slow": 2203}}
    full = found(runs, terms, config, tmp_path)["full_time"]
    (pair,) = facts.variants(full, runs, config)
    seconds = runs[runs["dataset"] == name(500, 40)].set_index("method")["fit_seconds"].astype(float)
    assert (pair["dataset"], pair["of"], pair["whole"]) == (name(500, 40), "fit", False)
    assert pair["share"] == pytest.approx(seconds["slow"] / seconds["slow_reassociated"])
    assert facts.variants(full, runs[runs["method"] != "slow_reassociated"], config) == []


# --------------------------------------------------------------------------------------------------------------- figure


FIGURE = {"kind": "scaling", "dataset": "toy", "title": "How time grows"}


def test_the_figure_tells_measured_stopped_and_extrapolated_apart(world):
    _, config, made = world
    figure = plot_scaling.plot(made, FIGURE, config)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["25 gene sets", "130 gene sets"]
    full = made["full_time"]
    rows = {how: full[(full["how"] == how) & (full["terms"] != 60)] for how in ("measured", "extrapolated")}
    for gid, how in (("measured", "measured"), ("stopped", "extrapolated")):
        places = np.concatenate([dots(axes, gid) for axes in figure.axes])
        np.testing.assert_allclose(np.sort(places[:, 1]), np.sort(rows[how]["ran"]))
    hollow = drawn(figure, "extrapolated")
    assert {(line.get_markerfacecolor(), line.get_linestyle()) for line in hollow} == {("white", "--")}
    y = np.concatenate([line.get_ydata() for line in hollow]).astype(float)
    np.testing.assert_allclose(np.sort(y), np.sort(rows["extrapolated"]["seconds"]))
    first, *_, measured, stopped, extrapolated = entries(figure)
    assert "cells$^{0.60}$ (0.60 to 0.60) · gene sets$^{0.30}$ (0.30 to 0.30)" in first
    assert measured.startswith("measured")
    assert stopped == "stopped: at least this long"
    assert extrapolated.startswith("extrapolated")
    assert "60 gene sets at 1,000 cells" in texts(figure)
    assert clashes(figure) == []


def test_the_line_of_a_law_goes_through_the_points_it_was_planted_in(world):
    _, config, made = world
    figure = plot_scaling.plot(made, FIGURE, config)
    first = style.palette(3)[0]  # the colour of ae
    (line,) = [x for x in drawn(figure, "law") if x.axes is figure.axes[1] and x.get_color() == first]
    np.testing.assert_allclose(line.get_xdata(), [250, 13_576])
    np.testing.assert_allclose(line.get_ydata(), 0.01 * np.array([250, 13_576]) ** 0.6 * 130**0.3, rtol=1e-4)


def test_the_figure_of_what_finished_has_nothing_extrapolated(tmp_path):
    runs, terms, config = study(budget=1e7)
    figure = plot_scaling.plot(found(runs, terms, config, tmp_path), FIGURE, config)
    assert len(entries(figure)) == 3 + 1
    assert drawn(figure, "extrapolated") == []
    assert sum(len(dots(axes, "stopped")) for axes in figure.axes) == 0


def test_the_figure_says_when_there_are_too_few_sizes(tmp_path):
    runs, terms, config = study(sizes=SIZES[:2])
    figure = plot_scaling.plot(found(runs, terms, config, tmp_path), FIGURE, config)
    assert "Nothing to draw" in texts(figure)
    assert figure.legends == []


def test_the_figure_is_drawn_if_any_size_is_run():
    config = study()[2] | {"figures": {"grows": FIGURE}}
    for run, shown in ((name(250, 25), ["grows"]), ("small", [])):
        config["datasets"]["small"] = config["datasets"]["toy"] | {"raw": "small"}
        assert list(figures.resolve(config, [(run, "ae", 0)], {}, "figures")[0]) == shown
    with pytest.raises(UserError, match=r"figures\.grows\.dataset"):
        figures.resolve(config | {"figures": {"grows": FIGURE | {"dataset": "tou"}}}, [], {}, "figures")


# ---------------------------------------------------------------------------------------------------------------- claim


CLAIM = {
    **{
        "id": "scaling",
        "where": "Section 3",
        "says": "It falls behind.",
        "taken_as": "above 0",
        "differs": "Elsewhere.",
    },
    **{"dataset": "toy", "stand_in": "", "decides": True, "published": None},
    "test": {"time_grows": {"method": "slow", "reference": "ae", "above": 0}},
}


def verdict(runs, config):
    runtime = runtime_table(runs, "ae", config["datasets"])
    empty = pd.DataFrame(columns=list(SCORE_COLUMNS))
    results = {"runs": runs, "runtime": runtime, "scores": empty}
    content = {"claims": [CLAIM], "beside": None}
    return verdicts.claims_table(content, results, config).iloc[0]


def test_one_seed_is_judged_by_the_interval_of_the_exponent(monkeypatch):
    monkeypatch.setattr("tests.unit.test_scaling.CONVERGED_AFTER", dict.fromkeys((250, 500, 1000), 2001))
    runs, _, config = study()
    row = verdict(runs, config)
    done = runs[(runs["method"] == "slow") & (runs["status"] == "ok") & (runs["n_factors"] == 25)]
    law = scaling.power_law(done["n_cells"], done["n_factors"], done["fit_seconds"].astype(float))
    assert row["verdict"] == "reproduced"
    assert row["value"] == pytest.approx(law["cells_exponent"] - 0.6)
    assert np.isfinite([row["lower"], row["upper"]]).all()
    assert row["lower"] < row["value"] < row["upper"]
    assert row["cells"] == done["n_cells"].max()  # those that were stopped are not in it
    assert "not over seeds" in row["details"]
    assert "slow was stopped on " in row["details"]
    assert "seconds per iteration" in row["details"]


def test_an_exponent_whose_interval_reaches_below_is_not_reproduced():
    runs, _, config = study(sizes=[(n, 25) for n in (250, 350, 500)])
    row = verdict(runs, config)  # 701, 2001, 1401 iterations
    assert row["verdict"] == "not reproduced"
    assert row["value"] > 0 > row["lower"]
    assert "not in the whole interval" in row["why"]


def test_too_few_finished_sizes_are_no_test_and_tell_of_iterations():
    runs, _, config = study(budget=8)
    row = verdict(runs, config)
    assert row["verdict"] == "not tested"
    assert "both methods finished on 2 sizes of these data at one number of gene sets, 3 are needed" in row["why"]
    assert "seconds per iteration" in row["why"]


def test_a_method_that_never_finished_is_no_test_and_tells_of_iterations():
    runs, _, config = study(budget=2.2)
    row = verdict(runs[(runs["method"] == "ae") | (runs["status"] != "ok")], config)
    assert row["verdict"] == "not tested"
    assert "did not both finish on any of its sizes; slow was stopped on 250, 500" in row["why"]


def test_ticks_of_sizes_have_room():
    assert plot_scaling.apart([250, 350, 500, 700, 1000, 2000, 13_576], 1.8) == [250, 500, 1000, 2000, 13_576]


def test_sizes_at_other_numbers_of_gene_sets_do_not_count():
    runs, _, config = study(budget=1e7, sizes=[(250, 25), (500, 40), (1000, 130), (2000, 130)])
    assert "finished on 2 sizes of these data at one number of gene sets" in verdict(runs, config)["why"]
