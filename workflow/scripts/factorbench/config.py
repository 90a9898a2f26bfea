"""The config: checked, its defaults filled in, its names resolved - before anything runs.

The schema (``workflow/schemas/config.schema.yaml``) is the one place of settings, defaults and their documentation.
What a schema cannot say (names that refer to other entries, parameters of methods) is checked here. Every mistake
is a `UserError` of one line: file, key, remedy.
"""

from __future__ import annotations

import copy
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from . import registry
from .contracts import UserError

SCHEMA = Path(__file__).parents[2] / "schemas" / "config.schema.yaml"
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
RAW_KEYS = ("files", "reader", "options")
"""What a dataset's raw data follow from; datasets that share all of these share the raw file."""


@cache
def schema() -> dict[str, Any]:
    return yaml.safe_load(SCHEMA.read_text())


def resolve(config: dict[str, Any], where: str = "config.yaml") -> dict[str, Any]:
    """Return the config with every default filled in and every name checked.

    Parameters
    ----------
    config
        As read from YAML; it is not changed.
    where
        Name of the file, for messages.

    Returns
    -------
    dict
        As the schema says, and beside it: ``raw`` and ``group`` of each dataset (the datasets whose raw file and whose
        downloads it shares), ``budget`` and ``timeout`` in seconds, parameters of readers, methods, metrics complete.

    Raises
    ------
    UserError
        For the first mistake found.
    """
    config = copy.deepcopy(config)
    check_schema(config, where)
    config["datasets"], shared = inherit(config["datasets"], f"{where}: datasets")
    config = fill(schema(), config)
    for name in config["gene_sets"]:
        if name in config["datasets"]:
            raise UserError(f"{where}: gene_sets.{name}: a dataset has this name too; rename one of them")
    for name, dataset in config["datasets"].items():
        dataset.update(shared[name])
        resolve_dataset(name, dataset, config, f"{where}: datasets.{name}")
    for name, method in config["methods"].items():
        at = f"{where}: methods.{name}"
        spec = named("method", method["use"], f"{at}.use")
        method["params"] = registry.resolve(spec, method["params"], f"{at}.params")
        method["title"] = method["title"] or spec.title
        method["threads"] = method["threads"] or spec.threads
        method["budget"], method["timeout"] = seconds(method["budget"]), seconds(method["timeout"])
    for name, params in config["metrics"].items():
        spec = named("metric", name, f"{where}: metrics.{name}")
        config["metrics"][name] = registry.resolve(spec, params, f"{where}: metrics.{name}")
    for i, entry in enumerate(config["runs"]):
        for key in ("datasets", "methods"):
            for name in entry[key]:
                refer(name, config[key], f"{where}: runs[{i}].{key}")
    methods = {method for _, method, _ in planned(config)}
    config["report"]["reference"] = config["report"]["reference"] or config["runs"][0]["methods"][0]
    refer(config["report"]["reference"], methods, f"{where}: report.reference")
    config["left_out"] = []
    for name in list(config["figures"]):
        lines = check_figure(config["figures"][name], config, f"{where}: figures.{name}")
        config["left_out"] += [f"figure {name}: {line}" for line in lines]
        if lines and lines[0] == NOT_DRAWN:
            del config["figures"][name]
    return config


