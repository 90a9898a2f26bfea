"""Figures: which marks are drawn, where, and that no text covers another."""

import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from factorbench import registry
from factorbench.contracts.files import read_table, write_table
from factorbench.reporting.numbers import duration, times
from factorbench.reporting.plots import _style as style
from factorbench.reporting.plots import accuracy
from factorbench.results import meaning, scaling
from factorbench.results.cells import cells_table
from factorbench.results.runtime import runs_table, runtime_table
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D
from matplotlib.text import Text

from tests.planted import ROOT
from tests.unit import metric_fixtures as toy


def draw(kind, tables, config=None, **params):
    """The figure of a kind, with the defaults of its SPEC for all other parameters."""
    module = registry.load("figure", kind)
    defaults = {key: param.default for key, param in module.SPEC.params.items()}
    return module.plot(tables, {"title": "Title", "published": []} | defaults | params, config or toy.config())


def visible(figure):
    figure.draw_without_rendering()
    return [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]


def texts(figure):
    """Everything that is written in a figure, on one line."""
    return " ".join(" ".join(t.get_text() for t in visible(figure)).split())


def drawn(figure, gid):
    """The lines drawn under a name."""
    return [line for line in figure.findobj(Line2D) if line.get_gid() == gid]


def dots(axes, gid=None):
    """The places of the dots in a panel, shape (n, 2), of one name or of all."""
    collections = [c for c in axes.collections if gid in (None, c.get_gid())]
    return np.concatenate([np.zeros((0, 2)), *(np.asarray(c.get_offsets()) for c in collections)])


def entries(figure):
    """The texts in the legend."""
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def clashes(figure):
    """Pairs of texts that cover each other. Two numbers may: ticks outside the axes are not drawn."""
    boxes = [(" ".join(t.get_text().split()), t.get_window_extent().padded(-1)) for t in visible(figure)]
    pairs = [(a, b) for i, (a, one) in enumerate(boxes) for b, other in boxes[:i] if one.overlaps(other)]
    return [pair for pair in pairs if any(re.search("[A-Za-z]", text) for text in pair)]


# ------------------------------------------------------------------------------------------------------------- scatter


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    data, folder = toy.prepared(), tmp_path_factory.mktemp("run")
    factors = toy.written(toy.factors(data, off=["C"]), data, folder / "factors.h5ad")

    def table(x, y):
        made = cells_table(data, factors, toy.scores({}), x, y, ["condition", "cell_type"])
        write_table(folder / "cells.tsv.gz", made)
        return read_table(folder / "cells.tsv.gz")

    return table


SCATTER = {"dataset": "toy", "method": "ae", "seed": 3, "colour": "cell_type"}
FACETS = {**SCATTER, "colour": "condition", "facet": "cell_type"}


def check_dots(axes, table, label):
    """Check that a panel shows exactly these cells, each in the colour of its class."""
    (collection,) = axes.collections
    classes = sorted(set(table[label]))
    colours = dict(zip(classes, style.palette(len(classes)), strict=True))
    expected = {(x, y): to_rgba(colours[c])[:3] for x, y, c in table[["x", "y", label]].to_numpy()}
    assert len(dots(axes)) == len(table)
    shown = zip(dots(axes), collection.get_facecolors(), strict=True)
    assert {tuple(place): tuple(colour[:3]) for place, colour in shown} == expected


def panels(figure):
    """Panels by title, for those with one."""
    return {axes.get_title(loc="left"): axes for axes in figure.axes if axes.get_title(loc="left")}


def test_scatter_draws_one_dot_per_cell_in_its_class_colour_in_shuffled_order(cells):
    table = cells(["A"], ["C", "B"])
    figure = draw("scatter", {"cells": table}, **SCATTER)
    axes, *margins = figure.axes
    check_dots(axes, table, "cell_type")
    assert not np.array_equal(dots(axes), table[["x", "y"]])
    assert axes.collections[0].get_rasterized()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("A", "B")
    assert [len(margin.lines) for margin in margins] == [3, 3]
    assert sorted(entries(figure)) == sorted(f"{c}  ({n})" for c, n in table["cell_type"].value_counts().items())
    assert table["note"][0] in texts(figure)
    assert "Interpretable AE, seed 3 · Toy cells" in texts(figure)


