"""What came out of a benchmark, drawn from its tables for the report: answers, comparisons, how certain they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from .. import registry
from ..config.plan import extent
from ..contracts.scores import contrast_label
from ..results import scaling
from ..results.runtime import hosts, published_minutes, several_hosts
from .numbers import duration, interval, number, percent, times


def board(
    dataset: str, config: dict[str, Any], runs: pd.DataFrame, means: pd.DataFrame, datasets: dict[str, dict[str, Any]]
) -> dict[str, Any] | None:
    """How well one factor answers the contrast, method by method; ``None`` if that was not asked.

    The factor is the first term of the config's accuracy figures that a run on the dataset has.
    """
    contrast = datasets[dataset]["contrast"]
    if not contrast:
        return None
    label = contrast_label(contrast)
    here = means[(means["dataset"] == dataset) & (means["label"] == label)]
    term = next((t for t in chosen_terms(config) if (here["factor"] == t).any()), None)
    base = here.loc[here["metric"] == "baseline", "mean"]
    if term is None or base.empty:
        return None
    rows = []
    of = here[here["factor"] == term].set_index(["method", "metric", "split"])
    relevance = means[(means["dataset"] == dataset) & (means["metric"] == "relevance") & (means["factor"] == term)]
    relevance = relevance.set_index("method")["highest"]
    for method in config["methods"]:
        if (method, "accuracy", "train") not in of.index:
            continue
        train, mine = of.loc[(method, "accuracy", "train")], runs[runs["method"] == method]
        mine = mine[(mine["dataset"] == dataset) & (mine["n_factors"] > 0)]
        rows.append(
            {
                "method": method,
                "accuracy": train["mean"],
                "lower": max(train["lower"], 0.0) if train["seeds"] > 2 else None,
                "upper": min(train["upper"], 1.0) if train["seeds"] > 2 else None,
                "cv": of.loc[(method, "accuracy", "cv"), "mean"],
                "auroc": of.loc[(method, "auroc", ""), "mean"],
                "seeds": int(train["seeds"]),
                "on": bool(relevance.get(method, 1) > 0),
                "active": f"{mine['n_active'].median():.0f} of {mine['n_factors'].median():.0f}",
            }
        )
    baseline = float(base.iloc[0])
    lowest = min([baseline, *(r["accuracy"] for r in rows)])
    return {
        "dataset": dataset,
        "title": datasets[dataset]["title"],
        "cells": int(of["n"].max()),
        "positive": contrast["positive"],
        "negative": contrast.get("negative") or "all others",
        "term": term,
        "baseline": baseline,
        "from": np.floor((lowest - 0.02) * 20) / 20,
        "rows": sorted(rows, key=lambda r: -r["accuracy"]),
        "controls": controls(config),
        "reference": config["report"]["reference"],
        "names": titles_of(config),
    }


def chosen_terms(config: dict[str, Any]) -> list[str]:
    """The terms that the config's accuracy figures ask for, in order."""
    return [t for f in config["figures"].values() if f["kind"] == "accuracy" for t in f["terms"]]


