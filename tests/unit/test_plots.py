"""Figures: what is drawn, not its bytes."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from factorbench import contracts, tables
from factorbench.plots import accuracy, runtime, scatter, style
from matplotlib.colors import to_rgba

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

    def table(x, y, label="cell_type"):
        contracts.write_table(folder / "cells.tsv.gz", tables.cells_table(data, factors, x, y, [label]))
        return contracts.read_table(folder / "cells.tsv.gz")

    return table


SCATTER = {"dataset": "toy", "method": "ae", "seed": 3, "colour": "cell_type", "title": "Cells"}


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
    assert "GONE was filtered out" in texts(figure)


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
    assert "filtered out, too few of its genes are among those selected: GONE." in written
    assert "Slow model has no factor B." in written
    assert "PCA has no factor A, B." in written


def test_accuracy_has_a_panel_a_dataset_and_says_where_nothing_is():
    figure = accuracy.plot(accuracies(), {**ACCURACY, "datasets": ["toy", "small"]}, toy.config())
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Toy cells", "Fewer toy cells"]
    figure = accuracy.plot(accuracies(), {**ACCURACY, "terms": ["GONE"]}, toy.config())
    assert "Nothing to draw: no run on Toy cells has any of these factors." in texts(figure)


def test_a_method_has_the_same_colour_in_every_accuracy_figure():
    both = [accuracy.plot(accuracies(), {**ACCURACY, "methods": m}, toy.config()) for m in (["slow"], ["ae", "slow"])]
    colours = {drawn(figure, "slow/A")[0].get_markeredgecolor() for figure in both}
    assert len(colours) == 1


# ------------------------------------------------------------------------------------------------------------ runtime


def test_runtime_draws_every_timed_run_and_marks_those_that_were_stopped():
    runs = tables.runs_table(
        [
            *(toy.run(seed=s, seconds=t) for s, t in enumerate([2.0, 3.0, 4.0])),
            *(toy.run(method="slow", seed=s, seconds=180.0, status="budget") for s in (0, 1)),
            toy.run(method="pca", status="diverged"),
        ]
    )
    figure = runtime.plot(
        {"runs": runs, "runtime": tables.runtime_table(runs, "ae", toy.config()["datasets"])},
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
    assert style.duration(seconds) == text


def test_long_names_are_wrapped_between_words():
    assert style.wrapped("ANTIVIRAL_MECHANISM_BY_IFN", 19) == "ANTIVIRAL MECHANISM\nBY IFN"