def test_scatter_without_a_factor_for_an_axis_draws_no_dots(cells):
    figure = draw("scatter", {"cells": cells(["GONE"], ["A"])}, **SCATTER)
    assert len(dots(figure.axes[0])) == 0
    assert "Nothing to draw" in texts(figure)
    assert "GONE" in texts(figure)


def test_facets_are_panels_of_the_cells_of_one_class_on_shared_axes(cells):
    table = cells(["A"], ["B"])
    figure = draw("scatter", {"cells": table}, **FACETS)
    counts = table["cell_type"].value_counts()
    assert list(panels(figure)) == [f"{name} ({n} cells)" for name, n in counts.items()]
    for name, axes in zip(counts.index, panels(figure).values(), strict=True):
        check_dots(axes, table[table["cell_type"] == name], "condition")
        assert (axes.get_xlim(), axes.get_ylim()) == (figure.axes[0].get_xlim(), figure.axes[0].get_ylim())
    assert (figure.get_supxlabel(), figure.get_supylabel()) == ("A", "B")


def test_facets_are_the_configured_classes_or_the_four_with_most_cells(cells):
    table = cells(["A"], ["B"])
    figure = draw("scatter", {"cells": table}, **FACETS, facets=["NK", "B cells", "Mast"])
    counts = table["cell_type"].value_counts()
    assert list(panels(figure)) == [f"{name} ({counts.get(name, 0)} cells)" for name in ("NK", "B cells", "Mast")]
    assert "3 of the 3 classes" in texts(figure)
    shown = table.loc[table["cell_type"] != "T cells", "condition"].value_counts()
    assert sorted(entries(figure)) == sorted(f"{name}  ({n})" for name, n in shown.items())
    table["cell_type"] = np.repeat(range(1, 7), [5, 40, 30, 20, 15, 10])
    figure = draw("scatter", {"cells": table}, **FACETS)
    assert list(panels(figure)) == ["2 (40 cells)", "3 (30 cells)", "4 (20 cells)", "5 (15 cells)"]
    assert "4 of the 6 classes" in texts(figure)


def test_many_numbered_classes_are_in_order_without_margins(cells):
    table = cells(["A"], ["B"])
    table["cell_type"] = np.arange(len(table)) % 39 + 1
    figure = draw("scatter", {"cells": table}, **SCATTER)
    assert [entry.split()[0] for entry in entries(figure)] == [str(i) for i in range(1, 40)]
    assert len(figure.axes) == 1


# ------------------------------------------------------------------------------------------------------------ accuracy

ACCURACY = {"datasets": ["toy"], "methods": ["ae", "slow", "pca"], "terms": ["A", "B", "GONE"]}
SEEDS = {"train": [0.9, 0.94, 0.96], "cv": [0.8, 0.84, 0.86], "donor": [0.7, 0.74, 0.76]}


def accuracies():
    """ae: A in three seeds, B switched off in all but the last; slow: A in one seed; pca: neither. small: A only."""
    relevance = {"metric": "relevance", "label": "kind=annotated", "split": ""}
    rows = [{"metric": "baseline", "factor": "", "split": "", "value": 0.6, "dataset": d} for d in ("toy", "small")]
    for split, values in SEEDS.items():
        rows += [{"seed": seed, "split": split, "value": value} for seed, value in enumerate(values)]
        rows += [{"seed": seed, "split": split, "factor": "B", "value": 0.6} for seed in range(3)]
        rows += [{"method": "slow", "split": split, "value": 0.8}]
        rows += [{"method": "pca", "split": split, "factor": "PC1", "value": 0.7}]
    rows += [{**relevance, "factor": f, "seed": s, "value": float(f == "A" or s == 2)} for f in "AB" for s in range(3)]
    rows += [{"label": "cell_type=B cells", "value": 0.99}, {"dataset": "small", "value": 0.7}]
    return {"scores": toy.scores(*rows)}


