"""How the time of a method grows with cells and gene sets, and how long it would take where it could not finish.

There are three kinds of numbers, which are kept apart: seconds of runs that finished; seconds per iteration of runs
that were stopped; and *extrapolated* seconds, which were not measured: the seconds per iteration at that size times
the number of iterations after which runs of the same model converged at other sizes.

Seconds per iteration are those of the fit after the method's start, if it reports its start, over its iterations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .. import registry
from .runtime import PLACE, STOPPED, TIMED, beside, hosts, in_words, truth

SIZES = 3
"""Numbers of cells, at one number of gene sets, that a family of datasets needs: two cannot show a bad fit."""
FEWEST = 2
"""Iterations that a run needs to tell the cost of one."""
AT = {"cells": 1000, "terms": 100}
"""The size at which a power law reports its seconds. (One cell and one gene set would mean nothing.)"""
SEVERAL_HOSTS = "its runs were made on several machines, whose times follow no common law"
NO_LAW = dict.fromkeys(
    ("cells_exponent", "cells_lower", "cells_upper", "terms_exponent", "terms_lower", "terms_upper", "seconds"), np.nan
)
LAW_COLUMNS = ("dataset", "method", "of", "runs", "sizes", *NO_LAW, "reason")
FULL_COLUMNS = (
    *("family", "dataset", "method", "host", "cells", "genes", "terms", "statuses", "ran"),
    *("how", "seconds", "lower", "upper"),
    *("iteration_seconds", "iterations_lower", "iterations_upper", "converged", "ratio_lower", "ratio_upper", "reason"),
)


def power_law(cells: Any, terms: Any, seconds: Any) -> dict[str, Any]:
    """Fit ``log seconds = a + b log cells + c log terms`` by least squares.

    Parameters
    ----------
    cells, terms, seconds
        One positive number per run, each of shape (n_runs,). Terms are gene sets.

    Returns
    -------
    dict
        ``cells_exponent`` b and ``terms_exponent`` c with their 95 % intervals (Student's t; degrees of freedom: runs
        minus coefficients) as ``cells_lower`` and so on; ``seconds`` by the law at `AT`, or at the number of gene
        sets if there is only one; ``reason``, why a number is missing. What the runs do not determine is NaN.
    """
    from scipy.stats import t

    law: dict[str, Any] = {**NO_LAW, "reason": ""}
    given = {"cells": np.asarray(cells, float), "terms": np.asarray(terms, float)}
    n_sizes = len(np.unique(given["cells"]))
    if n_sizes < SIZES:
        return law | {"reason": f"{n_sizes} number{'s'[: n_sizes != 1]} of cells, {SIZES} are needed"}
    if len(np.unique(given["terms"])) == 1:
        law["reason"] = "one number of gene sets, so their exponent is unknown"
        del given["terms"]
    design = np.column_stack(
        [np.ones(len(given["cells"])), *(np.log(values / AT[name]) for name, values in given.items())]
    )
    left = len(design) - design.shape[1]
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return law | {"reason": "cells and terms grow together, so their exponents cannot be separated"}
    if left == 0:
        return law | {"reason": f"{len(design)} runs, one more is needed"}
    y = np.log(np.asarray(seconds, float))
    solution = np.linalg.lstsq(design, y, rcond=None)[0]
    variance = ((y - design @ solution) ** 2).sum() / left
    half = t.ppf(0.975, left) * np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    law["seconds"] = float(np.exp(solution[0]))
    for i, name in enumerate(given, start=1):
        law[f"{name}_exponent"] = float(solution[i])
        law[f"{name}_lower"], law[f"{name}_upper"] = float(solution[i] - half[i]), float(solution[i] + half[i])
    return law


def same_model_as(use: str) -> str:
    """Return the method whose model and number of iterations the method ``use`` shares: usually itself."""
    return registry.load("method", use).SPEC.same_model_as or use


def families(runs: pd.DataFrame, terms: dict[str, int], datasets: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Return the runs on data that exist in several sizes (`SIZES`), with their ``family``, ``terms`` and ``model``.

    Parameters
    ----------
    runs
        `runtime.runs_table`, or read back from it.
    terms
        Number of gene sets of each dataset.
    datasets
        The config's entries. Datasets with the same raw data are a family; those with held-out cells are left out.
    """
    runs = runs[[not datasets[name].get("hold_out") for name in runs["dataset"]]]
    runs = runs.assign(
        family=[datasets[name]["raw"] for name in runs["dataset"]],
        terms=[terms[name] for name in runs["dataset"]],
        model=[f"{same_model_as(use)} {params}" for use, params in zip(runs["use"], runs["params"], strict=True)],
        iterations=runs["iterations"].astype(float),
        fit_seconds=runs["fit_seconds"].astype(float),
    )
    sizes = runs.groupby(["family", "terms"])["n_cells"].nunique()
    return runs[runs["family"].isin(sizes[sizes >= SIZES].reset_index()["family"])]


