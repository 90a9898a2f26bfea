"""The most important pathways of one method, beside a published list (the paper's tables of top terms)."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...registry import REQUIRED, FigureSpec, Param
from ...results.pathways import annotated_relevance, rank_agreement
from ...results.seeds import over_seeds
from . import _style as style

SPEC = FigureSpec(
    name="pathways",
    title="The most important pathways by the L2 norm of their loadings, beside a published list",
    params={
        "dataset": Param(REQUIRED, "a dataset", types=(str,), refers_to="datasets"),
        "method": Param(REQUIRED, "a method", types=(str,), refers_to="methods"),
        "claim": Param("", "a claim whose list of terms is shown beside ours", refers_to="claims"),
    },
    tables=("scores",),
    reading=(
        "Gene sets with the largest L2 norm of the loadings: mean over seeds, range and seeds. A published list, if there "
        "is one, stands on the right in its own order, with lines to the same set among ours; otherwise our rank, or that "
        "the method switched the set off, or that it was not kept. The small print gives the number of shared sets, the "
        "number expected by chance (hypergeometric) and Kendall's tau-b of the two orders."
    ),
)

OURS, PUBLISHED = style.OKABE_ITO[0], style.OKABE_ITO[1]
ROW = 0.42
"""Height of a row, in inches: three lines of a long name."""
ABOVE, BELOW = 1.1, 0.55
"""Room above and below the rows, in inches."""


def plot(tables: dict[str, pd.DataFrame], spec: dict[str, Any], config: dict[str, Any]) -> Figure:
    """Draw the gene sets of ``tables["scores"]`` with the largest L2 norm of their loadings.

    A row a gene set: the mean over seeds, a line over the range of the seeds, a small dot a seed. Beside them, if there
    is one, the list ``spec["published"]`` in its own order: joined by a line to ours, or followed by our rank. The
    small print says how well both agree (`tables.rank_agreement`).
    """
    style.apply()
    rows = annotated_relevance(tables["scores"], spec["dataset"], spec["method"])
    relevance = over_seeds(rows).set_index("factor")["mean"]
    top = relevance[relevance > 0].sort_index().sort_values(ascending=False, kind="stable")
    top = top.iloc[: config["report"]["top"]]
    published = spec["published"]
    n = max(len(top), len(published))
    width, height = (12.4 if published else 7.6), max(ROW * n + ABOVE + BELOW, 3.2)
    figure = plt.figure(figsize=(width, height))
    method, dataset = config["methods"][spec["method"]], config["datasets"][spec["dataset"]]
    seeds = rows["seed"].nunique()
    run = f"{method['title']}, {seeds} seed{'s' * (seeds != 1)} · {dataset['title']}"
    style.heading(figure, spec.get("title", ""), run)
    axes = figure.add_axes((3.0 / width, BELOW / height, 4.1 / width, 1 - (ABOVE + BELOW) / height))
    remarks = []
    if top.empty:
        style.empty(axes, f"Nothing to draw: {method['title']} has no gene set that is on here.")
    else:
        draw(axes, rows, top, n)
        if seeds > 1:
            figure.legend(
                handles=legend(),
                loc="lower right",
                bbox_to_anchor=(1, 1.03),
                bbox_transform=axes.transAxes,
                ncols=2,
                borderaxespad=0,
                handletextpad=0.4,
            )
        if published:
            found = rank_agreement(relevance, published)
            beside = figure.add_axes((7.2 / width, BELOW / height, 5.2 / width, 1 - (ABOVE + BELOW) / height))
            draw_published(beside, list(top.index), relevance, found["ranks"], n)
            remarks.append(agreement(found, len(published)))
    remarks.append(style.caveats(config, [spec["dataset"]]))
    style.note(figure, " ".join(filter(None, remarks)), int(width * 15))
    return figure


def draw(axes: Axes, rows: pd.DataFrame, top: pd.Series, n: int) -> None:
    names = axes.get_yaxis_transform()
    for y, (name, mean) in enumerate(top.items()):
        values = rows.loc[rows["factor"] == name, "value"].dropna().to_numpy()
        if len(values) > 1:
            axes.plot([values.min(), values.max()], [y, y], color=OURS, lw=1.2, alpha=0.6, zorder=2, gid="range")
            axes.scatter(values, np.full(len(values), y), s=11, c=OURS, alpha=0.6, lw=0, zorder=3)
        axes.plot(mean, y, "o", ms=6.5, color=OURS, zorder=4, gid=f"mean/{name}")
        axes.text(-0.1, y, style.wrapped(name, 34), va="center", ha="right", fontsize=8, transform=names)
    axes.set_yticks(range(len(top)), range(1, len(top) + 1))
    axes.set_ylim(n - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("Relevance: L2 norm of the loadings")
    axes.grid(color=style.FAINT, lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)


def draw_published(axes: Axes, ours: list[str], relevance: pd.Series, ranks: dict[str, int | None], n: int) -> None:
    """The published list on the right, joined to our rows on the left; of what is not among ours, our rank."""
    axes.set_xlim(0, 1)
    axes.set_ylim(n - 0.4, -0.6)
    axes.set_axis_off()
    axes.text(0.35, -0.75, "Published, in its order", va="bottom", fontweight="bold", fontsize=9)
    for y, (term, rank) in enumerate(ranks.items()):
        here = term in ours
        where = "" if here else place(rank, relevance.get(term, 0.0))
        if here:
            axes.plot([0.01, 0.35], [ours.index(term), y], color=PUBLISHED, lw=1.3, alpha=0.8, gid=f"link/{term}")
        axes.plot(0.36, y, "o", ms=5, color=PUBLISHED, mfc=PUBLISHED if here else "white")
        colour = style.INK if here else style.GREY
        axes.text(0.42, y, y + 1, va="center", ha="right", fontsize=8, color=colour)
        axes.text(0.44, y, style.wrapped(term, 40 if here else 32), va="center", fontsize=8, color=colour)
        axes.text(1.0, y, where, va="center", ha="right", fontsize=7.5, color=style.GREY)


def place(rank: int | None, relevance: float) -> str:
    """Where a term of the published list is in ours: ``our rank 34``, ``switched off``, ``not kept``."""
    if rank is None:
        return "not kept"
    return f"our rank {rank}" if relevance > 0 else "switched off"


def agreement(found: dict[str, Any], length: int) -> str:
    """`tables.rank_agreement` in words."""
    text = (
        f"{found['shared']} of the {length} published are among our first {length}; by chance, drawn from the "
        f"{found['kept']} gene sets kept, {found['expected']:.1f} would be (p = {found['p_overlap']:.2g})."
    )
    if np.isfinite(found["tau"]):
        text += f" Kendall's tau-b of both orders, over the {found['n']} published that were kept: {found['tau']:.2f}"
        text += f" (p = {found['p_tau']:.2g})."
    return text


def legend() -> list[Line2D]:
    return [
        Line2D([], [], marker="o", ls="", ms=6.5, color=OURS, label="mean over seeds"),
        Line2D([], [], marker="o", ls="-", lw=1.2, ms=3.3, color=OURS, alpha=0.6, label="seeds, their range"),
    ]