def claim_facts(table: pd.DataFrame, datasets: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The table of claims, a dict a row, missing values as None; dataset by its title where it was run."""
    return [row | {"title": datasets.get(row["dataset"], {}).get("title", row["dataset"])} for row in plain(table)]


def comparisons(
    table: pd.DataFrame, terms: list[str], datasets: dict[str, dict[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """The paired comparisons by dataset: those of the chosen ``terms`` where there are any, else the clearest ten."""
    found = {}
    for name in datasets:
        rows = table[table["dataset"] == name]
        chosen = rows[rows["factor"].isin(terms)]
        rows = chosen if len(chosen) else rows.sort_values("p_corrected", kind="stable").head(10)
        order = rows["factor"].map({term: i for i, term in enumerate(terms)})
        rows = rows.assign(order=order).sort_values("order", kind="stable")
        found[name] = plain(rows)
    return found


def certainty(
    means: pd.DataFrame, scores: pd.DataFrame, datasets: dict[str, dict[str, Any]], titles: dict[str, str]
) -> dict[str, list[dict[str, Any]]]:
    """How far the best factor of each method can be trusted: chance, donors left out, other seeds.

    ``means`` are those over seeds of ``scores``.
    """
    chance = scores[scores["metric"] == "null_accuracy"].groupby(["dataset", "method"])["upper"].max()
    found = {}
    for name in datasets:
        rows = []
        for method in titles:
            here = means[(means["dataset"] == name) & (means["method"] == method)]
            best = here[here["metric"] == "best_accuracy"].sort_values(["seeds", "mean"], ascending=False)
            if best.empty:
                continue
            factor = best["factor"].iloc[0]
            donor = here[(here["metric"] == "accuracy") & (here["split"] == "donor") & (here["factor"] == factor)]
            rows.append(
                {
                    "method": method,
                    "factor": factor,
                    "of": f"{int(best['seeds'].iloc[0])} of {int(best['seeds'].sum())}",
                    "accuracy": best["mean"].iloc[0],
                    "chance": chance.get((name, method)),
                    "p": _value(here, "p_accuracy", "highest"),
                    "donor": donor["mean"].iloc[0] if len(donor) else None,
                    "scores": _value(here[here["factor"] == factor], "score_agreement"),
                    "active": _value(here, "active_agreement"),
                    "top": _value(here, "top_agreement"),
                }
            )
        found[name] = rows
    return found


def _value(rows: pd.DataFrame, metric: str, column: str = "mean") -> float | None:
    values = rows.loc[rows["metric"] == metric, column].dropna()
    return float(values.mean()) if len(values) else None


def new_cells(
    means: pd.DataFrame, datasets: dict[str, dict[str, Any]], terms: list[str], titles: dict[str, str]
) -> dict[str, list[dict[str, Any]]]:
    """For each dataset with held-out cells: what a chosen term's projected score is worth, method by method."""
    found = {}
    for name, facts in datasets.items():
        if not facts["held_out"] or not facts["contrast"]:
            continue
        label = contrast_label(facts["contrast"])
        here = means[means["dataset"] == name]
        asked = here[(here["metric"] == "projected_accuracy") & (here["label"] == label)]
        term = next((t for t in terms if (asked["factor"] == t).any()), None)
        rows = []
        for method in titles:
            own = asked[(asked["method"] == method) & (asked["factor"] == term)].set_index("split")
            if "held_out" not in own.index:
                continue
            alike = here[(here["method"] == method) & (here["metric"] == "score_correlation")]
            of_term = alike[alike["factor"] == term]
            rows.append(
                {
                    "method": method,
                    "term": term,
                    **{split: own["mean"].get(split) for split in ("seen", "held_out", "saw_them")},
                    "seeds": int(own.loc["held_out", "seeds"]),
                    "n": int(own.loc["held_out", "n"]),
                    **{f"alike_{s}": _value(of_term[of_term["split"] == s], "score_correlation") for s in SPLITS},
                    **{f"all_{s}": _median(alike[alike["split"] == s]) for s in SPLITS},
                }
            )
        found[name] = rows
    return found


SPLITS = ("held_out", "seen")
UNNAMED = "a machine without a name"


def _median(rows: pd.DataFrame) -> float | None:
    values = rows["mean"].dropna()
    return float(values.median()) if len(values) else None


def separation_answers(board: dict[str, Any]) -> list[dict[str, str]]:
    """One headline and one sentence on how the reference method answers the contrast, and what it is up against."""
    row = next((r for r in board["rows"] if r["method"] == board["reference"]), board["rows"][0])
    sentence = (
        f"of cells are put into the right class, {board['positive']} or {board['negative']}, by the score of one "
        f"factor alone: {board['term'].replace('_', ' ')} of {board['names'][row['method']]} on {board['title']} "
        f"({board['cells']:,} cells){interval(row)}; {percent(row['cv'])} when cross-validated. Guessing the larger "
        f"class gives {percent(board['baseline'])}."
    )
    others = [r for r in board["rows"] if r is not row and r["method"] not in board["controls"]]
    if others:
        best = max(others, key=lambda r: r["accuracy"])
        sentence += f" Best of the other models: {board['names'][best['method']]}, {percent(best['accuracy'])}."
    beside = [r for r in board["rows"] if r["method"] in board["controls"]]
    if beside:
        controls = ", ".join(f"{board['names'][r['method']]} {percent(r['accuracy'])}" for r in beside)
        sentence += f" Controls: {controls}."
    return [{"figure": percent(row["accuracy"]), "text": sentence}]


def time_answers(
    runtime: pd.DataFrame, config: dict[str, Any], datasets: dict[str, dict[str, Any]]
) -> list[dict[str, str]]:
    """For each dataset the model farthest in time from the reference, by a factor of two or more; no controls.

    Where runs were made on several machines, both are of one of them, and it is named.
    """
    reference = config["report"]["reference"]
    titles, answers, where = titles_of(config), [], on_host(runtime)
    runtime = runtime.assign(host=hosts(runtime))
    for dataset, rows in runtime[~runtime["method"].isin(controls(config))].groupby("dataset", sort=False):
        own = rows[rows["method"] == reference]
        others = rows[(rows["method"] != reference) & (np.log2(rows["ratio"].astype(float)).abs() >= 1)]
        if own.empty or others.empty:
            continue
        other = others.loc[np.log2(others["ratio"].astype(float)).abs().idxmax()]
        own = own[own["host"] == other["host"]]
        least = "at least " if other["bound"] == "at least" else ""
        answers.append(
            {
                "figure": ("≥ " if least else "") + times(other["ratio"]),
                "text": f"the time of {titles[reference]} is what {titles[other['method']]} needs on the same "
                f"{other['cells']:,} cells and {other['genes']:,} genes ({datasets[dataset]['title']})"
                f"{where(other['host'])}: "
                f"{least}{duration(other['seconds'])} against {duration(own['seconds'].iloc[0])}, medians. "
                f"How its runs ended: {other['statuses']}"
                + (f"; converged: {other['converged']}." if isinstance(other["converged"], str) else "."),
            }
        )
    return answers


def contrast_first(table: pd.DataFrame, datasets: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """The separation table by question, the contrast of each dataset before the others."""
    asked = {name: (facts["contrast"] or {}).get("label") for name, facts in datasets.items()}
    other = table["label"].str.partition("=")[0] != table["dataset"].map(asked)
    return table.assign(other=other).sort_values(["other", "label"], kind="stable").drop(columns="other")


def absent(runs: pd.DataFrame) -> dict[str, list[str]]:
    """For each dataset the methods that were run, but not on it."""
    methods = list(dict.fromkeys(runs["method"]))
    return {name: [m for m in methods if m not in set(group["method"])] for name, group in runs.groupby("dataset")}


def by_dataset(table: pd.DataFrame, datasets: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    return {name: plain(table[table["dataset"] == name]) for name in datasets}


def plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A dict a row, missing values as None."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def pathways(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The top pathways of each dataset and method, relevance also as a share of the first one's."""
    return [
        {
            "dataset": dataset,
            "method": method,
            "rows": group.assign(share=group["relevance"] / group["relevance"].max()).to_dict("records"),
        }
        for (dataset, method), group in table.groupby(["dataset", "method"], sort=False)
    ]


# ----------------------------------------------------------------------------------------------------- how time grows


def scaling_answers(full: pd.DataFrame, config: dict[str, Any]) -> list[dict[str, str]]:
    """How many times the reference each model takes at the largest size of a study (no controls), and whence we know.

    ``full`` is the table of `scaling.full_times`.
    """
    reference, titles, where = config["report"]["reference"], titles_of(config), on_host(full)
    answers = []
    for rows in at_largest(full):
        measured = rows[(rows["method"] == reference) & (rows["how"] == "measured")].set_index("host")
        others = rows[rows["host"].isin(measured.index) & ~rows["method"].isin([reference, *controls(config)])]
        for row in others.to_dict("records"):
            time, why = f"{duration(row['ran'])} (measured)", ""
            if row["how"] == "stopped":
                time, why = f"at least {duration(row['lower'])}", f" Nothing is extrapolated: {row['reason']}."
            elif row["how"] == "extrapolated":
                time = f"{duration(row['lower'])} to {duration(row['upper'])} (extrapolated)"
                why = (
                    f" Extrapolated from {duration(row['iteration_seconds'])} an iteration, measured there, times the "
                    f"{number(row['iterations_lower'], 9)} to {number(row['iterations_upper'], 9)} iterations after "
                    f"which the same model converged at other sizes ({number(row['converged'])} runs)."
                )
            answers.append(
                {
                    "figure": between(row["ratio_lower"], row["ratio_upper"]),
                    "text": f"the time of {titles[reference]} is what {titles[row['method']]} needs on "
                    f"{row['cells']:,} cells, {row['genes']:,} genes and {row['terms']} terms{where(row['host'])}: "
                    f"{time} against {duration(measured.loc[row['host'], 'seconds'])} (measured).{why}",
                }
            )
    return answers


def at_largest(full: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of `scaling.full_times` on the largest dataset of each family."""
    full = full.assign(host=hosts(full)).sort_values(["cells", "terms"], kind="stable")
    families = full.groupby("family", sort=False)
    return [rows[rows["dataset"] == rows["dataset"].iloc[-1]] for _, rows in families]


def code_facts(full: pd.DataFrame, runs: pd.DataFrame, config: dict[str, Any]) -> list[str]:
    """How much of the ratio of times is one line of the original's code: on the largest data of each study.

    Without a study (``full``, the table of `scaling.full_times`, is empty) on the data where that line costs most.
    """
    pairs = scaling.reassociated(runs).sort_values("seconds", kind="stable")
    pairs = pairs.assign(where=pairs["host"].map(on_host(runs)))
    if full.empty:
        return [one_line(pair, full, config) for pair in pairs.tail(1).to_dict("records")]
    return [
        one_line(pair, rows, config)
        for rows in at_largest(full)
        for pair in pairs[pairs["dataset"].isin(rows["dataset"])].to_dict("records")
    ]


def one_line(pair: dict[str, Any], rows: pd.DataFrame, config: dict[str, Any]) -> str:
    """How much of the ratio of times is one product of the original that is not needed.

    ``pair`` is a row of `scaling.reassociated`, with ``where`` it was run in words; ``rows`` are those of
    `scaling.full_times` on its dataset, if any.
    """
    titles, entry = titles_of(config), config["datasets"][pair["dataset"]]
    column, of = ("fit", "") if pair["finished"] else ("seconds", "an iteration of ")
    factor = pair[column] / pair[f"{column}_modified"]
    text = (
        f"On {pair['cells']:,} cells and {pair['terms']} terms{pair['where']} {of}{titles[pair['method']]} takes "
        f"{duration(pair[column])}, and {duration(pair[f'{column}_modified'])} with one product re-associated, which "
        f"is the same mathematics: that one line of its code accounts for a factor of {number(factor, 2)}."
    )
    modified = rows[(rows["method"] == pair["method_modified"]) & (hosts(rows) == pair["host"])]
    for row in modified[modified["ratio_upper"].notna()].to_dict("records"):
        text += (
            f" Without it the ratio to {titles[config['report']['reference']]} is "
            f"{between(row['ratio_lower'], row['ratio_upper'])} ({row['how']}): that much is model and algorithm."
        )
    published = published_minutes(pair["dataset"], config["datasets"], config["report"]["paper_minutes"])
    ratio = published.get(pair["method"], np.nan) / published.get(config["report"]["reference"], np.nan)
    if np.isfinite(ratio) and extent(entry) in ("full", "some sets"):
        text += (
            f" The paper prints {times(ratio)}. Were the line worth as much there, it would be a factor of "
            f"{number(factor, 2)} of that and the model one of {number(ratio / factor, 2)}; machine, cells and code of "
            f"the autoencoder differ, so that the paper's ratio is not reproduced by this."
        )
    elif np.isfinite(ratio):
        text += " The line costs more the more terms there are: make scaling measures it at the paper's size."
    return text


def between(lower: float, upper: float) -> str:
    """``26×``, ``26× to 41×``, ``at least 26×``: a range of ratios, its upper end perhaps not known."""
    if np.isnan(upper):
        return f"at least {times(lower)}"
    return times(lower) if times(lower) == times(upper) else f"{times(lower)} to {times(upper)}"


def on_host(table: pd.DataFrame) -> Callable[[str], str]:
    """What names the machine of a row of ``table`` in a sentence: nothing if all rows are of one."""
    return (lambda host: f" on {host or UNNAMED}") if several_hosts(table) else (lambda host: "")


def titles_of(config: dict[str, Any]) -> dict[str, str]:
    return {method: entry["title"] for method, entry in config["methods"].items()}


def controls(config: dict[str, Any]) -> set[str]:
    """Methods of the config that are there to be beaten."""
    return {m for m, entry in config["methods"].items() if registry.load("method", entry["use"]).SPEC.control}
