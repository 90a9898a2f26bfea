"""Accuracy of chosen factors for the contrast, for several methods (the paper's Figure 2)."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...contracts.scores import contrast_label
from ...registry import REQUIRED, FigureSpec, Param
from ...results.meaning import lost, with_shares
from ...results.seeds import tidy
from ...results.separation import strengths
from ...statistics import interval
from . import _style as style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPLITS = {"train": "Training accuracy", "cv": "Cross-validated accuracy", "donor": "Accuracy on donors left out"}
SPEC = FigureSpec(
    name="accuracy",
    title="Accuracy of chosen factors for the contrast, for several methods (the paper's Figure 2)",
    params={
        "datasets": Param(REQUIRED, "datasets, one panel each", types=(list,), refers_to="datasets"),
        "methods": Param(REQUIRED, "methods to compare", types=(list,), refers_to="methods"),
        "terms": Param([], "factors to show; empty: the eight that separate the contrast best in most seeds"),
        "split": Param(
            "train", "training accuracy (the paper's), cross-validated or on new donors", choices=tuple(SPLITS)
        ),
    },
    tables=("scores",),
    needs_contrast=True,
    reading=(
        "Small dots are seeds, large dots their mean, lines its 95 % interval (Student's t; none below three seeds). "
        "Hollow: the factor was switched off, so only the baseline is left. Cross: less than half of its squared "
        "loadings lie in its gene set. Dashed line: share of the larger class."
    ),
)

WIDTH = 0.78
"""Share of the room between two factors that the methods take."""
AUTOMATIC = 8
"""Factors shown if none are named."""


def plot(tables: dict[str, pd.DataFrame], params: dict[str, Any], config: dict[str, Any]) -> Figure:
    """Draw ``tables["scores"]``, one panel per dataset (`SPEC.reading`).

    The small print names factors and methods without a result, and says if the results chose the factors (`automatic`).
    """
    scores = tidy(tables["scores"])
    # A method has the same colour in every figure.
    palette = style.method_colours(config)
    colours = {method: palette[method] for method in params["methods"]}
    remarks = []
    if not params["terms"]:
        terms, remark = automatic(scores, params, config)
        params, remarks = {**params, "terms": terms}, [remark]
    points = {name: accuracies(scores, name, params, config) for name in params["datasets"]}
    every = pd.concat(points.values())
    terms = [term for term in params["terms"] if term in set(every["factor"])]
    room = max(1.25, 0.5 + 0.17 * len(colours))
    width = 2.9 + max(len(terms), 2) * room
    figure, grid = style.panels(len(points), 1, (width, 0.9 + 3.3 * len(points)), params["title"], sharex=True)
    for axes, name in zip(grid[:, 0], points, strict=True):
        title = config["datasets"][name]["title"]
        axes.set_title(title if len(points) > 1 else "")
        axes.set_ylabel(SPLITS[params["split"]])
        if points[name].empty:
            style.empty(axes, f"Nothing to draw: no run on {title} has any of these factors.")
        else:
            draw(axes, points[name], terms, colours)
        sentences = absences(scores[scores["dataset"] == name], params, config)
        remarks += [f"{title}: {sentence}" if len(points) > 1 else sentence for sentence in sentences]
    grid[-1, 0].set_xticks(range(len(terms)), [style.wrapped(t, int(room * 13)) for t in terms], fontsize=7.5)
    grid[-1, 0].set_xlim(-0.5, max(len(terms), 1) - 0.5)
    handles = [style.handle(config["methods"][method]["title"], colour, ms=6.5) for method, colour in colours.items()]
    handles += [style.handle("", marker=""), style.handle("mean, 95 % interval", ls="-", lw=1.1, ms=6.5)]
    handles += [style.handle("one seed", ms=3.3)]
    if not every["on"].all():
        handles.append(style.handle("switched off", mfc="white", ms=6.5))
    if every["lost"].any():
        handles.append(style.handle("no longer its set", marker="X", ms=6.5))
    figure.legend(handles=handles, loc="outside right upper", handletextpad=0.3, labelspacing=0.7)
    style.note(figure, [*remarks, *style.caveats(config, params["datasets"])], int(width * 16))
    return figure


def automatic(scores: pd.DataFrame, params: dict[str, Any], config: dict[str, Any]) -> tuple[list[str], str]:
    """Return the factors of a figure that names none, and how they were chosen, in words.

    In every seed the factors are ranked by |AUROC - 1/2| for the contrast. Those that are among the best `AUTOMATIC` in
    most seeds are chosen; ties go to the larger mean, then to the name. A ranking of means would mix factors of
    different seeds that have only the name in common (`results.separation`). The factors are those of the first method
    with such scores, on the first dataset that has any.
    """
    area = strengths(scores)
    for dataset, method in product(params["datasets"], params["methods"]):
        label = contrast_label(config["datasets"][dataset]["contrast"])
        rows = area[(area["dataset"] == dataset) & (area["method"] == method) & (area["label"] == label)]
        if rows.empty:
            continue
        rows = rows.sort_values(["strength", "factor"], ascending=[False, True])
        rows["best"] = rows.groupby("seed").cumcount() < AUTOMATIC
        factors = rows.groupby("factor", as_index=False).agg({"best": "sum", "strength": "mean"})
        terms = factors.sort_values(["best", "strength", "factor"], ascending=[False, False, True])["factor"]
        title = config["methods"][method]["title"]
        return list(terms[:AUTOMATIC]), (
            f"Factors chosen by the results, not in advance: of {len(terms):,} factors of {title} those that, in most "
            f"seeds, are among the {AUTOMATIC} that separate the classes best (largest |AUROC − 1/2|), in that order."
        )
    return [], ""


def accuracies(scores: pd.DataFrame, dataset: str, params: dict[str, Any], config: dict[str, Any]) -> pd.DataFrame:
    """Return ``value``, ``on`` (not switched off) and the contrast's ``baseline`` per method, factor and seed.

    ``lost`` says of a method's factor that it is no longer its set.
    """
    keys, label = ["method", "factor", "seed"], contrast_label(config["datasets"][dataset]["contrast"])
    scores = scores[scores["dataset"] == dataset].dropna(subset="value")
    rows = scores[scores["method"].isin(params["methods"]) & scores["factor"].isin(params["terms"])]
    accuracy = rows[(rows["metric"] == "accuracy") & (rows["split"] == params["split"]) & (rows["label"] == label)]
    relevance = rows[rows["metric"] == "relevance"].rename(columns={"value": "relevance"})
    table = accuracy[[*keys, "value"]].merge(relevance[[*keys, "relevance"]], how="left", on=keys)
    baseline = scores.loc[(scores["metric"] == "baseline") & (scores["label"] == label), "value"]
    table = with_shares(table.assign(dataset=dataset), scores)
    on = table["relevance"].fillna(1) > 0
    return table.assign(on=on, lost=lost(table["in_set_share"]), baseline=next(iter(baseline), np.nan))


def draw(axes: Axes, points: pd.DataFrame, terms: list[str], colours: dict[str, str]) -> None:
    gap = WIDTH / len(colours)
    for (method, term), seeds in points.groupby(["method", "factor"]):
        colour, gid = colours[method], f"{method}/{term}"
        x = terms.index(term) + (list(colours).index(method) - (len(colours) - 1) / 2) * gap
        mean, lower, upper = interval(seeds["value"])
        if len(seeds) > 1:
            spread = np.linspace(-0.18, 0.18, len(seeds)) * gap
            look = {"s": 11, "c": np.where(seeds["on"], colour, "white"), "ec": colour, "lw": 0.7, "alpha": 0.75}
            axes.scatter(x + spread, seeds["value"], zorder=3, gid=f"seeds of {gid}", **look)
        if np.isfinite(lower):
            ends = np.clip([lower, upper], 0, 1)
            axes.plot([x, x], ends, color=colour, lw=1.1, alpha=0.6, zorder=2, gid=f"interval of {gid}")
        face = colour if seeds["on"].any() else "white"
        axes.plot(
            x, mean, "X" if seeds["lost"].any() else "o", ms=6.5, mfc=face, mec=colour, mew=1.3, zorder=4, gid=gid
        )
    for j in range(1, len(terms)):
        axes.axvline(j - 0.5, color=style.FAINT, lw=0.8, zorder=0)
    base = points["baseline"].iloc[0]
    if np.isfinite(base):
        axes.axhline(base, color=style.INK, ls=(0, (4, 3)), lw=1, zorder=1, gid="baseline")
        place = {"va": "center", "transform": axes.get_yaxis_transform()}
        axes.text(1, base, f" larger class\n {base:.2f}", fontsize=7.5, **place)
    lowest = points[["value", "baseline"]].min().min()
    axes.set_ylim(np.floor((lowest - 0.025) * 20) / 20, 1.01)
    style.grid(axes, "y")
    axes.tick_params(axis="x", length=0)


def absences(scores: pd.DataFrame, params: dict[str, Any], config: dict[str, Any]) -> list[str]:
    """Return sentences on factors that no method has, or one has not; ``scores`` are those of one dataset."""
    known = [term for term in params["terms"] if term in set(scores["factor"])]
    dropped = [term for term in params["terms"] if term not in known]
    sentences = [f"not among the gene sets kept: {', '.join(dropped)}."] if dropped else []
    for method in params["methods"]:
        factors = set(scores.loc[scores["method"] == method, "factor"]) - {""}
        absent = [term for term in known if term not in factors]
        words = "none of these factors" if absent == known else f"no factor {', '.join(absent)}"
        if absent or not factors:
            sentences.append(f"{config['methods'][method]['title']} has {words if factors else 'no result'}.")
    return sentences
