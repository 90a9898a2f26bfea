"""Are the p-values of gene sets right? Simulate many small data with known answers and count false discoveries.

``make calibrate`` runs ``python -m bench.calibrate results/calibration``.

- Random sets (`factorbench.results.nulls`): is a set called better than random ones although it was not planted? Either
  no set has to do with the condition, although other genes do (``none``), or half of the sets do (``half``).
- Donors (`factorbench.metrics.difference`): no set has to do with the condition, but donors differ. A test on cells
  takes that for an effect.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from factorbench import registry
from factorbench.contracts.budget import Budget
from factorbench.contracts.factors import read_factors, write_factors
from factorbench.contracts.files import write_table
from factorbench.data import gene_sets
from factorbench.data.preparation import log_normalise
from factorbench.data.readers import simulated
from factorbench.metrics import difference
from factorbench.progress import bar
from factorbench.results.nulls import null_rows, random_strengths
from factorbench.statistics import wilson

if TYPE_CHECKING:
    from anndata import AnnData

LEVEL = 0.05
"""Nominal false discovery rate and error rate."""
METHODS = {"gene_set_mean": {}, "interpretable_ae": {"encoder": "linear"}}
TITLES = {"gene_set_mean": "gene-set mean", "interpretable_ae": "autoencoder, exact solution"}
SIZE = {"n_cells": 200, "n_genes": 200, "n_sets": 10, "set_size": 15, "n_types": 1, "n_active": 0, "depth": 2_000.0}
PERMUTATIONS = 199
"""With 10 gene sets, so many that a single one can be found at `LEVEL`."""
RANDOM_SETS = {
    "none": {"n_condition": 0, "n_unannotated": 1, "unannotated_size": 20, "unannotated_in": "condition"},
    "half": {"n_condition": 5},
}
"""Scenarios -> what is planted."""
DONORS = {
    "paired": {"n_condition": 0, "n_donors": 6, "paired": True, "donor_effect": 0.3},
    "not paired": {"n_condition": 0, "n_donors": 8, "paired": False, "donor_effect": 0.3},
}


PANELS = {
    ("random sets", "none"): "random sets, no set planted",
    ("random sets", "half"): "random sets, half of them planted",
    ("cells", "paired"): "test on cells, paired donors",
    ("donors", "paired"): "test on donors, paired",
    ("cells", "not paired"): "test on cells, unpaired donors",
    ("donors", "not paired"): "test on donors, unpaired",
}
"""Test and scenario in words."""


def simulate(planted: dict[str, Any], seed: int) -> AnnData:
    """Return prepared data, simulated with `SIZE` and what is planted, with the truth."""
    options = registry.resolve(simulated.SPEC, SIZE | planted | {"seed": seed}, "options")
    data, sets = simulated.read({}, options), simulated.gene_sets(options)
    data.X = log_normalise(data.X, 10_000)
    data.varm["mask"], data.uns["gene_sets"] = gene_sets.mask(sets, data.var_names).toarray(), list(sets)
    labels = {"condition": "condition"} | ({"donor": "donor"} if "donor" in data.obs else {})
    contrast = {"label": "condition", "positive": "stimulated", "negative": "control"}
    record = {"dataset": "simulated", "labels": labels, "contrast": contrast, "inputs": {}}
    record["donor"] = labels.get("donor", "")
    data.uns["factorbench"] = json.dumps(record)
    return data


def fitted(data: AnnData, use: str, params: dict[str, Any], folder: Path) -> AnnData:
    """Return the factors of a method, as a run writes and reads them."""
    method = registry.load("method", use)
    factors = method.fit(data, params, 0, "cpu", Budget())
    path = folder / f"{os.getpid()}.h5ad"
    write_factors(path, factors, data)
    return read_factors(path)


def one(kind: str, scenario: str, use: str, seed: int, permutations: int, folder: Path) -> pd.DataFrame:
    """Return one row per gene set of one simulated dataset: ``p``, ``q`` of each test, and whether it is ``true``."""
    planted = (RANDOM_SETS if kind == "random sets" else DONORS)[scenario]
    data, params = simulate(planted, seed), registry.method_params(use, METHODS[use], use)
    factors = fitted(data, use, params, folder)
    if kind == "random sets":
        random = random_strengths(use, data, params, 0, 1, permutations, None)
        table = null_rows(data, factors, random)
        table = table[table["label"] == "condition=stimulated"]
        tests = {"random sets": ("p_random_set", "q_random_set", "")}
    else:
        table = difference.score(data, factors, {})
        tests = {f"{split}s": ("p_difference", "q_difference", split) for split in ("cell", "donor")}
    truth = pd.DataFrame(json.loads(data.uns["truth"])).set_index("name")
    true = (truth["kind"] == "gene set") & (truth["where"] == "condition")
    parts = []
    for test, (p, q, split) in tests.items():
        values = table[table["split"] == split].pivot_table(index="factor", columns="metric", values="value")
        values = values.reindex(list(data.uns["gene_sets"]))
        parts.append(pd.DataFrame({"set": values.index, "test": test, "p": values[p], "q": values[q]}))
    result = pd.concat(parts, ignore_index=True)
    return result.assign(scenario=scenario, method=use, seed=seed, true=result["set"].map(true).to_numpy(bool))


def calibrate(jobs: list[tuple[str, str, str, int]], permutations: int, folder: Path, workers: int) -> pd.DataFrame:
    """Return the rows of all jobs (kind, scenario, method, seed), several at a time, one thread each."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = []
    progress = bar(len(jobs), "calibration", "data")
    fresh = multiprocessing.get_context("spawn")  # a fork of a process whose OpenMP threads have started may die
    with progress, ProcessPoolExecutor(workers, fresh, _one_thread) as pool:
        for table in pool.map(_call, [(*job, permutations, folder) for job in jobs], chunksize=4):
            tables.append(table)
            progress.update()
    return pd.concat(tables, ignore_index=True)


