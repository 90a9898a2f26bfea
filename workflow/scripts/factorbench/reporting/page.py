"""The one-page report: what it says is worked out here from tables and records, how it looks is in the template."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pandas as pd

from .. import registry
from ..config.plan import extent
from ..results.runtime import hosts, several_hosts, truth
from ..results.seeds import over_seeds
from . import facts
from .numbers import count, duration, minutes, number, percent, plural, times

STATUS_WORDS = {
    "ok": "finished",
    "max_iterations": "used up its iterations before it converged",
    "budget": "stopped itself when its time was up; its results so far are kept",
    "timeout": "was killed when its time was up; no result",
    "killed": "was killed from outside; no result",
    "diverged": "diverged: its numbers were no longer finite",
    "not_applicable": "cannot be applied to these data",
}
"""What a status means, for readers."""


def render(template: str | Path, context: dict[str, Any]) -> str:
    """Fill in the jinja2 ``template``; whatever comes from ``context`` is escaped, and a name it lacks is an error."""
    import jinja2

    template = Path(template)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=count,
        percent=percent,
        duration=duration,
        times=times,
        number=number,
        minutes=minutes,
        capitalize_first=lambda text: text[:1].upper() + text[1:],
    )
    return environment.get_template(template.name).render(context)


def context(
    config: dict[str, Any],
    results: dict[str, pd.DataFrame],
    records: dict[str, dict[str, Any]],
    figures: dict[str, str | Path],
) -> dict[str, Any]:
    """Everything the template shows.

    Parameters
    ----------
    config
        The resolved config.
    results
        The tables ``runs``, ``runtime``, ``separation``, ``top_pathways``, ``comparisons``, ``scaling``, ``full_time``
        and ``scores``; ``claims`` where the config has any.
    records
        For each dataset that was run, its preparation (`read_record`).
    figures
        For each figure of the config, its SVG.
    """
    runs, means = results["runs"], over_seeds(results["scores"])
    titles = {name: method["title"] for name, method in config["methods"].items()}
    datasets = {name: dataset_facts(config, records[name], runs[runs["dataset"] == name]) for name in records}
    whole = [name for name, facts in datasets.items() if not facts["held_out"]]
    boards = [b for b in (facts.board(name, config, runs, means, datasets) for name in whole) if b]
    terms, sized = facts.chosen_terms(config), set(results["full_time"]["dataset"])
    used = [m for m in titles if m in set(runs["method"])]
    return {
        "title": config["report"]["title"],
        "reference": config["report"]["reference"],
        "titles": titles,
        "datasets": datasets,
        "methods": [method_facts(name, config["methods"][name]) for name in used],
        "runs": len(runs),
        "unfinished": unfinished(runs),
        "left_out": config["left_out"],
        "claims": facts.claim_facts(results["claims"], datasets) if "claims" in results else [],
        "boards": boards,
        "answers": [answer for b in boards for answer in facts.separation_answers(b)]
        + facts.scaling_answers(results["full_time"], config)
        + facts.time_answers(results["runtime"][~results["runtime"]["dataset"].isin(sized)], config, datasets),
        "figures": [
            {"name": name, **config["figures"][name], "image": data_uri(path)} for name, path in figures.items()
        ],
        "runtime": facts.by_dataset(results["runtime"], datasets),
        "several_hosts": {name: several_hosts(runs[runs["dataset"] == name]) for name in datasets},
        "hosts": hosts(runs),
        "code": facts.code_facts(results["full_time"], runs, config),
        "laws": facts.plain(results["scaling"]),
        "absent": facts.absent(runs),
        "separation": facts.by_dataset(facts.contrast_first(results["separation"], datasets), datasets),
        "pathways": facts.pathways(results["top_pathways"]),
        "comparisons": facts.comparisons(results["comparisons"], terms, datasets),
        "certainty": facts.certainty(means, results["scores"], datasets, titles),
        "new_cells": facts.new_cells(means, datasets, terms, titles),
        "machines": machines(runs),
        "versions": versions(runs),
        "statuses": STATUS_WORDS,
    }


def dataset_facts(config: dict[str, Any], record: dict[str, Any], runs: pd.DataFrame) -> dict[str, Any]:
    """What a reader wants to know of a dataset and its gene sets."""
    entry = config["datasets"][record["dataset"]]
    return {
        **{key: entry[key] for key in ("title", "organism", "doi", "licence", "citation", "missing")},
        "extent": extent(entry),
        "held_out": record.get("hold_out"),
        "donor": entry["donor"],
        "name": record["dataset"],
        "contrast": record["contrast"],
        "labels": list(record["labels"]),
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
    """What a reader wants to know of a method: its title, source, role, and settings other than the defaults."""
    spec = registry.load("method", entry["use"]).SPEC
    changed = {k: v for k, v in entry["params"].items() if k not in spec.params or v != spec.params[k].default}
    return {
        "name": name,
        "title": entry["title"],
        "is": spec.title,
        "doi": spec.doi,
        "url": spec.url if spec.url.startswith("https://") else "",
        "control": spec.control,
        "params": ", ".join(f"{k} = {v}" for k, v in changed.items()),
    }


def unfinished(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """Runs that are not ``ok``, with the reason they gave."""
    rows = runs[runs["status"] != "ok"].copy()
    rows["reason"] = rows["reason"].fillna("")
    return rows[["dataset", "method", "seed", "status", "reason", "fit_seconds"]].to_dict("records")


def hosts(runs: pd.DataFrame) -> list[str]:
    """The machines that ``runs`` were made on, by name."""
    return sorted({host or facts.UNNAMED for host in hosts(runs)})


def machines(runs: pd.DataFrame) -> list[str]:
    """``EPYC 7B13, cpu, 2 threads: 12 runs``, one line for each combination; with the host where there are several."""
    several = several_hosts(runs)
    runs = runs.assign(host=hosts(runs)).fillna({"processor": "unknown processor"})
    counts = runs.groupby(["host", "processor", "device", "threads"]).size()
    return [
        (f"{host or facts.UNNAMED}: " if several else "")
        + f"{processor}, {device}, {plural(int(threads), 'thread')}: {plural(n, 'run')}"
        for (host, processor, device, threads), n in counts.items()
    ]


def versions(runs: pd.DataFrame) -> dict[str, str]:
    """Versions of all packages that runs recorded (several, if runs differ), and of this software."""
    found: dict[str, set[str]] = {}
    for text in runs["versions"].dropna():
        for package, version in json.loads(text).items():
            found.setdefault(package, set()).add(version)
    commits = {
        f"{commit[:12]}{' (with local changes)' if dirty else ''}"
        for commit, dirty in zip(runs["git_commit"].fillna(""), truth(runs["git_dirty"]) == 1, strict=True)
        if commit
    }
    found |= {"factorbench": commits} if commits else {}
    return {package: ", ".join(sorted(found[package])) for package in sorted(found)}


def data_uri(path: str | Path) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(Path(path).read_bytes()).decode()
