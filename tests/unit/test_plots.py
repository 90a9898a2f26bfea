"""Figures: what is drawn, not its bytes."""

import copy
import html
import importlib
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from factorbench.contracts.files import read_table, write_table
from factorbench.reporting.numbers import duration, times
from factorbench.reporting.plots import accuracy, pathways, runtime, scatter, style
from factorbench.results import scaling
from factorbench.results.cells import cells_table
from factorbench.results.runtime import runs_table, runtime_table
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.colors import to_rgba

from tests.planted import ROOT
from tests.unit import metric_fixtures as toy


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def texts(figure):
    """Everything that is written in a figure, on one line."""
    figure.canvas.draw()
    found = [t.get_text() for t in figure.findobj(plt.Text) if t.get_visible()]
    return " ".join(" ".join(found).split())


def drawn(figure, gid):
    """Lines drawn under a name."""
    return [line for line in figure.findobj(plt.Line2D) if line.get_gid() == gid]


# ------------------------------------------------------------------------------------------------------------ scatter


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    data, folder = toy.prepared(), tmp_path_factory.mktemp("run")
    factors = toy.written(toy.factors(data, off=["C"]), data, folder / "factors.h5ad")

    def table(x, y, *labels):
        found = cells_table(data, factors, toy.scores({}), x, y, list(labels or ["cell_type"]))
        write_table(folder / "cells.tsv.gz", found)
        return read_table(folder / "cells.tsv.gz")

    return table


SCATTER = {
    **{"dataset": "toy", "method": "ae", "seed": 3, "colour": "cell_type", "facet": "", "facets": []},
    **{"x": [], "y": [], "title": "Cells"},
}
FACETS = {**SCATTER, "colour": "condition", "facet": "cell_type"}


def test_scatter_draws_a_dot_a_cell_in_its_class_colour_in_mixed_order(cells):
    table = cells(["A"], ["C", "B"])
    figure = scatter.plot({"cells": table}, SCATTER, toy.config())
    axes = figure.axes[0]
    (dots,) = axes.collections
    assert dots.get_rasterized()
    offsets = np.asarray(dots.get_offsets())
    expected = table[["x", "y"]].to_numpy()
    assert not np.array_equal(offsets, expected)
    np.testing.assert_allclose(np.sort(offsets, axis=0), np.sort(expected, axis=0))
    colours = dict(zip(sorted(set(table["cell_type"])), style.palette(3), strict=True))
    by_place = {tuple(p): to_rgba(colours[c]) for p, c in zip(expected, table["cell_type"], strict=True)}
    for place, colour in zip(offsets, dots.get_facecolors(), strict=True):
        assert tuple(colour[:3]) == by_place[tuple(place)][:3]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("A", "B")


def test_scatter_names_classes_run_and_terms_passed_over(cells):
    table = cells(["A"], ["C", "B"])
    written = texts(scatter.plot({"cells": table}, SCATTER, toy.config()))
    assert "Interpretable AE, seed 3 · Toy cells" in written
    assert "y axis: C was switched off by the method" in written
    for name, n in table["cell_type"].value_counts().items():
        assert f"{name} ({n})" in written


def test_scatter_without_a_term_says_so(cells):
    figure = scatter.plot({"cells": cells(["GONE"], ["A"])}, SCATTER, toy.config())
    assert "Nothing to draw" in texts(figure)
    assert "GONE is not among the gene sets kept" in texts(figure)


def panels(figure):
    """Axes by title, for those with one."""
    return {axes.get_title(loc="left"): axes for axes in figure.axes if axes.get_title(loc="left")}


