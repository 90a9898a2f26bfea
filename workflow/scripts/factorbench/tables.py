"""Tidy tables of a whole benchmark, from run.json and scores.tsv: pure functions, nothing is dropped, nothing guessed.

Every table is read by people and by plots: one row a thing, words instead of codes. Means over seeds carry a 95 %
interval of Student's t over the seeds; fewer than three seeds say too little for one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .contracts import RUN_KEYS, SCORE_COLUMNS, STATUSES, check_run

if TYPE_CHECKING:
    from anndata import AnnData

STOPPED = ("max_iterations", "budget", "timeout", "killed")
"""Statuses of runs that were stopped before they were done: their time is at least what it says."""
TIMED = ("ok", *STOPPED)
"""Statuses of runs whose time says something about the method."""
RUNTIME_COLUMNS = (
    *("dataset", "extent", "method", "cells", "genes", "factors", "seeds", "ok", "converged", "statuses", "iterations"),
    *("threads", "device", "seconds", "fastest", "slowest", "minutes", "bound", "ratio"),
)
SEEDS_OF = ("dataset", "method", "metric", "factor", "label", "split")
"""What a mean over seeds is taken for."""


# -------------------------------------------------------------------------------------------------------------- runs


def runs_table(runs: list[dict[str, Any]]) -> pd.DataFrame:
    """One row a run, failures included; columns are `contracts.RUN_KEYS`, nested ones as json text."""
    for run in runs:
        check_run(run)
    plain = [
        {k: json.dumps(v, sort_keys=True) if isinstance(v, dict | list) else v for k, v in r.items()} for r in runs
    ]
    return pd.DataFrame(plain, columns=list(RUN_KEYS))


def runtime_table(runs: pd.DataFrame, reference: str, datasets: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Time by dataset and method (the paper's Table 1), as measured: nothing is extrapolated.

    Parameters
    ----------
    runs
        `runs_table`, or read back from it.
    reference
        Method that ratios are taken against, on the same dataset.
    datasets
        The config's entries: one with ``n_cells`` is a subset.

    Returns
    -------
    DataFrame, one row a dataset and method, in the order of the runs
        ``extent`` (full or subset), ``cells``, ``genes``, ``factors``, ``seeds`` (runs), ``ok`` (runs that ended as
        they should), ``converged`` (of those whose method has a criterion; missing if it has none), ``statuses`` in
        words, ``iterations`` (median), ``seconds`` (median), ``fastest``, ``slowest``, ``minutes`` (of the median),
        ``bound``: ``exact``, or ``at least`` where the median would be larger had no run been stopped, and ``ratio``
        of medians to the reference (missing unless the reference's own time is exact). Runs that diverged or do not
        apply have no time.
    """
    rows = []
    for (dataset, method), group in runs.groupby(["dataset", "method"], sort=False):
        timed = group[group["status"].isin(TIMED)]
        seconds = timed["fit_seconds"].astype(float)
        converged = truth(group["converged"]).dropna()
        rows.append(
            {
                "dataset": dataset,
                "extent": "subset" if datasets.get(dataset, {}).get("n_cells") else "full",
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
                "seconds": seconds.median(),
                "fastest": seconds.min(),
                "slowest": seconds.max(),
                "minutes": seconds.median() / 60,
                "bound": bound(seconds, timed["status"].isin(STOPPED)),
            }
        )
    table = pd.DataFrame(rows, columns=list(RUNTIME_COLUMNS))
    exact = table[(table["method"] == reference) & (table["bound"] == "exact")].set_index("dataset")["seconds"]
    table["ratio"] = table["seconds"].astype(float) / table["dataset"].map(exact).astype(float)
    return table


def bound(seconds: pd.Series, stopped: pd.Series) -> str:
    """Whether the median of ``seconds`` holds whatever the stopped runs would have taken: ``exact``, ``at least``."""
    if seconds.empty:
        return ""
    return "exact" if seconds.mask(stopped, np.inf).median() == seconds.median() else "at least"


def in_words(statuses: pd.Series) -> str:
    """``"2 ok, 1 budget"``: how many runs ended how."""
    counts = statuses.value_counts()
    return ", ".join(f"{counts[s]} {s.replace('_', ' ')}" for s in STATUSES if s in counts)


def truth(column: pd.Series) -> pd.Series:
    """True, False and missing as 1.0, 0.0 and NaN, whether from json or read back from a TSV."""
    return column.map(str).map({"True": 1.0, "False": 0.0}).astype(float)


# ------------------------------------------------------------------------------------------------------------ scores


