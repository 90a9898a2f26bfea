"""The numbers that the report shows, from the tidy tables. The sentences around them are in the templates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .. import registry
from ..config.plan import extent
from ..contracts.scores import contrast_label
from ..results import meaning, scaling
from ..results.recovery import MEASURES
from ..results.runtime import hosts, published_minutes
from ..results.separation import tally
from ..statistics import interval

Rows = list[dict[str, Any]]


def records(table: pd.DataFrame) -> Rows:
    """Return one dict per row, missing values as None."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def by_dataset(table: pd.DataFrame, datasets: dict[str, Any]) -> dict[str, Rows]:
    return {name: records(table[table["dataset"] == name]) for name in datasets}


def controls(config: dict[str, Any]) -> set[str]:
    """Return the methods of the config that are controls."""
    return {m for m, entry in config["methods"].items() if registry.load("method", entry["use"]).SPEC.control}


def without_gene_sets(config: dict[str, Any]) -> set[str]:
    """Return the methods of the config whose factors have nothing to do with the gene sets of their names."""
    return {m for m, e in config["methods"].items() if not registry.load("method", e["use"]).SPEC.uses_gene_sets}


def chosen_terms(config: dict[str, Any]) -> list[str]:
    """Return the gene sets that the config's accuracy figures name, in order."""
    return [t for f in config["figures"].values() if f["kind"] == "accuracy" for t in f["terms"]]


# ---------------------------------------------------------------------------------------------------------- separation


def board(
    dataset: str,
    config: dict[str, Any],
    runs: pd.DataFrame,
    means: pd.DataFrame,
    separation: pd.DataFrame,
    gene_sets: pd.DataFrame,
) -> dict[str, Any] | None:
    """Return how well one named factor answers the contrast of a dataset, method by method.

    The factor is the first gene set of the config's accuracy figures that a run on the dataset has. ``means`` are
    those over seeds (`results.seeds.over_seeds`).

    Returns
    -------
    dict or None
        ``None`` if no such factor was tested. ``term``, ``baseline``, ``cells``, the two classes, ``rows`` by falling
        accuracy; ``best`` by method: its best factor of all (a row of ``separation``).
    """
    contrast = config["datasets"][dataset].get("contrast")
    if not contrast:
        return None
    label = contrast_label(contrast)
    means = means[means["dataset"] == dataset]
    of_label = means[means["label"] == label]
    term = next((t for t in chosen_terms(config) if (of_label["factor"] == t).any()), None)
    base = of_label.loc[of_label["metric"] == "baseline", "mean"]
    if term is None or base.empty:
        return None
    of_term = of_label[of_label["factor"] == term].set_index(["method", "metric", "split"])
    relevance = means[(means["metric"] == "relevance") & (means["factor"] == term)].set_index("method")["highest"]
    sets = gene_sets[(gene_sets["dataset"] == dataset) & (gene_sets["label"] == label) & (gene_sets["factor"] == term)]
    verdicts = sets.set_index("method")["verdict"]
    rows = []
    for method in config["methods"]:
        if (method, "accuracy", "train") not in of_term.index:
            continue
        train = of_term.loc[(method, "accuracy", "train")]
        fits = runs[(runs["dataset"] == dataset) & (runs["method"] == method) & (runs["n_factors"] > 0)]
        rows.append(
            {
                "method": method,
                "accuracy": train["mean"],
                "lower": max(train["lower"], 0.0) if train["seeds"] > 2 else None,
                "upper": min(train["upper"], 1.0) if train["seeds"] > 2 else None,
                "cv": of_term.loc[(method, "accuracy", "cv"), "mean"],
                "auroc": of_term.loc[(method, "auroc", ""), "mean"],
                "seeds": int(train["seeds"]),
                "on": bool(relevance.get(method, 1) > 0),
                "active": f"{fits['n_active'].median():.0f} of {fits['n_factors'].median():.0f}",
                "verdict": verdicts.get(method, ""),
            }
        )
    baseline = float(base.iloc[0])
    best = separation[(separation["dataset"] == dataset) & (separation["label"] == label)]
    return {
        "dataset": dataset,
        "title": config["datasets"][dataset]["title"],
        "cells": int(of_term["n"].max()),
        "positive": contrast["positive"],
        "negative": contrast["negative"] or "all others",
        "term": term,
        "baseline": baseline,
        "scale_from": np.floor((min([baseline, *(r["accuracy"] for r in rows)]) - 0.02) * 20) / 20,
        "rows": sorted(rows, key=lambda r: -r["accuracy"]),
        "best": {row["method"]: row for row in records(best)},
    }


