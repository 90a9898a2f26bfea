"""Tests of claims: what the tables say about a claim, one number per seed (see `verdicts`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ... import registry
from ...config.plan import ancestry
from ...results import scaling
from ...results.pathways import annotated_relevance, rank_agreement
from ...results.runtime import STOPPED, TIMED, hosts, in_words, several_hosts
from ..numbers import percent, points

Table = dict[str, pd.DataFrame]
"""The tidy tables by name: ``runs``, ``runtime`` and ``scores``."""


class NotTested(Exception):
    """A test is not possible on these tables; the text says why."""


class NoFactor(NotTested):
    """A gene set is not a factor of the run."""


@dataclass
class Evidence:
    """The result of a test.

    Attributes
    ----------
    quantity
        What the numbers are, in words.
    by_seed
        One number per seed.
    runs
        The runs they come from, (method, seed).
    details
        Further numbers behind them, a clause each.
    unit
        One of `numbers.UNITS`. For ``times`` the mean and its interval are taken of the logarithms.
    at_least
        Whether runs were stopped, so that the true numbers are larger.
    interval
        95 % interval of the mean if it does not come from seeds (``None``: Student's t over the seeds).
    limits
        The smallest and the largest number that are possible; intervals end there.
    dataset
        The dataset whose cells and extent are reported (empty: the one the claim is about).
    """

    quantity: str
    by_seed: dict[int, float]
    runs: list[tuple[str, int]]
    details: list[str] = field(default_factory=list)
    unit: str = ""
    at_least: bool = False
    interval: tuple[float, float] | None = None
    limits: tuple[float, float] = (-np.inf, np.inf)
    dataset: str = ""


# ------------------------------------------------------------------------------------------------- reading the tables


def scores_by_seed(
    results: Table, dataset: str, method: str, metric: str, factor: str = "", label: str = "", split: str = ""
) -> dict[int, float]:
    """Return one measure of one factor in every seed of a method on a dataset.

    Raises
    ------
    NotTested
        If the dataset, the method, the factor or the label is missing; the text says which.
    """
    rows = runs_of(results, dataset, method, results["scores"])
    if factor and not (rows["factor"] == factor).any():
        raise NoFactor(f"{factor} is not a factor; the set is not among those kept")
    if label and not (rows["label"] == label).any():
        raise NotTested(f"there are no two classes for {label}")
    rows = rows[(rows["metric"] == metric) & (rows["factor"] == factor)]
    rows = rows[(rows["label"] == label) & (rows["split"] == split)].dropna(subset=["seed", "value"])
    if rows.empty:
        raise NotTested(f"{metric} was not measured")
    return dict(zip(rows["seed"].astype(int), rows["value"].astype(float), strict=True))


def runs_of(results: Table, dataset: str, method: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of ``table`` about a method on a dataset; `NotTested` if it was not run or gave no factors."""
    runs = results["runs"]
    if not (runs["dataset"] == dataset).any():
        raise NotTested("this dataset was not run")
    runs = runs[(runs["dataset"] == dataset) & (runs["method"] == method)]
    if runs.empty:
        raise NotTested(f"{method} was not run")
    if not (runs["n_factors"] > 0).any():
        raise NotTested(f"{method} gave no factors ({in_words(runs['status'])})")
    return table[(table["dataset"] == dataset) & (table["method"] == method)]


def common_seeds(*by_seed: dict[int, float]) -> list[int]:
    """Return the seeds that all have."""
    seeds = sorted(set.intersection(*(set(values) for values in by_seed)))
    if not seeds:
        raise NotTested("the methods have no seed in common")
    return seeds


def title(method: str, config: dict[str, Any]) -> str:
    """Return what a method is called in sentences."""
    return config["methods"][method]["title"]


def mean_of(by_seed: dict[int, float]) -> float:
    return float(np.mean(list(by_seed.values())))


# --------------------------------------------------------------------------------------------------------------- tests


def time_ratio(results: Table, dataset: str, params: dict[str, Any], claim: Any, config: Any) -> Evidence:
    """Return the seconds of ``method`` over those of ``reference``, for seeds that both ran on one machine."""
    seconds, machines, stopped = {}, {}, False
    for key in ("method", "reference"):
        rows = runs_of(results, dataset, params[key], results["runs"])
        rows = rows[rows["status"].isin(TIMED)]
        if rows.empty:
            raise NotTested(f"{params[key]} has no time")
        cut = rows["status"].isin(STOPPED).any()
        if cut and key == "reference":
            raise NotTested(f"{params[key]} was stopped, so its time is unknown")
        stopped |= bool(cut)
        seconds[key] = dict(zip(rows["seed"].astype(int), rows["fit_seconds"].astype(float), strict=True))
        machines[key] = dict(zip(rows["seed"].astype(int), hosts(rows), strict=True))
    both = common_seeds(*seconds.values())
    seeds = [s for s in both if machines["method"][s] == machines["reference"][s]]
    if not seeds:
        raise NotTested(f"{params['method']} and {params['reference']} were run on different machines")
    apart = ", ".join(str(s) for s in both if s not in seeds)
    means = {key: np.mean([values[s] for s in seeds]) for key, values in seconds.items()}
    return Evidence(
        f"ratio of the time of {title(params['method'], config)} to that of {title(params['reference'], config)}",
        {s: seconds["method"][s] / seconds["reference"][s] for s in seeds},
        [(params[key], s) for key in ("method", "reference") for s in seeds],
        [f"{title(params[key], config)} {means[key] / 60:.2f} min" for key in means]
        + ([f"without seed {apart}, for which the two were run on different machines"] if apart else []),
        unit="times",
        at_least=stopped,
    )


def auroc(results: Table, dataset: str, params: dict[str, Any], claim: Any, config: Any) -> Evidence:
    """Return how well the score of one factor separates a class: its AUROC, whichever class scores higher."""
    at = {"factor": params["term"], "label": params["label"]}
    area = scores_by_seed(results, dataset, params["method"], "auroc", **at)
    accuracy = scores_by_seed(results, dataset, params["method"], "accuracy", split="train", **at)
    base = scores_by_seed(results, dataset, params["method"], "baseline", label=params["label"])
    details = [f"training accuracy {percent(mean_of(accuracy))}", f"guessing the larger class {percent(mean_of(base))}"]
    for control, entry in config["methods"].items():
        if not registry.load("method", entry["use"]).SPEC.control:
            continue
        try:
            other = scores_by_seed(results, dataset, control, "auroc", **at)
        except NotTested:
            continue
        details.append(f"AUROC of {title(control, config)} {0.5 + np.mean([abs(v - 0.5) for v in other.values()]):.3f}")
    return Evidence(
        f"AUROC of {params['term']} for {params['label']}",
        {seed: 0.5 + abs(value - 0.5) for seed, value in area.items()},
        [(params["method"], seed) for seed in area],
        details,
        limits=(0, 1),
    )


def beats_all(results: Table, dataset: str, params: dict[str, Any], claim: Any, config: Any) -> Evidence:
    """Return the smallest difference in training accuracy between a method and the others, over factors, by seed."""
    terms = [term for term in params["terms"] if term not in params["but"]]
    margins, _, absent = _margins(results, dataset, params, terms, config)
    worst = margins.groupby("seed")["margin"].min()
    means = margins.groupby(["term", "other"], sort=False)["margin"].mean()
    details = [f"{term} {points(m)} points against {title(other, config)}" for (term, other), m in means.items()]
    return Evidence(
        f"smallest difference in training accuracy to {' and '.join(title(m, config) for m in params['others'])}",
        {int(seed): value for seed, value in worst.items()},
        [(method, int(seed)) for method in (params["method"], *params["others"]) for seed in worst.index],
        details + ([f"not kept: {', '.join(absent)}"] if absent else []),
        unit="points",
    )


def is_beaten(results: Table, dataset: str, params: dict[str, Any], claim: Any, config: Any) -> Evidence:
    """Return the largest difference in training accuracy between the others and a method on one factor, by seed."""
    margins, details, _ = _margins(results, dataset, params, [params["term"]], config)
    best = -margins.groupby("seed")["margin"].min()
    others = " or ".join(title(method, config) for method in params["others"])
    return Evidence(
        f"largest difference in training accuracy that {others} has over {title(params['method'], config)}",
        {int(seed): value for seed, value in best.items()},
        [(method, int(seed)) for method in (params["method"], *params["others"]) for seed in best.index],
        details,
        unit="points",
    )


def _margins(
    results: Table, dataset: str, params: dict[str, Any], terms: list[str], config: dict[str, Any]
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Return the method's accuracy minus each other's, by term and seed; accuracies in words; terms without factor."""
    rows, details, absent = [], [], []
    for term in terms:
        accuracy = {}
        try:
            for method in (params["method"], *params["others"]):
                at = {"factor": term, "label": params["label"], "split": "train"}
                accuracy[method] = scores_by_seed(results, dataset, method, "accuracy", **at)
        except NoFactor:
            absent.append(term)
            continue
        seeds = common_seeds(*accuracy.values())
        means = {method: np.mean([values[s] for s in seeds]) for method, values in accuracy.items()}
        details += [f"{title(method, config)} {percent(mean)} on {term}" for method, mean in means.items()]
        mine = accuracy[params["method"]]
        rows += [(term, other, s, mine[s] - accuracy[other][s]) for other in params["others"] for s in seeds]
    if not rows:
        raise NotTested(f"{', '.join(terms)} is not a factor; the set is not among those kept")
    return pd.DataFrame(rows, columns=["term", "other", "seed", "margin"]), details, absent


def best_of(results: Table, dataset: str, params: dict[str, Any], claim: Any, config: Any) -> Evidence:
    """Return the training accuracy of one factor minus that of the best of other factors, by seed."""
    accuracy, absent = {}, []
    for term in params["terms"]:
        at = {"factor": term, "label": params["label"], "split": "train"}
        try:
            accuracy[term] = scores_by_seed(results, dataset, params["method"], "accuracy", **at)
        except NoFactor:
            if term == params["term"]:
                raise
            absent.append(term)
    others = {term: values for term, values in accuracy.items() if term != params["term"]}
    if not others:
        raise NotTested("none of the other gene sets is a factor")
    seeds = common_seeds(*accuracy.values())
    means = {term: np.mean([values[s] for s in seeds]) for term, values in accuracy.items()}
    details = [f"{term} {percent(mean)}" for term, mean in sorted(means.items(), key=lambda item: -item[1])]
    return Evidence(
        f"training accuracy of {params['term']} minus that of the best of the others, "
        f"for {title(params['method'], config)},",
        {s: accuracy[params["term"]][s] - max(values[s] for values in others.values()) for s in seeds},
        [(params["method"], s) for s in seeds],
        details + ([f"not kept: {', '.join(absent)}"] if absent else []),
        unit="points",
    )


def switched_off(results: Table, dataset: str, params: dict[str, Any], claim: Any, config: Any) -> Evidence:
    """Return the number of factors that a method switches off, by seed. (The contract makes their loadings zero.)"""
    runs = runs_of(results, dataset, params["method"], results["runs"])
    runs = runs[runs["n_factors"] > 0]
    off = runs["n_factors"].astype(int) - runs["n_active"].astype(int)
    return Evidence(
        f"number of factors that {title(params['method'], config)} switches off",
        dict(zip(runs["seed"].astype(int), off.astype(float), strict=True)),
        [(params["method"], int(seed)) for seed in runs["seed"]],
        [f"of {int(runs['n_factors'].max())} factors"],
    )


WORDS = {"off_mask_zeros_all": "share of loadings outside the gene sets that are exactly zero"}
"""Measures in words, where the name does not say it."""


def measure(results: Table, dataset: str, params: dict[str, Any], claim: Any, config: Any) -> Evidence:
    """Return a measure of a run as a whole, by seed."""
    values = scores_by_seed(results, dataset, params["method"], params["metric"])
    words = WORDS.get(params["metric"], params["metric"].replace("_", " "))
    runs = [(params["method"], seed) for seed in values]
    return Evidence(f"{words} of {title(params['method'], config)}", values, runs, unit="share", limits=(0, 1))


def top_terms(results: Table, dataset: str, params: dict[str, Any], claim: Any, config: Any) -> Evidence:
    """Return how many published terms are among as many of the method's most relevant factors, by seed."""
    scores = annotated_relevance(runs_of(results, dataset, params["method"], results["scores"]))
    if scores.empty:
        raise NotTested("relevance was not measured")
    published = claim["terms"]
    shared = {}
    for seed, rows in scores.groupby("seed"):
        top = rows[rows["value"] > 0].nlargest(len(published), "value")["factor"]
        shared[int(seed)] = float(len(set(top) & set(published)))
    agreement = rank_agreement(scores.groupby("factor")["value"].mean(), published)
    return Evidence(
        f"number of the {len(published)} published pathways among our first {len(published)}",
        shared,
        [(params["method"], seed) for seed in shared],
        [
            f"by mean norm over seeds {agreement['shared']} shared, {agreement['expected']:.1f} expected by chance "
            f"(p = {agreement['p_overlap']:.2g})",
            f"Kendall's tau over the {agreement['n']} published terms that were kept {agreement['tau']:.2f} "
            f"(p = {agreement['p_tau']:.2g})",
        ],
    )


def new_cells(results: Table, dataset: str, params: dict[str, Any], claim: Any, config: Any) -> Evidence:
    """Return the accuracy of a factor on held-out cells minus that of a model that saw them, by seed."""
    at = {"factor": params["term"], "label": params["label"]}
    unseen = scores_by_seed(results, dataset, params["method"], "projected_accuracy", split="held_out", **at)
    saw = scores_by_seed(results, dataset, params["method"], "projected_accuracy", split="saw_them", **at)
    alike = scores_by_seed(
        results, dataset, params["method"], "score_correlation", factor=params["term"], split="held_out"
    )
    seeds = common_seeds(unseen, saw)
    return Evidence(
        f"accuracy of {params['term']} on unseen cells minus that of a model that saw them",
        {s: unseen[s] - saw[s] for s in seeds},
        [(params["method"], s) for s in seeds],
        [
            f"unseen {percent(np.mean([unseen[s] for s in seeds]))}",
            f"by a model that saw them {percent(np.mean([saw[s] for s in seeds]))}",
            f"correlation of the two scores {mean_of(alike):.3f}",
        ],
        unit="points",
    )


def time_grows(results: Table, dataset: str, params: dict[str, Any], claim: Any, config: Any) -> Evidence:
    """Return the slope of log(ratio of times) by log(cells) over the sizes on which both methods finished, by seed.

    Only sizes at one number of gene sets and on one machine are compared, those with most sizes. Runs that were stopped
    are left out, because their time is unknown. Below three seeds the interval is that of the fitted exponent.
    """
    method, reference = params["method"], params["reference"]
    datasets, runs = config["datasets"], results["runs"].assign(host=hosts(results["runs"]))
    family = [name for name in runs["dataset"].unique() if dataset in ancestry(name, datasets)]
    family = [name for name in family if not datasets[name].get("hold_out")]
    runs = runs[runs["dataset"].isin(family) & runs["method"].isin([method, reference]) & (runs["n_factors"] > 0)]
    ok = runs[runs["status"] == "ok"]
    seconds = ok.pivot_table(index=["seed", "dataset", "host"], columns="method", values="fit_seconds")
    if not {method, reference} <= set(seconds.columns):
        stopped = _stopped(runs[runs["method"] == method], None)
        raise NotTested("; ".join(["the two methods did not both finish on any of its sizes", *stopped]))
    ratio = (seconds[method].astype(float) / seconds[reference].astype(float)).dropna().rename("ratio").reset_index()
    size = ok[ok["method"] == reference].groupby("dataset")[["n_cells", "n_factors"]].max()
    ratio = ratio.join(size, on="dataset")
    sizes = ratio.groupby(["n_factors", "host"])["n_cells"].nunique()
    most = 0 if sizes.empty else int(sizes.max())
    terms, host = (None, None) if sizes.empty else sizes[sizes == most].index.max()
    ratio = ratio[(ratio["n_factors"] == terms) & (ratio["host"] == host)].sort_values("n_cells")
    stopped = _stopped(runs[runs["method"] == method], terms)
    if most < scaling.SIZES:
        many = f"{most} size{'s'[: most != 1]} of these data at one number of gene sets"
        many += " on one machine" if several_hosts(ok) else ""
        raise NotTested("; ".join([f"both methods finished on {many}, {scaling.SIZES} are needed", *stopped]))
    enough = {int(seed): rows for seed, rows in ratio.groupby("seed") if rows["n_cells"].nunique() >= scaling.SIZES}
    slopes = {s: float(np.polyfit(np.log(rows["n_cells"]), np.log(rows["ratio"]), 1)[0]) for s, rows in enough.items()}
    if not slopes:
        raise NotTested(f"no seed finished with both methods on {scaling.SIZES} sizes of these data")
    law = scaling.power_law(ratio["n_cells"], ratio["n_factors"], ratio["ratio"])
    cells = ratio["n_cells"].drop_duplicates()
    few = len(slopes) < 3
    details = [f"at {terms:.0f} gene sets and {', '.join(f'{n:,}' for n in cells)} cells"]
    details += [f"on the machine {host}"] if several_hosts(ok) else []
    details += ["the interval is that of the fitted exponent, not over seeds"] if few else []
    return Evidence(
        f"exponent of the growth with cells of the ratio of times, {title(method, config)} over "
        f"{title(reference, config)}",
        slopes,
        [(name, seed) for name in (method, reference) for seed in slopes],
        details + stopped,
        interval=(law["cells_lower"], law["cells_upper"]) if few else None,
        dataset=ratio["dataset"].iloc[-1],
    )


def _stopped(runs: pd.DataFrame, terms: float | None) -> list[str]:
    """Return on which sizes the runs of a method were stopped, and how the cost of an iteration grows; clauses."""
    cut = runs[runs["status"].isin(STOPPED)]
    if cut.empty:
        return []
    method, cells = cut["method"].iloc[0], ", ".join(f"{n:,}" for n in sorted(cut["n_cells"].unique()))
    clauses = [f"{method} was stopped on {cells} cells, where its time is unknown"]
    rows = scaling.iterating(runs[runs["n_factors"] == (cut["n_factors"].max() if terms is None else terms)])
    if several_hosts(rows):
        return clauses
    law = scaling.power_law(rows["n_cells"], rows["n_factors"], rows["iteration_seconds"])
    if np.isfinite(law["cells_exponent"]):
        clauses.append(
            f"there only the seconds per iteration can be compared; they grow with cells to the power of "
            f"{law['cells_exponent']:.2f} (95 % interval {law['cells_lower']:.2f} to {law['cells_upper']:.2f})"
        )
    return clauses


TESTS: dict[str, Callable[..., Evidence]] = {
    test.__name__: test
    for test in (
        *(time_ratio, auroc, beats_all, is_beaten, best_of),
        *(switched_off, measure, top_terms, new_cells, time_grows),
    )
}
"""Tests by name. Each takes the tables, a dataset, the parameters of the test, the claim and the config, and returns
`Evidence` or raises `NotTested`. ``workflow/schemas/claims.schema.yaml`` documents the parameters."""