def test_facets_are_panels_of_the_cells_of_a_class_on_shared_axes(cells):
    table = cells(["A"], ["B"], "condition", "cell_type")
    figure = scatter.plot({"cells": table}, FACETS, toy.config())
    counts = table["cell_type"].value_counts()
    assert list(panels(figure)) == [f"{name} ({n} cells)" for name, n in counts.items()]
    colours = dict(zip(sorted(set(table["condition"])), style.palette(2), strict=True))
    for name, axes in zip(counts.index, panels(figure).values(), strict=True):
        inside = table[table["cell_type"] == name]
        (dots,) = axes.collections
        expected = {(x, y): to_rgba(colours[c])[:3] for x, y, c in inside[["x", "y", "condition"]].to_numpy()}
        found = zip(np.asarray(dots.get_offsets()), dots.get_facecolors(), strict=True)
        assert {tuple(place): tuple(colour[:3]) for place, colour in found} == expected
        assert axes.get_xlim() == figure.axes[0].get_xlim()
        assert axes.get_ylim() == figure.axes[0].get_ylim()
    assert (figure.get_supxlabel(), figure.get_supylabel()) == ("A", "B")
    assert "Interpretable AE, seed 3 · Toy cells" in texts(figure)


def test_facets_are_the_classes_asked_for_or_the_four_with_most_cells(cells):
    table = cells(["A"], ["B"], "condition", "cell_type")
    figure = scatter.plot({"cells": table}, {**FACETS, "facets": ["NK", "B cells"]}, toy.config())
    assert [title.split(" (")[0] for title in panels(figure)] == ["NK", "B cells"]
    assert "Shown: 2 of the 3 classes of cell type, those asked for." in texts(figure)
    shown = table["cell_type"] != "T cells"
    for name, n in table.loc[shown, "condition"].value_counts().items():
        assert f"{name} ({n})" in texts(figure)
    table["cell_type"] = np.repeat(range(1, 7), [5, 40, 30, 20, 15, 10])
    figure = scatter.plot({"cells": table}, FACETS, toy.config())
    assert list(panels(figure)) == ["2 (40 cells)", "3 (30 cells)", "4 (20 cells)", "5 (15 cells)"]
    assert "Shown: 4 of the 6 classes of cell type, those with most cells." in texts(figure)


def test_a_facet_without_cells_is_an_empty_panel(cells):
    table = cells(["A"], ["B"], "condition", "cell_type")
    figure = scatter.plot({"cells": table}, {**FACETS, "facets": ["NK", "Mast"]}, toy.config())
    assert list(panels(figure))[1] == "Mast (0 cells)"


def test_classes_that_are_numbers_are_in_the_order_of_numbers(cells):
    table = cells(["A"], ["B"])
    table["cell_type"] = np.arange(len(table)) % 39 + 1
    figure = scatter.plot({"cells": table}, SCATTER, toy.config())
    names = [text.get_text().split()[0] for text in figure.legends[0].get_texts()]
    assert names == [str(i) for i in range(1, 40)]


# ----------------------------------------------------------------------------------------------------------- accuracy

ACCURACY = {
    **{"datasets": ["toy"], "methods": ["ae", "slow", "pca"], "terms": ["A", "B", "GONE"], "split": "train"},
    "title": "Which factor?",
}


def accuracies():
    """ae: A in two seeds, B off in both; slow: A in one seed, no B; pca: neither. Another dataset has A only."""
    rows = [{"metric": "baseline", "factor": "", "split": "", "value": 0.6, "dataset": d} for d in ("toy", "small")]
    for method, factor, seed, value, on in (
        *(("ae", "A", 0, 0.90, 1), ("ae", "A", 1, 0.94, 1), ("ae", "B", 0, 0.6, 0), ("ae", "B", 1, 0.6, 0)),
        *(("slow", "A", 0, 0.8, 1), ("pca", "PC1", 0, 0.7, 1)),
    ):
        at = {"method": method, "factor": factor, "seed": seed}
        rows += [{**at, "value": value}, {**at, "value": value - 0.1, "split": "cv"}]
        rows += [{**at, "metric": "relevance", "label": "kind=annotated", "split": "", "value": float(on)}]
        rows += [{**at, "label": "cell_type=B cells", "value": 0.99}]
    rows += [{"dataset": "small", "value": 0.7}]
    rows += [{"dataset": "small", "metric": "relevance", "label": "kind=annotated", "split": "", "value": 1.0}]
    return {"scores": toy.scores(*rows)}


