"""Simulated cells, as many as are asked for: drawn, written and prepared without being in memory at once.

``python -m bench.million --cells 1000000 --folder FOLDER`` says what each step took.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from factorbench import registry, schema
from factorbench.run import peak_memory_mb

NAME = "million"
OPTIONS = {"n_genes": 1_500, "n_sets": 100, "set_size": 35, "n_types": 8, "n_active": 40, "depth": 330.0}
"""Of the reader. About 1,050 genes and all sets are kept, 9 % of their values are not zero: as in the Kang data."""
SETTINGS = {
    "labels": {"condition": "condition", "cell_type": "cell_type"},
    "contrast": {"label": "condition", "positive": "stimulated"},
    "n_top_genes": 1_150,
    "gene_sets": ["planted"],
    "prefixes": [""],
    "min_genes": 13,
    "missing": [],
}
"""Of the preparation, where they are not the config's defaults."""


class Step(NamedTuple):
    """What a step gave, the seconds it took, and the peak memory of its process in MiB, libraries included."""

    value: Any
    seconds: float
    peak_mb: float


def measure(function: Callable[..., Any], *args: Any) -> Step:
    """Call a function in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, function, *args).result()


def _measured(function: Callable[..., Any], *args: Any) -> Step:
    began = time.perf_counter()
    value = function(*args)
    return Step(value, time.perf_counter() - began, _peak_mb())


def _peak_mb() -> float:
    """Peak memory of this process in MiB; what `peak_memory_mb` asks for is at least its parent's on Linux."""
    status = Path("/proc/self/status")
    if not status.exists():
        return peak_memory_mb("cpu")
    return int(re.search(r"VmHWM:\s*(\d+) kB", status.read_text())[1]) / 1024


def simulate(n_cells: int, path: Path) -> None:
    """Write raw counts of ``n_cells`` simulated cells."""
    from factorbench.prepare import write_raw

    write_raw(path, registry.load("reader", "simulated").blocks({}, options(n_cells)))


def prepare(n_cells: int, raw: Path, path: Path) -> tuple[int, int, int, float]:
    """Prepare what `simulate` wrote; how many cells, genes and sets are left, and the share of values not zero."""
    from factorbench import contracts
    from factorbench.prepare import prepare_blocks

    sets = registry.load("reader", "simulated").gene_sets(options(n_cells))
    rules = schema.read("config")
    settings = schema.fill(dict(SETTINGS), rules["$defs"]["dataset"], rules)
    with contracts.on_disk(raw) as data:
        contracts.write_prepared(path, prepare_blocks(data, [sets], settings, NAME))
    with contracts.on_disk(path) as data:
        n_values = data.X.group["data"].shape[0]
        return (*data.shape, data.varm["mask"].shape[1], n_values / (data.n_obs * data.n_vars))


def options(n_cells: int) -> dict[str, Any]:
    return registry.resolve(registry.load("reader", "simulated").SPEC, {**OPTIONS, "n_cells": n_cells}, "options")


def make_data(n_cells: int, folder: Path) -> dict[str, Step]:
    """``raw.h5ad`` and ``prepared.h5ad`` in ``folder``: the steps by name."""
    folder.mkdir(parents=True, exist_ok=True)
    raw, prepared = folder / "raw.h5ad", folder / "prepared.h5ad"
    return {
        "simulate": measure(simulate, n_cells, raw),
        "prepare": measure(prepare, n_cells, raw, prepared),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path("results/million"))
    given = parser.parse_args()
    steps = make_data(given.cells, given.folder)
    n_cells, n_genes, n_sets, density = steps["prepare"].value
    print(f"{n_cells:,} cells, {n_genes:,} genes, {n_sets} gene sets, {density:.1%} of the values are not zero")
    for name, step in steps.items():
        print(f"{name:10} {step.seconds:8.1f} s {step.peak_mb:8.0f} MiB")


if __name__ == "__main__":
    main()
