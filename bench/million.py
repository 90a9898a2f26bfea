"""Measure time and memory from simulated cells on disk to a fitted autoencoder, with a million cells and more.

``make million`` runs ``python -m bench.million FOLDER --cells 15625 ... 1000000``. Cells are drawn, written and
prepared in blocks. Eq. 3 is then solved exactly for them. The default recipe, a network, is trained on them from disk
and, for comparison, in memory as one dense matrix. Every step runs in a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from factorbench import registry
from factorbench.config import schema
from factorbench.contracts.files import on_disk, row_blocks, write_raw
from factorbench.contracts.prepared import write_prepared
from factorbench.runs.machine import peak_memory_mb

if TYPE_CHECKING:
    from anndata import AnnData
    from factorbench.model import InterpretableAutoencoder

NAME = "million"
OPTIONS = {"n_genes": 1_500, "n_sets": 100, "set_size": 35, "n_types": 8, "n_active": 40, "depth": 330.0}
"""Options of the reader. They give about 1,050 genes in 100 sets, with 9 % of values not zero, as in the Kang data."""
ENTRY = {
    "labels": {"condition": "condition", "cell_type": "cell_type"},
    "contrast": {"label": "condition", "positive": "stimulated"},
    "n_top_genes": 1_150,
    "gene_sets": ["planted"],
    "prefixes": [""],
    "min_genes": 13,
    "missing": [],
}
"""Entry of the dataset, where it differs from the config's defaults."""
EXACT = "exact solution"
"""Name of its step."""


class Step(NamedTuple):
    """What a step returned, its seconds, and the peak memory of its process in MiB, libraries included."""

    value: Any
    seconds: float
    peak_mb: float


def measure(function: Callable[..., Any], *args: Any) -> Step:
    """Call a function in a process of its own and measure it."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, function, *args).result()


def _measured(function: Callable[..., Any], *args: Any) -> Step:
    began = time.perf_counter()
    value = function(*args)
    return Step(value, time.perf_counter() - began, peak_memory_mb("cpu"))


def simulate(n_cells: int, path: Path) -> None:
    """Write raw counts of ``n_cells`` simulated cells."""
    write_raw(path, registry.load("reader", "simulated").blocks({}, options(n_cells)))


def prepare(n_cells: int, raw: Path, path: Path) -> tuple[int, int, int, float]:
    """Prepare the cells of `simulate`; return the numbers of cells, genes and sets left and the share of values > 0."""
    from factorbench.data.preparation import prepare_blocks

    sets = registry.load("reader", "simulated").gene_sets(options(n_cells))
    rules = schema.read("config")
    entry = schema.fill(dict(ENTRY), rules["$defs"]["dataset"], rules)
    with on_disk(raw) as data:
        write_prepared(path, prepare_blocks(data, [sets], entry, NAME))
    with on_disk(path) as data:
        n_values = data.X.group["data"].shape[0]
        return (*data.shape, data.varm["mask"].shape[1], n_values / (data.n_obs * data.n_vars))


def options(n_cells: int) -> dict[str, Any]:
    return registry.resolve(registry.load("reader", "simulated").SPEC, {**OPTIONS, "n_cells": n_cells}, "options")


def make_data(n_cells: int, folder: Path) -> dict[str, Step]:
    """Make ``raw.h5ad`` and ``prepared.h5ad`` in ``folder``; return the steps by name."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = folder / "raw.h5ad"
    simulated = measure(simulate, n_cells, raw)
    return {"simulate": simulated, "prepare": measure(prepare, n_cells, raw, folder / "prepared.h5ad")}


def exact(prepared: Path, threads: int) -> dict[str, float]:
    """Solve eq. 3 exactly from disk; return what `fit` does, and the seconds of the covariance and of the sweeps.

    The seconds of the covariance include the start of the first sweep.
    """
    model = _model(threads, encoder="linear")
    with on_disk(prepared) as stored:
        result = fit(model, stored, stored)
    first, last = model.history["seconds"].iloc[[0, -1]]
    sweeps = {"sweeps": model.outcome.epochs, "converged": model.outcome.converged}
    return {**result, "covariance_seconds": first, "sweep_seconds": last - first, **sweeps}


def train(prepared: Path, from_disk: bool, epochs: int, threads: int) -> dict[str, float]:
    """Train the default recipe; return what `fit` does, and the cells per second in the encoder's training."""
    model = _model(threads, epochs=epochs, min_updates=0)
    with on_disk(prepared) as stored:
        result = fit(model, stored if from_disk else in_memory(stored), stored)
        return {**result, "cells_per_second": epochs * stored.n_obs / model.history["seconds"].iloc[-1]}