def iterating(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with factors and at least `FEWEST` iterations, with their ``iteration_seconds``."""
    runs = runs[(runs["iterations"].astype(float) >= FEWEST) & (runs["n_factors"] > 0)]
    start = runs["start_seconds"].astype(float).fillna(0)
    seconds = (runs["fit_seconds"].astype(float) - start) / runs["iterations"].astype(float)
    return runs.assign(iteration_seconds=seconds, start_seconds=start)


def laws(runs: pd.DataFrame) -> pd.DataFrame:
    """Return how time grows, by family and method, from `families`.

    Returns
    -------
    DataFrame of `LAW_COLUMNS`
        One row about the ``fit``, from all runs that finished; if runs of the method were stopped, also one about the
        ``iteration``, from all its runs. ``dataset`` (the family), ``runs`` and ``sizes`` (numbers of cells) that the
        law is based on, and the result of `power_law`. Runs made on several machines have no law, and a reason.
    """
    rows = []
    for (family, method), group in runs.groupby(["family", "method"], sort=False):
        parts = {"fit": (group[group["status"] == "ok"], "fit_seconds")}
        if group["status"].isin(STOPPED).any():
            parts["iteration"] = (iterating(group), "iteration_seconds")
        for of, (chosen, column) in parts.items():
            law = {**NO_LAW, "reason": SEVERAL_HOSTS}
            if hosts(chosen).nunique() < 2:
                law = power_law(chosen["n_cells"], chosen["terms"], chosen[column])
            counts = {"runs": len(chosen), "sizes": chosen["n_cells"].nunique()}
            rows.append({"dataset": family, "method": method, "of": of, **counts, **law})
    return pd.DataFrame(rows, columns=list(LAW_COLUMNS))


def full_times(runs: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Return how long each method takes to finish at each size, from `families`.

    Returns
    -------
    DataFrame of `FULL_COLUMNS`, one row per dataset, method and host
        ``ran``: median seconds of its runs, stopped or not. ``how`` the other numbers were found:

        - ``measured``: all runs finished. ``seconds`` is their median, ``lower`` and ``upper`` the fastest and slowest.
        - ``extrapolated``: some were stopped. The start, plus ``iteration_seconds`` (median at this size) times the
          median number of iterations of the ``converged`` runs of the same model in the family, on any host, that took
          more iterations than were made here; ``lower`` and ``upper`` from the smallest and largest of both.
        - ``stopped``: not known. ``lower`` is how long it ran, ``reason`` says why nothing is extrapolated.

        ``ratio_lower`` and ``ratio_upper``: the range over that of the ``reference`` on the same host, if that was
        measured.
    """
    rows, runs = [], runs.assign(host=hosts(runs))
    converged = runs[(runs["status"] == "ok") & (truth(runs["converged"]) == 1)]
    # Runs of the same model on the same cells with the same seed are one observation, whichever method made them.
    converged = converged.drop_duplicates(["family", "model", "dataset", "seed"])
    for (family, dataset, method, host), group in runs.groupby(["family", *PLACE], sort=False):
        timed = group[group["status"].isin(TIMED)]
        if timed.empty:
            continue
        seen = converged[(converged["family"] == family) & converged["model"].isin(group["model"])]["iterations"]
        rows.append(
            {
                "family": family,
                "dataset": dataset,
                "method": method,
                "host": host,
                "cells": int(group["n_cells"].max()),
                "genes": int(group["n_genes"].max()),
                "terms": int(group["terms"].max()),
                "statuses": in_words(group["status"]),
                "ran": timed["fit_seconds"].median(),
                **full_time(timed, seen),
            }
        )
    table = pd.DataFrame(rows, columns=list(FULL_COLUMNS))
    own = table[(table["method"] == reference) & (table["how"] == "measured")]
    for side, other in (("lower", "upper"), ("upper", "lower")):
        ratio = table[side].astype(float) / beside(table, own, other)
        table[f"ratio_{side}"] = ratio.mask(table["method"] == reference)
    return table


def full_time(timed: pd.DataFrame, seen: pd.Series) -> dict[str, Any]:
    """Return one row of `full_times` from the ``timed`` runs at one size and the iterations ``seen`` at convergence."""
    seconds, stopped = timed["fit_seconds"], timed[timed["status"].isin(STOPPED)]
    runs = iterating(timed)
    cost, start = runs["iteration_seconds"], runs["start_seconds"]
    row: dict[str, Any] = {"how": "stopped", "reason": "", "iteration_seconds": cost.median() if len(cost) else np.nan}
    if stopped.empty:
        bounds = {"seconds": seconds.median(), "lower": seconds.min(), "upper": seconds.max()}
        return row | {"how": "measured"} | bounds
    longer = seen[seen > stopped["iterations"].max()]
    if cost.empty:
        row["reason"] = f"stopped before {FEWEST} iterations, so the cost of one is unknown"
    elif seen.empty:
        row["reason"] = "none of its runs converged, so the number of iterations it needs is unknown"
    elif longer.empty:
        row["reason"] = "stopped after more iterations than any run that converged"
    else:
        return row | {
            "how": "extrapolated",
            "seconds": start.median() + cost.median() * longer.median(),
            "lower": start.min() + cost.min() * longer.min(),
            "upper": start.max() + cost.max() * longer.max(),
            "iterations_lower": int(longer.min()),
            "iterations_upper": int(longer.max()),
            "converged": len(longer),
        }
    return row | {"lower": seconds.median()}


def variants(runs: pd.DataFrame) -> pd.DataFrame:
    """Compare the cost of each method with that of a method of the same model, computed in another way.

    Returns
    -------
    DataFrame, one row per dataset, host and pair that both iterated there
        ``dataset``, ``host``, ``cells``, ``terms`` (factors); ``method``, ``seconds`` (median of an iteration) and
        ``fit`` (median of the whole) of the original; the same with the suffix ``_variant`` of the other;
        ``finished``, whether all runs of both did; ``factor``, the ratio of the seconds of an iteration.
    """
    runs = iterating(runs.assign(ok=runs["status"] == "ok", host=hosts(runs)))
    costs = runs.groupby([*PLACE, "use", "params"], sort=False)
    costs = costs.agg(
        cells=("n_cells", "max"),
        terms=("n_factors", "max"),
        seconds=("iteration_seconds", "median"),
        fit=("fit_seconds", "median"),
        finished=("ok", "all"),
    ).reset_index()
    model = costs["use"].map(same_model_as)
    variant = costs[model != costs["use"]].assign(use=model)
    same = ["dataset", "host", "use", "params", "cells", "terms"]
    pairs = costs.merge(variant, on=same, suffixes=("", "_variant"))
    both = pairs["finished"] & pairs["finished_variant"]
    return pairs.assign(finished=both, factor=pairs["seconds"] / pairs["seconds_variant"])
