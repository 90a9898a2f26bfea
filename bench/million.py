"""From simulated cells on disk to a trained autoencoder, a million of them and more: seconds and memory of each step.

``python -m bench.million FOLDER --cells 15625 ... 1000000``, as ``make million`` does: cells are drawn, written and
prepared without being in memory at once, then the autoencoder is trained on them from disk and, to compare, in memory
as one dense matrix. Every step runs in a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from factorbench import registry
from factorbench.config import schema
from factorbench.contracts.files import on_disk, row_blocks
from factorbench.contracts.prepared import write_prepared
from factorbench.runs.machine import peak_memory_mb

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
    return Step(value, time.perf_counter() - began, peak_memory_mb("cpu"))


def simulate(n_cells: int, path: Path) -> None:
    """Write raw counts of ``n_cells`` simulated cells."""
    from factorbench.data.preparation import write_raw

    write_raw(path, registry.load("reader", "simulated").blocks({}, options(n_cells)))


def prepare(n_cells: int, raw: Path, path: Path) -> tuple[int, int, int, float]:
    """Prepare what `simulate` wrote; how many cells, genes and sets are left, and the share of values not zero."""
    from factorbench.data.preparation import prepare_blocks

    sets = registry.load("reader", "simulated").gene_sets(options(n_cells))
    rules = schema.read("config")
    settings = schema.fill(dict(SETTINGS), rules["$defs"]["dataset"], rules)
    with on_disk(raw) as data:
        write_prepared(path, prepare_blocks(data, [sets], settings, NAME))
    with on_disk(path) as data:
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


def train(prepared: Path, from_disk: bool, epochs: int, threads: int) -> dict[str, float]:
    """Train the default recipe; seconds of ``fit``, cells a second in training, and eq. 3 on all cells afterwards."""
    import torch
    from factorbench.model import InterpretableAutoencoder

    torch.set_num_threads(threads)
    model = InterpretableAutoencoder(seed=0, epochs=epochs, min_updates=0)
    with on_disk(prepared) as stored:
        data = stored if from_disk else in_memory(stored)
        began = time.perf_counter()
        model.fit(data)
        seconds = time.perf_counter() - began
        training = float(model.history["seconds"].iloc[-1])
        found = model.objective(stored)
        return {
            "fit_seconds": seconds,
            "cells_per_second": epochs * stored.n_obs / training,
            "objective": found["objective"],
            "reconstruction": found["reconstruction"],
        }


def in_memory(stored: Any) -> Any:
    """Prepared data with ``X`` as one dense matrix, which training takes as it is."""
    import anndata

    X = np.empty(stored.shape, np.float32)
    for rows in row_blocks(stored.n_obs):
        X[rows] = stored.X[rows].toarray()
    return anndata.AnnData(X, obs=stored.obs, var=stored.var, varm=dict(stored.varm), uns=dict(stored.uns))


def measurements(n_cells: int, folder: Path, epochs: int, threads: int, memory: bool) -> list[dict[str, Any]]:
    """Everything that is measured at one size, one row a step."""
    steps = make_data(n_cells, folder)
    prepared = folder / "prepared.h5ad"
    steps["train from disk"] = measure(train, prepared, True, epochs, threads)
    if memory:
        steps["train in memory"] = measure(train, prepared, False, epochs, threads)
    kept, n_genes, n_sets, density = steps["prepare"].value
    rows = []
    for name, step in steps.items():
        found = step.value if isinstance(step.value, dict) else {}
        size = {"cells": kept, "genes": n_genes, "sets": n_sets, "density": density}
        seconds = found.pop("fit_seconds", step.seconds)
        rows.append({"step": name, **size, "seconds": seconds, "peak_mb": step.peak_mb, **found})
    return rows


def exponent(cells: Sequence[float], values: Sequence[float]) -> float:
    """Slope of log(values) by log(cells): 1 where they grow in proportion."""
    return float(np.polyfit(np.log(cells), np.log(values), 1)[0])


def draw(table: pd.DataFrame, path: Path) -> None:
    """Seconds and peak memory of each step against the number of cells."""
    import matplotlib.pyplot as plt
    from factorbench.reporting.plots import style

    style.apply()
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axes, column, label in zip(panels, ("seconds", "peak_mb"), ("Seconds", "Peak memory (GiB)"), strict=True):
        for colour, (step, rows) in zip(style.OKABE_ITO, table.groupby("step", sort=False), strict=False):
            values = rows[column] / (1024 if column == "peak_mb" else 1)
            axes.plot(rows["cells"], values, "o-", color=colour, ms=4, lw=1.2, label=step)
        axes.set_xlabel("Cells")
        axes.set_ylabel(label)
        axes.set_ylim(0)
        axes.set_xlim(0)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.tick_params(axis="x", rotation=20)
    panels[0].legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="for the data (2 GB a million cells), the table and the figure")
    parser.add_argument("--cells", type=int, nargs="+", default=[15_625, 31_250, 62_500, 125_000, 250_000, 1_000_000])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--disk-only", action="store_true", help="do not train in memory too")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for n_cells in given.cells:
        new = measurements(n_cells, given.folder / str(n_cells), given.epochs, given.threads, not given.disk_only)
        for row in new:
            speed = (
                f"{row['cells_per_second']:10,.0f} cells/s, eq. 3 {row['objective']:.3f}" if "objective" in row else ""
            )
            print(
                f"{row['cells']:>9,} cells  {row['step']:16} {row['seconds']:8.1f} s {row['peak_mb']:7.0f} MiB {speed}",
                flush=True,
            )
        rows += new
    table = pd.DataFrame(rows)
    table.to_csv(given.folder / "million.tsv", sep="\t", index=False, float_format="%.6g")
    if len(given.cells) > 1:
        for step, part in table.groupby("step", sort=False):
            slopes = (exponent(part["cells"], part[column]) for column in ("seconds", "peak_mb"))
            print("{}: seconds grow as cells^{:.2f}, peak memory as cells^{:.2f}".format(step, *slopes))
        draw(table, given.folder / "million.png")


if __name__ == "__main__":
    main()
