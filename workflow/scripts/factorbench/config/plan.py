"""What a resolved config plans: runs, their parameters, and the files they need."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..contracts.errors import UserError

PROJECT = Path(__file__).parents[4]
"""The folder that holds the Snakefile. Relative paths of claims and local sources are looked up in it."""

RAW_KEYS = ("files", "reader", "options", "without", "expect")
"""Keys of a dataset that its raw data depend on. Datasets that share all of them share the file raw.h5ad."""

PREPARE_KEYS = (
    *("labels", "contrast", "donor", "hold_out", "missing", "n_cells", "subset_seed", "min_cells", "zeroed_by"),
    *("target_sum", "hvg_flavor", "n_top_genes", "gene_sets", "prefixes", "descriptions", "min_genes", "max_genes"),
    *("n_sets", "keep_sets", "min_share", "merge_above", "permute_sets", "corrupt", "symbols", "orthologs"),
)
"""Keys of a dataset that its prepared data depend on, beyond `RAW_KEYS`. A change of any other key, for example of
the title or the citation, prepares and fits nothing again."""


def planned_runs(config: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Return every run (dataset, method, seed) of the config, in order, each once."""
    runs = [
        (dataset, method, seed)
        for entry in config["runs"]
        for dataset in entry["datasets"]
        for method in entry["methods"]
        for seed in entry.get("seeds", [0])
    ]
    return list(dict.fromkeys(runs))


def planned_nulls(config: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the entry of ``nulls`` for each dataset and method that are run, the last one that names them."""
    runs = {(dataset, method) for dataset, method, _ in planned_runs(config)}
    return {
        (dataset, method): entry
        for entry in config["nulls"]
        for dataset in entry["datasets"]
        for method in entry["methods"]
        if (dataset, method) in runs
    }


def params_of(config: dict[str, Any], dataset: str, method: str) -> dict[str, Any]:
    """Return all parameters of a method on a dataset."""
    return config["datasets"][dataset]["params"].get(method, config["methods"][method]["params"])


def preparation(entry: dict[str, Any]) -> dict[str, Any]:
    """Return what of a dataset's entry its prepared data depend on (`PREPARE_KEYS`)."""
    return {key: entry[key] for key in PREPARE_KEYS if key in entry}


def needed_files(config: dict[str, Any], datasets: Iterable[str]) -> list[tuple[str, str]]:
    """Return group and name of every file that these datasets need: counts, gene sets, orthologs."""
    files = []
    for dataset in (config["datasets"][name] for name in datasets):
        files += [(dataset["group"], file["name"]) for file in dataset["files"].values()]
        files += [(name, config["gene_sets"][name]["file"]["name"]) for name in dataset["gene_sets"]]
        if dataset["symbols"] == "orthologs":
            files.append((dataset["orthologs"], config["orthologs"][dataset["orthologs"]]["file"]["name"]))
    return list(dict.fromkeys(files))


def file_entry(config: dict[str, Any], group: str, name: str) -> dict[str, Any]:
    """Return the config's entry of the file ``resources/<group>/<name>``."""
    files = [f for d in config["datasets"].values() if d["group"] == group for f in d["files"].values()]
    files += [config[kind][group]["file"] for kind in ("gene_sets", "orthologs") if group in config[kind]]
    for file in files:
        if file["name"] == name:
            return file
    raise UserError(f"no dataset, collection of gene sets or table of orthologs has a file {group}/{name}")


def archive_entry(source: dict[str, str]) -> dict[str, Any]:
    """Return the archive of a source with a ``url`` as a ``file`` of the config, to download, keep and pin it."""
    name = source.get("archive") or urlsplit(source["url"]).path.rsplit("/", 1)[-1]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        name = f"archive_{sha256(source['url'].encode()).hexdigest()[:8]}"
    return {"name": name, "sha256": source.get("sha256", ""), "sources": [source["url"]]}


def ancestry(name: str | None, datasets: dict[str, dict[str, Any]]) -> list[str]:
    """Return a dataset and the datasets it is made ``from``, the nearest first."""
    return [name, *ancestry(datasets.get(name, {}).get("from"), datasets)] if name else []


def extent(dataset: dict[str, Any]) -> str:
    """Return how much of a dataset is used: ``full``, or all that apply of the following.

    ``piece``: the files are only a piece of the data; ``part``: samples are missing; ``subset``: cells were drawn;
    ``some sets``: gene sets were drawn; ``held out``: some cells were kept from the fit.
    """
    words = {"piece": "piece", "part": "missing", "subset": "n_cells", "some sets": "n_sets", "held out": "hold_out"}
    return ", ".join(word for word, key in words.items() if dataset.get(key)) or "full"
