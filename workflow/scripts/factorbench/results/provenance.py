"""results/manifest.json: what the results follow from, and what they are.

It holds the config, packages, commit and machines, and the hash of every input and output. `results.verify` checks the
results against it. It holds no time of its own, so the same files and code give the same manifest.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from ..config.plan import PROJECT, needed_files
from ..contracts.files import sha256
from ..data import local, sources
from ..runs.machine import git_state
from .scaling import NO_LAW

TIMINGS = {
    "runs": ("fit_seconds", "start_seconds", "peak_memory_mb", "started"),
    "runtime": ("seconds", "fastest", "slowest", "minutes", "ratio"),
    "scaling": tuple(NO_LAW),
    "full_time": ("ran", "seconds", "lower", "upper", "iteration_seconds", "ratio_lower", "ratio_upper"),
}
"""Columns of time and memory, by table. Only they may differ between two runs of the benchmark with the same seeds on
the same machine, if no run is stopped by its budget or time-out. Claims and figures about time follow from them."""


def without_timings(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return the table ``name`` without its `TIMINGS`."""
    return table.drop(columns=list(TIMINGS.get(name, ())))


def manifest(
    config: dict[str, Any],
    given: dict[str, Any],
    runs: list[dict[str, Any]],
    inputs: Iterable[str | Path],
    outputs: Iterable[str | Path],
) -> dict[str, Any]:
    """Return the content of manifest.json.

    Parameters
    ----------
    config, given
        The config as resolved, and as it was given (a resolved config cannot be resolved again).
    runs
        Every run.json.
    inputs, outputs
        Paths of files and folders, relative to the working directory.

    Returns
    -------
    dict
        ``config``, ``given``; ``python`` and ``packages``, the version of every installed package; ``git``: commit,
        and whether the code differed from it (`git_state`); ``runs``: their number, start of the first and end of the
        last (UTC), and how many were made on each machine by which commit; ``inputs`` and ``outputs``: ``bytes`` and
        ``sha256`` of each file by path.
    """
    commit, dirty = git_state()
    keys = ("host", "processor", "git_commit", "git_dirty")
    counts = Counter(tuple(run[key] for key in keys) for run in runs)
    return {
        "config": config,
        "given": given,
        "python": platform.python_version(),
        "packages": packages(),
        "git": {"commit": commit, "dirty": dirty},
        "runs": {
            "number": len(runs),
            "start": min((run["started"] for run in runs), key=datetime.datetime.fromisoformat),
            "end": max(map(ended, runs)).isoformat(timespec="seconds"),
            "machines": [dict(zip(keys, key, strict=True)) | {"runs": n} for key, n in sorted(counts.items(), key=str)],
        },
        "inputs": hashed(inputs),
        "outputs": hashed(outputs),
    }


def ended(run: dict[str, Any]) -> datetime.datetime:
    """Return the earliest time at which a run can have ended: its start plus the seconds of its fit."""
    return datetime.datetime.fromisoformat(run["started"]) + datetime.timedelta(seconds=run["fit_seconds"])


def packages() -> dict[str, str]:
    """Return the version of every installed package by name, in order."""
    # If a name occurs twice, the first distribution is the one that is imported.
    found = {d.metadata["Name"]: d.version for d in reversed(list(importlib.metadata.distributions()))}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def hashed(paths: Iterable[str | Path]) -> dict[str, dict[str, Any]]:
    """Return ``bytes`` and ``sha256`` of each file, by path in order; a folder gives all its files but hidden ones."""
    files: set[Path] = set()
    for path in map(Path, paths):
        files |= set(files_in(path)) if path.is_dir() else {path}
    return dict(sorted((os.path.relpath(path), size_and_hash(path)) for path in files))


def size_and_hash(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}


def files_in(folder: Path) -> list[Path]:
    """Return every file below ``folder`` that is not hidden: hidden ones are Snakemake's own or incomplete."""
    return [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]


def inputs(config: dict[str, Any], datasets: Iterable[str]) -> list[Path]:
    """Return what ``datasets`` are made from: downloads that are still present, files of the project, the claims."""
    needed = needed_files(config, datasets)
    files = [Path("resources", group, name) for group, name in needed]
    files = [path for path in files if path.exists()]
    for group, entry in config["gene_sets"].items():
        if group in dict(needed):
            paths = [local.find(place) for _, place in sources.own(entry["file"]) if isinstance(place, str)]
            files += [path for path in paths if path.is_file() and path.resolve().is_relative_to(PROJECT.resolve())]
    return files + ([PROJECT / config["claims"]] if config["claims"] else [])
