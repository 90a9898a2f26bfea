"""Seconds of every run, and time by dataset, method and machine (the paper's Table 1)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from ..config.plan import ancestry, extent
from ..contracts.run import RUN_KEYS, STATUSES, check_run

STOPPED = ("max_iterations", "budget", "timeout", "killed")
"""Statuses of runs that were stopped before they were done: they would have taken longer."""
TIMED = ("ok", *STOPPED)
"""Statuses of runs that have a time."""
RUNTIME_COLUMNS = (
    *("dataset", "extent", "method", "cells", "genes", "factors", "seeds", "ok", "converged", "statuses", "iterations"),
    *("threads", "device", "host", "processor", "seconds", "fastest", "slowest", "minutes", "bound", "ratio"),
    *("paper_minutes", "paper_ratio"),
)
PLACE = ["dataset", "method", "host"]
"""Columns that identify comparable timings."""


def runs_table(runs: list[dict[str, Any]]) -> pd.DataFrame:
    """Return one row per run, failures included; columns are `contracts.run.RUN_KEYS`, nested ones as json text."""
    for run in runs:
        check_run(run)
    plain = [
        {k: json.dumps(v, sort_keys=True) if isinstance(v, dict | list) else v for k, v in r.items()} for r in runs
    ]
    return pd.DataFrame(plain, columns=list(RUN_KEYS))


def hosts(runs: pd.DataFrame) -> pd.Series:
    """Return the name of the machine of each run (empty: unknown). Times of two machines are never compared."""
    return runs["host"].fillna("").astype(str)


def several_hosts(runs: pd.DataFrame) -> str:
    """Return ``made on 3 machines; ratios are within a machine``, or nothing if all ``runs`` were made on one."""
    n_hosts = hosts(runs).nunique()
    return f"made on {n_hosts} machines; ratios are within a machine" if n_hosts > 1 else ""


def runtime_table(
    runs: pd.DataFrame,
    reference: str,
    datasets: dict[str, dict[str, Any]],
    paper: dict[str, dict[str, float]] | None = None,
) -> pd.DataFrame:
    """Return time by dataset, method and machine (the paper's Table 1), as measured: nothing is extrapolated.

    Parameters
    ----------
    runs
        `runs_table`, or read back from it.
    reference
        Method that ratios are taken against, on the same dataset and machine.
    datasets
        The config's entries.
    paper
        Published minutes by dataset and method, on the authors' machine.

    Returns
    -------
    DataFrame, one row per dataset, method and ``host`` (with its ``processor``), in the order of the runs
        ``extent`` (`config.plan.extent`), ``cells``, ``genes``, ``factors``, ``seeds`` (runs), ``ok`` (runs that
        finished), ``converged`` (of the runs whose method has a criterion; missing if it has none), ``statuses`` in
        words, ``iterations`` (median), ``seconds`` (median), ``fastest``, ``slowest``, ``minutes`` (of the median),
        ``bound``: ``exact``, or ``at least`` if the median would be larger if no run had been stopped; ``ratio`` of
        medians to the reference on the same host (missing unless it was run there and its time is exact).
        ``paper_minutes`` and ``paper_ratio`` are the published ones; a dataset made ``from`` another shows those of the
        nearest published one. Runs that diverged or do not apply have no time.
    """
    rows = []
    for (dataset, method, host), group in runs.assign(host=hosts(runs)).groupby(PLACE, sort=False):
        timed = group[group["status"].isin(TIMED)]
        seconds = timed["fit_seconds"].astype(float)
        converged = truth(group["converged"]).dropna()
        published = published_minutes(dataset, datasets, paper or {})
        rows.append(
            {
                "dataset": dataset,
                "extent": extent(datasets.get(dataset, {})),
                "method": method,
                "cells": int(group["n_cells"].max()),
                "genes": int(group["n_genes"].max()),
                "factors": int(group["n_factors"].max()),
                "seeds": len(group),
                "ok": int((group["status"] == "ok").sum()),
                "converged": f"{int(converged.sum())} of {len(converged)}" if len(converged) else None,
                "statuses": in_words(group["status"]),
                "iterations": timed["iterations"].astype(float).dropna().median(),
                "threads": int(group["threads"].max()),
                "device": ", ".join(sorted(set(group["device"]))),
                "host": host,
                "processor": ", ".join(sorted(set(group["processor"].dropna()))),
                "seconds": seconds.median(),
                "fastest": seconds.min(),
                "slowest": seconds.max(),
                "minutes": seconds.median() / 60,
                "bound": bound(seconds, timed["status"].isin(STOPPED)),
                "paper_minutes": published.get(method, np.nan),
                "paper_ratio": published.get(method, np.nan) / published.get(reference, np.nan),
            }
        )
    table = pd.DataFrame(rows, columns=list(RUNTIME_COLUMNS))
    exact = table[(table["method"] == reference) & (table["bound"] == "exact")]
    table["ratio"] = table["seconds"].astype(float) / beside(table, exact, "seconds")
    return table


def beside(table: pd.DataFrame, reference: pd.DataFrame, column: str) -> pd.Series:
    """Return for each row of ``table`` the ``column`` of the row of ``reference`` on the same dataset and host."""
    place = ["dataset", "host"]
    found = reference.set_index(place)[column].astype(float).reindex(pd.MultiIndex.from_frame(table[place]))
    return pd.Series(found.to_numpy(), index=table.index)


def published_minutes(
    dataset: str, datasets: dict[str, dict[str, Any]], paper: dict[str, dict[str, float]]
) -> dict[str, float]:
    """Return published minutes by method, of ``dataset`` or of the nearest one that it is made from."""
    return next((paper[name] for name in ancestry(dataset, datasets) if name in paper), {})


def bound(seconds: pd.Series, stopped: pd.Series) -> str:
    """Return ``exact`` if the median of ``seconds`` would be the same if no run had been stopped, else ``at least``."""
    if seconds.empty:
        return ""
    return "exact" if seconds.mask(stopped, np.inf).median() == seconds.median() else "at least"


def in_words(statuses: pd.Series) -> str:
    """Return how many runs ended how: ``"2 ok, 1 budget"``."""
    counts = statuses.value_counts()
    return ", ".join(f"{counts[s]} {s.replace('_', ' ')}" for s in STATUSES if s in counts)


def truth(column: pd.Series) -> pd.Series:
    """Return True, False and missing as 1.0, 0.0 and NaN, whether from json or read back from a TSV."""
    return column.map(str).map({"True": 1.0, "False": 0.0}).astype(float)
