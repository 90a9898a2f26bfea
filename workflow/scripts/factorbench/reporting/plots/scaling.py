"""Time against cells over several sizes of a dataset: measured, stopped, extrapolated, and the power laws."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from ...registry import REQUIRED, FigureSpec, Param
from ...results.runtime import hosts, several_hosts
from ...results.scaling import AT, SEVERAL_HOSTS, SIZES
from ..numbers import count
from . import _style as style

SPEC = FigureSpec(
    name="scaling",
    title="Time against cells over all sizes of a dataset, with power laws and extrapolations",
    params={"dataset": Param(REQUIRED, "the dataset that the sizes are made from", types=(str,), refers_to="datasets")},
    tables=("full_time", "scaling"),
    reading=(
        "Median seconds of the fit against cells, one panel per number of gene sets, both axes logarithmic. Discs: all "
        "runs finished. Triangles: runs were stopped and would have taken longer. Hollow and dashed: extrapolated, the "
        "seconds per iteration at that size times the iterations after which runs of the same model converged, from the "
        "fewest to the most. Lines: power laws of cells and gene sets, least squares over the runs that finished."
    ),
)

TICKS = {
    **{0.001: "1 ms", 0.01: "10 ms", 0.1: "0.1 s", 1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h"},
    **{36_000: "10 h", 259_200: "3 d", 2_592_000: "30 d", 31_557_600: "1 year"},
}
"""Seconds that people have words for."""


def plot(tables: dict[str, pd.DataFrame], spec: dict[str, Any], config: dict[str, Any]) -> Figure:
    """Draw ``tables["full_time"]`` (points) and ``tables["scaling"]`` (lines), one panel a number of terms.

    A disc is a median of runs that finished, a triangle one of runs that were stopped: they need at least that long.
    Hollow with a dashed line and a range: extrapolated. Solid lines are the laws of whole fits, over the sizes they
    follow from. Numbers of terms with fewer sizes than make a law have no panel; the small print names them.
    """
    style.apply()
    family = config["datasets"][spec["dataset"]]["raw"]
    full, laws = tables["full_time"], tables["scaling"]
    full, laws = full[full["family"] == family], laws[laws["dataset"] == family]
    sizes = full.groupby("terms")["cells"].nunique()
    shown = [int(terms) for terms in sizes.index[sizes >= SIZES]]
    methods = [method for method in config["methods"] if method in set(full["method"])]
    methods.sort(key=lambda method: method != config["report"]["reference"])
    colours = dict(zip(methods, style.palette(len(methods)), strict=True))
    figure, grid = plt.subplots(
        *(1, max(len(shown), 1)), figsize=(8.2, 4.6), squeeze=False, sharex=True, sharey=True, layout="constrained"
    )
    figure.suptitle(spec.get("title", ""), x=0.01, ha="left", fontweight="bold", fontsize=11)
    several = several_hosts(full)
    remarks = [f"Runs were {several}." if several else "", style.caveats(config, [spec["dataset"]])]
    if not shown:
        style.empty(grid[0, 0], f"Nothing to draw: no number of terms with {SIZES} numbers of cells.")
        style.note(figure, " ".join(filter(None, remarks)))
        return figure
    for axes, terms in zip(grid[0], shown, strict=True):
        here = full[full["terms"] == terms]
        genes = sorted({int(here["genes"].min()), int(here["genes"].max())})
        axes.set_title(f"{terms} terms", pad=22)
        axes.text(
            0, 1.02, f"{'–'.join(map(count, genes))} genes", va="bottom", color=style.GREY, transform=axes.transAxes
        )
        for (method, _), rows in here.sort_values("cells").groupby(["method", hosts(here)]):
            # Runs that are stopped by one budget would hide each other.
            draw(axes, rows, colours[method], 1 + 0.04 * (methods.index(method) - (len(methods) - 1) / 2))
            law = laws[(laws["method"] == method) & (laws["of"] == "fit")]
            draw_law(axes, rows[rows["how"] == "measured"], law, terms, colours[method])
        longest = here[here["how"] == "extrapolated"].nlargest(1, "seconds")
        for cells, seconds in longest[["cells", "seconds"]].to_numpy(float):
            at = {"xytext": (-10, 7), "textcoords": "offset points", "ha": "right", "fontsize": 8.5}
            axes.annotate("extrapolated", (cells, seconds), color=style.GREY, style="italic", **at)
        axes.grid(color=style.FAINT, lw=0.6)
        axes.set_axisbelow(True)
    ruled(grid[0], sorted(set(full.loc[full["terms"].isin(shown), "cells"])))
    handles = [of_method(config["methods"][m]["title"], laws[laws["method"] == m], colours[m]) for m in methods]
    handles += of_points(full[full["terms"].isin(shown)], laws)
    style.legend_outside(figure, handles, (0, 0), handletextpad=0.6)
    lines = sum(1 + handle.get_label().count("\n") for handle in handles)
    others = full[~full["terms"].isin(shown)].drop_duplicates(["terms", "cells"])
    if len(others):
        also = ", ".join(f"{row.terms} terms at {row.cells:,} cells" for row in others.itertuples())
        remarks.insert(0, f"In the laws, but not drawn: {also}.")
    style.note(figure, " ".join(filter(None, remarks)), 125, below=0.2 + 0.19 * lines)
    return figure


def draw(axes: Axes, rows: pd.DataFrame, colour: str, aside: float) -> None:
    """The times of one method at one number of terms, by cells; stopped ones at ``aside`` times their cells."""
    measured, stopped = rows[rows["how"] == "measured"], rows[rows["how"] != "measured"]
    axes.scatter(measured["cells"], measured["ran"], s=26, color=colour, lw=0, zorder=4, gid="measured")
    cut = {"s": 26, "marker": "^", "lw": 0, "alpha": 0.8, "zorder": 3, "gid": "stopped"}
    axes.scatter(stopped["cells"] * aside, stopped["ran"], color=colour, **cut)
    guessed = rows[rows["how"] == "extrapolated"]
    if guessed.empty:
        return
    lower, seconds, upper = guessed[["lower", "seconds", "upper"]].to_numpy(float).T
    axes.errorbar(
        *(guessed["cells"].to_numpy(), seconds, [seconds - lower, upper - seconds]),
        **{
            "fmt": "o--",
            "ms": 5.5,
            "mfc": "white",
            "color": colour,
            "lw": 1,
            "elinewidth": 1,
            "capsize": 2,
            "zorder": 3,
        },
    ).lines[0].set_gid("extrapolated")


def draw_law(axes: Axes, measured: pd.DataFrame, law: pd.DataFrame, terms: int, colour: str) -> None:
    """The power law of a fit, over the sizes at which it was measured."""
    law = law[law["cells_exponent"].notna()]
    if law.empty or measured["cells"].nunique() < 2:
        return
    cells = np.array([measured["cells"].min(), measured["cells"].max()], float)
    row = law.iloc[0]
    powers = 0.0 if np.isnan(row["terms_exponent"]) else row["terms_exponent"]
    seconds = row["seconds"] * (cells / AT["cells"]) ** row["cells_exponent"] * (terms / AT["terms"]) ** powers
    axes.plot(cells, seconds, color=colour, lw=1.4, alpha=0.8, zorder=2, gid="law")


def ruled(panels: Any, cells: list[int]) -> None:
    """Logarithmic axes with ticks at the sizes there are and at seconds that people have words for."""
    for axes in panels:
        axes.set_xscale("log")
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        axes.set_yticks([t for t in TICKS if low <= t <= high], minor=False)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: TICKS[v]))
        # Sizes closer than a factor of 1.8 would be written over each other.
        axes.set_xticks(apart(cells, 1.8))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: count(v)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("Cells (log scale)")
    panels[0].set_ylabel("Time of the fit (log scale)")


def apart(values: list[int], factor: float) -> list[int]:
    """Of rising ``values`` the first, and each that is ``factor`` times the one taken before it."""
    taken = values[:1]
    for value in values:
        if value >= factor * taken[-1]:
            taken.append(value)
    return taken


def of_method(title: str, laws: pd.DataFrame, colour: str) -> Line2D:
    """A method in the legend, with the exponents of its laws."""
    said = ";\n    ".join(filter(None, (in_words(row) for row in laws.to_dict("records"))))
    why = SEVERAL_HOSTS if (laws["reason"] == SEVERAL_HOSTS).any() else "it finished on too few sizes"
    label = f"{title}: {said}" if said else f"{title}: no law, {why}"
    return Line2D([], [], marker="s", ls="", ms=7, color=colour, label=label)


def in_words(law: dict[str, Any]) -> str:
    """``fit ~ cells^0.95 (0.90 to 1.01) terms^1.20 (1.05 to 1.35)``; nothing if there is no law."""
    powers = [
        f"{name}$^{{{law[f'{name}_exponent']:.2f}}}$ ({law[f'{name}_lower']:.2f} to {law[f'{name}_upper']:.2f})"
        for name in ("cells", "terms")
        if np.isfinite(law[f"{name}_exponent"])
    ]
    of = {"fit": "time", "iteration": "an iteration"}[law["of"]]
    return f"{of} ∝ {' · '.join(powers)}" if powers else ""


def of_points(full: pd.DataFrame, laws: pd.DataFrame) -> list[Line2D]:
    """What discs, triangles and hollow points are, those that there are."""
    plain = {"ls": "", "ms": 5.5, "color": style.GREY}
    handles = [
        Line2D(
            [],
            [],
            marker="o",
            **plain,
            label="measured: all runs finished; line: power law, 95 % intervals in brackets",
        )
    ]
    if (full["how"] != "measured").any():
        handles.append(Line2D([], [], marker="^", **plain, label="stopped: at least this long"))
    guessed = full[full["how"] == "extrapolated"]
    if len(guessed):
        fewest, most = guessed["iterations_lower"].min(), guessed["iterations_upper"].max()
        label = (
            f"extrapolated: seconds of an iteration there × iterations to convergence ({fewest:.0f} to {most:.0f}, "
            f"seen in {guessed['converged'].max():.0f} runs)"
        )
        handles.append(Line2D([], [], marker="o", ls="--", ms=5.5, mfc="white", color=style.GREY, lw=1, label=label))
    return handles