@pytest.mark.parametrize("split", SEEDS)
def test_accuracy_draws_means_seeds_intervals_and_the_baseline(split):
    figure = draw("accuracy", accuracies(), **ACCURACY, split=split)
    axes, values = figure.axes[0], SEEDS[split]
    (mean,), (interval,) = drawn(figure, "ae/A"), drawn(figure, "interval of ae/A")
    assert mean.get_ydata() == pytest.approx([np.mean(values)])
    half = 4.30265 * np.std(values, ddof=1) / np.sqrt(3)  # Student's t with two degrees of freedom
    np.testing.assert_allclose(
        interval.get_ydata(), np.clip([np.mean(values) - half, np.mean(values) + half], 0, 1), 1e-5
    )
    np.testing.assert_allclose(dots(axes, "seeds of ae/A")[:, 1], values)
    np.testing.assert_allclose(dots(axes, "seeds of ae/A")[:, 0].mean(), mean.get_xdata())
    assert len(drawn(figure, "slow/A")) == 1
    assert len(dots(axes, "seeds of slow/A")) == len(drawn(figure, "interval of slow/A")) == 0
    (base,) = drawn(figure, "baseline")
    assert list(base.get_ydata()) == [0.6, 0.6]
    assert base.is_dashed()
    assert axes.get_ylabel() == accuracy.SPLITS[split]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["A", "B"]


def test_two_seeds_have_no_interval():
    scores = accuracies()["scores"]
    figure = draw("accuracy", {"scores": scores[scores["seed"] < 2]}, **ACCURACY)
    assert len(dots(figure.axes[0], "seeds of ae/A")) == 2
    assert drawn(figure, "interval of ae/A") == []


def test_accuracy_shows_a_factor_that_is_off_as_hollow():
    scores = accuracies()["scores"]
    white = to_rgba("white")[:3]

    def hollow(figure, name):
        (mean,) = drawn(figure, name)
        (seeds,) = [c for c in figure.axes[0].collections if c.get_gid() == f"seeds of {name}"]
        return to_rgba(mean.get_markerfacecolor())[:3] == white, [tuple(c[:3]) == white for c in seeds.get_facecolors()]

    figure = draw("accuracy", {"scores": scores}, **ACCURACY)
    assert hollow(figure, "ae/A") == (False, [False, False, False])
    assert hollow(figure, "ae/B") == (False, [True, True, False])
    assert entries(figure)[-1] == "switched off"
    figure = draw("accuracy", {"scores": scores[scores["seed"] < 2]}, **ACCURACY)
    assert hollow(figure, "ae/B") == (True, [True, True])
    figure = draw("accuracy", {"scores": scores}, **ACCURACY | {"terms": ["A"]})
    assert len(entries(figure)) == 3 + 3


def test_accuracy_names_what_is_missing():
    small_print = texts(draw("accuracy", accuracies(), **ACCURACY))
    assert "not among the gene sets kept: GONE." in small_print
    assert "Slow model has no factor B." in small_print
    assert "PCA has none of these factors." in small_print
    assert "Interpretable AE has" not in small_print
    assert "PCA has no result." in texts(draw("accuracy", accuracies(), **ACCURACY | {"datasets": ["small"]}))


def test_accuracy_has_one_panel_per_dataset_and_says_where_there_is_nothing():
    figure = draw("accuracy", accuracies(), **ACCURACY | {"datasets": ["toy", "small"]})
    assert list(panels(figure)) == ["Toy cells", "Fewer toy cells"]
    for params in ({"terms": ["GONE"]}, {"terms": [], "methods": ["gene_set_mean"]}):
        figure = draw("accuracy", accuracies(), **ACCURACY | params)
        assert "Nothing to draw" in texts(figure)
        assert drawn(figure, "baseline") == []


def areas(by_seed, **other):
    """AUROC and accuracy of each factor, from its |AUROC - 1/2| in each seed; the sign changes between seeds."""
    for factor, strengths in by_seed.items():
        for seed, strength in enumerate(strengths):
            value = 0.5 + strength * (-1) ** seed
            yield {**other, "factor": factor, "seed": seed, "metric": "auroc", "split": "", "value": value}
            yield {**other, "factor": factor, "seed": seed, "value": 0.6}


