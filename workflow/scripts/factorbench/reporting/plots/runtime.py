"""Time by method and its ratio to the reference method (the paper's Table 1, drawn)."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ...registry import REQUIRED, FigureSpec, Param
from ...results.runtime import STOPPED, TIMED, hosts, several_hosts
from ..numbers import duration, times
from . import _style as style

SPEC = FigureSpec(
    name="runtime",
    title="Time by method and its ratio to the reference method (the paper's Table 1, drawn)",
    params={"datasets": Param(REQUIRED, "datasets, one panel each", types=(list,), refers_to="datasets")},
    tables=("runs", "runtime"),
    reading=(
        "Time of the fit alone, one run at a time. Discs: runs that finished. Triangles: runs that were stopped and would "
        "have taken longer. Bars: medians. In brackets: ratio to the reference method on the same dataset and machine. "
        "Nothing is extrapolated. Hollow diamonds: published times, for all cells, on the authors' machine."
    ),
)

FINISHED, CUT = style.OKABE_ITO[0], style.OKABE_ITO[1]
ELSEWHERE = "Published times are of all cells of a dataset, on the authors' machine: not to be compared with ours."


def plot(tables: dict[str, pd.DataFrame], spec: dict[str, Any], config: dict[str, Any]) -> Figure:
    """Draw ``tables["runs"]`` (points) and ``tables["runtime"]`` (medians and ratios), one panel a dataset.

    A row is a method, or, where the runs were made on several machines, a method on one of them; the small print says
    so. A disc is a run that ended by itself, a triangle one that was stopped: it needs at least that long. A hollow
    diamond is the published time, where there is one.
    """
    style.apply()
    runs, runtime = (tables[name].assign(host=hosts(tables[name])) for name in ("runs", "runtime"))
    runtime = runtime.sort_values("method", key=lambda m: m.map(list(config["methods"]).index), kind="stable")
    panels = {d: runtime[runtime["dataset"] == d] for d in spec["datasets"]}
    several = several_hosts(pd.concat(panels.values()))
    heights = [max(len(p), 1) + 1.6 for p in panels.values()]
    figure, grid = plt.subplots(
        len(panels),
        1,
        figsize=(8.2, 0.8 + 0.36 * sum(heights)),
        squeeze=False,
        sharex=True,
        height_ratios=heights,
        layout="constrained",
    )
    figure.suptitle(spec.get("title", ""), x=0.01, ha="left", fontweight="bold", fontsize=11)
    for axes, (dataset, rows) in zip(grid[:, 0], panels.items(), strict=True):
        axes.set_title(config["datasets"][dataset]["title"], pad=22)
        if rows.empty:
            style.empty(axes, "no run")
            continue
        axes.text(0, 1.02, size(rows), va="bottom", color=style.GREY, transform=axes.transAxes)
        draw(axes, runs[runs["dataset"] == dataset], rows)
        named = zip(rows["method"], rows["host"], strict=True)
        labels = [config["methods"][m]["title"] + (f"\n{host}" if several else "") for m, host in named]
        axes.set_yticks(range(len(rows)), labels)
    bottom = grid[-1, 0]
    bottom.set_xscale("log")
    bottom.xaxis.set_major_locator(LogLocator(base=10, numticks=12))
    bottom.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    bottom.xaxis.set_minor_formatter(NullFormatter())
    bottom.set_xlabel("Minutes of the fit (log scale)")
    stopped = runs[runs["dataset"].isin(spec["datasets"])]["status"].isin(STOPPED).any()
    published = any(p["paper_minutes"].notna().any() for p in panels.values())
    handles = legend(stopped, published)
    style.legend_outside(figure, handles, (0, 0), ncols=2, handletextpad=0.3)
    remarks = [f"Runs were {several}." if several else "", ELSEWHERE if published else ""]
    remarks.append(style.caveats(config, spec["datasets"]))
    style.note(figure, " ".join(filter(None, remarks)), 125, below=0.2 + 0.2 * -(-len(handles) // 2))
    return figure


def size(rows: pd.DataFrame) -> str:
    """``13,576 cells x 1,010 genes x 130 factors``; a range where methods differ."""
    factors = sorted(set(rows.loc[rows["factors"] > 0, "factors"].astype(int)))
    span = "" if not factors else f" × {factors[0]:,}" + (f"–{factors[-1]:,}" if factors[-1] > factors[0] else "")
    return f"{rows['cells'].max():,} cells × {rows['genes'].max():,} genes{span}" + (" factors" if span else "")


def draw(axes: Axes, runs: pd.DataFrame, rows: pd.DataFrame) -> None:
    for y, row in enumerate(rows.to_dict("records")):
        own = runs[(runs["method"] == row["method"]) & (runs["host"] == row["host"]) & runs["status"].isin(TIMED)]
        minutes = own["fit_seconds"].astype(float).to_numpy() / 60
        stopped = own["status"].isin(STOPPED).to_numpy()
        if len(own):
            axes.plot([row["minutes"]] * 2, [y - 0.28, y + 0.28], color=style.INK, lw=1.6, zorder=2, gid="median")
        spread = np.linspace(-0.12, 0.12, len(own)) if len(own) > 1 else np.zeros(len(own))
        for marker, colour, chosen in (("o", FINISHED, ~stopped), (">", CUT, stopped)):
            axes.scatter(
                minutes[chosen], (y + spread)[chosen], s=30, marker=marker, c=colour, alpha=0.85, lw=0, zorder=3
            )
        if row["paper_minutes"] > 0:
            axes.plot(
                row["paper_minutes"], y, "D", ms=6, mfc="none", mec=style.GREY, mew=1.2, zorder=4, gid="published"
            )
        axes.text(1.015, y, verdict(row), va="center", fontsize=8.5, transform=axes.get_yaxis_transform())
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="x", color=style.FAINT, lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def verdict(row: dict[str, Any]) -> str:
    """``7.2 s``, ``at least 3.0 min  (≥ 26×)``: the median, and its ratio to the reference."""
    if not row["seconds"] >= 0:
        return f"no time ({row['statuses']})"
    least, more = ("at least ", "≥ ") if row["bound"] == "at least" else ("", "")
    ratio = f"  ({more}{times(row['ratio'])})" if row["ratio"] > 0 else ""
    return f"{least}{duration(row['seconds'])}{ratio}"


def legend(stopped: bool, published: bool) -> list[Line2D]:
    handles = [
        Line2D([], [], marker="o", ls="", ms=5.5, color=FINISHED, label="a run that finished"),
        Line2D([], [], marker="|", ls="", ms=11, mew=1.6, color=style.INK, label="median (× the reference)"),
    ]
    if stopped:
        handles.insert(1, Line2D([], [], marker=">", ls="", ms=5.5, color=CUT, label="stopped: at least this long"))
    if published:
        handles.append(
            Line2D(
                [],
                [],
                marker="D",
                ls="",
                ms=6,
                mfc="none",
                color=style.GREY,
                label="published, on the authors' machine",
            )
        )
    return handles