def planned(config: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Every run of the config, (dataset, method, seed), in order, each once."""
    runs = [
        (dataset, method, seed)
        for entry in config["runs"]
        for dataset in entry["datasets"]
        for method in entry["methods"]
        for seed in entry.get("seeds", [0])
    ]
    return list(dict.fromkeys(runs))


def file_entry(config: dict[str, Any], group: str, name: str) -> dict[str, Any]:
    """The entry of the file ``resources/<group>/<name>``: one of a dataset's files or a collection of gene sets."""
    files = [f for d in config["datasets"].values() if d["group"] == group for f in d["files"].values()]
    files += [c["file"] for key, c in config["gene_sets"].items() if key == group]
    for file in files:
        if file["name"] == name:
            return file
    raise UserError(f"no dataset or collection of gene sets in the config has a file {group}/{name}")


def seconds(duration: float | str | None) -> float | None:
    """Seconds of ``90``, ``"90s"``, ``"1.5m"``, ``"2h"``, ``"3d"`` (``None`` stays ``None``)."""
    if isinstance(duration, str):
        return float(duration[:-1]) * SECONDS[duration[-1]]
    return duration


# ------------------------------------------------------------------------------------------------------------ schema


def check_schema(config: Any, where: str) -> None:
    """Raise a `UserError` of one line for the first thing that breaks the schema."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(schema()).iter_errors(config))
    if error is not None:
        raise UserError(f"{where}: {explain(error)}")


def explain(error: Any) -> str:
    """One line for an error of jsonschema: the key, what is wrong, what it should be."""
    key = re.sub(r"\.\[", "[", ".".join(f"[{p}]" if isinstance(p, int) else str(p) for p in error.absolute_path))
    at = f"{key}: " if key else ""
    meaning = error.schema.get("description", "") if isinstance(error.schema, dict) else ""
    meaning = f" ({' '.join(meaning.split()).rstrip('.')})" if meaning else ""
    value = repr(error.instance)
    value = value if len(value) < 80 else value[:77] + "..."
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        unknown = next(k for k in error.instance if k not in known)
        return f"{key + '.' if key else ''}{unknown}: unknown key{registry.nearest(str(unknown), known)}"
    if error.validator == "required":
        missing = next(k for k in error.validator_value if k not in error.instance)
        return f"{at}the key '{missing}' is missing"
    if error.validator == "pattern" and "propertyNames" in error.absolute_schema_path:
        return f"{at}the name {value} may hold letters, digits, dashes and underscores only"
    if error.validator == "type":
        kinds = error.validator_value if isinstance(error.validator_value, str) else " or ".join(error.validator_value)
        return f"{at}{value} should be of type {kinds}{meaning}"
    if error.validator == "enum":
        return f"{at}{value} should be one of {', '.join(map(str, error.validator_value))}"
    if error.validator in ("minItems", "minProperties"):
        return f"{at}is empty, it needs at least one entry{meaning}"
    return f"{at}{value} is not accepted: {error.validator} {error.validator_value}{meaning}"[:400]


def fill(rules: dict[str, Any], value: Any) -> Any:
    """Fill in the defaults of the schema ``rules`` wherever ``value`` says nothing (both follow JSON schema)."""
    from jsonschema import Draft202012Validator

    if "$ref" in rules:
        rules = {
            **schema()["$defs"][rules["$ref"].rsplit("/", 1)[1]],
            **{k: v for k, v in rules.items() if k != "$ref"},
        }
    for choice in rules.get("allOf", ()):
        if Draft202012Validator(choice["if"]).is_valid(value):
            value = fill(choice["then"], value)
    if isinstance(value, dict):
        properties = rules.get("properties", {})
        for key, rule in properties.items():
            if key not in value:
                default = fill_default(rule)
                if default is not MISSING:
                    value[key] = default
        others = rules.get("additionalProperties")
        for key in value:
            rule = properties.get(key, others if isinstance(others, dict) else None)
            if rule:
                value[key] = fill(rule, value[key])
    elif isinstance(value, list) and "items" in rules:
        value = [fill(rules["items"], item) for item in value]
    return value


MISSING = object()


def fill_default(rule: dict[str, Any]) -> Any:
    if "default" in rule:
        return copy.deepcopy(rule["default"])
    if "$ref" in rule:
        return fill_default(schema()["$defs"][rule["$ref"].rsplit("/", 1)[1]])
    return MISSING


# ---------------------------------------------------------------------------------------------------- names and parts


def refer(name: str, known: Any, where: str) -> None:
    if name not in known:
        raise UserError(f"{where}: {name!r} is not defined{registry.nearest(name, list(known))}")


def named(kind: str, name: str, where: str) -> Any:
    try:
        return registry.load(kind, name).SPEC
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def inherit(datasets: dict[str, Any], where: str) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """Entries with ``from`` completed by what they inherit, and whose files and raw data each of them shares."""
    entries: dict[str, Any] = {}
    shared: dict[str, dict[str, str]] = {}

    def complete(name: str, chain: tuple[str, ...]) -> None:
        if name in chain:
            raise UserError(f"{where}.{name}.from: {' -> '.join((*chain, name))} is a circle; remove one of its links")
        if name in entries:
            return
        entry, parent = datasets[name], datasets[name].get("from")
        entries[name], shared[name] = entry, {"group": name, "raw": name}
        if parent is not None:
            refer(parent, datasets, f"{where}.{name}.from")
            complete(parent, (*chain, name))
            entries[name] = {**entries[parent], **entry}
            shared[name] = {
                "group": name if "files" in entry else shared[parent]["group"],
                "raw": name if any(key in entry for key in RAW_KEYS) else shared[parent]["raw"],
            }

    for name in datasets:
        complete(name, ())
    return {name: entries[name] for name in datasets}, shared


def resolve_dataset(name: str, dataset: dict[str, Any], config: dict[str, Any], where: str) -> None:
    spec = named("reader", dataset["reader"], f"{where}.reader")
    dataset["options"] = registry.resolve(spec, dataset["options"], f"{where}.options")
    dataset["title"] = dataset["title"] or name
    dataset["gene_sets"] = dataset["gene_sets"] or next(iter(config["gene_sets"]))
    refer(dataset["gene_sets"], config["gene_sets"], f"{where}.gene_sets")
    collection = config["gene_sets"][dataset["gene_sets"]]
    for key in ("min_genes", "max_genes"):
        dataset[key] = collection[key] if dataset[key] is None else dataset[key]
    dataset["prefix"] = collection["prefix"]
    if "contrast" in dataset:
        refer(dataset["contrast"]["label"], dataset["labels"], f"{where}.contrast.label")
    if dataset["zeroed_by"]:
        refer(dataset["zeroed_by"], dataset["labels"], f"{where}.zeroed_by")


NOT_DRAWN = "not drawn, since none of what it shows is among the runs"


def check_figure(figure: dict[str, Any], config: dict[str, Any], where: str) -> list[str]:
    """Check the names in a figure; take out of it what is defined but not run, and say so, a line each."""
    runs = planned(config)
    pairs = {(dataset, method) for dataset, method, _ in runs}
    single = figure["kind"] == "scatter"
    datasets = [figure["dataset"]] if single else figure["datasets"]
    methods = [figure["method"]] if single else figure.get("methods")
    for dataset in datasets:
        refer(dataset, config["datasets"], f"{where}.dataset{'' if single else 's'}")
    for method in methods or ():
        refer(method, config["methods"], f"{where}.method{'' if single else 's'}")
    if single:
        refer(figure["colour"], config["datasets"][figure["dataset"]]["labels"], f"{where}.colour")
        return [] if (figure["dataset"], figure["method"], figure["seed"]) in runs else [NOT_DRAWN]
    for dataset in datasets if figure["kind"] == "accuracy" else ():
        if "contrast" not in config["datasets"][dataset]:
            raise UserError(f"{where}.datasets: {dataset} has no contrast; give it one or take it out of the figure")
    shown = {(d, m) for d, m in pairs if d in datasets and (methods is None or m in methods)}
    if not shown:
        return [NOT_DRAWN]
    lines = []
    for key, names, position in (("datasets", datasets, 0), ("methods", methods, 1)):
        gone = [name for name in names or () if name not in {pair[position] for pair in shown}]
        if gone:
            figure[key] = [name for name in names if name not in gone]
            lines.append(f"without {', '.join(gone)}, not among the runs")
    return lines