def test_factors_that_are_not_named_are_those_that_are_best_in_most_seeds():
    """Z has a larger mean than H, but only one seed agrees. E and F are equal in all but the name."""
    by_seed = {
        name: [0.2 + strength / 100] * 3 for name, strength in zip("GFEDCBA", (0, 1, 1, 2, 3, 4, 5), strict=True)
    }
    by_seed |= {"I": [0.0] * 3, "H": [0.0, 0.1, 0.1], "Z": [0.5, 0.0, 0.0]}
    other = [*areas({"I": [0.5] * 3}, label="cell_type=B cells", method="slow"), *areas({"I": [0.5] * 3}, method="ae")]
    scores = toy.scores(*areas(by_seed, method="slow"), *other)
    figure = draw("accuracy", {"scores": scores}, datasets=["toy"], methods=["pca", "slow", "ae"])
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == list("ABCDEFGH")
    assert "10 factors of Slow model" in texts(figure)
    assert "PCA has no result" in texts(figure)


def test_a_method_has_the_same_colour_in_every_accuracy_figure():
    figures = [draw("accuracy", accuracies(), **ACCURACY | {"methods": m}) for m in (["slow"], ["ae", "slow"])]
    assert len({drawn(figure, "slow/A")[0].get_markeredgecolor() for figure in figures}) == 1


# ------------------------------------------------------------------------------------------------------------- runtime


def timed(runs, paper=None):
    return {"runs": runs, "runtime": runtime_table(runs, "ae", toy.config()["datasets"], paper)}


def test_runtime_draws_every_timed_run_and_marks_those_that_were_stopped():
    runs = [toy.run(seed=s, seconds=t) for s, t in enumerate([2.0, 3.0, 4.0])]
    runs += [toy.run(method="slow", seed=s, seconds=180.0, status="budget") for s in (0, 1)]
    tables = timed(runs_table([*runs, toy.run(method="pca", status="diverged")]))
    figure = draw("runtime", tables, datasets=["toy", "small"])
    axes = figure.axes[0]
    finished, stopped = (dots(axes, gid) for gid in ("finished", "stopped"))
    np.testing.assert_allclose(finished[:, 0] * 60, [2, 3, 4])
    np.testing.assert_allclose(stopped[:, 0] * 60, [180, 180])
    assert [*finished[:, 1].round(), *stopped[:, 1].round()] == [0, 0, 0, 1, 1]
    np.testing.assert_allclose([line.get_xdata()[0] for line in drawn(figure, "median")], [3 / 60, 3])
    assert axes.get_xscale() == "log"
    assert [t.get_text() for t in axes.get_yticklabels()] == ["Interpretable AE", "Slow model", "PCA"]
    for text in ("120 cells × 12 genes × 5 factors", "3 s (1×)", "at least 3.0 min (≥ 60×)", "no time (1 diverged)"):
        assert text in texts(figure)
    assert len(entries(figure)) == 3
    assert drawn(figure, "published") == []
    assert len(dots(figure.axes[1])) == 0
    assert len(entries(draw("runtime", timed(runs_table(runs[:3])), datasets=["toy"]))) == 2


def test_runtime_of_several_machines_has_one_row_per_machine_and_says_so():
    made = [("ae", "old", 20.0), ("ae", "new", 2.0), ("slow", "old", 600.0)]
    runs = runs_table([toy.run(method=m, seed=s, host=h, seconds=t) for s, (m, h, t) in enumerate(made)])
    figure = draw("runtime", timed(runs), datasets=["toy"])
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert labels == ["Interpretable AE\nold", "Interpretable AE\nnew", "Slow model\nold"]
    np.testing.assert_allclose([line.get_xdata()[0] * 60 for line in drawn(figure, "median")], [20, 2, 600])
    np.testing.assert_allclose(dots(figure.axes[0]) * [60, 1], [[20, 0], [2, 1], [600, 2]])
    assert "2 machines" in texts(figure)
    assert clashes(figure) == []


