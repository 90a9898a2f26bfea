"""Time by method and its ratio to the reference method (the paper's Table 1, drawn)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...registry import REQUIRED, FigureSpec, Param
from ...results.runtime import STOPPED, TIMED, hosts, several_hosts
from ..numbers import duration, times
from . import _style as style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPEC = FigureSpec(
    name="runtime",
    title="Time by method and its ratio to the reference method (the paper's Table 1, drawn)",
    params={"datasets": Param(REQUIRED, "datasets, one panel each", types=(list,), refers_to="datasets")},
    tables=("runs", "runtime"),
    reading=(
        "Time of the fit alone, one run at a time. Discs: runs that finished. Triangles: runs that were stopped and "
        "would have taken longer. Bars: medians. In brackets: ratio to the reference method on the same dataset and "
        "machine. Nothing is extrapolated. Hollow diamonds: published times, for all cells, on the authors' machine."
    ),
)

FINISHED, CUT = style.OKABE_ITO[:2]
ELSEWHERE = "Published times are for all cells of a dataset, on the authors' machine: do not compare them with ours."


def plot(tables: dict[str, pd.DataFrame], params: dict[str, Any], config: dict[str, Any]) -> Figure:
    """Draw ``tables["runs"]`` (points) and ``tables["runtime"]`` (medians, ratios), one panel per dataset.

    A row is a method, or a method on one machine if the runs were made on several; the small print says so
    (`SPEC.reading`).
    """
    from matplotlib.ticker import LogLocator

    runs, runtime = (tables[name].assign(host=hosts(tables[name])) for name in ("runs", "runtime"))
    runs = runs[runs["dataset"].isin(params["datasets"])]
    runtime = runtime[runtime["dataset"].isin(params["datasets"])]
    runtime = runtime.sort_values("method", key=lambda m: m.map(list(config["methods"]).index), kind="stable")
    rows = {name: runtime[runtime["dataset"] == name] for name in params["datasets"]}
    several = several_hosts(runtime)
    heights = [max(len(table), 1) + 1.6 for table in rows.values()]
    size = (8.2, 0.8 + 0.36 * sum(heights))
    figure, grid = style.panels(len(rows), 1, size, params["title"], sharex=True, height_ratios=heights)
    for axes, (name, table) in zip(grid[:, 0], rows.items(), strict=True):
        axes.set_title(config["datasets"][name]["title"], pad=22)
        if table.empty:
            style.empty(axes, "no run")
            continue
        axes.text(0, 1.02, extent(table), va="bottom", color=style.GREY, transform=axes.transAxes)
        draw(axes, runs[runs["dataset"] == name], table)
        titles = [config["methods"][method]["title"] for method in table["method"]]
        labels = [f"{title}\n{host}" for title, host in zip(titles, table["host"], strict=True)]
        axes.set_yticks(range(len(table)), labels if several else titles)
    bottom = grid[-1, 0]
    bottom.set(xscale="log", xlabel="Minutes of the fit (log scale)")
    bottom.xaxis.set_major_locator(LogLocator(numticks=12))
    bottom.xaxis.set_major_formatter("{x:g}")
    bottom.xaxis.set_minor_formatter("")
    published = runtime["paper_minutes"].notna().any()
    handles = [style.handle("a run that finished", FINISHED)]
    if runs["status"].isin(STOPPED).any():
        handles.append(style.handle("stopped: at least this long", CUT, ">"))
    handles.append(style.handle("median (× the reference)", style.INK, "|", ms=11, mew=1.6))
    if published:
        handles.append(style.handle("published, on the authors' machine", marker="D", ms=6, mfc="none"))
    style.legend_outside(figure, handles, (0, 0), ncols=2, handletextpad=0.3)
    remarks = [f"Runs were {several}." if several else "", ELSEWHERE if published else ""]
    below = 0.2 + 0.2 * -(-len(handles) // 2)
    style.note(figure, [*remarks, *style.caveats(config, params["datasets"])], 125, below)
    return figure


def extent(rows: pd.DataFrame) -> str:
    """Return ``13,576 cells × 1,010 genes × 130 factors``, with a range of factors where methods differ."""
    factors = sorted(set(rows.loc[rows["factors"] > 0, "factors"].astype(int)))
    span = f" × {'–'.join(f'{n:,}' for n in sorted({factors[0], factors[-1]}))} factors" if factors else ""
    return f"{rows['cells'].max():,} cells × {rows['genes'].max():,} genes{span}"


def draw(axes: Axes, runs: pd.DataFrame, rows: pd.DataFrame) -> None:
    for y, row in enumerate(rows.to_dict("records")):
        timed = runs[(runs["method"] == row["method"]) & (runs["host"] == row["host"]) & runs["status"].isin(TIMED)]
        minutes = timed["fit_seconds"].astype(float).to_numpy() / 60
        stopped = timed["status"].isin(STOPPED).to_numpy()
        if len(timed):
            axes.plot([row["minutes"]] * 2, [y - 0.28, y + 0.28], color=style.INK, lw=1.6, zorder=2, gid="median")
        places = y + (np.linspace(-0.12, 0.12, len(timed)) if len(timed) > 1 else np.zeros(len(timed)))
        for gid, marker, colour, chosen in (("finished", "o", FINISHED, ~stopped), ("stopped", ">", CUT, stopped)):
            look = {"s": 30, "marker": marker, "c": colour, "alpha": 0.85, "lw": 0, "zorder": 3}
            axes.scatter(minutes[chosen], places[chosen], gid=gid, **look)
        if row["paper_minutes"] > 0:
            look = {"ms": 6, "mfc": "none", "mec": style.GREY, "mew": 1.2, "zorder": 4}
            axes.plot(row["paper_minutes"], y, "D", gid="published", **look)
        axes.text(1.015, y, verdict(row), va="center", fontsize=8.5, transform=axes.get_yaxis_transform())
    axes.set_ylim(len(rows) - 0.4, -0.6)
    style.grid(axes, "x")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def verdict(row: dict[str, Any]) -> str:
    """Return the median and its ratio to the reference: ``7.2 s  (1×)``, ``at least 3.0 min  (≥ 26×)``."""
    if not row["seconds"] >= 0:
        return f"no time ({row['statuses']})"
    least, more = ("at least ", "≥ ") if row["bound"] == "at least" else ("", "")
    ratio = f"  ({more}{times(row['ratio'])})" if row["ratio"] > 0 else ""
    return f"{least}{duration(row['seconds'])}{ratio}"