def _call(arguments: tuple[Any, ...]) -> pd.DataFrame:
    return one(*arguments)


def _one_thread() -> None:
    from threadpoolctl import threadpool_limits

    os.environ["FACTORBENCH_PROGRESS"] = "off"
    threadpool_limits(1)
    import torch

    torch.set_num_threads(1)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return for each scenario, method and test the rates of false and true discoveries.

    Returns
    -------
    DataFrame
        ``fdr``: mean over data of the share of false ones among the sets with q at most `LEVEL`, 0 if there are none,
        with its 95 % interval. ``errors``: share of the sets that were not planted with p at most `LEVEL`, with
        Wilson's interval, which treats the sets as independent. ``power``: share of the planted sets with q at most
        `LEVEL`.
    """
    found = table["q"].le(LEVEL)
    rows = []
    for key, group in table.assign(found=found).groupby(["scenario", "method", "test"], sort=False):
        false = (group["found"] & ~group["true"]).groupby(group["seed"]).sum()
        share = false / group.groupby("seed")["found"].sum().clip(lower=1)
        half = 1.96 * share.std() / np.sqrt(len(share))
        p = group.loc[~group["true"], "p"].dropna()
        lower, upper = wilson(p.le(LEVEL).mean(), len(p))
        rows.append(
            {
                **dict(zip(("scenario", "method", "test"), key, strict=True)),
                "data": len(share),
                "fdr": share.mean(),
                "fdr_lower": max(share.mean() - half, 0),
                "fdr_upper": share.mean() + half,
                "errors": p.le(LEVEL).mean(),
                "errors_lower": lower,
                "errors_upper": upper,
                "power": group.loc[group["true"], "found"].mean(),
            }
        )
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw how p-values of sets that were not planted are distributed: on the diagonal if they are uniform."""
    from factorbench.reporting.plots import _style as style

    null = table[~table["true"]].dropna(subset="p")
    tests = list(dict.fromkeys(zip(null["scenario"], null["test"], strict=True)))
    columns, rows = 3, -(-len(tests) // 3)
    size = (2.7 * columns, 0.6 + 2.6 * rows)
    title = "p-values of gene sets that were not planted"
    figure, grid = style.panels(rows, columns, size, title, sharex=True, sharey=True)
    colours = dict(zip(METHODS, style.palette(len(METHODS)), strict=True))
    for axes, (scenario, test) in zip(grid.flat, tests, strict=False):
        axes.plot([0, 1], [0, 1], color=style.INK, lw=0.8, ls=(0, (4, 3)))
        for use, colour in colours.items():
            chosen = null["scenario"].eq(scenario) & null["test"].eq(test) & null["method"].eq(use)
            p = np.sort(null.loc[chosen, "p"])
            if len(p):
                axes.plot(p, (np.arange(len(p)) + 1) / len(p), color=colour, drawstyle="steps-post", label=TITLES[use])
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.set_title(PANELS[test, scenario], fontsize=8.5)
    figure.supxlabel("p", fontsize=9)
    figure.supylabel("share of the sets with at most this p", fontsize=9)
    grid[0, 0].legend(frameon=False, fontsize=7, loc="lower right")
    figure.savefig(path, dpi=150)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=int, default=200, help="simulated data for each scenario")
    parser.add_argument("--permutations", type=int, default=PERMUTATIONS, help="random draws of all gene sets")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args(arguments)
    jobs: list[tuple[str, str, str, int]] = []
    for kind, scenarios, methods in (
        ("random sets", RANDOM_SETS, list(METHODS)),
        ("donors", DONORS, ["gene_set_mean"]),
    ):
        jobs += [(kind, *rest) for rest in itertools.product(scenarios, methods, range(given.data))]
    table = calibrate(jobs, given.permutations, given.folder, given.workers)
    write_table(given.folder / "p_values.tsv.gz", table)
    rates = summary(table)
    write_table(given.folder / "rates.tsv", rates)
    draw(table, given.folder / "calibration.png")
    print(rates.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