@pytest.mark.parametrize(("split", "mean"), [("train", 0.92), ("cv", 0.82)])
def test_accuracy_draws_means_seeds_intervals_and_the_baseline(split, mean):
    figure = accuracy.plot(accuracies(), {**ACCURACY, "split": split}, toy.config())
    (marker,) = drawn(figure, "ae/A")
    assert marker.get_ydata() == pytest.approx([mean])
    axes = figure.axes[0]
    assert sum(len(c.get_offsets()) for c in axes.collections) == 4  # the seeds of ae; one seed alone is its mean
    assert len(drawn(figure, "interval")) == 2
    (base,) = drawn(figure, "baseline")
    assert list(base.get_ydata()) == [0.6, 0.6]
    assert base.is_dashed()
    assert accuracy.SPLITS[split] == axes.get_ylabel()
    assert "larger class 0.60" in texts(figure)


def test_accuracy_shows_a_factor_that_is_off_as_hollow():
    figure = accuracy.plot(accuracies(), ACCURACY, toy.config())
    (off,), (on,) = drawn(figure, "ae/B"), drawn(figure, "ae/A")
    assert to_rgba(off.get_markerfacecolor()) == to_rgba("white")
    assert to_rgba(on.get_markerfacecolor()) != to_rgba("white")
    assert "switched off" in texts(figure)


def test_accuracy_names_what_is_missing_and_why():
    written = texts(accuracy.plot(accuracies(), ACCURACY, toy.config()))
    assert "not among the gene sets kept: GONE." in written
    assert "Slow model has no factor B." in written
    assert "PCA has none of these factors." in written


def test_accuracy_has_a_panel_a_dataset_and_says_where_nothing_is():
    figure = accuracy.plot(accuracies(), {**ACCURACY, "datasets": ["toy", "small"]}, toy.config())
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Toy cells", "Fewer toy cells"]
    figure = accuracy.plot(accuracies(), {**ACCURACY, "terms": ["GONE"]}, toy.config())
    assert "Nothing to draw: no run on Toy cells has any of these factors." in texts(figure)


AREAS = {"A": 0.95, "B": 0.03, "C": 0.5, "D": 0.6, "E": 0.61, "F": 0.62, "G": 0.63, "H": 0.64, "I": 0.65, "J": 0.45}


def test_accuracy_without_terms_takes_the_eight_that_tell_the_contrast_best():
    rows = [
        {**{"factor": f, "seed": seed, "method": method}, **row}
        for method in ("slow", "ae")
        for f, v in AREAS.items()
        for seed in (0, 1)
        for row in (
            {"value": 0.6},
            {"metric": "auroc", "split": "", "value": 1 - v if seed else v},  # signs differ between seeds
            {"metric": "auroc", "split": "", "value": AREAS["C"], "label": "cell_type=B cells"},
        )
    ]
    spec = {**ACCURACY, "terms": [], "methods": ["pca", "slow", "ae"]}
    figure = accuracy.plot({"scores": toy.scores(*rows)}, spec, toy.config())
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == list("BAIHGFED")
    written = texts(figure)
    assert "Terms chosen after the fact: of 10 factors of Slow model the 8 that tell the classes best" in written
    assert "PCA has no result here." in written
    assert spec["terms"] == []


def test_accuracy_without_terms_or_results_says_that_there_is_nothing():
    figure = accuracy.plot({"scores": toy.scores({}).iloc[:0]}, {**ACCURACY, "terms": []}, toy.config())
    assert "Nothing to draw" in texts(figure)


def test_accuracy_on_donors_left_out():
    rows = [{"split": "donor", "seed": s, "value": v} for s, v in enumerate([0.7, 0.8])]
    figure = accuracy.plot({"scores": toy.scores({"value": 0.9}, *rows)}, {**ACCURACY, "split": "donor"}, toy.config())
    assert drawn(figure, "ae/A")[0].get_ydata() == pytest.approx([0.75])
    assert figure.axes[0].get_ylabel() == "Accuracy on donors left out"