def test_runtime_marks_published_times_as_those_of_another_machine():
    runs = runs_table([toy.run(), toy.run(method="slow", seconds=60.0), toy.run(method="pca")])
    figure = draw("runtime", timed(runs, {"toy": {"slow": 2203.0}}), datasets=["toy"])
    (diamond,) = drawn(figure, "published")
    assert (*diamond.get_xdata(), *diamond.get_ydata()) == (2203, 1)
    assert diamond.get_markerfacecolor() == "none"
    assert len(entries(figure)) == 3
    assert "do not compare" in texts(figure)
    assert figure.axes[0].get_xlim()[1] > 2203


# ------------------------------------------------------------------------------------------------------------ pathways

NORMS = {"A": [3, 1, 2], "B": [9, 3, 3], "C": [0, 0, 0], "D": [1, 1, 1], "E": [1, 0, 0]}


def relevances():
    at = {"metric": "relevance", "label": "kind=annotated", "split": ""}
    rows = [{**at, "factor": f, "seed": s, "value": float(v)} for f, row in NORMS.items() for s, v in enumerate(row)]
    rows += [{**at, "factor": "dense_1", "label": "kind=dense", "value": 99.0}]
    rows += [{**at, "factor": "D", "method": "slow", "value": 99.0}]
    rows += [{**at, "metric": "stability", "seed": np.nan, "value": 99.0}]
    return {"scores": toy.scores(*rows)}


def pathways(published=(), **other):
    """The figure of the three most relevant gene sets."""
    config = toy.config()
    config["report"]["top"] = 3
    return draw(
        "pathways", relevances(), config, **{"dataset": "toy", "method": "ae"} | other, published=list(published)
    )


def test_pathways_are_drawn_by_mean_relevance_with_seeds_and_range():
    figure = pathways()
    means = {name: drawn(figure, f"mean/{name}") for name in NORMS}
    places = {name: (*m[0].get_xdata(), *m[0].get_ydata()) for name, m in means.items() if m}
    assert places == {"B": (5, 0), "A": (2, 1), "D": (1, 2)}
    assert [tuple(line.get_xdata()) for line in drawn(figure, "range")] == [(3, 9), (1, 3), (1, 1)]
    assert list(dots(figure.axes[0])[:, 0]) == [*NORMS["B"], *NORMS["A"], *NORMS["D"]]
    assert "Interpretable AE, 3 seeds · Toy cells" in texts(figure)
    assert len(entries(figure)) == 2
    assert len(figure.axes) == 1


def test_pathways_are_joined_to_the_published_list():
    names = ["A", "GONE", "B", "C", "E"]
    figure = pathways(names)
    links = {name: drawn(figure, f"link/{name}") for name in [*NORMS, "GONE"]}
    assert {name: tuple(line[0].get_ydata()) for name, line in links.items() if line} == {"A": (1, 0), "B": (0, 2)}
    marks = [drawn(figure, f"published/{name}")[0].get_markerfacecolor() for name in names]
    assert [mark == "white" for mark in marks] == [False, True, False, True, True]
    places = {t.get_gid(): t.get_text() for t in visible(figure) if (t.get_gid() or "").startswith("place")}
    assert places == {"place/GONE": "not kept", "place/C": "switched off", "place/E": "our rank 4"}
    for text in ("3 of the 5 published", "5 gene sets kept, 3.2 (p = 1)", "4 published gene sets that were kept: 0.33"):
        assert text in texts(figure)


def test_pathways_of_a_method_without_gene_sets_say_so():
    for published in ([], ["A"]):
        figure = pathways(published, method="pca")
        assert "Nothing to draw: PCA" in texts(figure)
        assert len(figure.axes) == 1


# --------------------------------------------------------------------------------------------------------- random sets


RANDOM_SETS = {"datasets": ["toy"], "methods": ["ae", "pca"], "terms": ["A", "B", "C"]}


