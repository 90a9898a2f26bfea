"""Where results come from: what went in, what came out, by which code, with which packages, on which machines.

``results/manifest.json`` says so; `factorbench.verify` holds the results against it. It holds no time of its own: made
again from the same files by the same code it is the same.
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

from . import pins, scaling, sources
from .run import git_state, sha256

TIMINGS = {
    "runs": ("fit_seconds", "start_seconds", "peak_memory_mb", "started"),
    "runtime": ("seconds", "fastest", "slowest", "minutes", "ratio"),
    "scaling": tuple(scaling.NO_LAW),
    "full_time": ("ran", "seconds", "lower", "upper", "iteration_seconds", "ratio_lower", "ratio_upper"),
}
"""Columns that hold clocks and memory, by table: all that may differ between two runs with the same seeds on the same
machine, as long as none of them is stopped by its budget or time-out. Claims and figures of time follow from them."""


def without_timings(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """The table ``name`` without its `TIMINGS`."""
    return table.drop(columns=list(TIMINGS.get(name, ())))


def manifest(
    config: dict[str, Any],
    given: dict[str, Any],
    runs: list[dict[str, Any]],
    inputs: Iterable[str | Path],
    outputs: Iterable[str | Path],
) -> dict[str, Any]:
    """All that a benchmark's results follow from, and what they are.

    Parameters
    ----------
    config, given
        The config as resolved, and as it was given: the former cannot be resolved again.
    runs
        Every run.json.
    inputs, outputs
        Paths of files and of folders, relative to the project, which is the working directory.

    Returns
    -------
    dict
        ``config``, ``given``; ``python`` and ``packages``, the version of every one that is installed; ``git``: commit,
        and whether tracked files differed from it; ``runs``: their number, start of the first and end of the last
        (UTC), and how many were made on each machine by which commit; ``inputs`` and ``outputs``: ``bytes`` and
        ``sha256`` of each file by its path.
    """
    commit, dirty = git_state()
    made = Counter((run["host"], run["processor"], run["git_commit"], run["git_dirty"]) for run in runs)
    keys = ("host", "processor", "git_commit", "git_dirty")
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
            "machines": [dict(zip(keys, key, strict=True)) | {"runs": n} for key, n in sorted(made.items(), key=str)],
        },
        "inputs": hashed(inputs),
        "outputs": hashed(outputs),
    }


def ended(run: dict[str, Any]) -> datetime.datetime:
    """When the fit of a run ended, at the earliest: what was done before its clock started is not known."""
    return datetime.datetime.fromisoformat(run["started"]) + datetime.timedelta(seconds=run["fit_seconds"])


def packages() -> dict[str, str]:
    """Version of every installed package by its name, in order."""
    # Of two of a name, the first is the one that is imported.
    found = {d.metadata["Name"]: d.version for d in reversed(list(importlib.metadata.distributions()))}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def hashed(paths: Iterable[str | Path]) -> dict[str, dict[str, Any]]:
    """``bytes`` and ``sha256`` of every file by its path, in order; of a folder, all but the hidden ones in it."""
    files: set[Path] = set()
    for path in map(Path, paths):
        files |= set(inside(path)) if path.is_dir() else {path}
    return dict(sorted((os.path.relpath(path), described(path)) for path in files))


def described(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}


def inside(folder: Path) -> list[Path]:
    """Every file below ``folder`` but the hidden ones, which are Snakemake's own or half written."""
    return [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]


def inputs(config: dict[str, Any], datasets: Iterable[str]) -> list[Path]:
    """What ``datasets`` are made from, and the claims: downloads that are still there, and files of the project."""
    needed = sources.planned(config, datasets)
    files = [Path("resources", group, name) for group, name in needed]
    files = [path for path in files if path.exists()]
    for group, entry in config["gene_sets"].items():
        if group in dict(needed):
            local = [sources.local(place) for _, place in sources.own(entry["file"]) if isinstance(place, str)]
            files += [path for path in local if path.is_file() and path.resolve().is_relative_to(pins.ROOT.resolve())]
    return files + ([pins.ROOT / config["claims"]] if config["claims"] else [])
