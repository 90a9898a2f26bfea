"""The most important pathways of one method, beside a published list (the paper's tables of top terms)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...registry import REQUIRED, FigureSpec, Param
from ...results.meaning import MARK, in_set_shares, marked
from ...results.pathways import annotated_relevance, rank_agreement
from ...results.seeds import over_seeds
from . import _style as style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
        "Gene sets with the largest L2 norm of the loadings: mean over seeds, range and seeds. On the right, if there "
        "is one, a published list in its own order. A line joins a gene set of the list to the same set among ours. "
        "The other sets show our rank, or that the method switched the set off, or that it was not kept. The small "
        "print gives the number of shared sets, the number expected by chance (hypergeometric) and Kendall's tau-b of "
        "the two orders."
    ),
)

OURS, PUBLISHED = style.OKABE_ITO[:2]
ROW = 0.42
"""Height of a row in inches: three lines of a long name."""
ABOVE, BELOW = 1.1, 0.55
"""Room above and below the rows in inches."""
LOST = f"{MARK.strip()} no longer its set: less than half of the squared loadings of the factor lie inside."


def plot(tables: dict[str, pd.DataFrame], params: dict[str, Any], config: dict[str, Any]) -> Figure:
    """Draw the gene sets of ``tables["scores"]`` with the largest relevance, one row each (`SPEC.reading`).

    ``params["published"]`` is the published list. The small print says how well the two agree (`rank_agreement`).
    """
    rows = annotated_relevance(tables["scores"], params["dataset"], params["method"])
    relevance = over_seeds(rows).set_index("factor")["mean"]
    top = relevance[relevance > 0].sort_index().sort_values(ascending=False, kind="stable")
    top = top.iloc[: config["report"]["top"]]
    published = params["published"]
    n = max(len(top), len(published))
    width, height = (12.4 if published else 7.6), max(ROW * n + ABOVE + BELOW, 3.2)
    bottom, share = BELOW / height, 1 - (ABOVE + BELOW) / height
    figure = style.new_figure(width, height)
    method, dataset = config["methods"][params["method"]]["title"], config["datasets"][params["dataset"]]["title"]
    seeds = rows["seed"].nunique()
    style.heading(figure, params["title"], f"{method}, {seeds} seed{'s' * (seeds != 1)} · {dataset}")
    axes = figure.add_axes((3.0 / width, bottom, 4.1 / width, share))
    remarks = []
    if top.empty:
        style.empty(axes, f"Nothing to draw: {method} has no gene set that is switched on.")
    else:
        shares = in_set_shares(tables["scores"]).get((params["dataset"], params["method"]), pd.Series(dtype=float))
        names = marked(top.index, shares.reindex(top.index))
        draw(axes, rows, top, names, n)
        if any(name.endswith(MARK) for name in names):
            remarks.append(LOST)
        if seeds > 1:
            handles = [style.handle("mean over seeds", OURS, ms=6.5)]
            handles.append(style.handle("seeds, their range", OURS, ls="-", lw=1.2, ms=3.3, alpha=0.6))
            place = {"loc": "lower right", "bbox_to_anchor": (1, 1.03), "bbox_transform": axes.transAxes}
            figure.legend(handles=handles, ncols=2, borderaxespad=0, handletextpad=0.4, **place)
        if published:
            agreement = rank_agreement(relevance, published)
            beside = figure.add_axes((7.2 / width, bottom, 5.2 / width, share))
            draw_published(beside, list(top.index), relevance, agreement["ranks"], n)
            remarks += in_words(agreement, len(published))
    style.note(figure, [*remarks, *style.caveats(config, [params["dataset"]])], int(width * 15))
    return figure


def draw(axes: Axes, rows: pd.DataFrame, top: pd.Series, names: list[str], n: int) -> None:
    """Draw one row for each gene set of ``top`` under the name to be shown."""
    for y, ((name, mean), shown) in enumerate(zip(top.items(), names, strict=True)):
        values = rows.loc[rows["factor"] == name, "value"].dropna().to_numpy()
        if len(values) > 1:
            axes.plot([values.min(), values.max()], [y, y], color=OURS, lw=1.2, alpha=0.6, zorder=2, gid="range")
            axes.scatter(values, np.full(len(values), y), s=11, c=OURS, alpha=0.6, lw=0, zorder=3)
        axes.plot(mean, y, "o", ms=6.5, color=OURS, zorder=4, gid=f"mean/{name}")
        text = {"va": "center", "ha": "right", "fontsize": 8, "transform": axes.get_yaxis_transform()}
        axes.text(-0.1, y, style.wrapped(shown, 34), **text)
    axes.set_yticks(range(len(top)), range(1, len(top) + 1))
    axes.set_ylim(n - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("Relevance: L2 norm of the loadings")
    style.grid(axes)
    axes.tick_params(axis="y", length=0)


def draw_published(axes: Axes, ours: list[str], relevance: pd.Series, ranks: dict[str, int | None], n: int) -> None:
    """Draw the published list on the right with a line from each set among ours, or else our rank."""
    axes.set_xlim(0, 1)
    axes.set_ylim(n - 0.4, -0.6)
    axes.set_axis_off()
    axes.text(0.35, -0.75, "Published, in its order", va="bottom", fontweight="bold", fontsize=9)
    for y, (term, rank) in enumerate(ranks.items()):
        shared = term in ours
        colour = style.INK if shared else style.GREY
        if shared:
            axes.plot([0.01, 0.35], [ours.index(term), y], color=PUBLISHED, lw=1.3, alpha=0.8, gid=f"link/{term}")
        else:
            where = place(rank, relevance.get(term, 0.0))
            axes.text(1, y, where, va="center", ha="right", fontsize=7.5, color=colour, gid=f"place/{term}")
        axes.plot(0.36, y, "o", ms=5, color=PUBLISHED, mfc=PUBLISHED if shared else "white", gid=f"published/{term}")
        axes.text(0.42, y, y + 1, va="center", ha="right", fontsize=8, color=colour)
        axes.text(0.44, y, style.wrapped(term, 40 if shared else 32), va="center", fontsize=8, color=colour)


def place(rank: int | None, relevance: float) -> str:
    """Return where a gene set of the published list is in ours: ``our rank 34``, ``switched off`` or ``not kept``."""
    if rank is None:
        return "not kept"
    return f"our rank {rank}" if relevance > 0 else "switched off"


def in_words(agreement: dict[str, Any], length: int) -> list[str]:
    """Return `rank_agreement` in sentences; ``length`` is that of the published list."""
    sentences = [
        f"{agreement['shared']} of the {length} published gene sets are among our first {length}; by chance, from the "
        f"{agreement['kept']} gene sets kept, {agreement['expected']:.1f} (p = {agreement['p_overlap']:.2g})."
    ]
    if np.isfinite(agreement["tau"]):
        sentences.append(
            f"Kendall's tau-b of the two orders, over the {agreement['n']} published gene sets that were kept: "
            f"{agreement['tau']:.2f} (p = {agreement['p_tau']:.2g})."
        )
    return sentences
