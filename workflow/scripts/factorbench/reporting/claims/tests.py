"""Tests of claims: what the tables say of a claim, one number a seed (see `factorbench.claims`)."""

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
from ..numbers import percent

Table = dict[str, pd.DataFrame]
"""The tidy tables by name: ``runs``, ``runtime`` and ``scores``."""


class NotTested(Exception):
    """A test cannot be made on these tables; the text says why."""


class NoFactor(NotTested):
    """A gene set is no factor there."""


@dataclass
class Evidence:
    """What a test found.

    Attributes
    ----------
    quantity
        What the numbers are, in words.
    by_seed
        One number a seed.
    runs
        The runs they come from, (method, seed).
    details
        What lies behind the numbers, a clause each.
    unit
        One of `claims.UNITS`. Of ``times`` the mean and its interval are taken of the logarithms.
    at_least
        Whether runs were stopped, so that the true numbers are larger.
    interval
        95 % interval of the mean that does not come from seeds (``None``: Student's t over the seeds).
    dataset
        The dataset that the cells and the extent are told of (empty: the one the claim is about).
    """

    quantity: str
    by_seed: dict[int, float]
    runs: list[tuple[str, int]]
    details: list[str] = field(default_factory=list)
    unit: str = ""
    at_least: bool = False
    interval: tuple[float, float] | None = None
    dataset: str = ""


# ------------------------------------------------------------------------------------------------------ what was found


def scores_by_seed(
    results: Table, dataset: str, method: str, metric: str, factor: str = "", label: str = "", split: str = ""
) -> dict[int, float]:
    """One measure of one factor in every seed of a method on a dataset that has it.

    Raises
    ------
    NotTested
        Saying what is missing: the dataset, the method, the factor, or the label.
    """
    here = runs_of(results, dataset, method, results["scores"])
    if factor and not (here["factor"] == factor).any():
        raise NoFactor(f"{factor} is no factor there, the set is not among those kept")
    if label and not (here["label"] == label).any():
        raise NotTested(f"no cells to tell {label} from")
    rows = here[(here["metric"] == metric) & (here["factor"] == factor)]
    rows = rows[(rows["label"] == label) & (rows["split"] == split)].dropna(subset=["seed", "value"])
    if rows.empty:
        raise NotTested(f"{metric} was not measured")
    return dict(zip(rows["seed"].astype(int), rows["value"].astype(float), strict=True))