def test_a_method_has_the_same_colour_in_every_accuracy_figure():
    both = [accuracy.plot(accuracies(), {**ACCURACY, "methods": m}, toy.config()) for m in (["slow"], ["ae", "slow"])]
    colours = {drawn(figure, "slow/A")[0].get_markeredgecolor() for figure in both}
    assert len(colours) == 1


# ------------------------------------------------------------------------------------------------------------ runtime


def test_runtime_draws_every_timed_run_and_marks_those_that_were_stopped():
    runs = runs_table(
        [
            *(toy.run(seed=s, seconds=t) for s, t in enumerate([2.0, 3.0, 4.0])),
            *(toy.run(method="slow", seed=s, seconds=180.0, status="budget") for s in (0, 1)),
            toy.run(method="pca", status="diverged"),
        ]
    )
    figure = runtime.plot(
        {"runs": runs, "runtime": runtime_table(runs, "ae", toy.config()["datasets"])},
        {"datasets": ["toy", "small"], "title": "Cost"},
        toy.config(),
    )
    axes = figure.axes[0]
    points = [np.asarray(c.get_offsets()) for c in axes.collections if len(c.get_offsets())]
    np.testing.assert_allclose(np.sort(np.concatenate(points)[:, 0]) * 60, [2, 3, 4, 180, 180])
    assert axes.get_xscale() == "log"
    assert [t.get_text() for t in axes.get_yticklabels()] == ["Interpretable AE", "Slow model", "PCA"]
    np.testing.assert_allclose([line.get_xdata()[0] for line in drawn(figure, "median")], [3 / 60, 3])
    written = texts(figure)
    for text in (
        *("120 cells × 12 genes × 5 factors", "3 s (1×)", "at least 3.0 min (≥ 60×)", "no time (1 diverged)"),
        *("stopped: at least this long", "no run"),
    ):
        assert text in written

    assert drawn(figure, "published") == []
    assert "authors' machine" not in written


def test_runtime_of_several_machines_is_a_row_each_and_says_so():
    made = [("ae", "old", 20.0), ("ae", "new", 2.0), ("slow", "old", 600.0)]
    runs = runs_table([toy.run(method=m, seed=s, host=h, seconds=t) for s, (m, h, t) in enumerate(made)])
    given = {"runs": runs, "runtime": runtime_table(runs, "ae", toy.config()["datasets"])}
    figure = runtime.plot(given, {"datasets": ["toy"]}, toy.config())
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert labels == ["Interpretable AE\nold", "Interpretable AE\nnew", "Slow model\nold"]
    np.testing.assert_allclose([line.get_xdata()[0] * 60 for line in drawn(figure, "median")], [20, 2, 600])
    points = [np.asarray(c.get_offsets()) for c in figure.axes[0].collections if len(c.get_offsets())]
    assert sorted(np.concatenate(points)[:, 1].round()) == [0, 1, 2]
    assert "Runs were made on 2 machines; ratios are within a machine." in texts(figure)
    assert "20 s (1×)" in texts(figure)
    assert clashes(figure) == []


def test_runtime_marks_published_times_as_those_of_another_machine():
    runs = runs_table([toy.run(), toy.run(method="slow", seconds=60.0), toy.run(method="pca")])
    runtimes = runtime_table(runs, "ae", toy.config()["datasets"], {"toy": {"slow": 2203.0}})
    figure = runtime.plot({"runs": runs, "runtime": runtimes}, {"datasets": ["toy"]}, toy.config())
    (diamond,) = drawn(figure, "published")
    assert list(diamond.get_xdata()) == [2203]
    assert list(diamond.get_ydata()) == [1]
    assert diamond.get_markerfacecolor() == "none"
    assert "published, on the authors' machine" in texts(figure)
    assert "not to be compared with ours" in texts(figure)
    assert figure.axes[0].get_xlim()[1] > 2203