def fit(model: InterpretableAutoencoder, data: AnnData, stored: AnnData) -> dict[str, float]:
    """Fit a model to ``data``; return the seconds, and eq. 3 on all cells as they are stored."""
    began = time.perf_counter()
    model.fit(data)
    seconds, terms = time.perf_counter() - began, model.objective(stored)
    return {"seconds": seconds, "objective": terms["objective"], "reconstruction": terms["reconstruction"]}


def _model(threads: int, **params: Any) -> InterpretableAutoencoder:
    """Return a model in a process with this number of threads."""
    import torch
    from factorbench.model import InterpretableAutoencoder
    from threadpoolctl import threadpool_limits

    model = InterpretableAutoencoder(**params)
    torch.set_num_threads(threads)
    threadpool_limits(threads)  # numpy's
    return model


def in_memory(stored: Any) -> Any:
    """Return prepared data with ``X`` as one dense matrix in memory."""
    import anndata

    X = np.empty(stored.shape, np.float32)
    for rows in row_blocks(stored.n_obs):
        X[rows] = stored.X[rows].toarray()
    return anndata.AnnData(X, obs=stored.obs, var=stored.var, varm=dict(stored.varm), uns=dict(stored.uns))


def measurements(n_cells: int, folder: Path, epochs: int, threads: int, memory: bool) -> list[dict[str, Any]]:
    """Measure all steps at one number of cells; return one row per step."""
    steps = make_data(n_cells, folder)
    prepared = folder / "prepared.h5ad"
    steps[EXACT] = measure(exact, prepared, threads)
    steps["train from disk"] = measure(train, prepared, True, epochs, threads)
    if memory:
        steps["train in memory"] = measure(train, prepared, False, epochs, threads)
    kept, n_genes, n_sets, density = steps["prepare"].value
    size = {"cells": kept, "genes": n_genes, "sets": n_sets, "density": density}
    rows = []
    for name, step in steps.items():
        more = step.value if isinstance(step.value, dict) else {}
        rows.append({"step": name, **size, "seconds": step.seconds, "peak_mb": step.peak_mb, **more})
    return rows


def exponent(cells: Sequence[float], values: Sequence[float]) -> float:
    """Return the slope of log(values) over log(cells): 1 if they grow in proportion."""
    return float(np.polyfit(np.log(cells), np.log(values), 1)[0])


def straight_line(table: pd.DataFrame) -> str:
    """Return the sentence on how the two parts of the exact solution grow: in proportion to the cells, and not."""
    steps = table[table["step"] == EXACT]
    slope, sweeps = exponent(steps["cells"], steps["covariance_seconds"]), steps["sweep_seconds"]
    return (
        f"{EXACT}: seconds of the covariance grow as cells^{slope:.2f}, its sweeps take "
        f"{sweeps.min():.2f} to {sweeps.max():.2f} s"
    )


def draw(table: pd.DataFrame, path: Path) -> None:
    """Plot seconds and peak memory of each step over the number of cells."""
    from factorbench.reporting.plots import _style

    figure = _style.new_figure(9, 3.6, layout="constrained")
    table = table.assign(peak_gb=table["peak_mb"] / 1024)
    panels = {"seconds": "Seconds", "peak_gb": "Peak memory (GiB)"}
    for axes, (column, label) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        wide = table.pivot_table(column, "cells", "step")[table["step"].unique()]
        wide.plot(ax=axes, style="o-", ms=4, lw=1.2, color=_style.OKABE_ITO, legend=column == "seconds", rot=20)
        axes.set(xlabel="Cells", ylabel=label, xlim=(0, None), ylim=(0, None))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="for the data (2 GB per million cells), the table and the figure")
    parser.add_argument("--cells", type=int, nargs="+", default=[15_625, 31_250, 62_500, 125_000, 250_000, 1_000_000])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--disk-only", action="store_true", help="do not train in memory")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for n_cells in given.cells:
        new = measurements(n_cells, given.folder / str(n_cells), given.epochs, given.threads, not given.disk_only)
        print(pd.DataFrame(new).round(3).to_string(index=False), flush=True)
        rows += new
    table = pd.DataFrame(rows)
    table.to_csv(given.folder / "million.tsv", sep="\t", index=False, float_format="%.6g")
    values = table.pivot_table("objective", "cells", "step")
    print(f"eq. 3 on all cells\n{values.to_string(float_format='{:.4f}'.format)}")
    if len(given.cells) > 1:
        for step, part in table.groupby("step", sort=False):
            slopes = (exponent(part["cells"], part[column]) for column in ("seconds", "peak_mb"))
            print("{}: seconds grow as cells^{:.2f}, peak memory as cells^{:.2f}".format(step, *slopes))
        print(straight_line(table))
        draw(table, given.folder / "million.png")


if __name__ == "__main__":
    main()
