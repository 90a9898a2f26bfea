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

from . import style

MARGIN_CLASSES = 12
"""Most classes whose distributions can still be told apart in the margins."""


def plot(tables: dict[str, pd.DataFrame], spec: dict[str, Any], config: dict[str, Any]) -> Figure:
    """Draw ``tables["cells"]`` (`tables.cells_table`), coloured by the label ``spec["colour"]``.

    Cells are drawn in a shuffled order, so that no class hides another, and as pixels also in SVG. The margins show
    each class's distribution on its own scale, so that small classes are seen. The small print says which terms were
    passed over.
    """
    style.apply()
    cells = tables["cells"]
    figure = plt.figure(figsize=(7.2, 5.2))
    figure.suptitle(spec.get("title", ""), x=0.01, y=0.985, ha="left", fontweight="bold", fontsize=11)
    remark = cells["note"].iloc[0] if len(cells) and isinstance(cells["note"].iloc[0], str) else ""
    style.note(figure, remark)
    method, dataset = config["methods"][spec["method"]], config["datasets"][spec["dataset"]]
    run = f"{method['title']}, seed {spec['seed']} · {dataset['title']}"
    figure.text(0.01, 0.935, run, va="top", fontsize=8.5, color=style.GREY)
    if cells.empty or cells[["x", "y"]].isna().all().any():
        style.empty(figure.add_subplot(), "Nothing to draw: none of the terms asked for is a factor that is on.")
        return figure
    grid = figure.add_gridspec(
        2, 2, width_ratios=(6, 1), height_ratios=(1, 6), hspace=0.04, wspace=0.03, top=0.9, right=0.78
    )
    axes = figure.add_subplot(grid[1, 0])
    classes = cells[spec["colour"]].fillna("unknown").astype(str)
    order = sorted(set(classes))
    colours = dict(zip(order, style.palette(len(order)), strict=True))
    draw_cells(axes, cells, classes, colours)
    top, right = figure.add_subplot(grid[0, 0], sharex=axes), figure.add_subplot(grid[1, 1], sharey=axes)
    if len(order) <= MARGIN_CLASSES:
        draw_margin(top, cells["x"], classes, colours, "x")
        draw_margin(right, cells["y"], classes, colours, "y")
    for margin in (top, right):
        margin.set_axis_off()
    handles = [
        Line2D([], [], marker="o", ls="", ms=6, mec="none", color=colours[c], label=f"{c}  ({n:,})")
        for c, n in classes.value_counts().reindex(order).items()
    ]
    figure.legend(
        handles=handles,
        title=spec["colour"].replace("_", " ") + " (cells)",
        alignment="left",
        loc="upper left",
        bbox_to_anchor=(0.785, 0.78),
        handletextpad=0.2,
    )
    return figure


def draw_cells(axes: Axes, cells: pd.DataFrame, classes: pd.Series, colours: dict[str, str]) -> None:
    order = np.random.default_rng(0).permutation(len(cells))
    size = np.clip(30_000 / len(cells), 3, 22)
    axes.scatter(
        cells["x"].to_numpy()[order],
        cells["y"].to_numpy()[order],
        c=classes.map(colours).to_numpy()[order],
        s=size,
        alpha=0.65,
        linewidths=0,
        rasterized=True,
    )
    axes.set_xlabel(style.wrapped(cells["x_term"].iloc[0], 60))
    axes.set_ylabel(style.wrapped(cells["y_term"].iloc[0], 52))


def draw_margin(axes: Axes, scores: pd.Series, classes: pd.Series, colours: dict[str, str], axis: str) -> None:
    """Density of each class, each with an area of one; a class without spread has none."""
    for name, values in scores.groupby(classes):
        if len(values) > 2 and np.ptp(values) > 0:
            sns.kdeplot(**{axis: values.to_numpy()}, ax=axes, color=colours[name], lw=1.1, gridsize=160, cut=0)