def gene_sets(table: pd.DataFrame, datasets: dict[str, Any], terms: list[str]) -> Rows:
    """Return, for each dataset with a contrast, which gene sets explain it beyond what random sets do.

    ``table`` is that of `results.meaning.gene_sets_table`.

    Returns
    -------
    list of dict
        ``dataset``; ``methods``, for each method the number of ``sets``, the names of those that ``beat`` random sets,
        how many are ``lost``, random draws (``permutations``) and the ``smallest`` p and q they allow (``None``: not
        compared); ``rows`` of the table about ``terms``.
    """
    result = []
    for name, facts in datasets.items():
        if not facts["contrast"]:
            continue
        about = table[(table["dataset"] == name) & (table["label"] == contrast_label(facts["contrast"]))]
        methods = []
        for method, group in about.groupby("method", sort=False):
            draws = group["permutations"].max()
            beat = group[group["verdict"] == meaning.VERDICTS["beats"]].sort_values("p_random_set", kind="stable")
            methods.append(
                {
                    **{"method": method, "sets": len(group), "beat": list(beat["factor"])},
                    "lost": int((group["verdict"] == meaning.VERDICTS["lost"]).sum()),
                    "permutations": None if np.isnan(draws) else int(draws),
                    "smallest": 1 / (1 + draws),
                    "smallest_q": min(1, len(group) / (1 + draws)),
                }
            )
        order = about["factor"].map({term: i for i, term in enumerate(terms)})
        shown = about.assign(order=order).dropna(subset="order").sort_values("order", kind="stable")
        if methods:
            result.append({"dataset": name, "methods": methods, "rows": records(shown)})
    return result


def recovery(
    scores: pd.DataFrame, draws: dict[str, list[str]], config: dict[str, Any], methods: list[str]
) -> list[dict[str, Any]]:
    """Return what methods recover of what is known to be there (metric ``recovery``).

    ``draws``: datasets that differ in seeds only, by the first of them.

    Returns
    -------
    list of dict
        For each group of datasets that has any: ``dataset``, the first; ``n``, how many; ``measures`` in order; and
        ``rows``: ``method`` and, by measure, ``values``, each (mean over data, lower, upper) of means over factors;
        ``best``, the row of the model with the highest ``aupr`` (``None``: there is none); ``title``.
    """
    of_data = scores[scores["metric"].isin(MEASURES)].groupby(["dataset", "method", "metric"], sort=False)["value"]
    of_data = of_data.mean().dropna()
    known = of_data.index.get_level_values("dataset")
    result = []
    for first, names in draws.items():
        part = of_data[known.isin(names)]
        if part.empty:
            continue
        by = dict(iter(part.groupby(["method", "metric"], sort=False)))
        measures = [name for name in MEASURES if any(name == metric for _, metric in by)]
        rows = [
            {"method": m, "values": {name: interval(by[m, name]) if (m, name) in by else None for name in measures}}
            for m in methods
            if any(m == method for method, _ in by)
        ]
        n = part.index.get_level_values("dataset").nunique()
        title = config["datasets"][first]["title"].removesuffix(f" (1 of {len(names)})")
        models = [row for row in rows if row["method"] not in controls(config) and row["values"].get("aupr")]
        best = max(models, key=lambda row: row["values"]["aupr"][0], default=None)
        result.append({"dataset": first, "title": title, "n": n, "measures": measures, "rows": rows, "best": best})
    return result


