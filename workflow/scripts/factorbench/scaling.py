"""How the time of a method grows with cells and terms, and what it would take where it could not finish.

Three kinds of numbers, never mixed: seconds of runs that finished; seconds of an iteration, of runs that were stopped;
and seconds that nobody waited for, *extrapolated*: those of an iteration, measured at that size, times the number of
iterations after which runs of the same model converged at others.

Seconds of an iteration are those of the fit after the method's start, where it tells what that took, over its
iterations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from . import tables

SIZES = 3
"""A family of datasets has so many numbers of cells at one number of terms; two say nothing of how good a law is."""
FEWEST = 2
"""Iterations below which a run says nothing of their cost."""
AT = {"cells": 1000, "terms": 100}
"""Where a law says its seconds: a constant in front of powers is of one cell and one term, and means nothing."""
SEVERAL_HOSTS = "its runs are of several machines, whose times follow no one law"
SAME_MODEL = {"fsclvm_reassociated": "fsclvm"}
"""Methods that are another's mathematics with its operations in another order: as many iterations, of another cost."""
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
    """Least squares of ``log seconds = a + b log cells + c log terms``.

    Parameters
    ----------
    cells, terms, seconds
        One number a run, all positive, each of shape (n_runs,).

    Returns
    -------
    dict
        ``cells_exponent`` b and ``terms_exponent`` c with their 95 % intervals (Student's t with as many degrees of
        freedom as runs are left over) as ``cells_lower`` and so on; ``seconds`` by the law at `AT`, or at the one
        number of terms that there is; ``reason``, why something is missing. What the runs do not determine is NaN.
    """
    from scipy.stats import t

    law: dict[str, Any] = {**NO_LAW, "reason": ""}
    given = {"cells": np.asarray(cells, float), "terms": np.asarray(terms, float)}
    n_sizes = len(np.unique(given["cells"]))
    if n_sizes < SIZES:
        return law | {"reason": f"{n_sizes} number{'s'[: n_sizes != 1]} of cells, {SIZES} are needed"}
    if len(np.unique(given["terms"])) == 1:
        law["reason"] = "one number of terms, so that their exponent is not known"
        del given["terms"]
    design = np.column_stack(
        [np.ones(len(given["cells"])), *(np.log(values / AT[name]) for name, values in given.items())]
    )
    left = len(design) - design.shape[1]
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return law | {"reason": "cells and terms grow together, so that their exponents cannot be told apart"}
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