def tidy(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores as written: text that was empty (and came back as missing) is empty text again."""
    text = ["dataset", "method", "metric", "factor", "label", "split", "status"]
    return scores[list(SCORE_COLUMNS)].assign(**{c: scores[c].fillna("").astype(str) for c in text})


def over_seeds(scores: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds of every measure.

    Returns
    -------
    DataFrame, one row for each combination of `SEEDS_OF`
        ``mean``, its 95 % interval ``lower`` and ``upper`` (Student's t; missing below three seeds), ``lowest``,
        ``highest``, ``seeds`` (values that are not missing), ``n`` (largest).
    """
    from scipy.stats import t

    groups = tidy(scores).groupby(list(SEEDS_OF), sort=False)
    table = groups["value"].agg(mean="mean", deviation="std", lowest="min", highest="max", seeds="count").reset_index()
    many = table["seeds"].where(table["seeds"] > 2)
    half = t.ppf(0.975, many - 1) * table["deviation"] / np.sqrt(many)
    table["lower"], table["upper"] = table["mean"] - half, table["mean"] + half
    table["n"] = groups["n"].max().to_numpy()
    return table[[*SEEDS_OF, "mean", "lower", "upper", "lowest", "highest", "seeds", "n"]]


def top_pathways(scores: pd.DataFrame, top: int) -> pd.DataFrame:
    """The ``top`` annotated factors of each dataset and method by mean relevance over seeds.

    Returns
    -------
    DataFrame: ``dataset``, ``method``, ``rank``, ``factor``, ``relevance`` (mean over seeds, 0 where it was switched
        off), ``lowest``, ``highest``, ``on`` (seeds in which it was on), ``seeds`` (seeds that gave factors)
    """
    scores = tidy(scores)
    scores = scores[(scores["metric"] == "relevance") & (scores["label"] == "kind=annotated")]
    table = over_seeds(scores).rename(columns={"mean": "relevance"})
    on = scores[scores["value"] > 0].groupby(["dataset", "method", "factor"], sort=False).size()
    table["on"] = pd.MultiIndex.from_frame(table[["dataset", "method", "factor"]]).map(on).fillna(0).astype(int)
    groups = table.groupby(["dataset", "method"], sort=False)
    table["rank"] = groups["relevance"].rank(method="min", ascending=False).astype(int)
    order = groups.ngroup()
    table = table.assign(order=order).sort_values(["order", "rank", "factor"], kind="stable")
    table = table.groupby(["dataset", "method"], sort=False).head(top)
    columns = ["dataset", "method", "rank", "factor", "relevance", "lowest", "highest", "on", "seeds"]
    return table[table["relevance"] > 0][columns].reset_index(drop=True)


def separation_table(scores: pd.DataFrame) -> pd.DataFrame:
    """For each dataset, method and label the factor that separates best, and how well it does.

    Best is the AUROC that is farthest from 1/2 on average over seeds: for a rare class the accuracy of most factors
    is that of guessing the larger class. Chosen among all factors of the method after the fact, so it flatters a
    method with many; cross-validation guards against overfitting of the regression, not against that choice.

    Returns
    -------
    DataFrame: ``dataset``, ``method``, ``label``, ``factor``, ``accuracy`` with ``lower``, ``upper`` (over seeds),
        ``cv_accuracy``, ``auroc``, ``baseline``, ``candidates`` (factors it was chosen from), ``seeds``, ``n`` (cells)
    """
    scores = tidy(scores)
    keys = ["dataset", "method", "label"]
    area = scores[scores["metric"] == "auroc"]
    strength = (area["value"] - 0.5).abs().groupby([area[k] for k in (*keys, "factor")], sort=False).mean()
    means = over_seeds(scores[scores["metric"].isin(["accuracy", "auroc", "baseline"])])
    train = means[(means["metric"] == "accuracy") & (means["split"] == "train")].rename(columns={"mean": "accuracy"})
    train = train.merge(strength.rename("strength").reset_index(), how="left", on=[*keys, "factor"])
    train = train.assign(candidates=train.groupby(keys)["factor"].transform("size"))
    for name, metric, split, on in (
        ("cv_accuracy", "accuracy", "cv", [*keys, "factor"]),
        ("auroc", "auroc", "", [*keys, "factor"]),
        ("baseline", "baseline", "", keys),
    ):
        other = means[(means["metric"] == metric) & (means["split"] == split)].rename(columns={"mean": name})
        train = train.merge(other[[*on, name]], how="left", on=on)
    order = train.groupby(keys, sort=False).ngroup()
    best = train.assign(order=order).sort_values(["order", "strength", "factor"], ascending=[True, False, True])
    columns = [*keys, "factor", "accuracy", "lower", "upper", "cv_accuracy", "auroc", "baseline", "candidates", "seeds"]
    return best.groupby(keys, sort=False).head(1)[[*columns, "n"]].reset_index(drop=True)


# ----------------------------------------------------------------------------------------------------------- figures


def cells_table(
    data: AnnData, factors: AnnData, x_terms: list[str], y_terms: list[str], labels: list[str]
) -> pd.DataFrame:
    """Scores of two factors in every cell, for a scatter plot.

    Each axis takes the first of its terms that the data have and the method left on.

    Returns
    -------
    DataFrame, one row a cell: ``cell``, ``x``, ``y``, one column for each of ``labels``, and the same in every row
        ``x_term``, ``y_term`` (missing if no term was left, as are its scores) and ``note`` (which terms were passed
        over, and why)
    """
    active = dict(zip(factors.uns["factors"]["name"], factors.uns["factors"]["active"], strict=True))
    sets = set(data.uns["gene_sets"])
    table = pd.DataFrame({"cell": data.obs_names})
    notes = []
    for axis, terms in (("x", x_terms), ("y", y_terms)):
        term, passed = choose_term(terms, active, sets)
        scores = np.full(data.n_obs, np.nan)
        if term:
            scores = np.asarray(factors.obsm["scores"])[:, list(active).index(term)]
        table[axis], table[f"{axis}_term"] = scores, term or None
        notes += [] if not passed else [f"{axis} axis: {'; '.join(passed)}" + ("" if term else "; no term is left")]
    for label in labels:
        table[label] = data.obs[label].astype(object).to_numpy()
    return table.assign(note=". ".join(notes) or None)[["cell", "x", "y", *labels, "x_term", "y_term", "note"]]


def choose_term(terms: list[str], active: dict[str, bool], sets: set[str]) -> tuple[str, list[str]]:
    """The first of ``terms`` that is an active factor (``""``: none), and why each one before it is not.

    ``active`` says of each factor of the run whether it is on; ``sets`` are the gene sets of the prepared data.
    """
    passed = []
    for term in terms:
        if active.get(term):
            return term, passed
        why = "was switched off by the method" if term in active else "is not a factor of this run"
        passed.append(f"{term} {why if term in active or term in sets else 'was filtered out (too few genes)'}")
    return "", passed
