"""Describe a prepared dataset in a page of text: its cells, genes, labels and gene sets, and the runs planned on it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from . import symbols

if TYPE_CHECKING:
    from anndata import AnnData

N_CLASSES = 8
"""Classes of a label that are listed; the others are counted."""

FEW_COUNTS = 100
"""Counts per cell. Nearly all cells have more, and most empty droplets have fewer."""

N_SETS = 5
"""Gene sets that are named."""


def describe(
    data: AnnData, record: dict[str, Any], entry: dict[str, Any], planned_runs: Iterable[tuple[str, int]]
) -> str:
    """Return what a user should know of a dataset before anything is run on it, in aligned lines by topic.

    ``record`` is that of prepared ``data`` (`contracts.prepared.prepared_record`), ``entry`` the dataset's entry of the
    resolved config, and ``planned_runs`` are (method, seed) of every run planned on it.
    """
    donor, missing, sets = record["donor"], record["missing"], record["sets"]
    notes = [f"{n:,} {what}" for what, n in record["reader"].items() if n]
    sizes = pd.Series(np.asarray(data.varm["mask"]).sum(axis=0), index=list(data.uns["gene_sets"]))
    largest = sizes.sort_values(ascending=False, kind="stable").iloc[:N_SETS]
    pairs = zip(record["params"]["gene_sets"], record["params"].get("descriptions", ()), strict=False)
    read_as_genes = [name for name, described in pairs if described is False]
    topics = {
        "cells": [f"{n:,} {step}" for step, n in record["cells"].items()],
        "genes": [f"{n:,} {step}" for step, n in record["genes"].items()],
        "counts per cell": describe_totals(record["counts per cell"], record["largest count"]),
        **{f"label {label}": [describe_classes(data.obs[label])] for label in record["labels"]},
        "contrast": [describe_contrast(data.obs, record["contrast"])],
        "donors": [f"{data.obs[donor].nunique()}, by the label {donor}" if donor else "not known"],
        "held out": [describe_held_out(data, record["hold_out"])],
        "symbols": describe_symbols(record["symbols"]),
        "gene sets": [
            f"{sets['kept']:,} of {sets['in the collection']:,} of {' + '.join(record['params']['gene_sets'])} kept, "
            f"of {sizes.min()} to {sizes.max()} genes (median {sizes.median():g})",
            *(["second columns read as genes: " + ", ".join(read_as_genes)] if read_as_genes else []),
            "the largest: " + ", ".join(f"{name} {n}" for name, n in largest.items()),
        ],
        "reader": ["; ".join([entry["reader"], *notes])],
        "missing": [f"samples {', '.join(missing)}" if missing else "no sample"],
        "runs": describe_runs(record["dataset"], planned_runs),
    }
    width = max(map(len, topics)) + 2
    lines = [f"{'' if i else topic:{width}}{line}" for topic in topics for i, line in enumerate(topics[topic])]
    return "\n".join([f"{entry['title']} ({record['dataset']})", *lines, ""])


def describe_totals(per_cell: dict[str, float], largest: int) -> list[str]:
    """Return the range of the cells' totals, and what looks wrong about the counts."""
    lines = ["{minimum:,} to {maximum:,}, median {median:,.9g}".format(**per_cell)]
    if per_cell["median"] < FEW_COUNTS:
        lines.append("most cells have few counts: is this the unfiltered (raw) matrix? give the filtered one")
    if largest == 1:
        lines.append("all counts are 0 or 1: is this a matrix of detected genes? give raw counts")
    return lines


def describe_classes(label: pd.Series) -> str:
    """Return the classes of a label with their numbers of cells, the largest first."""
    counts = label.value_counts()
    counts = counts[counts > 0]
    listed = ", ".join(f"{name} {n:,}" for name, n in counts.iloc[:N_CLASSES].items())
    more = f", and {len(counts) - N_CLASSES} more" if len(counts) > N_CLASSES else ""
    unknown = int(label.isna().sum())
    return (listed or "no class") + more + (f"; {unknown:,} cells without" if unknown else "")


def describe_contrast(obs: pd.DataFrame, contrast: dict[str, str] | None) -> str:
    if contrast is None:
        return "none: no accuracy of factors in separating two classes"
    label, positive, negative = (contrast[key] for key in ("label", "positive", "negative"))
    chosen = obs[label] == positive
    others = obs[label] == negative if negative else ~chosen
    return f"{label}: {positive} ({chosen.sum():,}) against {negative or 'all others'} ({others.sum():,})"


def describe_held_out(data: AnnData, entry: dict[str, Any] | None) -> str:
    if entry is None:
        return "no cell"
    how = f"those with {entry['label']} {entry['value']}"
    if "share" in entry:
        how = f"drawn at random, seed {entry['seed']}"
    return f"{entry['cells']:,} of {data.n_obs:,} cells, {how}"


def describe_symbols(match: dict[str, Any]) -> list[str]:
    """Return how many symbols of the gene sets occur in the data (`symbols.describe_match`), and what may help."""
    total, counts = match["in the sets"], match["genes"]
    text = f"{match['how']}: {match['found']:,} of {total:,} in the gene sets found in the data"
    lost = [f"{counts[what]:,} genes {what}" for what in ("unmapped", "ambiguous") if counts[what]]
    lines = ["; ".join([f"{text} ({match['found'] / total:.0%})", *lost])]
    if len(set(match["found by"].values())) > 1:
        lines.append("found by way: " + ", ".join(f"{how} {n:,}" for how, n in match["found by"].items()))
    lines += symbols.advice(match)
    return lines


def describe_runs(dataset: str, planned_runs: Iterable[tuple[str, int]]) -> list[str]:
    """Return the seeds planned for each method, or how to plan some."""
    runs = pd.DataFrame(planned_runs, columns=["method", "seed"]).astype({"seed": str})
    if runs.empty:
        example = f"- {{datasets: [{dataset}], methods: [ae, gene_set_mean], seeds: [0, 1, 2]}}"
        return ["no run of the config uses it; under runs, add for example", example]
    seeds = runs.groupby("method", sort=False)["seed"].agg([len, ", ".join])
    listed = "; ".join(f"{method}, seed{'s' * (n > 1)} {names}" for method, n, names in seeds.itertuples())
    return [f"{len(runs)}: {listed}"]
