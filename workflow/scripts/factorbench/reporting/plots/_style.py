"""What all figures share: look, colours, names, and how they are written."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...contracts.files import atomic

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A8A8A")
"""Colours that stay apart for colour-blind readers (Okabe and Ito 2008); grey for the yellow that fades on white."""
TOL_MUTED = (
    "#332288",
    "#CC6677",
    "#117733",
    "#DDCC77",
    "#88CCEE",
    "#882255",
    "#44AA99",
    "#999933",
    "#AA4499",
    "#777777",
)
"""More of them, for more classes (Tol 2021)."""
INK, GREY, FAINT = "#1f2933", "#66717d", "#d9dee4"
RC = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.labelsize": 9,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.title_fontsize": 9,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "factorbench",
}


def apply() -> None:
    """Set the look for every figure drawn from now on."""
    sns.set_theme(style="ticks", rc=RC)


def palette(n: int) -> list[str]:
    """``n`` colours, apart for colour-blind readers as long as that is possible."""
    for colours in (OKABE_ITO, TOL_MUTED):
        if n <= len(colours):
            return list(colours[:n])
    return sns.husl_palette(n, s=0.8, l=0.55).as_hex()


def wrapped(name: str, width: int = 22) -> str:
    """The name of a factor as it is known, with spaces for underscores, in lines of about ``width`` letters."""
    return "\n".join(textwrap.wrap(name.replace("_", " "), width, break_long_words=False)) or name


def heading(figure: Figure, title: str, below: str = "") -> None:
    """The title of a figure, and in grey below it what it shows (leave 0.8 inches free for both)."""
    height = figure.get_size_inches()[1]
    figure.suptitle(title, x=0.01, y=1 - 0.08 / height, ha="left", va="top", fontweight="bold", fontsize=11)
    figure.text(0.01, 1 - 0.34 / height, below, va="top", fontsize=8.5, color=GREY)


def caveats(config: dict[str, Any], datasets: list[str]) -> str:
    """What is not in the data a figure shows: missing samples, cells not drawn, cells held out; a sentence each."""
    sentences = []
    for name in datasets:
        entry, parts = config["datasets"][name], []
        if entry.get("piece"):
            parts.append("a piece of the data")
        if entry.get("missing"):
            gone = entry["missing"]
            parts.append(f"without sample{'s' * (len(gone) > 1)} {', '.join(map(str, gone))} (not available)")
        if entry.get("n_cells"):
            parts.append(f"{entry['n_cells']:,} cells, a stratified subset")
        if entry.get("n_sets"):
            parts.append(f"{entry['n_sets']} of the gene sets, drawn at random")
        if entry.get("hold_out"):
            parts.append("fitted without the cells held out")
        if parts:
            sentences.append(f"{entry['title']}: {', '.join(parts)}.")
    return " ".join(sentences)


def in_order(names: Iterable[str]) -> list[str]:
    """Each name once, in the order people expect: 2 before 10."""
    return sorted(set(names), key=lambda name: (len(name) if name.isdigit() else 0, name))


def legend_outside(figure: Figure, handles: list[Any], corner: tuple[float, float], **more: Any) -> None:
    """A legend whose upper left corner is at ``corner``, in shares of the figure; ``more`` as of ``Figure.legend``."""
    # Saving crops the figure, and would move what is placed in shares of it.
    place = {"bbox_to_anchor": corner, "bbox_transform": figure.transFigure}
    figure.legend(handles=handles, loc="upper left", **place, **more)


def note(figure: Figure, text: str, width: int = 110, below: float = 0.08) -> None:
    """Small print under a figure: what a reader must know to read it right; ``below`` its lower edge, in inches."""
    if text:
        lines = "\n".join(textwrap.wrap(text, width, break_long_words=False))
        y = -below / figure.get_size_inches()[1]
        figure.text(0.01, y, lines, ha="left", va="top", fontsize=7.5, color=GREY, linespacing=1.4)


def empty(axes: Axes, text: str) -> None:
    """Say in an empty panel why it is empty."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, textwrap.fill(text, 60), ha="center", va="center", color=GREY, transform=axes.transAxes)


def save(figure: Figure, png: str | Path, svg: str | Path) -> None:
    """Write ``figure`` as PNG (200 dpi) and SVG, atomically; equal figures give equal files. Closes the figure."""
    for path, metadata in ((png, {"Software": None}), (svg, {"Date": None})):
        with atomic(path) as part, plt.rc_context({"svg.hashsalt": RC["svg.hashsalt"]}):
            figure.savefig(part, dpi=200, metadata=metadata, bbox_inches="tight", pad_inches=0.12)
    plt.close(figure)
