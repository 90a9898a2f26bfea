"""Accuracy of chosen factors against the contrast, for several methods (the paper's Figure 2)."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...contracts.scores import contrast_label
from ...registry import REQUIRED, FigureSpec, Param
from ...results.seeds import over_seeds, tidy
from ...results.separation import strengths
from . import _style as style

SPEC = FigureSpec(
    name="accuracy",
    title="Accuracy of chosen factors for the contrast, for several methods (the paper's Figure 2)",
    params={
        "datasets": Param(REQUIRED, "datasets, one panel each", types=(list,), refers_to="datasets"),
        "methods": Param(REQUIRED, "methods", types=(list,), refers_to="methods"),
        "terms": Param([], "factors to show; empty: the eight that separate the contrast best"),
        "split": Param(
            "train",
            "accuracy on the cells of the fit (the paper's), cross-validated, or on donors left out",
            choices=("train", "cv", "donor"),
        ),
    },
    tables=("scores",),
    needs_contrast=True,
    reading=(
        "Small dots are seeds, large dots their mean, lines its 95 % interval (Student's t over seeds; none below three). "
        "Hollow: the factor was switched off, so only the baseline is left. Dashed line: share of the larger class."
    ),
)

WIDTH = 0.78
"""Share of the room between two terms that the methods take."""
SPLITS = {
    "train": "Training accuracy",
    "cv": "Cross-validated accuracy",
    "donor": "Accuracy on donors left out",
}
AUTOMATIC = 8
"""Terms shown if none are named."""


def plot(tables: dict[str, pd.DataFrame], spec: dict[str, Any], config: dict[str, Any]) -> Figure:
    """Draw ``tables["scores"]``, one panel a dataset.

    Small dots are seeds; the large one is their mean, its line the 95 % interval of Student's t over seeds; hollow:
    the factor was switched off, so that only the baseline is left. Dashed: the share of the larger class. Without
    ``spec["terms"]`` they are chosen by the results (`automatic`). The small print says so, and names terms that are
    no factor of any run and methods without such a factor.
    """
    style.apply()
    scores = tidy(tables["scores"])
    all_colours = dict(zip(config["methods"], style.palette(len(config["methods"])), strict=True))
    colours = {method: all_colours[method] for method in spec["methods"]}
    remarks = []
    if not spec["terms"]:
        terms, remark = automatic(scores, spec, config)
        spec, remarks = {**spec, "terms": terms}, [remark]
    panels = {d: points(scores, d, spec, config["datasets"][d]["contrast"]) for d in spec["datasets"]}
    terms = [t for t in spec["terms"] if any((p["factor"] == t).any() for p in panels.values())]
    room = max(1.25, 0.5 + 0.17 * len(colours))
    width = 2.9 + max(len(terms), 2) * room
    figure, grid = plt.subplots(
        len(panels), 1, figsize=(width, 0.9 + 3.3 * len(panels)), squeeze=False, sharex=True, layout="constrained"
    )
    figure.suptitle(spec.get("title", ""), x=0.01, ha="left", fontweight="bold", fontsize=11)
    for axes, (dataset, found) in zip(grid[:, 0], panels.items(), strict=True):
        entry = config["datasets"][dataset]
        if len(panels) > 1:
            axes.set_title(entry["title"])
        axes.set_ylabel(SPLITS[spec["split"]])
        if found.empty:
            style.empty(axes, f"Nothing to draw: no run on {entry['title']} has any of these factors.")
        else:
            base = baseline(scores, dataset, contrast_label(entry["contrast"]))
            draw(axes, found, terms, colours, base)
        remarks += absences(scores, dataset, found, spec, config, entry["title"] if len(panels) > 1 else "")
    grid[-1, 0].set_xticks(range(len(terms)), [style.wrapped(t, int(room * 13)) for t in terms], fontsize=7.5)
    grid[-1, 0].set_xlim(-0.5, max(len(terms), 1) - 0.5)
    off = any((~p["on"]).any() for p in panels.values() if len(p))
    figure.legend(handles=legend(colours, config, off), loc="outside right upper", handletextpad=0.3, labelspacing=0.7)
    style.note(figure, " ".join([*remarks, style.caveats(config, spec["datasets"])]).strip(), int(width * 16))
    return figure


def automatic(scores: pd.DataFrame, spec: dict[str, Any], config: dict[str, Any]) -> tuple[list[str], str]:
    """The terms of a figure that names none, and how they were chosen, in words.

    They are the factors with the largest |AUROC - 1/2| for the contrast, mean over seeds, in that order: of the
    first of the figure's methods that has any, on the first dataset where one has.
    """
    area = strengths(scores)
    for dataset in spec["datasets"]:
        here = area[
            (area["dataset"] == dataset) & (area["label"] == contrast_label(config["datasets"][dataset]["contrast"]))
        ]
        for method in spec["methods"]:
            strength = here[here["method"] == method].groupby("factor")["strength"].mean()
            if len(strength):
                best = strength.sort_index().sort_values(ascending=False, kind="stable").index[:AUTOMATIC]
                title = config["methods"][method]["title"]
                return list(best), (
                    f"Terms chosen after the fact: of {len(strength):,} factors of {title} the {len(best)} that tell "
                    "the classes best (mean |AUROC − 1/2| over seeds), in that order."
                )
    return [], ""


def points(scores: pd.DataFrame, dataset: str, spec: dict[str, Any], contrast: dict[str, Any]) -> pd.DataFrame:
    """One row a method, term and seed: ``method``, ``factor``, ``seed``, ``value``, ``on`` (not switched off)."""
    of = scores[
        (scores["dataset"] == dataset) & scores["method"].isin(spec["methods"]) & scores["factor"].isin(spec["terms"])
    ]
    keys = ["method", "factor", "seed"]
    found = of[
        (of["metric"] == "accuracy") & (of["split"] == spec["split"]) & (of["label"] == contrast_label(contrast))
    ]
    found = found.dropna(subset="value")
    relevance = of[of["metric"] == "relevance"].set_index(keys)["value"]
    on = relevance.reindex(pd.MultiIndex.from_frame(found[keys])).fillna(1).to_numpy() > 0
    return found[[*keys, "value"]].assign(on=on).reset_index(drop=True)


def baseline(scores: pd.DataFrame, dataset: str, label: str) -> float:
    rows = scores[(scores["dataset"] == dataset) & (scores["metric"] == "baseline") & (scores["label"] == label)]
    return float(rows["value"].iloc[0]) if len(rows) else np.nan


def draw(axes: Axes, found: pd.DataFrame, terms: list[str], colours: dict[str, str], base: float) -> None:
    gap = WIDTH / len(colours)
    means = over_seeds(
        found.assign(dataset="", metric="", label="", split="", lower=0.0, upper=0.0, n=0, status="")
    ).set_index(["method", "factor"])
    for i, (method, colour) in enumerate(colours.items()):
        for j, term in enumerate(terms):
            seeds = found[(found["method"] == method) & (found["factor"] == term)]
            if seeds.empty:
                continue
            x = j + (i - (len(colours) - 1) / 2) * gap
            row = means.loc[(method, term)]
            if len(seeds) > 1:
                spread = np.linspace(-0.18, 0.18, len(seeds)) * gap
                fill = np.where(seeds["on"], colour, "white")
                axes.scatter(x + spread, seeds["value"], s=11, c=fill, ec=colour, lw=0.7, alpha=0.75, zorder=3)
                low, high = np.clip([row["lower"], row["upper"]], 0, 1)
                axes.plot([x, x], [low, high], color=colour, lw=1.1, alpha=0.6, zorder=2, gid="interval")
            face = colour if seeds["on"].any() else "white"
            axes.plot(x, row["mean"], "o", ms=6.5, mfc=face, mec=colour, mew=1.3, zorder=4, gid=f"{method}/{term}")
    for j in range(1, len(terms)):
        axes.axvline(j - 0.5, color=style.FAINT, lw=0.8, zorder=0)
    if np.isfinite(base):
        axes.axhline(base, color=style.INK, ls=(0, (4, 3)), lw=1, zorder=1, gid="baseline")
        axes.text(
            1.0, base, f" larger class\n {base:.2f}", va="center", fontsize=7.5, transform=axes.get_yaxis_transform()
        )
    low = np.nanmin([found["value"].min(), base])
    axes.set_ylim(np.floor((low - 0.025) * 20) / 20, 1.01)
    axes.grid(axis="y", color=style.FAINT, lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", length=0)


def legend(colours: dict[str, str], config: dict[str, Any], off: bool) -> list[Line2D]:
    """Handles for the methods, and for what the marks mean."""
    handles = [
        Line2D([], [], marker="o", ls="", ms=6.5, color=colour, label=config["methods"][m]["title"])
        for m, colour in colours.items()
    ]
    handles.append(Line2D([], [], ls="", label=""))
    handles.append(Line2D([], [], marker="o", ls="-", lw=1.1, ms=6.5, color=style.GREY, label="mean, 95 % interval"))
    handles.append(Line2D([], [], marker="o", ls="", ms=3.3, color=style.GREY, label="one seed"))
    if off:
        handles.append(Line2D([], [], marker="o", ls="", ms=6.5, mfc="white", color=style.GREY, label="switched off"))
    return handles


def absences(
    scores: pd.DataFrame, dataset: str, found: pd.DataFrame, spec: dict[str, Any], config: dict[str, Any], where: str
) -> list[str]:
    """Sentences on what is missing from a panel, and why."""
    here = scores[scores["dataset"] == dataset]
    known = set(here["factor"])
    gone = [t for t in spec["terms"] if t not in known]
    prefix = f"{where}: " if where else ""
    sentences = []
    if gone:
        sentences.append(f"{prefix}not among the gene sets kept: {', '.join(gone)}.")
    for method in spec["methods"]:
        has = set(here.loc[here["method"] == method, "factor"]) - {""}
        lacking = [t for t in spec["terms"] if t in known and t not in has]
        title = config["methods"][method]["title"]
        if not has:
            sentences.append(f"{prefix}{title} has no result here.")
        elif lacking and len(lacking) == len(spec["terms"]) - len(gone):
            sentences.append(f"{prefix}{title} has none of these factors.")
        elif lacking:
            sentences.append(f"{prefix}{title} has no factor {', '.join(lacking)}.")
    return sentences