def contrast_first(table: pd.DataFrame, datasets: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Return the separation table by question, the contrast of each dataset first."""
    contrast = {name: (facts["contrast"] or {}).get("label") for name, facts in datasets.items()}
    other = table["label"].astype(str).str.split("=").str[0] != table["dataset"].map(contrast)
    return table.assign(other=other).sort_values(["other", "label"], kind="stable").drop(columns="other")


def comparisons(table: pd.DataFrame, terms: list[str], datasets: dict[str, Any]) -> dict[str, Rows]:
    """Return the paired comparisons by dataset: those of ``terms`` if there are any, else the ten clearest."""
    result = {}
    for name in datasets:
        rows = table[table["dataset"] == name]
        chosen = rows[rows["factor"].isin(terms)]
        rows = chosen if len(chosen) else rows.sort_values("p_corrected", kind="stable").head(10)
        order = rows["factor"].map({term: i for i, term in enumerate(terms)})
        result[name] = records(rows.assign(order=order).sort_values("order", kind="stable"))
    return result


def certainty(
    means: pd.DataFrame, scores: pd.DataFrame, datasets: dict[str, Any], methods: list[str]
) -> dict[str, Rows]:
    """Return how far the best factor of each method can be trusted: chance, donors left out, other seeds.

    The best factor is that of each seed. ``means`` are those over seeds of ``scores``.
    """
    result = {}
    for name in datasets:
        rows = []
        for method in methods:
            of_seeds = scores[(scores["dataset"] == name) & (scores["method"] == method)]
            of_means = means[(means["dataset"] == name) & (means["method"] == method)]
            best = meaning.with_shares(of_seeds[of_seeds["metric"] == "best_accuracy"], of_seeds)
            if best.empty:
                continue
            donor = of_seeds[(of_seeds["metric"] == "accuracy") & (of_seeds["split"] == "donor")]
            donor = donor.merge(best[["seed", "factor"]], on=["seed", "factor"])["value"]
            same = of_means[of_means["factor"].isin(best["factor"])]
            rows.append(
                {
                    "method": method,
                    "factors": tally(meaning.marked(best["factor"], best["in_set_share"])),
                    "accuracy": best["value"].mean(),
                    "chance": of_seeds.loc[of_seeds["metric"] == "null_accuracy", "upper"].max(),
                    "p": _mean(of_means, "p_accuracy", "highest"),
                    "donor": donor.mean() if len(donor) else None,
                    "scores": _mean(same, "score_agreement"),
                    "active": _mean(of_means, "active_agreement"),
                    "top": _mean(of_means, "top_agreement"),
                }
            )
        result[name] = rows
    return result


def new_cells(
    means: pd.DataFrame, datasets: dict[str, dict[str, Any]], terms: list[str], methods: list[str]
) -> dict[str, Rows]:
    """Return, for each dataset with held-out cells, how well the projected score of one term separates them."""
    result = {}
    for name, facts in datasets.items():
        if not facts["held_out"] or not facts["contrast"]:
            continue
        of_means = means[means["dataset"] == name]
        label = contrast_label(facts["contrast"])
        projected = of_means[(of_means["metric"] == "projected_accuracy") & (of_means["label"] == label)]
        term = next((t for t in terms if (projected["factor"] == t).any()), None)
        rows = []
        for method in methods:
            share = projected[(projected["method"] == method) & (projected["factor"] == term)].set_index("split")
            if "held_out" not in share.index:
                continue
            alike = of_means[(of_means["method"] == method) & (of_means["metric"] == "score_correlation")]
            row = {"method": method, "term": term, "seeds": int(share.loc["held_out", "seeds"])}
            row["in_set_share"] = _share(of_means[of_means["method"] == method], term)
            row |= {split: share["mean"].get(split) for split in ("seen", "held_out", "saw_them")}
            row["n"] = int(share.loc["held_out", "n"])
            for split in ("held_out", "seen"):
                values = alike[alike["split"] == split].dropna(subset="mean")
                row[f"alike_{split}"] = _mean(values[values["factor"] == term], "score_correlation")
                row[f"all_{split}"] = float(values["mean"].median()) if len(values) else None
            rows.append(row)
        result[name] = rows
    return result


SAME_MODEL = (
    "n_sparse",
    "n_dense",
    "lambda0",
    "lambda1",
    "lambda2",
    "lambda3",
    "group_weights",
    "center",
    "covariates",
)
"""Parameters of the autoencoder that decide what eq. 3 is. Its values are comparable if these are equal."""


def encoders(
    means: pd.DataFrame, runtime: pd.DataFrame, config: dict[str, Any], datasets: dict[str, Any], terms: list[str]
) -> dict[str, Rows]:
    """Return for each dataset what autoencoders reach whose encoder is a network, or linear (the exact solution).

    They are those with the objective of the first linear one in the config (`SAME_MODEL`). Datasets without both kinds
    are left out.

    Returns
    -------
    dict of list of dict
        Per method ``encoder``; means over seeds of ``objective`` (eq. 3; ``None`` with group weights by size),
        ``residual`` and ``new_residual`` (that of held-out cells); ``term``, the first of ``terms`` that was tested on
        the contrast, with its ``accuracy``, ``lowest`` and ``highest``; ``best``, the one of ``terms`` with the highest
        accuracy, with ``best_accuracy`` and ``best_share``, the share in its set; ``agreement`` of scores between
        seeds, the median over factors; ``seconds``; ``seeds``.
    """
    methods = {m: e for m, e in config["methods"].items() if m not in controls(config)}
    params = {m: e["params"] for m, e in methods.items() if "encoder" in e["params"]}
    linear = next((m for m in params if params[m]["encoder"] == "linear"), None)
    same = [m for m in params if all(params[m][key] == params[linear][key] for key in SAME_MODEL)] if linear else []
    result = {}
    for name, facts in datasets.items():
        rows = []
        for method in same:
            of_method = means[(means["dataset"] == name) & (means["method"] == method)]
            if (of_method["metric"] == "residual").any():
                seconds = runtime[(runtime["dataset"] == name) & (runtime["method"] == method)]["seconds"]
                label = contrast_label(facts["contrast"]) if facts["contrast"] else ""
                row = _encoder(of_method, params[method], label, terms)
                rows.append({"method": method, "seconds": seconds.min() if len(seconds) else None, **row})
        if {row["encoder"] for row in rows} == {"network", "linear"}:
            result[name] = rows
    return result


def _encoder(means: pd.DataFrame, params: dict[str, Any], label: str, terms: list[str]) -> dict[str, Any]:
    """Return the row of one method, without its name and its seconds (`encoders`)."""
    about_run = (means["factor"] == "") & (means["label"] == "")
    whole = means[about_run].set_index(["metric", "split"])["mean"].sort_index()
    weighted = {"scores_norm": "lambda0", "l1_outside": "lambda1", "l1_sparse": "lambda2", "group_norm": "lambda3"}
    objective = whole["residual", ""] + sum(params[weight] * whole[term, ""] for term, weight in weighted.items())
    tested = means[(means["metric"] == "accuracy") & (means["split"] == "train") & (means["label"] == label)]
    tested = tested.set_index("factor").reindex([term for term in terms if (tested["factor"] == term).any()])
    first = tested.iloc[0] if len(tested) else None
    agreement = means.loc[means["metric"] == "score_agreement", "mean"].dropna()
    return {
        "encoder": params["encoder"],
        "objective": objective if params["group_weights"] == "equal" else None,
        "residual": whole["residual", ""],
        "new_residual": whole.get(("residual", "held_out")),
        "term": None if first is None else first.name,
        "accuracy": None if first is None else first["mean"],
        "lowest": None if first is None else first["lowest"],
        "highest": None if first is None else first["highest"],
        "best": None if first is None else tested["mean"].idxmax(),
        "best_accuracy": None if first is None else tested["mean"].max(),
        "best_share": None if first is None else _share(means, tested["mean"].idxmax()),
        "agreement": float(agreement.median()) if len(agreement) else None,
        "seeds": int(means.loc[means["metric"] == "residual", "seeds"].max()),
    }


def _share(means: pd.DataFrame, factor: str) -> float | None:
    """Return the mean ``in_set_share`` of a factor, from the `over_seeds` of one dataset and method."""
    return _mean(means[means["factor"] == factor], "in_set_share")


def _mean(rows: pd.DataFrame, metric: str, column: str = "mean") -> float | None:
    values = rows.loc[rows["metric"] == metric, column].dropna()
    return float(values.mean()) if len(values) else None


# ---------------------------------------------------------------------------------------------------------------- time


def slowest(runtime: pd.DataFrame, config: dict[str, Any]) -> Rows:
    """Return for each dataset the slowest model but the reference, if their times differ by a factor of two or more.

    Controls do not count. Each dict is a row of ``runtime`` with ``reference_seconds`` on the same machine.
    """
    reference, rows = config["report"]["reference"], []
    runtime = runtime.assign(host=hosts(runtime))
    runtime = runtime[~runtime["method"].isin(controls(config))].dropna(subset="ratio")
    for _, group in runtime.groupby("dataset", sort=False):
        others = group[group["method"] != reference]
        if others.empty:
            continue
        (row,) = records(others.loc[[others["ratio"].astype(float).idxmax()]])
        if 0.5 < row["ratio"] < 2:
            continue
        of_reference = group[(group["method"] == reference) & (group["host"] == row["host"])]
        rows.append(row | {"reference_seconds": of_reference["seconds"].iloc[0]})
    return rows


def at_largest(full: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the rows of `scaling.full_times` on the largest dataset of each family."""
    full = full.assign(host=hosts(full)).sort_values(["cells", "terms"], kind="stable")
    families = full.groupby("family", sort=False)
    return [rows[rows["dataset"] == rows["dataset"].iloc[-1]] for _, rows in families]


def growth(full: pd.DataFrame, config: dict[str, Any]) -> Rows:
    """Return how long each model takes at the largest size of a study, with ``reference_seconds`` on its machine.

    ``full`` is the table of `scaling.full_times`. Controls do not count.
    """
    reference, rows = config["report"]["reference"], []
    for group in at_largest(full):
        measured = group[(group["method"] == reference) & (group["how"] == "measured")].set_index("host")["seconds"]
        others = group[group["host"].isin(measured.index) & ~group["method"].isin([reference, *controls(config)])]
        rows += [row | {"reference_seconds": measured[row["host"]]} for row in records(others)]
    return rows


def variants(full: pd.DataFrame, runs: pd.DataFrame, config: dict[str, Any]) -> Rows:
    """Return what a method costs beside one of the same model (`scaling.variants`), on the largest data of each study.

    Without a study (``full``, the table of `scaling.full_times`, is empty): on the data where an iteration takes
    longest.

    Returns
    -------
    list of dict
        A row of `scaling.variants`, with ``differs_by`` (`registry.MethodSpec`); ``of``, ``fit`` or ``iteration``, and
        ``time``, ``time_variant``, ``share``, the ratio of the two; ``ratios``, rows of ``full`` of the variant;
        ``published``, the paper's ratio for the method if it is known, and ``whole``, whether the data are all cells.
    """
    pairs = scaling.variants(runs).sort_values("seconds", kind="stable")
    if full.empty:
        chosen = [(pair, full) for pair in records(pairs.tail(1))]
    else:
        chosen = [
            (pair, rows) for rows in at_largest(full) for pair in records(pairs[pairs["dataset"].isin(rows["dataset"])])
        ]
    result = []
    for pair, rows in chosen:
        of = "fit" if pair["finished"] else "seconds"
        minutes = published_minutes(pair["dataset"], config["datasets"], config["report"]["paper_minutes"])
        reference = minutes.get(config["report"]["reference"])
        same = rows[(rows["method"] == pair["method_variant"]) & (hosts(rows) == pair["host"])]
        use = config["methods"][pair["method_variant"]]["use"]
        result.append(
            pair
            | {
                "differs_by": registry.load("method", use).SPEC.differs_by,
                "of": "fit" if pair["finished"] else "iteration",
                "time": pair[of],
                "time_variant": pair[f"{of}_variant"],
                "share": pair[of] / pair[f"{of}_variant"],
                "ratios": records(same[same["ratio_upper"].notna()]),
                "published": minutes[pair["method"]] / reference if reference and pair["method"] in minutes else None,
                "whole": extent(config["datasets"][pair["dataset"]]) in ("full", "some sets"),
            }
        )
    return result


# --------------------------------------------------------------------------------------------------------------- others


def not_run_on(runs: pd.DataFrame) -> dict[str, list[str]]:
    """Return for each dataset the methods that were run, but not on it."""
    methods = list(dict.fromkeys(runs["method"]))
    return {name: [m for m in methods if m not in set(group["method"])] for name, group in runs.groupby("dataset")}


def pathways(table: pd.DataFrame) -> Rows:
    """Return the top pathways of each dataset and method, with relevance also as a share of the largest."""
    return [
        {
            "dataset": dataset,
            "method": method,
            "rows": group.assign(share=group["relevance"] / group["relevance"].max()).to_dict("records"),
        }
        for (dataset, method), group in table.groupby(["dataset", "method"], sort=False)
    ]
