"""The one-page report: what it says is worked out here from tables and records, how it looks is in the template."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from . import registry, tables
from .plots.style import duration, times

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
        count=count, percent=percent, duration=duration, times=times, number=number, minutes=minutes
    )
    return environment.get_template(template.name).render(context)


def read_record(path: str | Path) -> dict[str, Any]:
    """The record of a prepared.h5ad (`contracts.prepared_record`), without reading its cells."""
    import h5py

    with h5py.File(path) as file:
        return json.loads(file["uns/factorbench"].asstr()[()])


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
        The tables ``runs``, ``runtime``, ``separation``, ``top_pathways`` and ``scores``.
    records
        For each dataset that was run, its preparation (`read_record`).
    figures
        For each figure of the config, its SVG.
    """
    runs, means = results["runs"], tables.over_seeds(results["scores"])
    titles = {name: method["title"] for name, method in config["methods"].items()}
    datasets = {name: dataset_facts(config, records[name], runs[runs["dataset"] == name]) for name in records}
    boards = [board(name, config, runs, means, datasets) for name in datasets]
    boards = [b for b in boards if b]
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
        "boards": boards,
        "answers": [answer for b in boards for answer in separation_answers(b)]
        + time_answers(results["runtime"], config, datasets),
        "figures": [
            {"name": name, **config["figures"][name], "image": data_uri(path)} for name, path in figures.items()
        ],
        "runtime": by_dataset(results["runtime"], datasets),
        "absent": absent(runs),
        "separation": by_dataset(contrast_first(results["separation"], datasets), datasets),
        "pathways": pathways(results["top_pathways"]),
        "machines": machines(runs),
        "versions": versions(runs),
        "statuses": STATUS_WORDS,
    }


# ------------------------------------------------------------------------------------------------ what was compared