def nulls():
    """The table of gene sets: A beats random ones, B does not, C left its set; nothing is known of pca."""
    usual = dict.fromkeys(meaning.COLUMNS, np.nan) | {
        "dataset": "toy",
        "label": "condition=stimulated",
        "seeds": 3,
        "permutations": 199,
    }
    random = {"random_auroc": 0.6, "random_lower": 0.52, "random_upper": 0.7, "p_random_set": 0.005}
    rows = [
        {"factor": "A", "method": "ae", "auroc": 0.9, "in_set_share": 0.8, "q_random_set": 0.01, **random},
        {"factor": "B", "method": "ae", "auroc": 0.65, "in_set_share": 0.8, "q_random_set": 0.3, **random},
        {"factor": "C", "method": "ae", "auroc": 0.8, "in_set_share": 0.3, "q_random_set": 0.3, **random},
        {"factor": "A", "method": "pca", "auroc": 0.7, "permutations": np.nan},
    ]
    return {"gene_sets": pd.DataFrame([usual | row for row in rows])}


def test_factors_stand_beside_random_sets_filled_where_they_beat_them():
    figure = draw("random_sets", nulls(), toy.config(), **RANDOM_SETS)
    dots = {name: drawn(figure, name)[0] for name in ("ae/A", "ae/B", "ae/C", "pca/A")}
    assert [dots[name].get_markerfacecolor() == "white" for name in dots] == [False, True, True, True]
    assert [dots[name].get_marker() for name in dots] == ["o", "o", "X", "o"]
    assert [dots[name].get_xdata()[0] for name in dots] == [0.9, 0.65, 0.8, 0.7]
    (bar,) = drawn(figure, "null/ae/A")
    assert list(bar.get_xdata()) == [0.52, 0.7]
    assert not drawn(figure, "null/pca/A")
    assert "199 random draws, no p below 0.005" in texts(figure)


# ------------------------------------------------------------------------------------------------------------ recovery


RECOVERY = {"datasets": ["toy", "small"], "methods": ["ae", "pca"], "measures": ["aupr"]}


def recovered(**values):
    """aupr of two factors of ae in each dataset, with these means."""
    means = {"toy": 0.9, "small": 0.5} | values
    rows = [
        {"dataset": d, "metric": "aupr", "factor": f, "label": "", "split": "", "value": mean + shift}
        for d, mean in means.items()
        for f, shift in (("A", 0.1), ("B", -0.1))
    ]
    return {"scores": toy.scores(*rows)}


def test_recovery_draws_means_of_data_that_differ_in_one_property_only():
    config = toy.config()
    config["datasets"]["small"] = config["datasets"]["small"] | {"corrupt": {"missing": 0.3}, "n_cells": 50}
    config["datasets"]["both"] = config["datasets"]["small"] | {"corrupt": {"missing": 0.3}, "n_cells": 20}
    config["datasets"]["null"] = config["datasets"]["toy"] | {"permute_sets": 1}
    vary = {"Missing": "corrupt.missing", "Cells": "n_sets"}
    datasets = ["toy", "small", "both", "null"]
    tables = recovered(both=0.3, null=0.1)
    figure = draw("recovery", tables, config, **RECOVERY | {"datasets": datasets, "vary": vary})
    missing = figure.axes[0]
    (line,) = [line for line in missing.get_lines() if line.get_gid() == "ae"]
    np.testing.assert_allclose(line.get_xydata(), [[0, 0.9], [0.3, 0.4]])  # small and both at 0.3
    (permuted,) = [line for line in missing.get_lines() if line.get_linestyle() == ":"]
    assert permuted.get_ydata() == pytest.approx([0.1, 0.1])
    vary = {"Missing": "corrupt.missing", "Cells": "n_cells"}
    figure = draw("recovery", tables, config, **RECOVERY | {"datasets": ["both", "small", "toy"], "vary": vary})
    points = {
        a.get_xlabel(): line.get_xydata().tolist()
        for a in figure.axes
        for line in drawn(figure, "ae")
        if line.axes is a
    }
    assert points == {"Missing": [[0.3, 0.3]], "Cells": [[20, pytest.approx(0.3)], [50, 0.5]]}


# -------------------------------------------------------------------------------------------------------- every figure


