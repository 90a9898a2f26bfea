"""Time against cells over several sizes of a dataset: measured, stopped, extrapolated, and the power laws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...registry import REQUIRED, FigureSpec, Param
from ...results.runtime import hosts, several_hosts
from ...results.scaling import AT, SEVERAL_HOSTS, SIZES
from ..numbers import count
from . import _style as style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

SPEC = FigureSpec(
    name="scaling",
    title="Time against cells over all sizes of a dataset, with power laws and extrapolations",
    params={"dataset": Param(REQUIRED, "the dataset that the sizes are made from", types=(str,), refers_to="datasets")},
    tables=("full_time", "scaling"),
    reading=(
        "Median seconds of the fit against cells, one panel per number of gene sets, both axes logarithmic. Discs: all "
        "runs finished. Triangles: runs were stopped and would have taken longer. Hollow and dashed: extrapolated, "
        "which is the start plus the seconds per iteration at that size times the iterations after which runs of the "
        "same model converged, from the fewest to the most. Lines: power laws of cells and gene sets, least squares "
        "over the runs that finished."
    ),
)

TICKS = {0.001: "1 ms", 0.01: "10 ms", 0.1: "0.1 s", 1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h"}
TICKS |= {36_000: "10 h", 259_200: "3 d", 2_592_000: "30 d", 31_557_600: "1 year"}
"""Seconds that have a tick on the axis of time, and how they are written."""


def plot(tables: dict[str, pd.DataFrame], params: dict[str, Any], config: dict[str, Any]) -> Figure:
    """Draw ``tables["full_time"]`` (points) and ``tables["scaling"]`` (lines), one panel per number of gene sets.

    Numbers of gene sets with too few sizes for a law have no panel; the small print names them (`SPEC.reading`).
    """
    family = config["datasets"][params["dataset"]]["raw"]
    full, laws = tables["full_time"], tables["scaling"]
    full, laws = full[full["family"] == family], laws[laws["dataset"] == family]
    sizes = full.groupby("terms")["cells"].nunique()
    panels = [int(terms) for terms in sizes.index[sizes >= SIZES]]
    drawn = full[full["terms"].isin(panels)]
    others = full.drop(drawn.index).drop_duplicates(["terms", "cells"])
    several = several_hosts(full)
    remarks = [f"Runs were {several}." if several else "", *style.caveats(config, [params["dataset"]])]
    figure, grid = style.panels(1, max(len(panels), 1), (8.2, 4.6), params["title"], sharex=True, sharey=True)
    if not panels:
        style.empty(grid[0, 0], f"Nothing to draw: a panel needs {SIZES} numbers of cells at one number of gene sets.")
        style.note(figure, remarks)
        return figure
    methods = [method for method in config["methods"] if method in set(full["method"])]
    methods.sort(key=lambda method: method != config["report"]["reference"])
    colours = dict(zip(methods, style.palette(len(methods)), strict=True))
    for axes, terms in zip(grid[0], panels, strict=True):
        rows = drawn[drawn["terms"] == terms].sort_values("cells")
        genes = sorted({rows["genes"].min(), rows["genes"].max()})
        axes.set_title(f"{terms} gene sets", pad=22)
        below = f"{'–'.join(map(count, genes))} genes"
        axes.text(0, 1.02, below, va="bottom", color=style.GREY, transform=axes.transAxes)
        for (method, _), group in rows.groupby(["method", hosts(rows)]):
            # Beside each other: runs that are stopped by one budget would hide each other.
            draw(axes, group, colours[method], 1 + 0.04 * (methods.index(method) - (len(methods) - 1) / 2))
            law = laws[(laws["method"] == method) & (laws["of"] == "fit") & laws["cells_exponent"].notna()]
            cells = group.loc[group["how"] == "measured", "cells"]
            if len(law) and len(set(cells)) > 1:
                draw_law(axes, law.iloc[0], np.array([cells.min(), cells.max()], float), terms, colours[method])
        for row in rows[rows["how"] == "extrapolated"].nlargest(1, "seconds").itertuples():
            look = {"color": style.GREY, "style": "italic", "fontsize": 8.5, "ha": "right"}
            place = {"xytext": (-10, 7), "textcoords": "offset points"}
            axes.annotate("extrapolated", (row.cells, row.seconds), **look, **place)
        style.grid(axes)
    log_axes(grid[0], sorted(set(drawn["cells"])))
    handles = legend(drawn, laws, colours, config)
    style.legend_outside(figure, handles, (0, 0), handletextpad=0.6)
    if len(others):
        also = ", ".join(f"{row.terms} gene sets at {row.cells:,} cells" for row in others.itertuples())
        remarks.insert(0, f"In the laws, but not drawn: {also}.")
    lines = sum(1 + handle.get_label().count("\n") for handle in handles)
    style.note(figure, remarks, 125, below=0.2 + 0.19 * lines)
    return figure


def draw(axes: Axes, rows: pd.DataFrame, colour: str, aside: float) -> None:
    """Draw the times of one method at one number of gene sets; stopped ones at ``aside`` times their cells."""
    measured, stopped = rows[rows["how"] == "measured"], rows[rows["how"] != "measured"]
    look = {"s": 26, "color": colour, "lw": 0}
    axes.scatter(measured["cells"], measured["ran"], zorder=4, gid="measured", **look)
    axes.scatter(stopped["cells"] * aside, stopped["ran"], marker="^", alpha=0.8, zorder=3, gid="stopped", **look)
    rows = rows[rows["how"] == "extrapolated"]
    if len(rows):
        ranges = np.abs(rows[["lower", "upper"]].to_numpy(float).T - rows["seconds"].to_numpy(float))
        look = {"fmt": "o--", "ms": 5.5, "mfc": "white", "color": colour, "lw": 1, "elinewidth": 1, "capsize": 2}
        bars = axes.errorbar(rows["cells"], rows["seconds"], ranges, zorder=3, **look)
        bars.lines[0].set_gid("extrapolated")


def draw_law(axes: Axes, law: pd.Series, cells: np.ndarray, terms: int, colour: str) -> None:
    """Draw the power law of a fit between the fewest and the most ``cells`` at which it was measured."""
    seconds = law["seconds"] * (cells / AT["cells"]) ** law["cells_exponent"]
    if np.isfinite(law["terms_exponent"]):
        seconds = seconds * (terms / AT["terms"]) ** law["terms_exponent"]
    axes.plot(cells, seconds, color=colour, lw=1.4, alpha=0.8, zorder=2, gid="law")


def log_axes(panels: np.ndarray, cells: list[int]) -> None:
    """Make shared axes logarithmic, with ticks at the sizes in ``cells`` and at `TICKS`."""
    axes = panels[0]
    axes.set(xscale="log", yscale="log", ylabel="Time of the fit (log scale)")
    low, high = axes.get_ylim()
    ticks = [tick for tick in TICKS if low <= tick <= high]
    axes.set_yticks(ticks, [TICKS[tick] for tick in ticks])
    # Sizes closer than a factor of 1.8 would be written over each other.
    ticks = apart(cells, 1.8)
    axes.set_xticks(ticks, map(count, ticks))
    for axes in panels:
        axes.minorticks_off()
        axes.set_xlabel("Cells (log scale)")


def apart(values: list[int], factor: float) -> list[int]:
    """Return of rising ``values`` the first, and each that is at least ``factor`` times the last one taken."""
    taken = values[:1]
    for value in values:
        if value >= factor * taken[-1]:
            taken.append(value)
    return taken


def in_words(law: dict[str, Any]) -> str:
    """Return ``time ∝ cells^0.95 (0.90 to 1.01) · gene sets^1.20 (1.05 to 1.35)``; nothing if there is no law."""
    powers = [
        f"{name}$^{{{law[f'{key}_exponent']:.2f}}}$ ({law[f'{key}_lower']:.2f} to {law[f'{key}_upper']:.2f})"
        for key, name in (("cells", "cells"), ("terms", "gene sets"))
        if np.isfinite(law[f"{key}_exponent"])
    ]
    subject = {"fit": "time", "iteration": "time per iteration"}[law["of"]]
    return f"{subject} ∝ {' · '.join(powers)}" if powers else ""


def legend(drawn: pd.DataFrame, laws: pd.DataFrame, colours: dict[str, str], config: dict[str, Any]) -> list[Line2D]:
    """Return entries for each method, with the exponents of its laws, and for the kinds of points that are drawn."""
    handles = []
    for method, colour in colours.items():
        rows = laws[laws["method"] == method]
        text = ";\n    ".join(filter(None, map(in_words, rows.to_dict("records"))))
        why = SEVERAL_HOSTS if (rows["reason"] == SEVERAL_HOSTS).any() else "it finished on too few sizes"
        label = f"{config['methods'][method]['title']}: {text or f'no law, {why}'}"
        handles.append(style.handle(label, colour, "s", ms=7))
    handles.append(style.handle("measured: all runs finished; line: power law, 95 % intervals in brackets"))
    if (drawn["how"] != "measured").any():
        handles.append(style.handle("stopped: at least this long", marker="^"))
    rows = drawn[drawn["how"] == "extrapolated"]
    if len(rows):
        label = (
            f"extrapolated: seconds per iteration × iterations to convergence ({rows['iterations_lower'].min():.0f} to "
            f"{rows['iterations_upper'].max():.0f}, seen in {rows['converged'].max():.0f} runs)"
        )
        handles.append(style.handle(label, ls="--", mfc="white", lw=1))
    return handles