def families(runs: pd.DataFrame, terms: dict[str, int], datasets: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """The runs on data that are there in several sizes (`SIZES`), with their ``family``, ``terms`` and ``model``.

    Parameters
    ----------
    runs
        `tables.runs_table`, or read back from it.
    terms
        Gene sets of each dataset.
    datasets
        The config's entries; those with the same raw data are a family, but for those that hold cells out.
    """
    runs = runs[[not datasets[name].get("hold_out") for name in runs["dataset"]]]
    runs = runs.assign(
        family=[datasets[name]["raw"] for name in runs["dataset"]],
        terms=[terms[name] for name in runs["dataset"]],
        model=[f"{SAME_MODEL.get(use, use)} {params}" for use, params in zip(runs["use"], runs["params"], strict=True)],
        iterations=runs["iterations"].astype(float),
        fit_seconds=runs["fit_seconds"].astype(float),
    )
    sizes = runs.groupby(["family", "terms"])["n_cells"].nunique()
    return runs[runs["family"].isin(sizes[sizes >= SIZES].reset_index()["family"])]


def of_iterations(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that iterated `FEWEST` times or more and gave factors, with ``iteration_seconds``."""
    runs = runs[(runs["iterations"].astype(float) >= FEWEST) & (runs["n_factors"] > 0)]
    start = runs["start_seconds"].astype(float).fillna(0)
    seconds = (runs["fit_seconds"].astype(float) - start) / runs["iterations"].astype(float)
    return runs.assign(iteration_seconds=seconds, start_seconds=start)


def laws(runs: pd.DataFrame) -> pd.DataFrame:
    """How time grows, by family and method, from `families`.

    Returns
    -------
    DataFrame of `LAW_COLUMNS`
        One row of the ``fit``, from all runs that finished, and, of a method that was stopped, one of the
        ``iteration``, from all its runs: ``dataset`` (the family's), ``runs`` and ``sizes`` (numbers of cells) it
        follows from, and what `power_law` says; nothing, and why, of runs that were made on several machines.
    """
    rows = []
    for (family, method), group in runs.groupby(["family", "method"], sort=False):
        found = {"fit": (group[group["status"] == "ok"], "fit_seconds")}
        if group["status"].isin(tables.STOPPED).any():
            found["iteration"] = (of_iterations(group), "iteration_seconds")
        for of, (chosen, column) in found.items():
            law = {**NO_LAW, "reason": SEVERAL_HOSTS}
            if tables.hosts(chosen).nunique() < 2:
                law = power_law(chosen["n_cells"], chosen["terms"], chosen[column])
            counts = {"runs": len(chosen), "sizes": chosen["n_cells"].nunique()}
            rows.append({"dataset": family, "method": method, "of": of, **counts, **law})
    return pd.DataFrame(rows, columns=list(LAW_COLUMNS))


def full_times(runs: pd.DataFrame, reference: str) -> pd.DataFrame:
    """What each method takes at each size, to its end, from `families`.

    Returns
    -------
    DataFrame of `FULL_COLUMNS`, one row a dataset, method and host
        ``ran``: median seconds of its runs, stopped or not. ``how`` the rest was found: ``measured`` (all runs
        finished: ``seconds`` is their median, ``lower`` and ``upper`` the fastest and the slowest), ``extrapolated``
        (some were stopped: the start, and ``iteration_seconds``, the median at this size, times the median number of
        iterations of the ``converged`` runs of the same model in the family, on any host, those that took more than
        were made here; ``lower`` and ``upper`` from the fewest and the most of both) or not at all (``stopped``:
        ``lower`` is how long it ran, ``reason`` why that is all). ``ratio_lower`` and ``ratio_upper``: the range over
        that of the ``reference`` on the same host, where the latter was measured.
    """
    rows, runs = [], runs.assign(host=tables.hosts(runs))
    converged = runs[(runs["status"] == "ok") & (tables.truth(runs["converged"]) == 1)]
    # The same model on the same cells with the same seed is one witness, however its operations are ordered.
    converged = converged.drop_duplicates(["family", "model", "dataset", "seed"])
    for (family, dataset, method, host), group in runs.groupby(["family", *tables.PLACE], sort=False):
        timed = group[group["status"].isin(tables.TIMED)]
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
                "statuses": tables.in_words(group["status"]),
                "ran": timed["fit_seconds"].median(),
                **full_time(timed, seen),
            }
        )
    table = pd.DataFrame(rows, columns=list(FULL_COLUMNS))
    own = table[(table["method"] == reference) & (table["how"] == "measured")]
    for side, other in (("lower", "upper"), ("upper", "lower")):
        ratio = table[side].astype(float) / tables.beside(table, own, other)
        table[f"ratio_{side}"] = ratio.mask(table["method"] == reference)
    return table


def full_time(timed: pd.DataFrame, seen: pd.Series) -> dict[str, Any]:
    """One row of `full_times`: of the ``timed`` runs at one size, and the iterations ``seen`` where runs converged."""
    seconds, stopped = timed["fit_seconds"], timed[timed["status"].isin(tables.STOPPED)]
    iterating = of_iterations(timed)
    cost, start = iterating["iteration_seconds"], iterating["start_seconds"]
    row: dict[str, Any] = {"how": "stopped", "reason": "", "iteration_seconds": cost.median() if len(cost) else np.nan}
    if stopped.empty:
        bounds = {"seconds": seconds.median(), "lower": seconds.min(), "upper": seconds.max()}
        return row | {"how": "measured"} | bounds
    longer = seen[seen > stopped["iterations"].max()]
    if cost.empty:
        row["reason"] = f"stopped before {FEWEST} iterations, so that their cost is not known"
    elif seen.empty:
        row["reason"] = "none of its runs converged, so that the number of its iterations is not known"
    elif longer.empty:
        row["reason"] = "stopped after more iterations than any run that converged"
    else:
        fewest, most = longer.min(), longer.max()
        return row | {
            "how": "extrapolated",
            "seconds": start.median() + cost.median() * longer.median(),
            "lower": start.min() + cost.min() * fewest,
            "upper": start.max() + cost.max() * most,
            "iterations_lower": int(fewest),
            "iterations_upper": int(most),
            "converged": len(longer),
        }
    return row | {"lower": seconds.median()}


def reassociated(runs: pd.DataFrame) -> pd.DataFrame:
    """What a method costs beside the same one with its operations in another order (`SAME_MODEL`).

    Returns
    -------
    DataFrame, one row a dataset, host and pair that both iterated there
        ``dataset``, ``host``, ``cells``, ``terms`` (factors); ``method``, ``seconds`` (median of an iteration) and
        ``fit`` (median of the whole) of the original, and with the suffix ``_modified`` those of the other;
        ``finished``, whether all runs of both did; ``factor``, the ratio of the seconds of an iteration.
    """
    runs = of_iterations(runs.assign(ok=runs["status"] == "ok", host=tables.hosts(runs)))
    costs = runs.groupby([*tables.PLACE, "use", "params"], sort=False)
    costs = costs.agg(
        cells=("n_cells", "max"),
        terms=("n_factors", "max"),
        seconds=("iteration_seconds", "median"),
        fit=("fit_seconds", "median"),
        finished=("ok", "all"),
    ).reset_index()
    modified = costs[costs["use"].isin(SAME_MODEL)].assign(use=lambda table: table["use"].map(SAME_MODEL))
    same = ["dataset", "host", "use", "params", "cells", "terms"]
    pairs = costs.merge(modified, on=same, suffixes=("", "_modified"))
    both = pairs["finished"] & pairs["finished_modified"]
    return pairs.assign(finished=both, factor=pairs["seconds"] / pairs["seconds_modified"])
