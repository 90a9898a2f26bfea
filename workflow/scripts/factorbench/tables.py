"""Tidy tables of a whole benchmark, from run.json and scores.tsv: pure functions, nothing is dropped, nothing guessed.

Every table is read by people and by plots: one row a thing, words instead of codes. Means over seeds carry a 95 %
interval of Student's t over the seeds; fewer than three seeds say too little for one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .contracts import RUN_KEYS, SCORE_COLUMNS, STATUSES, check_run, prepared_record

if TYPE_CHECKING:
    from anndata import AnnData

STOPPED = ("max_iterations", "budget", "timeout", "killed")
"""Statuses of runs that were stopped before they were done: their time is at least what it says."""
TIMED = ("ok", *STOPPED)
"""Statuses of runs whose time says something about the method."""
RUNTIME_COLUMNS = (
    *("dataset", "extent", "method", "cells", "genes", "factors", "seeds", "ok", "converged", "statuses", "iterations"),
    *("threads", "device", "host", "processor", "seconds", "fastest", "slowest", "minutes", "bound", "ratio"),
    *("paper_minutes", "paper_ratio"),
)
PLACE = ["dataset", "method", "host"]
"""What runs share whose times may be put together."""
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


def hosts(runs: pd.DataFrame) -> pd.Series:
    """The machine that each run was made on, by its name (empty: it has none). Times of two are never compared."""
    return runs["host"].fillna("").astype(str)


def several_hosts(runs: pd.DataFrame) -> str:
    """``made on 3 machines; ratios are within a machine``; nothing if all ``runs`` were made on one."""
    n_hosts = hosts(runs).nunique()
    return f"made on {n_hosts} machines; ratios are within a machine" if n_hosts > 1 else ""


def runtime_table(
    runs: pd.DataFrame,
    reference: str,
    datasets: dict[str, dict[str, Any]],
    paper: dict[str, dict[str, float]] | None = None,
) -> pd.DataFrame:
    """Time by dataset, method and machine (the paper's Table 1), as measured: nothing is extrapolated.

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
    DataFrame, one row a dataset, method and ``host`` (its ``processor`` beside it), in the order of the runs
        ``extent`` (`extent`), ``cells``, ``genes``, ``factors``, ``seeds`` (runs), ``ok`` (runs that ended as
        they should), ``converged`` (of those whose method has a criterion; missing if it has none), ``statuses`` in
        words, ``iterations`` (median), ``seconds`` (median), ``fastest``, ``slowest``, ``minutes`` (of the median),
        ``bound``: ``exact``, or ``at least`` where the median would be larger had no run been stopped, and ``ratio``
        of medians to the reference on the same host (missing unless it was run there and its time is exact).
        ``paper_minutes`` and ``paper_ratio`` are the published ones; those of a dataset made ``from`` another are of
        the nearest one that was published. Runs that diverged or do not apply have no time.
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
    """For each row of ``table`` the ``column`` of ``reference``, which has one row a dataset and host, on the same."""
    place = ["dataset", "host"]
    found = reference.set_index(place)[column].astype(float).reindex(pd.MultiIndex.from_frame(table[place]))
    return pd.Series(found.to_numpy(), index=table.index)


def extent(dataset: dict[str, Any]) -> str:
    """How much of a dataset its runs see: ``full``, or what applies.

    ``piece``: the files hold no more of the data; ``part``: samples are missing; ``subset``: cells were drawn;
    ``some sets``: gene sets were drawn; ``held out``: some cells were kept from the fit.
    """
    words = {"piece": "piece", "part": "missing", "subset": "n_cells", "some sets": "n_sets", "held out": "hold_out"}
    return ", ".join(word for word, key in words.items() if dataset.get(key)) or "full"


def published_minutes(
    dataset: str, datasets: dict[str, dict[str, Any]], paper: dict[str, dict[str, float]]
) -> dict[str, float]:
    """Published minutes by method, of ``dataset`` or of the nearest one that it is made from (none: empty)."""
    return next((paper[name] for name in ancestry(dataset, datasets) if name in paper), {})


def ancestry(name: str | None, datasets: dict[str, dict[str, Any]]) -> list[str]:
    """A dataset and those it is made from, the nearest first."""
    return [name, *ancestry(datasets.get(name, {}).get("from"), datasets)] if name else []


def say_missing(table: pd.DataFrame, datasets: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """``table`` with a last column ``missing``: the samples that its ``dataset`` lacks (``"C51, C52"``), or nothing."""
    gone = {name: ", ".join(map(str, entry.get("missing", ()))) for name, entry in datasets.items()}
    return table.assign(missing=table["dataset"].map(gone).fillna(""))


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

    A measure that is over seeds already (stability, say) has one row without a seed: it is taken as it is, with the
    interval it came with.

    Returns
    -------
    DataFrame, one row for each combination of `SEEDS_OF`
        ``mean``, its 95 % interval ``lower`` and ``upper`` (Student's t; missing below three seeds), ``lowest``,
        ``highest``, ``seeds`` (values that are not missing; 1 for a measure over seeds), ``n`` (largest).
    """
    from scipy.stats import t

    groups = tidy(scores).groupby(list(SEEDS_OF), sort=False)
    table = groups["value"].agg(mean="mean", deviation="std", lowest="min", highest="max", seeds="count").reset_index()
    many = table["seeds"].where(table["seeds"] > 2)
    half = t.ppf(0.975, many - 1) * table["deviation"] / np.sqrt(many)
    seedless = groups["seed"].count().to_numpy() == 0
    for side, sign in (("lower", -1), ("upper", 1)):
        table[side] = np.where(seedless, groups[side].first(), table["mean"] + sign * half)
    table["n"] = groups["n"].max().to_numpy()
    return table[[*SEEDS_OF, "mean", "lower", "upper", "lowest", "highest", "seeds", "n"]]


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean of one value a seed, and its 95 % interval (Student's t), lower and upper; NaN below three values."""
    from scipy.stats import t

    mean, half = float(np.mean(values)), np.nan
    if len(values) > 2:
        half = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return mean, mean - half, mean + half


def top_pathways(scores: pd.DataFrame, top: int) -> pd.DataFrame:
    """The ``top`` annotated factors of each dataset and method by mean relevance over seeds.

    Returns
    -------
    DataFrame: ``dataset``, ``method``, ``rank``, ``factor``, ``relevance`` (mean over seeds, 0 where it was switched
        off), ``lowest``, ``highest``, ``on`` (seeds in which it was on), ``seeds`` (seeds that gave factors)
    """
    scores = annotated_relevance(scores)
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


def annotated_relevance(scores: pd.DataFrame, dataset: str | None = None, method: str | None = None) -> pd.DataFrame:
    """Rows of the relevance (L2 norm of the loadings) of gene sets, of one dataset and method or of all."""
    scores = tidy(scores)
    scores = scores[(scores["metric"] == "relevance") & (scores["label"] == "kind=annotated")]
    for column, name in (("dataset", dataset), ("method", method)):
        scores = scores if name is None else scores[scores[column] == name]
    return scores


def rank_agreement(relevance: pd.Series, published: list[str]) -> dict[str, Any]:
    """How far our most relevant gene sets are those of a published list, and in the same order.

    Parameters
    ----------
    relevance
        Relevance of each gene set that was kept, by its name (mean over seeds; 0: switched off).
    published
        Names of the published list, the most relevant first.

    Returns
    -------
    dict
        ``shared``, how many of the list are among as many of ours (switched off: never), the number ``expected`` by
        chance and ``p_overlap``, the probability of at least as many, both hypergeometric: ours drawn from all sets
        kept, of which those of the list are marked (Rivals et al. 2007). ``tau`` and ``p_tau`` (two-sided): Kendall's
        tau-b of the two rankings (Kendall 1945, so sets that are switched off are tied) over the ``n`` terms of the
        list that were kept; NaN below two. ``kept``: all sets kept. ``ranks``: our rank of each term of the list,
        ``None`` if it was not kept.
    """
    from scipy.stats import hypergeom, kendalltau

    rank = relevance.rank(method="min", ascending=False).astype(int)
    known = [term for term in published if term in relevance.index]
    ours = relevance[relevance > 0].sort_index().sort_values(ascending=False, kind="stable").index[: len(published)]
    shared = len(set(ours) & set(known))
    tau, p_tau = (np.nan, np.nan)
    if len(known) > 1:
        tau, p_tau = kendalltau(range(len(known)), -relevance[known], variant="b")
    return {
        "shared": shared,
        "expected": len(ours) * len(known) / max(len(relevance), 1),
        "p_overlap": float(hypergeom.sf(shared - 1, len(relevance), len(known), len(ours))) if shared else 1.0,
        "tau": float(tau),
        "p_tau": float(p_tau),
        "n": len(known),
        "kept": len(relevance),
        "ranks": {term: int(rank[term]) if term in rank.index else None for term in published},
    }


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
    strength = strengths(scores).groupby([*keys, "factor"], sort=False)["strength"].mean()
    means = over_seeds(scores[scores["metric"].isin(["accuracy", "auroc", "baseline"])])
    train = means[(means["metric"] == "accuracy") & (means["split"] == "train")].rename(columns={"mean": "accuracy"})
    train = train.merge(strength.reset_index(), how="left", on=[*keys, "factor"])
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


def strengths(scores: pd.DataFrame) -> pd.DataFrame:
    """Rows of AUROC on the cells of the fit, with ``strength``, its distance from 1/2."""
    scores = tidy(scores)
    area = scores[scores["metric"] == "auroc"].dropna(subset="value")
    return area.assign(strength=(area["value"] - 0.5).abs())


# ----------------------------------------------------------------------------------------------------------- figures


def cells_table(
    data: AnnData, factors: AnnData, scores: pd.DataFrame, x_terms: list[str], y_terms: list[str], labels: list[str]
) -> pd.DataFrame:
    """Scores of two factors in every cell, for a scatter plot.

    Each axis takes the first of its terms that the data have and the method left on. An axis without terms takes the
    factor that separates best by the run's ``scores`` (`best_factor`): x for the first question that the dataset asks
    (`questions`), y for the second; with a single question, y is the runner-up.

    Returns
    -------
    DataFrame, one row a cell: ``cell``, ``x``, ``y``, one column for each of ``labels`` (``unknown`` where a cell has
        none), and the same in every row ``x_term``, ``y_term`` (missing if no term was left, as are its scores) and
        ``note`` (which terms were passed over, and why; which were chosen after the fact, and how)
    """
    active = dict(zip(factors.uns["factors"]["name"], factors.uns["factors"]["active"], strict=True))
    sets = set(data.uns["gene_sets"])
    asked = questions(scores, prepared_record(data))
    table = pd.DataFrame({"cell": data.obs_names})
    given = {"x": x_terms, "y": y_terms}
    chosen, notes = dict.fromkeys(given, ""), dict.fromkeys(given, "")
    # The axis with terms comes first: the other must not take a term that was asked for.
    for axis in sorted(given, key=lambda axis: not given[axis]):
        if given[axis]:
            chosen[axis], passed = choose_term(given[axis], active, sets)
            notes[axis] = "" if not passed else "; ".join(passed) + ("" if chosen[axis] else "; no term is left")
        else:
            rows = asked[0 if axis == "x" else -1] if asked else strengths(scores)
            chosen[axis], notes[axis] = best_factor(rows, set(chosen.values()))
    for axis, term in chosen.items():
        found = np.full(data.n_obs, np.nan)
        if term:
            found = np.asarray(factors.obsm["scores"])[:, list(active).index(term)]
        table[axis], table[f"{axis}_term"] = found, term or None
    for label in labels:
        values = data.obs[label].astype(object)
        table[label] = values.where(values.notna(), "unknown").to_numpy()
    note = ". ".join(f"{axis} axis: {text}" for axis, text in notes.items() if text)
    return table.assign(note=note or None)[["cell", "x", "y", *labels, "x_term", "y_term", "note"]]


def questions(scores: pd.DataFrame, record: dict[str, Any]) -> list[pd.DataFrame]:
    """The first two questions that a dataset asks, each as `strengths` of one run's ``scores`` (fewer: not asked).

    First comes the contrast, then every other label in its order (all its classes, each against the rest), then the
    donors. ``record`` is that of the prepared data.
    """
    area = strengths(scores)
    contrast = (record["contrast"] or {}).get("label")
    labels = sorted(record["labels"], key=lambda label: (label != contrast, label == record.get("donor")))
    asked = [area[area["label"].str.startswith(f"{label}=")] for label in labels]
    return [rows for rows in asked if len(rows)][:2]


def best_factor(rows: pd.DataFrame, taken: set[str]) -> tuple[str, str]:
    """The factor outside ``taken`` that separates best by the `strengths` ``rows``, and how it was chosen.

    Both are empty if none separates at all (none is on, say).
    """
    rows = rows[~rows["factor"].isin(taken) & (rows["strength"] > 0)]
    if rows.empty:
        return "", "no factor separates any classes"
    best = rows.sort_values(["strength", "factor", "label"], ascending=[False, True, True], kind="stable").iloc[0]
    return best["factor"], (
        f"chosen after the fact, of {rows['factor'].nunique():,} factors the one that tells {best['label']} best "
        f"(AUROC {best['value']:.2f})"
    )


def choose_term(terms: list[str], active: dict[str, bool], sets: set[str]) -> tuple[str, list[str]]:
    """The first of ``terms`` that is an active factor (``""``: none), and why each one before it is not.

    ``active`` says of each factor of the run whether it is on; ``sets`` are the gene sets of the prepared data.
    """
    passed = []
    for term in terms:
        if active.get(term):
            return term, passed
        why = "was switched off by the method" if term in active else "is not a factor of this run"
        passed.append(f"{term} {why if term in active or term in sets else 'is not among the gene sets kept'}")
    return "", passed
