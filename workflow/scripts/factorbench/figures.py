"""Which figures there are: names checked, what is not run taken out, sets of figures for a dataset spelt out."""

from __future__ import annotations

from typing import Any

from .contracts import UserError
from .registry import refer

NOT_DRAWN = "not drawn, since none of what it shows is among the runs"
SINGLE = ("scatter", "pathways")
"""Kinds that show one method on one dataset."""

Run = tuple[str, str, int]


def resolve(
    config: dict[str, Any], runs: list[Run], published: dict[str, list[str]], where: str
) -> tuple[dict[str, Any], list[str]]:
    """The figures that can be drawn from ``runs``, and a line for each that is left out or shows less than it names.

    ``published`` are the lists of terms of the claims; a figure that names a claim gets its list as ``published``.

    Raises
    ------
    UserError
        If a figure names what the config does not define.
    """
    found: dict[str, Any] = {}
    # By name: a preset laid over the config would otherwise come before it.
    for name, figure in sorted(config["figures"].items()):
        made = standard(name, figure, config, runs, where) if figure["kind"] == "standard" else {name: figure}
        for key in made:
            if key in found:
                raise UserError(f"{where}.{key}: there are two figures of this name; rename one of them")
        found |= made
    left_out = []
    for name in list(found):
        if found[name]["kind"] == "pathways":
            claim = found[name]["claim"]
            if claim:
                refer(claim, published, f"{where}.{name}.claim")
            found[name]["published"] = published.get(claim, [])
        lines = check(found[name], config, runs, f"{where}.{name}")
        left_out += [f"figure {name}: {line}" for line in lines]
        if lines and lines[0] == NOT_DRAWN:
            del found[name]
    return found, left_out


def standard(
    name: str, figure: dict[str, Any], config: dict[str, Any], runs: list[Run], where: str
) -> dict[str, dict[str, Any]]:
    """The paper's set of figures for one dataset and method, from the dataset's labels; terms are found in the data."""
    dataset, method = figure["dataset"], figure["method"]
    refer(dataset, config["datasets"], f"{where}.{name}.dataset")
    refer(method, config["methods"], f"{where}.{name}.method")
    entry = config["datasets"][dataset]
    contrast = entry.get("contrast", {}).get("label")
    others = [label for label in entry["labels"] if label not in (contrast, entry["donor"])]
    one = {"dataset": dataset, "method": method}
    scatter = {"kind": "scatter", **one, "seed": figure["seed"], "x": [], "y": [], "facet": "", "facets": []}
    made: dict[str, dict[str, Any]] = {}
    for label in ([contrast] if contrast else []) + others:
        made[label] = {**scatter, "title": f"Cells by {_words(label)}", "colour": label}
    if contrast and others:
        title = f"{_words(contrast).capitalize()} within each {_words(others[0])}"
        made[f"{contrast}_by_{others[0]}"] = {**scatter, "title": title, "colour": contrast, "facet": others[0]}
    if contrast:
        methods = list(dict.fromkeys(m for d, m, _ in runs if d == dataset))
        methods = [method, *(m for m in methods if m != method)]
        made["accuracy"] = {
            "kind": "accuracy",
            "datasets": [dataset],
            "methods": methods,
            "terms": [],
            "split": "train",
        }
        made["accuracy"]["title"] = f"Which factor tells {_words(contrast)}?"
    made["pathways"] = {"kind": "pathways", **one, "title": "The most important pathways", "claim": ""}
    made["runtime"] = {"kind": "runtime", "datasets": [dataset], "title": "What it costs"}
    return {f"{name}_{key}": {"caption": f"{entry['title']}.", **spec} for key, spec in made.items()}


def check(figure: dict[str, Any], config: dict[str, Any], runs: list[Run], where: str) -> list[str]:
    """Check the names in a figure; take out of it what is defined but not run, and say so, a line each."""
    if figure["kind"] == "scaling":
        refer(figure["dataset"], config["datasets"], f"{where}.dataset")
        sizes = {d for d, _, _ in runs if config["datasets"][d]["raw"] == config["datasets"][figure["dataset"]]["raw"]}
        return [] if sizes else [NOT_DRAWN]
    single = figure["kind"] in SINGLE
    datasets = [figure["dataset"]] if single else figure["datasets"]
    methods = [figure["method"]] if single else figure.get("methods")
    for dataset in datasets:
        refer(dataset, config["datasets"], f"{where}.dataset{'' if single else 's'}")
    for method in methods or ():
        refer(method, config["methods"], f"{where}.method{'' if single else 's'}")
    if figure["kind"] == "scatter":
        for key in ("colour", "facet"):
            if figure[key]:
                refer(figure[key], config["datasets"][figure["dataset"]]["labels"], f"{where}.{key}")
        return [] if (figure["dataset"], figure["method"], figure["seed"]) in runs else [NOT_DRAWN]
    for dataset in datasets if figure["kind"] == "accuracy" else ():
        if "contrast" not in config["datasets"][dataset]:
            raise UserError(f"{where}.datasets: {dataset} has no contrast; give it one or take it out of the figure")
    shown = {(d, m) for d, m, _ in runs if d in datasets and (methods is None or m in methods)}
    if not shown:
        return [NOT_DRAWN]
    lines = []
    for key, names, position in (("datasets", datasets, 0), ("methods", methods, 1)):
        gone = [name for name in names or () if name not in {pair[position] for pair in shown}]
        if gone:
            figure[key] = [name for name in names if name not in gone]
            lines.append(f"without {', '.join(gone)}, not among the runs")
    return lines


def _words(label: str) -> str:
    return label.replace("_", " ")
