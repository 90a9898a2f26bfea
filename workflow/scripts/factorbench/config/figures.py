"""Which figures are drawn: parameters checked, runs that are not planned taken out, ``standard`` sets expanded."""

from __future__ import annotations

from typing import Any

from .. import registry
from ..contracts.errors import UserError
from ..registry import Param, Spec, refer

NOT_DRAWN = "not drawn, because none of its runs is planned"

COMMON = {
    "title": Param("", "title above the figure"),
    "caption": Param("", "text below it in the report"),
}
"""Parameters of every kind of figure."""

STANDARD = Spec(
    name="standard",
    title="The paper's set of figures for one dataset and method; terms are chosen by the results",
    params={
        "dataset": Param(registry.REQUIRED, "a dataset", types=(str,), refers_to="datasets"),
        "method": Param(registry.REQUIRED, "a method", types=(str,), refers_to="methods"),
        "seed": Param(0, "seed of the run that is shown", minimum=0),
    },
)

Run = tuple[str, str, int]


def resolve(
    config: dict[str, Any], runs: list[Run], claimed_terms: dict[str, list[str]], where: str
) -> tuple[dict[str, Any], list[str]]:
    """Return the figures that can be drawn, with all their parameters, and a line for each that shows less.

    Parameters
    ----------
    config
        Datasets and methods resolved.
    runs
        The planned runs.
    claimed_terms
        The list of terms of each claim; a figure with a parameter ``claim`` gets it as ``published``.
    where
        Place of the figures in the config, for messages.

    Raises
    ------
    UserError
        If a kind, a parameter or a name that it refers to is unknown.
    """
    figures: dict[str, Any] = {}
    # Sorted by name, because a preset laid over the config would otherwise come before it.
    for name, entry in sorted(config["figures"].items()):
        at = f"{where}.{name}"
        given = {key: value for key, value in entry.items() if key != "kind"}
        if entry["kind"] == "standard":
            params = registry.resolve(STANDARD, given, at)
            check_names(STANDARD, params, config, claimed_terms, at)
            members = expand_standard(name, params, config, runs)
        else:
            members = {name: entry}
        for member, figure in members.items():
            if member in figures:
                raise UserError(f"{where}.{member}: two figures have this name; rename one of them")
            figures[member] = complete(figure, config, claimed_terms, f"{where}.{member}")
    left_out = []
    for name, figure in list(figures.items()):
        lines = keep_planned(figure, config, runs)
        left_out += [f"figure {name}: {line}" for line in lines]
        if lines == [NOT_DRAWN]:
            del figures[name]
    return figures, left_out


def complete(
    figure: dict[str, Any], config: dict[str, Any], claimed_terms: dict[str, list[str]], where: str
) -> dict[str, Any]:
    """Return a figure with all its parameters, checked, and ``reading``, how to read it."""
    kind = figure["kind"]
    try:
        spec = registry.load("figure", kind).SPEC
    except UserError as error:
        raise UserError(f"{where}.kind: {error}") from None
    given = {key: value for key, value in figure.items() if key != "kind"}
    params = registry.resolve(Spec(spec.name, spec.title, params=COMMON | spec.params), given, where)
    check_names(spec, params, config, claimed_terms, where)
    if spec.needs_contrast:
        for dataset in params.get("datasets") or [params["dataset"]]:
            if "contrast" not in config["datasets"][dataset]:
                raise UserError(f"{where}: {dataset} has no contrast; give it one or take it out of the figure")
    if "claim" in params:
        params["published"] = claimed_terms.get(params["claim"], [])
    return {"kind": kind, **params, "tables": list(spec.tables), "reading": spec.reading}


def check_names(
    spec: Spec, params: dict[str, Any], config: dict[str, Any], claimed_terms: dict[str, list[str]], where: str
) -> None:
    """Raise a `UserError` if a parameter names what does not exist (dataset, method, label, claim), or needs a name."""
    known = {"datasets": config["datasets"], "methods": config["methods"], "claims": claimed_terms}
    for key, param in spec.params.items():
        value = params[key]
        if value == [] and param.default is registry.REQUIRED:
            raise UserError(f"{where}.{key}: is empty; at least one entry is needed ({param.doc})")
        for name in value if isinstance(value, list) else [value]:
            if param.refers_to == "labels" and name:
                refer(name, config["datasets"][params["dataset"]]["labels"], f"{where}.{key}")
            elif param.refers_to and name:
                refer(name, known[param.refers_to], f"{where}.{key}")


def keep_planned(figure: dict[str, Any], config: dict[str, Any], runs: list[Run]) -> list[str]:
    """Take datasets and methods that are not run together out of a figure; return a line on what was taken out.

    A figure names one dataset or several, one method, several or none (all of them), and perhaps a seed. One dataset
    without a method means every size of its data.
    """
    datasets = figure.get("datasets") or [figure["dataset"]]
    methods = figure.get("methods") or ([figure["method"]] if "method" in figure else None)
    if "datasets" not in figure and methods is None:
        raw = config["datasets"][figure["dataset"]]["raw"]
        datasets = [name for name, entry in config["datasets"].items() if entry["raw"] == raw]
    shown = {
        (d, m)
        for d, m, seed in runs
        if d in datasets and (methods is None or m in methods) and figure.get("seed", seed) == seed
    }
    if not shown:
        return [NOT_DRAWN]
    lines = []
    for key, position in (("datasets", 0), ("methods", 1)):
        missing = [name for name in figure.get(key) or () if name not in {pair[position] for pair in shown}]
        if missing:
            figure[key] = [name for name in figure[key] if name not in missing]
            lines.append(f"without {', '.join(missing)}, which is not run on its data")
    return lines


def expand_standard(
    name: str, params: dict[str, Any], config: dict[str, Any], runs: list[Run]
) -> dict[str, dict[str, Any]]:
    """Return the paper's set of figures for one dataset and method, made from the labels of the dataset."""
    dataset, method, seed = params["dataset"], params["method"], params["seed"]
    entry = config["datasets"][dataset]
    contrast = entry.get("contrast", {}).get("label")
    others = [label for label in entry["labels"] if label not in (contrast, entry["donor"])]
    scatter = {"kind": "scatter", "dataset": dataset, "method": method, "seed": seed}
    figures: dict[str, dict[str, Any]] = {}
    for label in ([contrast] if contrast else []) + others:
        figures[label] = {**scatter, "title": f"Cells by {_words(label)}", "colour": label}
    if contrast and others:
        title = f"{_words(contrast).capitalize()} within each {_words(others[0])}"
        figures[f"{contrast}_by_{others[0]}"] = {**scatter, "title": title, "colour": contrast, "facet": others[0]}
    if contrast:
        methods = list(dict.fromkeys([method, *(m for d, m, _ in runs if d == dataset)]))
        title = f"Which factor separates the classes of {_words(contrast)}?"
        figures["accuracy"] = {"kind": "accuracy", "datasets": [dataset], "methods": methods, "title": title}
    figures["pathways"] = {"kind": "pathways", "dataset": dataset, "method": method}
    figures["pathways"]["title"] = "The most important pathways"
    figures["runtime"] = {"kind": "runtime", "datasets": [dataset], "title": "Runtime"}
    return {f"{name}_{key}": {"caption": f"{entry['title']}.", **figure} for key, figure in figures.items()}


def _words(label: str) -> str:
    return label.replace("_", " ")