def dataset_facts(config: dict[str, Any], record: dict[str, Any], runs: pd.DataFrame) -> dict[str, Any]:
    """What a reader wants to know of a dataset and its gene sets."""
    entry = config["datasets"][record["dataset"]]
    return {
        **{key: entry[key] for key in ("title", "organism", "doi", "licence", "citation", "n_cells")},
        "name": record["dataset"],
        "contrast": record["contrast"],
        "labels": list(record["labels"]),
        "cells": int(runs["n_cells"].max()),
        "genes": int(runs["n_genes"].max()),
        "sets": record["sets"]["kept"],
        "collection": config["gene_sets"][entry["gene_sets"]],
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


def machines(runs: pd.DataFrame) -> list[str]:
    """``EPYC 7B13, cpu, 2 threads: 12 runs``, one line for each combination."""
    counts = runs.fillna({"processor": "unknown processor"}).groupby(["processor", "device", "threads"]).size()
    return [
        f"{processor}, {device}, {plural(int(threads), 'thread')}: {plural(n, 'run')}"
        for (processor, device, threads), n in counts.items()
    ]


def versions(runs: pd.DataFrame) -> dict[str, str]:
    """Versions of all packages that runs recorded (several, if runs differ), and of this software."""
    found: dict[str, set[str]] = {}
    for text in runs["versions"].dropna():
        for package, version in json.loads(text).items():
            found.setdefault(package, set()).add(version)
    commits = {
        f"{commit[:12]}{' (with local changes)' if dirty else ''}"
        for commit, dirty in zip(runs["git_commit"].fillna(""), tables.truth(runs["git_dirty"]) == 1, strict=True)
        if commit
    }
    found |= {"factorbench": commits} if commits else {}
    return {package: ", ".join(sorted(found[package])) for package in sorted(found)}


# ----------------------------------------------------------------------------------------------------- what came out


def board(
    dataset: str, config: dict[str, Any], runs: pd.DataFrame, means: pd.DataFrame, datasets: dict[str, dict[str, Any]]
) -> dict[str, Any] | None:
    """How well one factor answers the contrast, method by method; ``None`` if that was not asked.

    The factor is the first term of the config's accuracy figures that a run on the dataset has.
    """
    contrast = datasets[dataset]["contrast"]
    if not contrast:
        return None
    label = f"{contrast['label']}={contrast['positive']}"
    here = means[(means["dataset"] == dataset) & (means["label"] == label)]
    terms = [t for f in config["figures"].values() if f["kind"] == "accuracy" for t in f["terms"]]
    term = next((t for t in terms if (here["factor"] == t).any()), None)
    base = here.loc[here["metric"] == "baseline", "mean"]
    if term is None or base.empty:
        return None
    rows = []
    of = here[here["factor"] == term].set_index(["method", "metric", "split"])
    relevance = means[(means["dataset"] == dataset) & (means["metric"] == "relevance") & (means["factor"] == term)]
    relevance = relevance.set_index("method")["highest"]
    for method in config["methods"]:
        if (method, "accuracy", "train") not in of.index:
            continue
        train, mine = of.loc[(method, "accuracy", "train")], runs[runs["method"] == method]
        mine = mine[(mine["dataset"] == dataset) & (mine["n_factors"] > 0)]
        rows.append(
            {
                "method": method,
                "accuracy": train["mean"],
                "lower": max(train["lower"], 0.0) if train["seeds"] > 2 else None,
                "upper": min(train["upper"], 1.0) if train["seeds"] > 2 else None,
                "cv": of.loc[(method, "accuracy", "cv"), "mean"],
                "auroc": of.loc[(method, "auroc", ""), "mean"],
                "seeds": int(train["seeds"]),
                "on": bool(relevance.get(method, 1) > 0),
                "active": f"{mine['n_active'].median():.0f} of {mine['n_factors'].median():.0f}",
            }
        )
    baseline = float(base.iloc[0])
    lowest = min([baseline, *(r["accuracy"] for r in rows)])
    return {
        "dataset": dataset,
        "title": datasets[dataset]["title"],
        "cells": int(of["n"].max()),
        "positive": contrast["positive"],
        "negative": contrast.get("negative") or "all others",
        "term": term,
        "baseline": baseline,
        "from": np.floor((lowest - 0.02) * 20) / 20,
        "rows": sorted(rows, key=lambda r: -r["accuracy"]),
        "controls": {m for m in config["methods"] if registry.load("method", config["methods"][m]["use"]).SPEC.control},
        "reference": config["report"]["reference"],
        "names": {m: config["methods"][m]["title"] for m in config["methods"]},
    }


def separation_answers(board: dict[str, Any]) -> list[dict[str, str]]:
    """One headline and one sentence on how the reference method answers the contrast, and what it is up against."""
    row = next((r for r in board["rows"] if r["method"] == board["reference"]), board["rows"][0])
    sentence = (
        f"of cells are put into the right class, {board['positive']} or {board['negative']}, by the score of one "
        f"factor alone: {board['term'].replace('_', ' ')} of {board['names'][row['method']]} on {board['title']} "
        f"({board['cells']:,} cells){interval(row)}; {percent(row['cv'])} when cross-validated. Guessing the larger "
        f"class gives {percent(board['baseline'])}."
    )
    others = [r for r in board["rows"] if r is not row and r["method"] not in board["controls"]]
    if others:
        best = max(others, key=lambda r: r["accuracy"])
        sentence += f" Best of the other models: {board['names'][best['method']]}, {percent(best['accuracy'])}."
    beside = [r for r in board["rows"] if r["method"] in board["controls"]]
    if beside:
        controls = ", ".join(f"{board['names'][r['method']]} {percent(r['accuracy'])}" for r in beside)
        sentence += f" Controls: {controls}."
    return [{"figure": percent(row["accuracy"]), "text": sentence}]


def time_answers(
    runtime: pd.DataFrame, config: dict[str, Any], datasets: dict[str, dict[str, Any]]
) -> list[dict[str, str]]:
    """For each dataset the model farthest in time from the reference, by a factor of two or more; no controls."""
    reference = config["report"]["reference"]
    control = {m for m, entry in config["methods"].items() if registry.load("method", entry["use"]).SPEC.control}
    titles = {m: entry["title"] for m, entry in config["methods"].items()}
    answers = []
    for dataset, rows in runtime[~runtime["method"].isin(control)].groupby("dataset", sort=False):
        own = rows[rows["method"] == reference]
        others = rows[(rows["method"] != reference) & (np.log2(rows["ratio"].astype(float)).abs() >= 1)]
        if own.empty or others.empty:
            continue
        other = others.loc[np.log2(others["ratio"].astype(float)).abs().idxmax()]
        least = "at least " if other["bound"] == "at least" else ""
        answers.append(
            {
                "figure": ("≥ " if least else "") + times(other["ratio"]),
                "text": f"the time of {titles[reference]} is what {titles[other['method']]} needs on the same "
                f"{other['cells']:,} cells and {other['genes']:,} genes ({datasets[dataset]['title']}): "
                f"{least}{duration(other['seconds'])} against {duration(own['seconds'].iloc[0])}, medians. "
                f"How its runs ended: {other['statuses']}"
                + (f"; converged: {other['converged']}." if isinstance(other["converged"], str) else "."),
            }
        )
    return answers


def contrast_first(table: pd.DataFrame, datasets: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """The separation table by question, the contrast of each dataset before the others."""
    asked = {name: (facts["contrast"] or {}).get("label") for name, facts in datasets.items()}
    other = table["label"].str.partition("=")[0] != table["dataset"].map(asked)
    return table.assign(other=other).sort_values(["other", "label"], kind="stable").drop(columns="other")


def absent(runs: pd.DataFrame) -> dict[str, list[str]]:
    """For each dataset the methods that were run, but not on it."""
    methods = list(dict.fromkeys(runs["method"]))
    return {name: [m for m in methods if m not in set(group["method"])] for name, group in runs.groupby("dataset")}


def by_dataset(table: pd.DataFrame, datasets: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    plain = table.replace({np.nan: None})
    return {name: plain[plain["dataset"] == name].to_dict("records") for name in datasets}


def pathways(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The top pathways of each dataset and method, relevance also as a share of the first one's."""
    return [
        {
            "dataset": dataset,
            "method": method,
            "rows": group.assign(share=group["relevance"] / group["relevance"].max()).to_dict("records"),
        }
        for (dataset, method), group in table.groupby(["dataset", "method"], sort=False)
    ]


# --------------------------------------------------------------------------------------------------------- in words


def data_uri(path: str | Path) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(Path(path).read_bytes()).decode()


def count(n: float) -> str:
    return f"{n:,.0f}"


def percent(share: float | None) -> str:
    """``94.0 %``; a dash for what is missing."""
    return "–" if share is None or not np.isfinite(share) else f"{100 * share:.1f} %"


def number(value: float | None, digits: int = 3) -> str:
    """``digits`` significant ones; a dash for what is missing."""
    return "–" if value is None or not np.isfinite(value) else f"{value:,.{digits}g}"


def minutes(value: float) -> str:
    return f"{value:,.2f}" if value >= 0.01 else "< 0.01"


def interval(row: dict[str, Any]) -> str:
    if row["lower"] is None:
        return ""
    return f", mean of {row['seeds']} seeds (95 % interval {100 * row['lower']:.1f} to {percent(row['upper'])})"


def plural(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"
