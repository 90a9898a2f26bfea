"""The one-page report: its numbers are collected here, its sentences and layout are in ``templates/``."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pandas as pd

from .. import registry
from ..config.plan import extent
from ..config.ranges import draws
from ..results import meaning
from ..results.recovery import MEASURES
from ..results.runtime import hosts, several_hosts, truth
from ..results.seeds import over_seeds, tidy
from . import facts, numbers

TEMPLATES = Path(__file__).parent / "templates"
UNNAMED = "an unnamed machine"


def render(context: dict[str, Any]) -> str:
    """Fill in ``templates/report.html.j2``. All values are escaped; a name that ``context`` lacks is an error."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("count", "percent", "points", "duration", "times", "number", "decimals", "with_unit"):
        environment.filters[name] = getattr(numbers, name)
    environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    environment.tests["lost"] = meaning.lost
    environment.globals["times_range"] = numbers.times_range
    return environment.get_template("report.html.j2").render(context)


def context(
    config: dict[str, Any],
    results: dict[str, pd.DataFrame],
    records: dict[str, dict[str, Any]],
    figures: dict[str, str | Path],
) -> dict[str, Any]:
    """Return everything that the templates show.

    Parameters
    ----------
    config
        The resolved config.
    results
        The tables of `results.tables.tables`, and ``claims`` if the config has any.
    records
        How each dataset was prepared (`contracts.prepared.read_record`).
    figures
        The SVG of each figure of the config.
    """
    runs, scores = results["runs"], tidy(results["scores"])
    means = over_seeds(scores)
    datasets = {name: dataset_facts(config, records[name], runs[runs["dataset"] == name]) for name in records}
    methods = [name for name in config["methods"] if name in set(runs["method"])]
    # What is planted in simulated cells is no finding; `recovery` says whether it is found.
    real = [name for name in datasets if config["datasets"][name].get("reader") != "simulated"]
    whole = [name for name in real if not datasets[name]["held_out"]]
    boards = [facts.board(name, config, runs, means, results["separation"], results["gene_sets"]) for name in whole]
    in_study = results["runtime"]["dataset"].isin(results["full_time"]["dataset"])
    terms, times = facts.chosen_terms(config), config["report"]["times"]
    repeated = draws({name: config["datasets"][name] for name in datasets})
    return {
        "title": config["report"]["title"],
        "reference": config["report"]["reference"],
        "titles": {name: entry["title"] for name, entry in config["methods"].items()},
        "controls": facts.controls(config),
        "without_gene_sets": facts.without_gene_sets(config),
        "datasets": datasets,
        "methods": [method_facts(name, config["methods"][name]) for name in methods],
        "runs": len(runs),
        "unfinished": unfinished(runs),
        "left_out": config["left_out"],
        "claims": facts.records(results["claims"]) if "claims" in results else [],
        "n_other_claims": len(config["other_claims"]),
        "boards": [board for board in boards if board],
        "growth": facts.growth(results["full_time"], config) if times else [],
        "slowest": facts.slowest(results["runtime"][~in_study], config) if times else [],
        "times": times,
        "repeated": {first: len(names) for first, names in repeated.items()},
        "recovery": facts.recovery(scores, repeated, config, methods),
        "recovery_measures": MEASURES,
        "figures": [
            config["figures"][name] | {"name": name, "image": data_uri(path)} for name, path in figures.items()
        ],
        "runtime": facts.by_dataset(results["runtime"], datasets),
        "several_hosts": {name: several_hosts(runs[runs["dataset"] == name]) for name in datasets},
        "hosts": sorted({host or UNNAMED for host in hosts(runs)}),
        "variants": facts.variants(results["full_time"], runs, config),
        "laws": facts.records(results["scaling"]),
        "not_run_on": facts.not_run_on(runs),
        "separation": facts.by_dataset(facts.contrast_first(results["separation"], datasets), datasets),
        "gene_sets": facts.gene_sets(results["gene_sets"], datasets, terms),
        "level": meaning.LEVEL,
        "pathways": facts.pathways(results["top_pathways"]),
        "comparisons": facts.comparisons(results["comparisons"], terms, datasets),
        "certainty": facts.certainty(means, scores, datasets, methods),
        "new_cells": facts.new_cells(means, datasets, terms, methods),
        "encoders": facts.encoders(means, results["runtime"], config, datasets, terms),
        "machines": machines(runs),
        "versions": versions(runs),
    }


def dataset_facts(config: dict[str, Any], record: dict[str, Any], runs: pd.DataFrame) -> dict[str, Any]:
    """Return what the report says of a dataset and its gene sets."""
    entry = config["datasets"][record["dataset"]]
    return {
        **{key: entry[key] for key in ("title", "organism", "doi", "licence", "citation", "missing", "donor")},
        "extent": extent(entry),
        "held_out": record["hold_out"],
        "contrast": record["contrast"],
        "cells": int(runs["n_cells"].max()),
        "genes": int(runs["n_genes"].max()),
        "sets": record["sets"]["kept"],
        "collections": [config["gene_sets"][name] for name in entry["gene_sets"]],
        "steps": {
            what: {step: n for step, n in record[key].items() if isinstance(n, int)}
            for what, key in (("Cells", "cells"), ("Genes", "genes"), ("Gene sets kept", "sets"))
        },
        "zeroed": record["zeroed"],
    }


def method_facts(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Return what the report says of a method: title, source, role, and parameters other than the defaults."""
    spec = registry.load("method", entry["use"]).SPEC
    defaults = registry.method_params(entry["use"], {}, name)
    changed = {key: value for key, value in entry["params"].items() if value != defaults[key]}
    return {
        "name": name,
        "title": entry["title"],
        "is": spec.title,
        "doi": spec.doi,
        "url": spec.url if spec.url.startswith("https://") else "",
        "params": ", ".join(f"{key} = {value}" for key, value in changed.items()),
    }


def unfinished(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the runs that are not ``ok``, with their reason."""
    rows = runs[runs["status"] != "ok"]
    columns = ["dataset", "method", "seed", "status", "reason", "fit_seconds"]
    return facts.records(rows.assign(reason=rows["reason"].fillna(""))[columns])


def machines(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the number of runs for each host, processor, device and number of threads."""
    runs = runs.assign(host=hosts(runs).replace("", UNNAMED)).fillna({"processor": "unknown processor"})
    return facts.records(runs.groupby(["host", "processor", "device", "threads"]).size().reset_index(name="runs"))


def versions(runs: pd.DataFrame) -> dict[str, str]:
    """Return the versions of all packages that runs recorded (several if runs differ), and the commits of the code."""
    seen: dict[str, set[str]] = {}
    for text in runs["versions"].dropna():
        for package, version in json.loads(text).items():
            seen.setdefault(package, set()).add(version)
    for commit, dirty in zip(runs["git_commit"].fillna(""), truth(runs["git_dirty"]) == 1, strict=True):
        if commit:
            seen.setdefault("factorbench", set()).add(commit[:12] + (" (with local changes)" if dirty else ""))
    return {package: ", ".join(sorted(seen[package])) for package in sorted(seen)}


def data_uri(path: str | Path) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(Path(path).read_bytes()).decode()