# ----------------------------------------------------------------------------------------------------------- pathways

PATHWAYS = {"dataset": "toy", "method": "ae", "title": "Pathways", "published": []}
NORMS = {"A": [3, 1, 2], "B": [9, 3, 3], "C": [0, 0, 0], "D": [1, 1, 1], "E": [1, 0, 0]}


def relevances():
    at = {"metric": "relevance", "label": "kind=annotated", "split": ""}
    return {
        "scores": toy.scores(
            *({**at, "factor": f, "seed": s, "value": float(v)} for f, row in NORMS.items() for s, v in enumerate(row)),
            {**at, "factor": "dense_1", "label": "kind=dense", "value": 99.0},
            {**at, "factor": "D", "method": "slow", "value": 99.0},
            {**at, "metric": "stability", "seed": np.nan, "value": 99.0},
        )
    }


def test_pathways_are_drawn_by_mean_relevance_with_seeds_and_range():
    config = toy.config()
    config["report"]["top"] = 3
    figure = pathways.plot(relevances(), PATHWAYS, config)
    means = {name: drawn(figure, f"mean/{name}") for name in NORMS}
    assert {name: (m[0].get_xdata()[0], m[0].get_ydata()[0]) for name, m in means.items() if m} == {
        **{"B": (5, 0), "A": (2, 1), "D": (1, 2)}
    }
    assert sorted(tuple(line.get_xdata()) for line in drawn(figure, "range")) == [(1, 1), (1, 3), (3, 9)]
    points = np.concatenate([np.asarray(c.get_offsets()) for c in figure.axes[0].collections])
    assert sorted(points[:, 0]) == sorted([*NORMS["B"], *NORMS["A"], *NORMS["D"]])
    assert "Interpretable AE, 3 seeds · Toy cells" in texts(figure)
    assert "published" not in texts(figure).lower()


def test_pathways_stand_beside_the_published_list():
    config = toy.config()
    config["report"]["top"] = 3
    figure = pathways.plot(relevances(), {**PATHWAYS, "published": ["A", "GONE", "B", "C", "E"]}, config)
    links = {name: drawn(figure, f"link/{name}") for name in [*NORMS, "GONE"]}
    assert {name: tuple(line[0].get_ydata()) for name, line in links.items() if line} == {"A": (1, 0), "B": (0, 2)}
    written = texts(figure)
    for text in (
        *("not kept", "switched off", "our rank 4", "3 of the 5 published are among our first 5"),
        *("from the 5 gene sets kept, 3.2 would be (p = 1)", "over the 4 published that were kept: 0.33"),
    ):
        assert text in written


def test_pathways_of_a_run_without_any_say_so():
    for published in ([], ["A"]):
        figure = pathways.plot(relevances(), {**PATHWAYS, "method": "pca", "published": published}, toy.config())
        assert "Nothing to draw: PCA has no gene set that is on here." in texts(figure)


# -------------------------------------------------------------------------------------------- what is not in the data


def kinds():
    package = Path(scatter.__file__).parent
    return sorted({p.stem for p in package.glob("*.py")} - {"__init__", "style"})


def studied(sizes):
    """The tables of a scaling study of toy in ``sizes`` numbers of cells."""
    runs = runs_table([toy.run(seed=seed, n_cells=n) for seed, n in enumerate(sizes)])
    runs["dataset"] = [f"toy_{n}" for n in sizes]
    runs = scaling.families(runs, dict.fromkeys(runs["dataset"], 3), {name: {"raw": "toy"} for name in runs["dataset"]})
    return {"scaling": scaling.laws(runs), "full_time": scaling.full_times(runs, "ae")}