def studied(sizes):
    """The tables of a scaling study of toy with these numbers of cells."""
    runs = runs_table([toy.run(seed=seed, n_cells=n) for seed, n in enumerate(sizes)])
    runs["dataset"] = [f"toy_{n}" for n in sizes]
    runs = scaling.families(runs, dict.fromkeys(runs["dataset"], 3), {name: {"raw": "toy"} for name in runs["dataset"]})
    return {"scaling": scaling.laws(runs), "full_time": scaling.full_times(runs, "ae")}


@pytest.fixture(scope="module")
def examples(cells):
    """For each kind of figure, tables and parameters of figures that show toy, some of them with nothing to draw."""
    both, runs = {"cells": cells(["A"], ["B"])}, timed(runs_table([toy.run(), toy.run("small")]))
    ae = {"dataset": "toy", "method": "ae"}
    return {
        "accuracy": [
            (accuracies(), ACCURACY),
            (accuracies(), {**ACCURACY, "datasets": ["small", "toy"], "terms": ["GONE"]}),
        ],
        "pathways": [(relevances(), {**ae, **more}) for more in ({}, {"published": ["A", "B"]}, {"method": "pca"})],
        "random_sets": [
            (nulls(), RANDOM_SETS),
            (nulls(), {**RANDOM_SETS, "datasets": ["small", "toy"], "terms": ["GONE"]}),
        ],
        "recovery": [(recovered(), RECOVERY), (recovered(), {**RECOVERY, "methods": ["pca"]})],
        "runtime": [(runs, {"datasets": ["toy"]}), (runs, {"datasets": ["small", "toy"]})],
        "scaling": [(studied(sizes), {"dataset": "toy"}) for sizes in ((50, 100, 200), (50,))],
        "scatter": [(both, SCATTER), (both, FACETS), ({"cells": cells(["GONE"], ["A"])}, SCATTER)],
    }


@pytest.mark.parametrize("kind", registry.names("figure"))
def test_every_figure_says_what_is_not_in_its_data(kind, examples):
    """A kind without an entry in ``examples`` fails here."""
    incomplete = {"piece": True, "missing": ["C51", 141], "hold_out": {"share": 0.2}, "n_cells": 5000, "n_sets": 40}
    words = ("Toy cells: a piece", "samples C51, 141", "5,000 cells", "40 of the gene sets", "held-out")
    for tables, params in examples[kind]:
        for more, expected in (({}, False), (incomplete, True)):
            config = toy.config()
            config["datasets"]["toy"] |= {"raw": "toy", **more}
            written = texts(draw(kind, tables, config, **params))
            assert {word: word in written for word in words} == dict.fromkeys(words, expected)


def test_one_missing_sample_is_one():
    (sentence,) = style.caveats({"datasets": {"toy": {"title": "Toy", "missing": ["C51"]}}}, ["toy"])
    assert "sample C51" in sentence


def test_captions_show_the_reading_of_each_figure_and_list_every_table():
    folder = ROOT / "workflow/report"
    captions = Environment(undefined=StrictUndefined, loader=FileSystemLoader(folder))
    for kind in registry.names("figure"):
        figure = {"caption": "What it shows.", "reading": registry.load("figure", kind).SPEC.reading}
        caption = captions.get_template("figure.rst").render(snakemake={"params": {"figure": figure}})
        assert all(text and text in caption for text in figure.values())
    listed = re.findall(r"\*\*(\w+)\.tsv\*\*", captions.get_template("tables.rst").render())
    written = re.findall(
        r'report\("results/tables/(\w+)\.tsv', (ROOT / "workflow/rules/report.smk").read_text(encoding="utf-8")
    )
    assert sorted(listed) == sorted([*written, "scores"])


