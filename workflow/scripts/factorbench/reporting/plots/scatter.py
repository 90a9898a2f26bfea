"""Two factors of one run against each other, one dot per cell (the paper's Figures 1 and 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...registry import REQUIRED, FigureSpec, Param
from . import _style as style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPEC = FigureSpec(
    name="scatter",
    title="Two factors of one run against each other, one dot per cell (the paper's Figures 1 and 3)",
    params={
        "dataset": Param(REQUIRED, "a dataset", types=(str,), refers_to="datasets"),
        "method": Param(REQUIRED, "a method", types=(str,), refers_to="methods"),
        "seed": Param(0, "seed of the run that is shown", minimum=0),
        "x": Param([], "terms; the first that is on is the x axis; empty: the factor that separates the contrast best"),
        "y": Param(
            [], "terms; the first that is on is the y axis; empty: the best factor for the next label's classes"
        ),
        "colour": Param(REQUIRED, "a label", types=(str,), refers_to="labels"),
        "facet": Param("", "a label; one panel for each of its classes", refers_to="labels"),
        "facets": Param([], "classes of the label facet to show; empty: the four with most cells"),
    },
    tables=("cells",),
    reading=(
        "A dot is a cell, coloured by its class and drawn in random order. In the margins: density of each class, all "
        "with the same area. The small print says which gene sets were not shown, or how the axes were chosen."
    ),
)

MARGIN_CLASSES = 12
"""Most classes whose densities can still be told apart in the margins."""
FACETS = 4
"""Classes that get a panel if none are named."""
LEGEND_ROWS = 22
"""Classes in one column of the legend."""


def plot(tables: dict[str, pd.DataFrame], params: dict[str, Any], config: dict[str, Any]) -> Figure:
    """Draw ``tables["cells"]`` (`results.cells.cells_table`), coloured by the label ``params["colour"]``.

    Cells are drawn in a shuffled order, so that no class hides another, and as pixels also in SVG. Without
    ``params["facet"]`` there is one panel with the density of each class in the margins. With it there is one panel for
    each class of that label, on shared axes. The small print says which terms and classes are not shown, or how terms
    were chosen (`SPEC.reading`).
    """
    cells = tables["cells"]
    method, dataset = config["methods"][params["method"]], config["datasets"][params["dataset"]]
    remarks = [f"{note}." for note in cells["note"].dropna().unique()]
    if cells.empty or cells[["x", "y"]].isna().all().any():
        figure = style.new_figure(7.2, 2.6)
        style.empty(figure.add_subplot(), "Nothing to draw: none of these gene sets is a factor that is switched on.")
    else:
        classes = cells[params["colour"]].astype(str)
        order = sorted(set(classes), key=lambda name: (len(name) if name.isdigit() else 0, name))  # 2 before 10
        colours = dict(zip(order, style.palette(len(order)), strict=True))
        if params["facet"]:
            figure, remark = draw_facets(cells, classes, colours, params)
            remarks.append(remark)
        else:
            figure = draw_one(cells, classes, colours, params)
    style.heading(figure, params["title"], f"{method['title']}, seed {params['seed']} · {dataset['title']}")
    width = int(figure.get_size_inches()[0] * 15)
    style.note(figure, [*remarks, *style.caveats(config, [params["dataset"]])], width)
    return figure


def draw_one(cells: pd.DataFrame, classes: pd.Series, colours: dict[str, str], params: dict[str, Any]) -> Figure:
    """Draw all cells in one panel, with margins unless there are too many classes."""
    figure = style.new_figure(7.2, 5.2)
    margins = len(colours) <= MARGIN_CLASSES
    share = 1 if margins else 0.1
    ratios = {"width_ratios": (6, share), "height_ratios": (share, 6)}
    grid = figure.add_gridspec(2, 2, **ratios, hspace=0.04, wspace=0.03, top=0.9, right=0.78)
    axes = figure.add_subplot(grid[1, 0])
    draw_cells(axes, cells, classes, colours, len(cells))
    axes.set_xlabel(style.wrapped(cells["x_term"].iloc[0], 60))
    axes.set_ylabel(style.wrapped(cells["y_term"].iloc[0], 46))
    if margins:
        for place, axis in ((grid[0, 0], "x"), (grid[1, 1], "y")):
            margin = figure.add_subplot(place, **{f"share{axis}": axes})
            draw_margin(margin, cells[axis], classes, colours, axis)
            margin.set_axis_off()
    legend(figure, classes, colours, params["colour"], (0.785, 0.78))
    return figure


def draw_facets(
    cells: pd.DataFrame, classes: pd.Series, colours: dict[str, str], params: dict[str, Any]
) -> tuple[Figure, str]:
    """Draw a panel for each class of the label ``params["facet"]``; return also how many are left out, in words."""
    facet = cells[params["facet"]].astype(str)
    counts = facet.value_counts()
    shown = [str(name) for name in params["facets"]] or list(counts.index[:FACETS])
    columns = min(len(shown), 2 if len(shown) <= FACETS else 3)
    rows = -(-len(shown) // columns)
    x_label = style.wrapped(cells["x_term"].iloc[0], 36 * columns)
    y_label = style.wrapped(cells["y_term"].iloc[0], 30 * rows)
    left, bottom = (0.45 + 0.17 * (1 + label.count("\n")) for label in (y_label, x_label))
    width, height = left + 2.9 * columns + 0.15, bottom + 2.6 * rows + 0.9
    # Shares of the figure.
    left, right, bottom, top = left / width, 1 - 0.15 / width, bottom / height, 1 - 0.9 / height
    figure = style.new_figure(width, height)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    figure.subplots_adjust(left, bottom, right, top, hspace=0.2, wspace=0.08)
    for axes, name in zip(grid.flat, shown, strict=False):
        inside = (facet == name).to_numpy()
        axes.set_title(f"{name} ({inside.sum():,} cells)", fontsize=9, pad=4)
        draw_cells(axes, cells[inside], classes[inside], colours, counts.reindex(shown).max())
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    if len(shown) < grid.size:  # a panel above an empty place is the lowest of its column
        for axes in grid[-2, len(shown) % columns :]:
            axes.tick_params(labelbottom=True)
    figure.supxlabel(x_label, fontsize=9, x=(left + 1) / 2, y=0.02 / height, va="bottom")
    figure.supylabel(y_label, fontsize=9, y=(bottom + top) / 2, x=0.05 / width, ha="left")
    legend(figure, classes[facet.isin(shown)], colours, params["colour"], (1, 1 - 0.8 / height))
    if not set(counts.index) - set(shown):
        return figure, ""
    which = "as configured" if params["facets"] else "those with most cells"
    label = params["facet"].replace("_", " ")
    return figure, f"Shown: {len(shown)} of the {len(counts)} classes of {label}, {which}."


def draw_cells(axes: Axes, cells: pd.DataFrame, classes: pd.Series, colours: dict[str, str], n_cells: int) -> None:
    """Draw one dot per cell, of a size that suits ``n_cells`` cells in a panel."""
    order = np.random.default_rng(0).permutation(len(cells))
    x, y = cells[["x", "y"]].to_numpy()[order].T
    look = {"s": np.clip(30_000 / n_cells, 3, 22), "alpha": 0.65, "linewidths": 0, "rasterized": True}
    axes.scatter(x, y, c=classes.map(colours).to_numpy()[order], **look)


def draw_margin(axes: Axes, scores: pd.Series, classes: pd.Series, colours: dict[str, str], axis: str) -> None:
    """Draw the density of each class, each with an area of one; a class whose scores are all equal has none."""
    for name, values in scores.groupby(classes):
        if len(values) > 2 and np.ptp(values) > 0:
            look = {"color": colours[name], "lw": 1.1, "gridsize": 160, "cut": 0}
            style.seaborn().kdeplot(**{axis: values.to_numpy()}, ax=axes, **look)


def legend(figure: Figure, classes: pd.Series, colours: dict[str, str], label: str, corner: tuple[float, ...]) -> None:
    """Draw the classes and their numbers of cells, with the upper left ``corner`` in shares of the figure."""
    counts = classes.value_counts()
    names = [name for name in colours if name in counts]
    handles = [style.handle(f"{name}  ({counts[name]:,})", colours[name], ms=6, mec="none") for name in names]
    look = {"alignment": "left", "handletextpad": 0.2, "ncols": -(-len(handles) // LEGEND_ROWS)}
    style.legend_outside(figure, handles, corner, title=f"{label.replace('_', ' ')} (cells)", **look)