def runs_of(results: Table, dataset: str, method: str, table: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``table`` of a method on a dataset; `NotTested` if it was not run there or gave no factors."""
    runs = results["runs"]
    if not (runs["dataset"] == dataset).any():
        raise NotTested("this dataset is not among the runs")
    runs = runs[(runs["dataset"] == dataset) & (runs["method"] == method)]
    if runs.empty:
        raise NotTested(f"{method} was not run")
    if not (runs["n_factors"] > 0).any():
        raise NotTested(f"{method} gave no factors ({in_words(runs['status'])})")
    return table[(table["dataset"] == dataset) & (table["method"] == method)]


def common(*by_seed: dict[int, float]) -> list[int]:
    """Seeds that all have."""
    seeds = sorted(set.intersection(*(set(found) for found in by_seed)))
    if not seeds:
        raise NotTested("the methods have no seed in common")
    return seeds


# ---------------------------------------------------------------------------------------------------------------- tests


def time_ratio(results: Table, dataset: str, params: dict[str, Any], claim: Any, config: Any) -> Evidence:
    """Seconds of ``method`` over seconds of ``reference``, seed by seed, where both were made on one machine."""
    seconds, places, stopped = {}, {}, False
    for key in ("method", "reference"):
        rows = runs_of(results, dataset, params[key], results["runs"])
        rows = rows[rows["status"].isin(TIMED)]
        if rows.empty:
            raise NotTested(f"{params[key]} has no time")
        cut = rows["status"].isin(STOPPED).any()
        if cut and key == "reference":
            raise NotTested(f"{params[key]} was stopped, so that its own time is not known")
        stopped |= bool(cut)
        seconds[key] = dict(zip(rows["seed"].astype(int), rows["fit_seconds"].astype(float), strict=True))
        places[key] = dict(zip(rows["seed"].astype(int), hosts(rows), strict=True))
    both = common(*seconds.values())
    seeds = [s for s in both if places["method"][s] == places["reference"][s]]
    if not seeds:
        raise NotTested(f"{params['method']} and {params['reference']} were made on different machines")
    apart = ", ".join(str(s) for s in both if s not in seeds)
    means = {key: np.mean([found[s] for s in seeds]) for key, found in seconds.items()}
    return Evidence(
        f"ratio of the time of {params['method']} to that of {params['reference']}",
        {s: seconds["method"][s] / seconds["reference"][s] for s in seeds},
        [(params[key], s) for key in ("method", "reference") for s in seeds],
        [f"{params[key]} {means[key] / 60:.2f} min" for key in means]
        + ([f"without seed {apart}: the two were made on different machines"] if apart else []),
        unit="times",
        at_least=stopped,
    )


def auroc(results: Table, dataset: str, params: dict[str, Any], claim: Any, config: Any) -> Evidence:
    """How well the score of one term tells a label: the AUROC, whichever way round."""
    at = {"factor": params["term"], "label": params["label"]}
    area = scores_by_seed(results, dataset, params["method"], "auroc", **at)
    accuracy = scores_by_seed(results, dataset, params["method"], "accuracy", split="train", **at)
    base = scores_by_seed(results, dataset, params["method"], "baseline", label=params["label"])
    details = [
        f"training accuracy {percent(np.mean(list(accuracy.values())))}",
        f"guessing the larger class {percent(np.mean(list(base.values())))}",
    ]
    for control, entry in config["methods"].items():
        if not registry.load("method", entry["use"]).SPEC.control:
            continue
        try:
            other = scores_by_seed(results, dataset, control, "auroc", **at)
        except NotTested:
            continue
        details.append(f"AUROC of {control} {0.5 + np.mean([abs(v - 0.5) for v in other.values()]):.3f}")
    return Evidence(
        f"AUROC of {params['term']} for {params['label']}",
        {seed: 0.5 + abs(value - 0.5) for seed, value in area.items()},
        [(params["method"], seed) for seed in area],
        details,
    )


def beats_all(results: Table, dataset: str, params: dict[str, Any], claim: Any, config: Any) -> Evidence:
    """The smallest difference in training accuracy between a method and the others, over terms, seed by seed."""
    terms = [term for term in params["terms"] if term not in params["but"]]
    margins, _, absent = _margins(results, dataset, params, terms)
    worst = margins.groupby("seed")["margin"].min()
    means = margins.groupby(["term", "other"], sort=False)["margin"].mean()
    details = [f"{term} {100 * margin:+.1f} points against {other}" for (term, other), margin in means.items()]
    return Evidence(
        f"smallest difference in training accuracy to {' and '.join(params['others'])}",
        {int(seed): value for seed, value in worst.items()},
        [(method, int(seed)) for method in (params["method"], *params["others"]) for seed in worst.index],
        details + ([f"not there: {', '.join(absent)}"] if absent else []),
        unit="points",
    )


def is_beaten(results: Table, dataset: str, params: dict[str, Any], claim: Any, config: Any) -> Evidence:
    """The largest difference in training accuracy between the others and a method on one term, seed by seed."""
    margins, details, _ = _margins(results, dataset, params, [params["term"]])
    best = -margins.groupby("seed")["margin"].min()
    return Evidence(
        f"largest difference in training accuracy that {' or '.join(params['others'])} has over {params['method']}",
        {int(seed): value for seed, value in best.items()},
        [(method, int(seed)) for method in (params["method"], *params["others"]) for seed in best.index],
        details,
        unit="points",
    )


def _margins(
    results: Table, dataset: str, params: dict[str, Any], terms: list[str]
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Accuracy of the method minus that of each other, by term and seed; accuracies in words; terms not there."""
    rows, details, absent = [], [], []
    for term in terms:
        found = {}
        try:
            for method in (params["method"], *params["others"]):
                at = {"factor": term, "label": params["label"], "split": "train"}
                found[method] = scores_by_seed(results, dataset, method, "accuracy", **at)
        except NoFactor:
            absent.append(term)
            continue
        seeds = common(*found.values())
        details += [f"{m} {percent(np.mean([v[s] for s in seeds]))} on {term}" for m, v in found.items()]
        mine = found[params["method"]]
        rows += [(term, other, s, mine[s] - found[other][s]) for other in params["others"] for s in seeds]
    if not rows:
        raise NotTested(f"{', '.join(terms)} is no factor there, the set is not among those kept")
    return pd.DataFrame(rows, columns=["term", "other", "seed", "margin"]), details, absent


def best_of(results: Table, dataset: str, params: dict[str, Any], claim: Any, config: Any) -> Evidence:
    """Training accuracy of one term minus that of the best of the other terms, seed by seed."""
    found, absent = {}, []
    for term in params["terms"]:
        at = {"factor": term, "label": params["label"], "split": "train"}
        try:
            found[term] = scores_by_seed(results, dataset, params["method"], "accuracy", **at)
        except NoFactor:
            if term == params["term"]:
                raise
            absent.append(term)
    others = {term: values for term, values in found.items() if term != params["term"]}
    if not others:
        raise NotTested("none of the other terms is a factor there")
    seeds = common(*found.values())
    means = {term: np.mean([values[s] for s in seeds]) for term, values in found.items()}
    details = [f"{term} {percent(mean)}" for term, mean in sorted(means.items(), key=lambda item: -item[1])]
    return Evidence(
        f"training accuracy of {params['term']} minus that of the best of the others ({params['method']})",
        {s: found[params["term"]][s] - max(values[s] for values in others.values()) for s in seeds},
        [(params["method"], s) for s in seeds],
        details + ([f"not there: {', '.join(absent)}"] if absent else []),
        unit="points",
    )


def switched_off(results: Table, dataset: str, params: dict[str, Any], claim: Any, config: Any) -> Evidence:
    """Factors that a method switched off, seed by seed (that their loadings are exactly zero is in the contract)."""
    runs = runs_of(results, dataset, params["method"], results["runs"])
    runs = runs[runs["n_factors"] > 0]
    off = runs["n_factors"].astype(int) - runs["n_active"].astype(int)
    return Evidence(
        f"number of factors that {params['method']} switches off",
        dict(zip(runs["seed"].astype(int), off.astype(float), strict=True)),
        [(params["method"], int(seed)) for seed in runs["seed"]],
        [f"of {int(runs['n_factors'].max())} factors"],
    )


WORDS = {"off_mask_zeros_all": "share of loadings outside the gene sets that are exactly zero"}
"""What measures are called in a sentence, where their names do not say it."""


def measure(results: Table, dataset: str, params: dict[str, Any], claim: Any, config: Any) -> Evidence:
    """A measure of a run as a whole."""
    values = scores_by_seed(results, dataset, params["method"], params["metric"])
    words = WORDS.get(params["metric"], params["metric"].replace("_", " "))
    return Evidence(f"{words} of {params['method']}", values, [(params["method"], s) for s in values], unit="share")


def top_terms(results: Table, dataset: str, params: dict[str, Any], claim: Any, config: Any) -> Evidence:
    """How many published terms are among as many of the method's most relevant factors, seed by seed."""
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
            f"Kendall's tau over {agreement['n']} published terms that are there {agreement['tau']:.2f} "
            f"(p = {agreement['p_tau']:.2g})",
        ],
    )