@pytest.mark.slow
def test_planning_imports_no_plotting_library_and_no_window_system_is_needed():
    code = (
        "import sys; from factorbench import registry; [registry.load('figure', k) for k in registry.names('figure')]; "
        "assert not {'matplotlib', 'seaborn', 'scipy'} & set(sys.modules); "
        "from factorbench.reporting.plots import _style; _style.palette(11); _style.new_figure(1, 1)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow/scripts"), "MPLBACKEND": "unknown"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_saved_figures_are_complete_and_equal_figures_give_equal_files(tmp_path, cells):
    for name in ("a", "b"):
        figure = draw("scatter", {"cells": cells(["A"], ["B"])}, **SCATTER)
        style.save(figure, tmp_path / f"{name}.png", tmp_path / f"{name}.svg")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "a.svg", "b.png", "b.svg"]
    for kind in ("png", "svg"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    svg = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "<image" in svg  # the dots are pixels
    assert "<dc:date>" not in svg


@pytest.mark.parametrize("n", [1, 8, 10, 25])
def test_palettes_do_not_repeat(n):
    assert len(set(style.palette(n))) == n


def test_times_and_ratios_are_written_as_people_say_them():
    seconds = {0.0321: "0.032 s", 7.24: "7.2 s", 42: "42 s", 246: "4.1 min", 12240: "3.4 h", 129600: "1.5 d"}
    assert {value: duration(value) for value in seconds} == seconds
    ratios = {9.2e-5: "< 0.001×", 0.0172: "0.017×", 1.24: "1.2×", 41.3: "41×", 2203: "2,203×"}
    assert {value: times(value) for value in ratios} == ratios


# ---------------------------------------------------------------------------------------------------------- long names

LONG = [
    *("3_UTR_MEDIATED_TRANSLATIONAL_REGULATION", "TCA_CYCLE_AND_RESPIRATORY_ELECTRON_TRANSPORT"),
    "ANTIGEN_ACTIVATES_B_CELL_RECEPTOR_LEADING_TO_GENERATION_OF_SECOND_MESSENGERS",
    "NEUROTRANSMITTER_RECEPTOR_BINDING_AND_DOWNSTREAM_TRANSMISSION_IN_THE_POSTSYNAPTIC_CELL",
]


def test_long_names_are_wrapped_between_words():
    assert style.wrapped("ANTIVIRAL_MECHANISM_BY_IFN", 19) == "ANTIVIRAL MECHANISM\nBY IFN"


@pytest.mark.parametrize("published", [[], LONG, [*LONG[::-1], "A", "GONE_" * 12 + "GONE"]])
def test_long_names_of_pathways_have_room(published):
    at = {"metric": "relevance", "label": "kind=annotated", "split": ""}
    names = [*LONG, "A", *("_".join(part) for part in zip(LONG, "BCDE", strict=True))]
    rows = [{**at, "seed": s, "factor": f, "value": v - s / 9} for s in range(3) for v, f in enumerate(names, 2)]
    figure = draw("pathways", {"scores": toy.scores(*rows)}, dataset="toy", method="ae", published=published)
    assert clashes(figure) == []
    assert min(text.get_window_extent().x0 for text in visible(figure)) > 0


@pytest.mark.parametrize("facets", [["NK"], ["NK", "B cells"], []])
def test_long_names_of_axes_have_room(cells, facets):
    table = cells(["A"], ["B"])
    table["x_term"], table["y_term"] = LONG[1], LONG[3]
    table["note"] = "x axis: " + "; ".join(f"{name} was switched off by the method" for name in LONG)
    assert clashes(draw("scatter", {"cells": table}, **FACETS, facets=facets)) == []


@pytest.mark.parametrize("methods", [["ae"], ["ae", "slow", "gene_set_mean", "pca"]])
def test_long_names_of_factors_have_room(methods):
    rows = [{"factor": factor, "method": method, "value": 0.7} for factor in LONG for method in methods]
    scores = toy.scores(*rows, {"metric": "baseline", "factor": "", "split": "", "value": 0.6})
    assert clashes(draw("accuracy", {"scores": scores}, datasets=["toy"], methods=methods, terms=LONG)) == []


def test_the_small_print_of_a_runtime_figure_is_below_its_legend():
    runs = runs_table([toy.run(), toy.run(method="slow", status="budget"), toy.run("small")])
    figure = draw("runtime", timed(runs, {"toy": {"ae": 8, "slow": 2203}}), datasets=["toy", "small"])
    assert clashes(figure) == []
