"""A prepared dataset in words, a page of a terminal: what is in it, what was lost on the way, what is run on it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..contracts.prepared import HELD_OUT

if TYPE_CHECKING:
    from anndata import AnnData

CLASSES = 8
"""Classes of a label that are listed; the others are counted."""

LARGEST = 5
"""Gene sets that are named."""


def describe(
    data: AnnData, record: dict[str, Any], entry: dict[str, Any], planned_runs: Iterable[tuple[str, int]]
) -> str:
    """What there is to know of a dataset before anything is run on it.

    Parameters
    ----------
    data
        Prepared data.
    record
        Their record (`contracts.prepared_record`).
    entry
        The dataset's entry of the resolved config.
    planned_runs
        (method, seed) of every run planned on it.

    Returns
    -------
    str
        Aligned lines, a topic each, ending in a line break.
    """
    lines = [
        *(("cells" if i == 0 else "", f"{n:,} {step}") for i, (step, n) in enumerate(record["cells"].items())),
        *(("genes" if i == 0 else "", f"{n:,} {step}") for i, (step, n) in enumerate(record["genes"].items())),
        *((f"label {label}", classes(data.obs[label])) for label in record["labels"]),
        ("contrast", contrast(data.obs, record["contrast"])),
        ("donors", donors(data.obs, record["donor"])),
        ("held out", held_out(data, record["hold_out"])),
        *symbols(record["symbols"]),
        *gene_sets(data, record["sets"], record["settings"]),
        ("reader", "; ".join([entry["reader"], *(f"{n:,} {what}" for what, n in record["reader"].items() if n)])),
        ("missing", f"samples {', '.join(record['missing'])}" if record["missing"] else "no sample"),
        *runs(record["dataset"], planned_runs),
    ]
    width = max(len(topic) for topic, _ in lines) + 2
    return "\n".join([f"{entry['title']} ({record['dataset']})", *(f"{t:{width}}{text}" for t, text in lines), ""])


def classes(label: pd.Series) -> str:
    """Classes with their numbers of cells, the largest first."""
    counts = label.value_counts()
    counts = counts[counts > 0]
    listed = ", ".join(f"{name} {n:,}" for name, n in counts.iloc[:CLASSES].items())
    more = f", and {len(counts) - CLASSES} more" if len(counts) > CLASSES else ""
    unknown = int(label.isna().sum())
    return (listed or "no class") + more + (f"; {unknown:,} cells without" if unknown else "")


def contrast(obs: pd.DataFrame, contrast: dict[str, str] | None) -> str:
    if contrast is None:
        return "none: no factor is asked to tell two classes"
    label, positive, negative = (contrast[key] for key in ("label", "positive", "negative"))
    chosen = obs[label] == positive
    others = obs[label] == negative if negative else ~chosen
    return f"{label}: {positive} ({chosen.sum():,}) against {negative or 'all others'} ({others.sum():,})"


def donors(obs: pd.DataFrame, donor: str) -> str:
    return f"{obs[donor].nunique()}, by the label {donor}" if donor else "not known"


def held_out(data: AnnData, entry: dict[str, Any] | None) -> str:
    if entry is None:
        return "no cell"
    what = f"those whose {entry.get('label')} is {entry.get('value')}"
    if "share" in entry:
        what = f"drawn at random, seed {entry['seed']}"
    return f"{data.obs[HELD_OUT].sum():,} of {data.n_obs:,} cells, {what}"


def symbols(match: dict[str, Any]) -> list[tuple[str, str]]:
    """How many symbols of the gene sets were found; by each way, if that matters; what nearly was, if few were."""
    total, counts = match["in the sets"], match["genes"]
    text = f"{match['found']:,} of {total:,} in the gene sets found among the genes ({match['found'] / total:.0%})"
    lost = [f"{counts[what]:,} genes {what}" for what in ("unmapped", "ambiguous") if counts[what]]
    lines = [("symbols", "; ".join([f"{match['how']}: {text}", *lost]))]
    if len(set(match["found by"].values())) > 1:
        lines.append(("", "found by way: " + ", ".join(f"{how} {n:,}" for how, n in match["found by"].items())))
    if match["near misses"]:
        pairs = ", ".join(f"{gene} (data) ~ {member} (sets)" for gene, member in match["near misses"])
        lines.append(("", f"nearly matched: {pairs}"))
    return lines


def gene_sets(data: AnnData, sets: dict[str, Any], settings: dict[str, Any]) -> list[tuple[str, str]]:
    sizes = pd.Series(np.asarray(data.varm["mask"]).sum(axis=0), index=list(data.uns["gene_sets"]))
    kept = f"{sets['kept']:,} of {sets['in the collection']:,} of {' + '.join(settings['gene_sets'])} kept"
    largest = sizes.sort_values(ascending=False, kind="stable").iloc[:LARGEST]
    return [
        ("gene sets", f"{kept}, of {sizes.min()} to {sizes.max()} genes (median {sizes.median():g})"),
        ("", "the largest: " + ", ".join(f"{name} {n}" for name, n in largest.items())),
    ]


def runs(dataset: str, planned_runs: Iterable[tuple[str, int]]) -> list[tuple[str, str]]:
    """The seeds planned for each method; without any, the line that would add some."""
    seeds: dict[str, list[int]] = {}
    for method, seed in planned_runs:
        seeds.setdefault(method, []).append(seed)
    if not seeds:
        example = f"- {{datasets: [{dataset}], methods: [ae, gene_set_mean], seeds: [0, 1, 2]}}"
        return [("runs", "no run of the config uses it; under runs, add for example"), ("", example)]
    total = sum(map(len, seeds.values()))
    listed = "; ".join(
        f"{method}, seed{'s' * (len(own) > 1)} {', '.join(map(str, own))}" for method, own in seeds.items()
    )
    return [("runs", f"{total}: {listed}")]
