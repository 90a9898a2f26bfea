"""Chosen factors beside random gene sets that were fitted in the same way: do their genes explain the contrast?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...contracts.scores import contrast_label
from ...registry import REQUIRED, FigureSpec, Param
from ...results.meaning import LEVEL, lost
from . import _style as style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPEC = FigureSpec(
    name="random_sets",
    title="Chosen factors beside random gene sets that were fitted in the same way",
    params={
        "datasets": Param(REQUIRED, "datasets, one panel each", types=(list,), refers_to="datasets"),
        "methods": Param(REQUIRED, "methods whose null the config plans", types=(list,), refers_to="methods"),
        "terms": Param(REQUIRED, "factors to show", types=(list,)),
    },
    tables=("gene_sets",),
    needs_contrast=True,
    reading=(
        "How well the score of a factor separates the two classes (AUROC, 1/2 is chance). Grey bars: 95 % of random "
        "gene sets of the same size and expression, with their median. Filled: better than random sets at a false "
        "discovery rate of 5 %. Hollow: not. Cross: less than half of the factor's squared loadings lie in its set."
    ),
)
HEIGHT = 0.24
"""Inches of one method."""


def plot(tables: dict[str, pd.DataFrame], params: dict[str, Any], config: dict[str, Any]) -> Figure:
    """Draw ``tables["gene_sets"]`` (`results.meaning.gene_sets_table`) as `SPEC.reading` says, a panel per dataset."""
    table = tables["gene_sets"]
    palette = style.method_colours(config)
    methods, terms = params["methods"], params["terms"]
    rows = HEIGHT * len(methods) * len(terms)
    size = (8.2, 0.9 + len(params["datasets"]) * (rows + 0.9))
    figure, grid = style.panels(len(params["datasets"]), 1, size, params["title"], sharex=True)
    remarks = []
    for axes, name in zip(grid[:, 0], params["datasets"], strict=True):
        label, title = contrast_label(config["datasets"][name]["contrast"]), config["datasets"][name]["title"]
        part = table[(table["dataset"] == name) & (table["label"] == label)]
        part = part[part["method"].isin(methods) & part["factor"].isin(terms)]
        if len(grid) > 1:
            axes.set_title(title)
        if part.empty:
            style.empty(axes, f"Nothing to draw: no run on {title} has any of these factors.")
            continue
        shown = [term for term in terms if term in set(part["factor"])]
        draw(axes, part, shown, {method: palette[method] for method in methods})
        done = part.groupby("method", sort=False)["permutations"].max().dropna().astype(int)
        remarks += [
            f"{config['methods'][method]['title']} on {title}: {n:,} random draws, no p below {1 / (1 + n):.2g}."
            for method, n in done.items()
        ]
    grid[-1, 0].set_xlabel("AUROC")
    handles = [style.handle(config["methods"][m]["title"], palette[m], ms=6.5) for m in methods]
    handles += [
        style.handle("better than random sets", ms=6.5),
        style.handle("not better, or not known", mfc="white", ms=6.5),
        style.handle("no longer its set", marker="X", ms=6.5),
        style.handle("random sets, 95 % and median", style.FAINT, marker="|", ls="-", lw=5, mec=style.GREY, ms=7),
    ]
    figure.legend(handles=handles, loc="outside right upper", handletextpad=0.5, labelspacing=0.7)
    style.note(figure, [*remarks, *style.caveats(config, params["datasets"])], int(size[0] * 16))
    return figure


def draw(axes: Axes, table: pd.DataFrame, terms: list[str], colours: dict[str, str]) -> None:
    methods, gap = list(colours), 0.8 / len(colours)
    for row in table.itertuples():
        y = terms.index(row.factor) + (methods.index(row.method) - (len(methods) - 1) / 2) * gap
        colour, gid = colours[row.method], f"{row.method}/{row.factor}"
        if np.isfinite(row.random_auroc):
            axes.plot(
                [row.random_lower, row.random_upper], [y, y], color=style.FAINT, lw=5, zorder=1, gid=f"null/{gid}"
            )
            axes.plot(row.random_auroc, y, "|", color=style.GREY, ms=7, zorder=2)
        look = {"marker": "X" if lost(row.in_set_share) else "o", "mec": colour, "ms": 6.5, "zorder": 3, "gid": gid}
        axes.plot(row.auroc, y, mfc=colour if row.q_random_set <= LEVEL else "white", **look)
        if np.isfinite(row.p_random_set):
            text = f" p {row.p_random_set:.2g}, q {row.q_random_set:.2g}"
            axes.text(1.01, y, text, fontsize=6.5, va="center", color=style.GREY, transform=axes.get_yaxis_transform())
    for j in range(1, len(terms)):
        axes.axhline(j - 0.5, color=style.FAINT, lw=0.8, zorder=0)
    axes.set_yticks(range(len(terms)), [style.wrapped(term, 34) for term in terms], fontsize=7.5)
    axes.set_ylim(len(terms) - 0.5, -0.5)
    axes.set_xlim(0.49, 1.005)
    axes.tick_params(axis="y", length=0)
    style.grid(axes, "x")
