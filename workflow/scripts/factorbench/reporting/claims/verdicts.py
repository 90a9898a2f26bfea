"""The claims of a publication against the tidy tables: reproduced, not reproduced, or not tested and why.

A claim (``workflow/claims.yaml``) names one of `tests.TESTS` and its parameters. A test gives one number per seed. The
claim is reproduced if their mean is on the claimed side of the threshold and, with three seeds or more, the whole 95 %
interval of the mean too (Student's t over seeds): a result that another seed may reverse is not a reproduction. A test
of a fitted number may bring the interval of the fit instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ...config.claims import SIDES
from ...results.meaning import in_set_shares, lost
from ...results.seeds import tidy
from ...results.tables import add_missing
from ...statistics import interval
from .tests import TESTS, Evidence, NotTested, Table

REPRODUCED, FAILED, UNTESTED = "reproduced", "not reproduced", "not tested"
NUMBERS = ("verdict", "why", "value", "lower", "upper", "seeds")
"""Columns that exist twice: for the claim as published and, with the prefix ``beside_``, for the second method."""
COLUMNS = (
    *("claim", "where", "says", "taken_as", "published", "dataset", "extent", "cells", "quantity", "unit", "threshold"),
    *(*NUMBERS, "runs", "details", "differs", "beside", *(f"beside_{name}" for name in NUMBERS)),
)


def claims_table(content: dict[str, Any], results: Table, config: dict[str, Any]) -> pd.DataFrame:
    """Return one row per claim about a dataset that was run (`COLUMNS`).

    Parameters
    ----------
    content
        Claims, and the method that is tested beside the paper's (`config.claims.read`).
    results
        The tables ``runs``, ``runtime`` and ``scores``.
    config
        The resolved config.

    Returns
    -------
    DataFrame
        Verdict, why, and the numbers with their interval and runs. ``beside`` names the second method in words, for
        claims that it can be tested on; the columns ``beside_...`` are the same test with that method.
    """
    results = {**results, "scores": tidy(results["scores"])}
    rows = []
    for claim in content["claims"]:
        if claim["id"] in config["other_claims"]:
            continue
        row = judge(claim, results, config)
        second = with_method(claim, content["beside"])
        if second is not None:
            other = judge(second, results, config)
            row |= {"beside": content["beside"]["title"], **{f"beside_{name}": other.get(name) for name in NUMBERS}}
        rows.append(row)
    return add_missing(pd.DataFrame(rows, columns=list(COLUMNS)), config["datasets"])


def with_method(claim: dict[str, Any], beside: dict[str, str] | None) -> dict[str, Any] | None:
    """Return the claim about the method ``beside["by"]``; ``None`` if it is not about ``beside["replace"]``."""
    ((name, params),) = claim["test"].items()
    if beside is None or beside["replace"] not in params.values():
        return None
    changed = {key: beside["by"] if value == beside["replace"] else value for key, value in params.items()}
    return claim | {"test": {name: changed}}


def judge(claim: dict[str, Any], results: Table, config: dict[str, Any]) -> dict[str, Any]:
    """Test a claim on its dataset or, if that is not possible, on its stand-in; return its row of the table."""
    keys = ("where", "says", "taken_as", "published", "differs")
    row = {"claim": claim["id"], **{key: claim[key] for key in keys}}
    ((name, params),) = claim["test"].items()
    reasons = []
    for dataset in filter(None, (claim["dataset"], claim["stand_in"])):
        try:
            evidence = TESTS[name](results, dataset, params, claim, config)
        except NotTested as reason:
            reasons.append(f"on {dataset}: {reason}")
            continue
        evidence.details.extend(no_longer_sets(results, evidence.dataset or dataset, params, config))
        decides = dataset == claim["dataset"] or claim["decides"]
        return row | weigh(evidence, params, decides, reasons) | where(evidence.dataset or dataset, evidence, results)
    return row | {"verdict": UNTESTED, "why": "; ".join(reasons), "dataset": claim["dataset"]}


def no_longer_sets(results: Table, dataset: str, params: dict[str, Any], config: dict[str, Any]) -> list[str]:
    """Return a clause that names the claim's factors that are no longer their gene sets, if there are any."""
    names = dict.fromkeys([params.get("term"), *params.get("terms", [])])
    shares = in_set_shares(results["scores"])
    left = [name for name in names if lost(shares.get((dataset, params.get("method"), name)))]
    title = config["methods"].get(params.get("method"), {}).get("title")
    return [f"no longer its gene set in {title}: {', '.join(left)}"] if left else []


def weigh(evidence: Evidence, params: dict[str, Any], decides: bool, reasons: list[str]) -> dict[str, Any]:
    """Return verdict, why and the numbers; ``reasons``: why the claim was not tested on the publication's own data."""
    (side,) = set(SIDES) & set(params)
    threshold = params[side]
    values = list(evidence.by_seed.values())
    if evidence.unit == "times":
        mean, lower, upper = (float(np.exp(v)) for v in interval(np.log(values)))
    else:
        mean, lower, upper = interval(values)
    if evidence.interval is not None:
        lower, upper = evidence.interval
    lower, upper = np.clip([lower, upper], *evidence.limits)
    beyond = np.greater if side == "above" else np.greater_equal
    holds, sure = bool(beyond(mean, threshold)), bool(np.isnan(lower) or beyond(lower, threshold))
    words = f"{side.replace('_', ' ')} {threshold:g}"
    verdict, why = FAILED, ""
    if not decides:
        verdict, why = UNTESTED, "; ".join([*reasons, "the numbers are from other data and do not decide"])
    elif holds and sure:
        verdict = REPRODUCED
    elif evidence.at_least:
        verdict, why = UNTESTED, "runs were stopped before they were done, so the true number is larger"
    elif holds:
        why = "it holds on average, but not in the whole interval"
    if decides:
        few = f"{len(values)} seed{'s'[: len(values) > 1]}, too few for an interval" if np.isnan(lower) else ""
        why = "; ".join(filter(None, [why, *reasons, few]))
    return {
        "verdict": verdict,
        "why": why,
        "quantity": ("lower bound of the " if evidence.at_least else "") + evidence.quantity,
        "unit": evidence.unit,
        "value": mean,
        "lower": lower,
        "upper": upper,
        "threshold": words,
        "seeds": len(values),
        "details": "; ".join(evidence.details),
    }


def where(dataset: str, evidence: Evidence, results: Table) -> dict[str, Any]:
    """Return the dataset, which part of it was used, its cells, and the runs that the evidence comes from."""
    rows = results["runtime"]
    row = rows[rows["dataset"] == dataset].iloc[0]
    runs = ", ".join(f"{method}/{seed}" for method, seed in dict.fromkeys(evidence.runs))
    return {"dataset": dataset, "extent": row["extent"], "cells": int(row["cells"]), "runs": runs}