@pytest.fixture
def anything(cells):
    """For each kind of figure, tables and a spec of figures that must say what is missing, empty ones among them."""
    runs = runs_table([toy.run(), toy.run("small")])
    times = {"runs": runs, "runtime": runtime_table(runs, "ae", toy.config()["datasets"])}
    both = {"cells": cells(["A"], ["B"], "condition", "cell_type")}
    return {
        "accuracy": [
            (accuracies(), ACCURACY),
            (accuracies(), {**ACCURACY, "datasets": ["small", "toy"], "terms": ["GONE"]}),
        ],
        "pathways": [(relevances(), {**PATHWAYS, "published": p}) for p in ([], ["A", "B"])]
        + [(relevances(), {**PATHWAYS, "method": "pca"})],
        "runtime": [(times, {"datasets": ["toy"]}), (times, {"datasets": ["small", "toy"]})],
        "scaling": [(studied(sizes), {"dataset": "toy"}) for sizes in ((50, 100, 200), (50,))],
        "scatter": [(both, SCATTER), (both, FACETS), ({"cells": cells(["GONE"], ["A"])}, SCATTER)],
    }


@pytest.mark.parametrize("kind", kinds())
def test_every_figure_says_what_is_not_in_its_data(tmp_path, kind, anything):
    """A kind without an entry in ``anything`` fails here."""
    plot = importlib.import_module(f"factorbench.plots.{kind}").plot
    config = toy.config()
    config["datasets"]["toy"]["raw"] = "toy"
    lacking = copy.deepcopy(config)
    lacking["datasets"]["toy"] |= {"missing": ["C51", "C52", 141], "hold_out": {"share": 0.2}, "n_cells": 5000}
    lacking["datasets"]["toy"] |= {"n_sets": 40, "piece": True}
    sentence = (
        "Toy cells: a piece of the data, without samples C51, C52, 141 (not available), 5,000 cells, a stratified "
        "subset, 40 of the gene sets, drawn at random, fitted without the cells held out."
    )
    for number, (given, spec) in enumerate(anything[kind]):
        for entry, said in ((config, False), (lacking, True)):
            svg = tmp_path / f"{kind}{number}{said}.svg"
            style.save(plot(given, spec, entry), tmp_path / "figure.png", svg)
            written = " ".join(html.unescape(" ".join(re.findall(r"<!--(.*?)-->", svg.read_text(), re.S))).split())
            assert (sentence in written) == said
            assert ("not available" in written) == said


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_of_figure_has_a_caption(kind, anything):
    captions = Environment(undefined=StrictUndefined, loader=FileSystemLoader(ROOT / "workflow/report"))
    config = toy.config()
    for _, spec in anything[kind]:
        snakemake = {"config": config, "params": {"figure": {"kind": kind, **spec, "caption": "What it shows."}}}
        caption = captions.get_template("figure.rst").render(snakemake=snakemake)
        before, _, after = caption.partition("What it shows.")
        assert not before.strip()
        assert len(after.split("Samples that are missing")[0].split()) > 15


def test_one_missing_sample_is_one():
    assert style.caveats({"datasets": {"toy": {"title": "Toy", "missing": ["C51"]}}}, ["toy"]) == (
        "Toy: without sample C51 (not available)."
    )


# -------------------------------------------------------------------------------------------------------------- style


def test_saved_figures_are_whole_and_equal_figures_give_equal_files(tmp_path, cells):
    for name in ("a", "b"):
        figure = scatter.plot({"cells": cells(["A"], ["B"])}, SCATTER, toy.config())
        style.save(figure, tmp_path / f"{name}.png", tmp_path / f"{name}.svg")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "a.svg", "b.png", "b.svg"]
    for kind in ("png", "svg"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    svg = (tmp_path / "a.svg").read_text()
    assert "<image" in svg  # the dots are pixels
    assert not re.search(r"<dc:date>", svg)


@pytest.mark.parametrize("n", [1, 8, 10, 25])
def test_palettes_do_not_repeat(n):
    assert len(set(style.palette(n))) == n


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0321, "0.032 s"), (7.24, "7.2 s"), (42, "42 s"), (246, "4.1 min"), (12240, "3.4 h"), (129600, "1.5 d")],
)
def test_durations_as_people_say_them(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("ratio", "text"), [(9.2e-5, "< 0.001×"), (0.0172, "0.017×"), (1.24, "1.2×"), (41.3, "41×"), (2203, "2,203×")]
)
def test_ratios_as_people_say_them(ratio, text):
    assert times(ratio) == text


