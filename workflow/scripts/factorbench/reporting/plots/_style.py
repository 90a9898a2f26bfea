"""What all figures share: colours, titles, legends and small print, and how a figure is written.

matplotlib and seaborn take a second to import, so functions import them: a workflow is planned by reading the SPECs.
"""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ...contracts.files import atomic

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A8A8A")
"""Colours that colour-blind readers can tell apart (Okabe and Ito 2008), with grey for yellow, which fades on white."""
TOL_MUTED = (
    *("#332288", "#CC6677", "#117733", "#DDCC77", "#88CCEE"),
    *("#882255", "#44AA99", "#999933", "#AA4499", "#777777"),
)
"""Ten such colours, for more classes (Tol 2021)."""
INK, GREY, FAINT = "#1f2933", "#66717d", "#d9dee4"
RC = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), INK),
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), GREY),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    **dict.fromkeys(("font.size", "axes.labelsize", "legend.title_fontsize"), 9),
    **dict.fromkeys(("legend.fontsize", "xtick.labelsize", "ytick.labelsize"), 8.5),
    **{"axes.titlesize": 10, "axes.titlepad": 10, "axes.titleweight": "bold", "axes.titlelocation": "left"},
    **{"axes.linewidth": 0.8, "font.family": "DejaVu Sans"},
    "svg.hashsalt": "factorbench",  # equal figures give equal files
}


def seaborn() -> ModuleType:
    """Import seaborn for figures that go to files: no window is opened, even if the user's environment asks for one."""
    os.environ["MPLBACKEND"] = "Agg"  # an unknown backend would end the import
    import seaborn

    return seaborn


def new_figure(width: float, height: float, **more: Any) -> Figure:
    """Return an empty figure in the common look; the size is in inches, ``more`` as of ``Figure``."""
    seaborn().set_theme(style="ticks", rc=RC)
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), **more)


def panels(rows: int, columns: int, size: tuple[float, float], title: str, **more: Any) -> tuple[Figure, np.ndarray]:
    """Return a figure with a title above a grid of panels, of shape (rows, columns); ``more`` as of ``subplots``."""
    figure = new_figure(*size, layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11)
    return figure, figure.subplots(rows, columns, squeeze=False, **more)


def heading(figure: Figure, title: str, below: str) -> None:
    """Write the title of a figure and, in grey below it, what it shows. Both need 0.8 inches."""
    height = figure.get_size_inches()[1]
    figure.suptitle(title, x=0.01, y=1 - 0.08 / height, ha="left", va="top", fontweight="bold", fontsize=11)
    figure.text(0.01, 1 - 0.34 / height, below, va="top", fontsize=8.5, color=GREY)


def palette(n: int) -> list[str]:
    """Return ``n`` colours, up to ten of which colour-blind readers can tell apart."""
    for colours in (OKABE_ITO, TOL_MUTED, OKABE_ITO + TOL_MUTED):
        if n <= len(colours):
            return list(colours[:n])
    return seaborn().husl_palette(n, s=0.8, l=0.55).as_hex()


def method_colours(config: dict[str, Any]) -> dict[str, str]:
    """Return the colour of each method that is run (all of them, if no run is planned), the same in every figure."""
    run = {method for _, method, _ in config.get("planned", [])}
    methods = [method for method in config["methods"] if method in run or not run]
    return dict(zip(methods, palette(len(methods)), strict=True))


def wrapped(name: str, width: int) -> str:
    """Return the name of a factor with spaces for underscores, in lines of about ``width`` letters."""
    return "\n".join(textwrap.wrap(name.replace("_", " "), width, break_long_words=False)) or name


def grid(axes: Axes, axis: str = "both") -> None:
    """Draw faint lines at the ticks, behind everything else."""
    axes.grid(axis=axis, color=FAINT, lw=0.6)
    axes.set_axisbelow(True)


def handle(label: str, colour: str = GREY, marker: str = "o", **more: Any) -> Line2D:
    """Return an entry of a legend: a marker, with no line unless ``more`` (as of ``Line2D``) has a style ``ls``."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **{"label": label, "color": colour, "marker": marker, "ls": "", "ms": 5.5} | more)


def legend_outside(figure: Figure, handles: list[Line2D], corner: tuple[float, float], **more: Any) -> None:
    """Draw a legend with its upper left corner at ``corner``, in shares of the figure; ``more`` as of ``legend``."""
    # Saving crops the figure, and would move what is placed in shares of it.
    place = {"bbox_to_anchor": corner, "bbox_transform": figure.transFigure}
    figure.legend(handles=handles, loc="upper left", **place, **more)


def caveats(config: dict[str, Any], datasets: list[str]) -> list[str]:
    """Return one sentence for each dataset that is not complete: samples that are missing, a subset, held-out cells."""
    sentences = []
    for name in datasets:
        entry, parts = config["datasets"][name], []
        if entry.get("piece"):
            parts.append("a piece of the data")
        if samples := entry.get("missing"):
            parts.append(f"without sample{'s'[: len(samples) > 1]} {', '.join(map(str, samples))} (not available)")
        if entry.get("n_cells"):
            parts.append(f"{entry['n_cells']:,} cells, a stratified subset")
        if entry.get("n_sets"):
            parts.append(f"{entry['n_sets']} of the gene sets, drawn at random")
        if entry.get("hold_out"):
            parts.append("fitted without the held-out cells")
        if parts:
            sentences.append(f"{entry['title']}: {', '.join(parts)}.")
    return sentences


def note(figure: Figure, sentences: list[str], width: int = 110, below: float = 0.08) -> None:
    """Write the small print in lines of ``width`` letters, ``below`` inches under the figure."""
    text = "\n".join(textwrap.wrap(" ".join(filter(None, sentences)), width, break_long_words=False))
    y = -below / figure.get_size_inches()[1]
    figure.text(0.01, y, text, va="top", fontsize=7.5, color=GREY, linespacing=1.4)


def empty(axes: Axes, text: str) -> None:
    """Say in an empty panel why it is empty."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, textwrap.fill(text, 60), ha="center", va="center", color=GREY, transform=axes.transAxes)


def save(figure: Figure, png: str | Path, svg: str | Path) -> None:
    """Write a figure as PNG (200 dpi) and SVG, atomically. Equal figures give equal files."""
    for path, metadata in ((png, {"Software": None}), (svg, {"Date": None})):
        with atomic(path) as part:
            figure.savefig(part, dpi=200, metadata=metadata, bbox_inches="tight", pad_inches=0.12)
