"""How well methods recover what was planted, one panel for each property of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ... import registry
from ...registry import REQUIRED, FigureSpec, Param
from ...results.recovery import MEASURES, curves
from ...results.seeds import tidy
from . import _style as style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPEC = FigureSpec(
    name="recovery",
    title="How well methods recover what was planted, one panel for each question",
    params={
        "datasets": Param(REQUIRED, "simulated datasets, the usual one first", types=(list,), refers_to="datasets"),
        "methods": Param(REQUIRED, "methods to compare", types=(list,), refers_to="methods"),
        "measures": Param(["activity_correlation", "aupr_missing"], "measures of the metric recovery, one row each"),
        "vary": Param(
            {"Share of wrong and missing genes": "corrupt.missing", "Cells": "options.n_cells"},
            "what the panels of a row vary: a title and the key of the datasets",
        ),
        "published": Param({}, "published values of the first measure, by name, shown beside the first panel"),
    },
    tables=("scores",),
    reading=(
        "In each panel one property of the data is varied; all others are as usual. Dots are means over simulated "
        "data, bands their 95 % interval (Student's t). Dashed lines are controls: the given gene sets copied, the "
        "truth itself, and, dotted, a method with permuted gene sets. Believe a method as far as it stands above the "
        "copied gene sets. Diamonds: published values, from other runs."
    ),
)

MARKERS = "os^Dv"
"""Markers of the models, which lie close together."""


def plot(tables: dict[str, pd.DataFrame], params: dict[str, Any], config: dict[str, Any]) -> Figure:
    """Draw ``tables["scores"]`` as `SPEC.reading` says."""
    scores = tidy(tables["scores"])
    table = curves(scores, params, config)
    rows, columns = params["measures"], list(params["vary"])
    palette = style.method_colours(config)
    size = (4.2 + 2.5 * len(columns), 0.9 + 2.3 * len(rows))
    figure, grid = style.panels(len(rows), len(columns), size, params["title"], sharey="row")
    controls = {m for m in params["methods"] if registry.load("method", config["methods"][m]["use"]).SPEC.control}
    models = [m for m in params["methods"] if m not in controls]
    looks = {
        m: {"color": palette[m], "ls": "-", "lw": 1.4, "marker": MARKERS[i % len(MARKERS)], "ms": 5}
        for i, m in enumerate(models)
    }
    looks |= {m: {"color": palette[m], "ls": (0, (4, 3)), "lw": 1.4, "marker": ""} for m in sorted(controls)}
    for measure, axes_of_row in zip(rows, grid, strict=True):
        axes_of_row[0].set_ylabel(style.wrapped(MEASURES[measure], 26))
        for title, axes in zip(columns, axes_of_row, strict=True):
            part = table[(table["measure"] == measure) & (table["varied"] == title)]
            axes.set_xlabel(title)
            draw(axes, part, looks, controls)
    if params["published"]:
        draw_published(grid[0, 0], params["published"])
    handles = [style.handle(config["methods"][m]["title"], **style_of) for m, style_of in looks.items()]
    if table["permuted"].any():
        handles.append(style.handle("with permuted gene sets", style.GREY, marker="", ls=":", lw=1.4))
    figure.legend(handles=handles, loc="outside right upper", labelspacing=0.7)
    n = table["data"].max() if len(table) else 0
    remarks = [f"Means of up to {n} data.", *style.caveats(config, params["datasets"][:1])]
    style.note(figure, remarks, int(size[0] * 16))
    return figure


def draw_published(axes: Axes, published: dict[str, float]) -> None:
    """Draw published values in a column of their own, their names so far apart that they can be read."""
    low, high = axes.get_xlim()
    place, room = high + 0.2 * (high - low), 0.06 * np.ptp(axes.get_ylim())
    heights: list[float] = []
    for name, value in sorted(published.items(), key=lambda item: item[1]):
        heights.append(max(value, heights[-1] + room) if heights else value)
        axes.plot(place, value, "D", color=style.GREY, ms=4.5, gid=f"published/{name}")
        axes.text(place + 0.12 * (high - low), heights[-1], f"{name} {value:.2f}", va="center", fontsize=7.5)
    axes.set_xlim(low, place + 1.1 * (high - low))


def draw(axes: Axes, part: pd.DataFrame, looks: dict[str, dict[str, Any]], controls: set[str]) -> None:
    """Draw one panel; ``part`` has the rows of `results.recovery.curves` for it, ``looks`` the lines of methods."""
    style.grid(axes, "y")
    if part.empty:
        style.empty(axes, "not measured")
        return
    limits = registry.load("metric", "recovery").SPEC.measures[part["measure"].iloc[0]][:2]
    values = list(dict.fromkeys(part.loc[~part["permuted"]].sort_values("order")["value_of"]))
    numbers = all(isinstance(value, int | float) for value in values)
    wide = numbers and min(values) > 0 and max(values) > 10 * min(values)
    place = {value: value if numbers else i for i, value in enumerate(values)}
    for (method, permuted), points in part.groupby(["method", "permuted"], sort=False):
        if permuted:
            axes.axhline(points["mean"].mean(), color=looks[method]["color"], ls=":", lw=1.4, zorder=1)
            continue
        points = points.sort_values("order")
        x = points["value_of"].map(place).to_numpy(float)
        axes.plot(x, points["mean"], **looks[method], gid=method)
        known = np.isfinite(points["lower"].to_numpy(float))
        if known.any() and method not in controls:
            band = points[["lower", "upper"]].clip(*limits).to_numpy().T
            axes.fill_between(x, *band, color=looks[method]["color"], alpha=0.15, lw=0)
    if wide:
        axes.set_xscale("log")
    axes.set_xticks(list(place.values()), [f"{v:g}" if numbers else str(v) for v in values])
    axes.minorticks_off()