LONG = [
    *("3_UTR_MEDIATED_TRANSLATIONAL_REGULATION", "TCA_CYCLE_AND_RESPIRATORY_ELECTRON_TRANSPORT"),
    "ANTIGEN_ACTIVATES_B_CELL_RECEPTOR_LEADING_TO_GENERATION_OF_SECOND_MESSENGERS",
    "NEUROTRANSMITTER_RECEPTOR_BINDING_AND_DOWNSTREAM_TRANSMISSION_IN_THE_POSTSYNAPTIC_CELL",
]


def test_long_names_are_wrapped_between_words():
    assert style.wrapped("ANTIVIRAL_MECHANISM_BY_IFN", 19) == "ANTIVIRAL MECHANISM\nBY IFN"


def clashes(figure):
    """Pairs of texts that are written over each other; ticks outside the axes are not drawn, so two numbers may."""
    figure.canvas.draw()
    found = [t for t in figure.findobj(plt.Text) if t.get_visible() and t.get_text().strip()]
    boxes = [(" ".join(t.get_text().split()), t.get_window_extent().padded(-1)) for t in found]
    pairs = [(a, b) for i, (a, one) in enumerate(boxes) for b, other in boxes[:i] if one.overlaps(other)]
    return [pair for pair in pairs if any(re.search("[A-Za-z]", text) for text in pair)]


@pytest.mark.parametrize("published", [[], LONG, [*LONG[::-1], "A", "GONE_" * 12 + "GONE"]])
def test_long_names_of_pathways_have_room(published):
    rows = [
        {**{"metric": "relevance", "label": "kind=annotated", "split": "", "seed": s}, "factor": f, "value": v - s / 9}
        for s in range(3)
        for v, f in enumerate([*LONG, "A", *("_".join(part) for part in zip(LONG, "BCDE", strict=True))], 2)
    ]
    figure = pathways.plot({"scores": toy.scores(*rows)}, {**PATHWAYS, "published": published}, toy.config())
    assert clashes(figure) == []


@pytest.mark.parametrize("facets", [["NK"], ["NK", "B cells"], []])
def test_long_names_of_axes_have_room(cells, facets):
    table = cells(["A"], ["B"], "condition", "cell_type")
    table["x_term"], table["y_term"] = LONG[1], LONG[3]
    table["note"] = "x axis: " + "; ".join(f"{name} was switched off by the method" for name in LONG)
    assert clashes(scatter.plot({"cells": table}, {**FACETS, "facets": facets}, toy.config())) == []


@pytest.mark.parametrize("methods", [["ae"], ["ae", "slow", "gene_set_mean", "pca"]])
def test_long_names_of_terms_have_room(methods):
    rows = [{"factor": factor, "method": method, "value": 0.7} for factor in LONG for method in methods]
    scores = toy.scores(*rows, {"metric": "baseline", "factor": "", "split": "", "value": 0.6})
    figure = accuracy.plot({"scores": scores}, {**ACCURACY, "methods": methods, "terms": LONG}, toy.config())
    assert clashes(figure) == []


def test_the_small_print_of_a_runtime_figure_is_below_its_legend():
    runs = runs_table([toy.run(), toy.run(method="slow", status="budget"), toy.run("small")])
    runtimes = runtime_table(runs, "ae", toy.config()["datasets"], {"toy": {"ae": 8, "slow": 2203}})
    spec = {"datasets": ["toy", "small"], "title": "Cost"}
    figure = runtime.plot({"runs": runs, "runtime": runtimes}, spec, toy.config())
    assert clashes(figure) == []