def new_cells(results: Table, dataset: str, params: dict[str, Any], claim: Any, config: Any) -> Evidence:
    """Accuracy of a term on cells the model has not seen minus that of a model that saw them, seed by seed."""
    at = {"factor": params["term"], "label": params["label"]}
    unseen = scores_by_seed(results, dataset, params["method"], "projected_accuracy", split="held_out", **at)
    saw = scores_by_seed(results, dataset, params["method"], "projected_accuracy", split="saw_them", **at)
    alike = scores_by_seed(
        results, dataset, params["method"], "score_correlation", factor=params["term"], split="held_out"
    )
    seeds = common(unseen, saw)
    return Evidence(
        f"accuracy of {params['term']} on unseen cells minus that of a model that saw them",
        {s: unseen[s] - saw[s] for s in seeds},
        [(params["method"], s) for s in seeds],
        [
            f"unseen {percent(np.mean([unseen[s] for s in seeds]))}",
            f"by a model that saw them {percent(np.mean([saw[s] for s in seeds]))}",
            f"correlation of the two scores {np.mean(list(alike.values())):.3f}",
        ],
        unit="points",
    )


def time_grows(results: Table, dataset: str, params: dict[str, Any], claim: Any, config: Any) -> Evidence:
    """Slope of log(ratio of times) by log(cells) over the sizes of a dataset on which both finished, seed by seed.

    The sizes are those at one number of terms and on one machine, where there are most of them. Runs that were stopped
    are left out: how long they would have taken is not known. Below three seeds the interval is that of the fitted
    exponent.
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
        raise NotTested("; ".join(["not both methods finished on any of its sizes", *stopped]))
    ratio = (seconds[method].astype(float) / seconds[reference].astype(float)).dropna().rename("ratio").reset_index()
    size = ok[ok["method"] == reference].groupby("dataset")[["n_cells", "n_factors"]].max()
    ratio = ratio.join(size, on="dataset")
    sizes = ratio.groupby(["n_factors", "host"])["n_cells"].nunique()
    most = 0 if sizes.empty else int(sizes.max())
    terms, host = (None, None) if sizes.empty else sizes[sizes == most].index.max()
    ratio = ratio[(ratio["n_factors"] == terms) & (ratio["host"] == host)].sort_values("n_cells")
    stopped = _stopped(runs[runs["method"] == method], terms)
    if most < scaling.SIZES:
        many = f"{most} size{'s'[: most != 1]} of these data at one number of terms"
        many += " on one machine" if several_hosts(ok) else ""
        raise NotTested("; ".join([f"both methods finished on {many}, {scaling.SIZES} are needed", *stopped]))
    found = {int(seed): rows for seed, rows in ratio.groupby("seed") if rows["n_cells"].nunique() >= scaling.SIZES}
    slopes = {s: float(np.polyfit(np.log(rows["n_cells"]), np.log(rows["ratio"]), 1)[0]) for s, rows in found.items()}
    if not slopes:
        raise NotTested(f"no seed finished with both methods on {scaling.SIZES} sizes of these data")
    law = scaling.power_law(ratio["n_cells"], ratio["n_factors"], ratio["ratio"])
    cells = ratio["n_cells"].drop_duplicates()
    few = len(slopes) < 3
    details = [f"at {terms:.0f} terms and {', '.join(f'{n:,}' for n in cells)} cells"]
    details += [f"on the machine {host}"] if several_hosts(ok) else []
    details += ["the interval is that of the fitted exponent, not one over seeds"] if few else []
    return Evidence(
        f"exponent of the growth with cells of the ratio of times, {method} over {reference}",
        slopes,
        [(name, seed) for name in (method, reference) for seed in slopes],
        details + stopped,
        interval=(law["cells_lower"], law["cells_upper"]) if few else None,
        dataset=ratio["dataset"].iloc[-1],
    )


def _stopped(runs: pd.DataFrame, terms: float | None) -> list[str]:
    """On which sizes the runs of a method were stopped, and how the cost of its iterations grows; a clause each."""
    cut = runs[runs["status"].isin(STOPPED)]
    if cut.empty:
        return []
    method, cells = cut["method"].iloc[0], ", ".join(f"{n:,}" for n in sorted(cut["n_cells"].unique()))
    clauses = [f"{method} was stopped on {cells} cells, where its time is not known"]
    iterating = scaling.of_iterations(runs[runs["n_factors"] == (cut["n_factors"].max() if terms is None else terms)])
    if several_hosts(iterating):
        return clauses
    law = scaling.power_law(iterating["n_cells"], iterating["n_factors"], iterating["iteration_seconds"])
    if np.isfinite(law["cells_exponent"]):
        lower, upper = law["cells_lower"], law["cells_upper"]
        clauses.append(
            f"seconds of one iteration, all that can be compared there, grow with cells to the power of "
            f"{law['cells_exponent']:.2f} (95 % interval {lower:.2f} to {upper:.2f})"
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
