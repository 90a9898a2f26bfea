"""Two factors of one run against each other, a dot a cell (the paper's Figures 1 and 3)."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...registry import REQUIRED, FigureSpec, Param
from . import _style as style

SPEC = FigureSpec(
    name="scatter",
    title="Two factors of one run against each other, one dot per cell (the paper's Figures 1 and 3)",
    params={
        "dataset": Param(REQUIRED, "a dataset", types=(str,), refers_to="datasets"),
        "method": Param(REQUIRED, "a method", types=(str,), refers_to="methods"),
        "seed": Param(0, "seed of the run that is shown", minimum=0),
        "x": Param([], "terms; the first that is on is the x axis; empty: the factor that separates the contrast best"),
        "y": Param(
            [],
            "terms; the first that is on is the y axis; empty: the factor that separates the next label's classes best",
        ),
        "colour": Param(REQUIRED, "a label", types=(str,), refers_to="labels"),
        "facet": Param("", "a label; one panel for each of its classes", refers_to="labels"),
        "facets": Param([], "classes of the label facet to show; empty: the four with most cells"),
    },
    tables=("cells",),
    reading=(
        "A dot is a cell, coloured by its class and drawn in random order. In the margins: density of each class, all "
        "with the same area. The small print says which terms were not shown, or how terms were chosen."
    ),
)

MARGIN_CLASSES = 12
"""Most classes whose distributions can still be told apart in the margins."""
FACETS = 4
"""Classes that get a panel if none are named."""
LEGEND_ROWS = 22
"""Classes in one column of the legend."""


def plot(tables: dict[str, pd.DataFrame], spec: dict[str, Any], config: dict[str, Any]) -> Figure:
    """Draw ``tables["cells"]`` (`tables.cells_table`), coloured by the label ``spec["colour"]``.

    Cells are drawn in a shuffled order, so that no class hides another, and as pixels also in SVG. Without
    ``spec["facet"]`` there is one panel, and the margins show each class's distribution on its own scale, so that small
    classes are seen. With it there is one panel for each class of that label in ``spec["facets"]`` (none named: the
    four with most cells), on shared axes. The small print says which terms were passed over, or how they were chosen,
    and which cells are not shown.
    """
    style.apply()
    cells = tables["cells"]
    method, dataset = config["methods"][spec["method"]], config["datasets"][spec["dataset"]]
    run = f"{method['title']}, seed {spec['seed']} · {dataset['title']}"
    remarks = [f"{note}." for note in cells["note"].dropna().unique()]
    if cells.empty or cells[["x", "y"]].isna().all().any():
        figure = plt.figure(figsize=(7.2, 2.6))
        style.empty(figure.add_subplot(), "Nothing to draw: none of the terms asked for is a factor that is on.")
    else:
        classes = cells[spec["colour"]].astype(str)
        order = style.in_order(classes)
        colours = dict(zip(order, style.palette(len(order)), strict=True))
        if spec["facet"]:
            figure, remark = draw_facets(cells, classes, colours, spec)
            remarks.append(remark)
        else:
            figure = draw_one(cells, classes, colours, spec)
    style.heading(figure, spec.get("title", ""), run)
    text = " ".join(filter(None, [*remarks, style.caveats(config, [spec["dataset"]])]))
    style.note(figure, text, int(figure.get_size_inches()[0] * 15))
    return figure


def draw_one(cells: pd.DataFrame, classes: pd.Series, colours: dict[str, str], spec: dict[str, Any]) -> Figure:
    """All cells in one panel, with margins."""
    figure = plt.figure(figsize=(7.2, 5.2))
    margins = len(colours) <= MARGIN_CLASSES
    share = 1 if margins else 0.1
    grid = figure.add_gridspec(
        2, 2, width_ratios=(6, share), height_ratios=(share, 6), hspace=0.04, wspace=0.03, top=0.9, right=0.78
    )
    axes = figure.add_subplot(grid[1, 0])
    draw_cells(axes, cells, classes, colours, len(cells))
    axes.set_xlabel(style.wrapped(cells["x_term"].iloc[0], 60))
    axes.set_ylabel(style.wrapped(cells["y_term"].iloc[0], 46))
    if margins:
        for place, share_axis, axis in ((grid[0, 0], "sharex", "x"), (grid[1, 1], "sharey", "y")):
            margin = figure.add_subplot(place, **{share_axis: axes})
            draw_margin(margin, cells[axis], classes, colours, axis)
            margin.set_axis_off()
    legend(figure, classes, colours, spec["colour"], (0.785, 0.78))
    return figure


def draw_facets(
    cells: pd.DataFrame, classes: pd.Series, colours: dict[str, str], spec: dict[str, Any]
) -> tuple[Figure, str]:
    """A panel for each class of the label ``spec["facet"]``, and which classes are not shown, in words."""
    of = cells[spec["facet"]].astype(str)
    counts = of.value_counts()
    shown = [str(name) for name in spec["facets"]] or sorted(counts.index[:FACETS], key=lambda name: -counts[name])
    columns = min(len(shown), 2 if len(shown) <= FACETS else 3)
    rows = -(-len(shown) // columns)
    x_term, y_term = (cells[f"{axis}_term"].iloc[0] for axis in "xy")
    x_label, y_label = style.wrapped(x_term, 36 * columns), style.wrapped(y_term, 30 * rows)
    left, bottom = (0.45 + 0.17 * (1 + label.count("\n")) for label in (y_label, x_label))
    width, height = left + 2.9 * columns + 0.15, bottom + 2.6 * rows + 0.9
    figure, grid = plt.subplots(rows, columns, figsize=(width, height), sharex=True, sharey=True, squeeze=False)
    figure.subplots_adjust(
        left=left / width, right=1 - 0.15 / width, bottom=bottom / height, top=1 - 0.9 / height, hspace=0.2, wspace=0.08
    )
    for axes, name in zip(grid.flat, shown, strict=False):
        inside = (of == name).to_numpy()
        axes.set_title(f"{name} ({inside.sum():,} cells)", fontsize=9, pad=4)
        draw_cells(axes, cells[inside], classes[inside], colours, counts.reindex(shown).max())
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    if len(shown) < grid.size:  # what is above an empty place is the lowest of its column
        for axes in grid[-2, len(shown) % columns :]:
            axes.tick_params(labelbottom=True)
    figure.supxlabel(x_label, fontsize=9, x=(left / width + 1) / 2, y=0.02 / height, va="bottom")
    figure.supylabel(y_label, fontsize=9, y=(bottom / height + 1 - 0.9 / height) / 2, x=0.05 / width, ha="left")
    legend(figure, classes[of.isin(shown)], colours, spec["colour"], (1, 1 - 0.8 / height))
    others = len(set(counts.index) - set(shown))
    label = spec["facet"].replace("_", " ")
    if not others:
        return figure, ""
    chosen = "those asked for" if spec["facets"] else "those with most cells"
    return figure, f"Shown: {len(shown)} of the {len(counts)} classes of {label}, {chosen}."


def draw_cells(axes: Axes, cells: pd.DataFrame, classes: pd.Series, colours: dict[str, str], many: int) -> None:
    """A dot a cell, of a size that suits ``many`` cells."""
    order = np.random.default_rng(0).permutation(len(cells))
    axes.scatter(
        cells["x"].to_numpy()[order],
        cells["y"].to_numpy()[order],
        c=classes.map(colours).to_numpy()[order],
        s=np.clip(30_000 / many, 3, 22),
        alpha=0.65,
        linewidths=0,
        rasterized=True,
    )


def draw_margin(axes: Axes, scores: pd.Series, classes: pd.Series, colours: dict[str, str], axis: str) -> None:
    """Density of each class, each with an area of one; a class without spread has none."""
    for name, values in scores.groupby(classes):
        if len(values) > 2 and np.ptp(values) > 0:
            sns.kdeplot(**{axis: values.to_numpy()}, ax=axes, color=colours[name], lw=1.1, gridsize=160, cut=0)


def legend(
    figure: Figure, classes: pd.Series, colours: dict[str, str], label: str, corner: tuple[float, float]
) -> None:
    """The classes and their numbers of cells, with the upper left ``corner`` in shares of the figure."""
    counts = classes.value_counts().reindex(list(colours)).dropna().astype(int)
    handles = [
        Line2D([], [], marker="o", ls="", ms=6, mec="none", color=colours[c], label=f"{c}  ({n:,})")
        for c, n in counts.items()
    ]
    style.legend_outside(
        figure,
        handles,
        corner,
        title=label.replace("_", " ") + " (cells)",
        alignment="left",
        handletextpad=0.2,
        ncols=-(-len(handles) // LEGEND_ROWS),
    )
