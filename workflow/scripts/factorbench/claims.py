"""The claims of a publication against the tidy tables: reproduced, not reproduced, or not tested and why.

A claim (``workflow/claims.yaml``) names one of `evidence.TESTS` and its settings. A test gives one number a seed. The
claim is reproduced if their mean is on the claimed side of the threshold, and with three seeds or more the whole 95 %
interval of the mean (Student's t over seeds) as well: a result that another seed may turn over is not a reproduction.
A test whose number is fitted may bring the interval of the fit instead; it decides in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from . import pins, schema, tables
from .contracts import UserError
from .evidence import NEEDS, TESTS, Evidence, NotTested, Table
from .registry import nearest
from .words import number, percent, times

REPRODUCED, FAILED, UNTESTED = "reproduced", "not reproduced", "not tested"
SIDES = {"above", "at_least"}
"""Where the claimed numbers lie, seen from the threshold."""
COLUMNS = (
    *("claim", "where", "says", "taken_as", "verdict", "why", "quantity", "unit", "value", "lower", "upper"),
    *("threshold", "published", "seeds", "dataset", "extent", "cells", "details", "discussion", "runs"),
)
UNITS: dict[str, Callable[[float], str]] = {
    "": number,
    "share": percent,
    "points": lambda share: f"{100 * share:+.1f} points",
    "times": times,
}
"""How numbers of each unit are written. Points are hundredths of an accuracy."""


def read(path: str | Path) -> list[dict[str, Any]]:
    """The claims of a file, checked and complete, in its order. A relative path is one in the project.

    Raises
    ------
    UserError
        In one line: the file is missing, it is not YAML, a key or a test is unknown, a setting of a test is missing,
        an id is there twice.
    """
    path = pins.ROOT / path
    try:
        found = yaml.safe_load(path.read_text())
    except OSError:
        raise UserError(f"claims: there is no file {path}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path.name}: not YAML ({' '.join(str(error).split())[:120]})") from None
    rules = schema.read("claims")
    schema.check(found, rules, path.name)
    claims = schema.fill(found, rules)["claims"]
    for claim in claims:
        ((test, settings),) = claim["test"].items()
        at = f"{path.name}: {claim['id']}.test"
        if test not in TESTS:
            raise UserError(f"{at}: no test is called {test!r}{nearest(test, list(TESTS))}")
        given = set(settings if isinstance(settings, dict) else ())
        if given - SIDES != NEEDS[test] or len(given & SIDES) != 1:
            raise UserError(f"{at}.{test}: needs {', '.join(sorted(NEEDS[test]))}, and above or at_least, no more")
    ids = [claim["id"] for claim in claims]
    if len(set(ids)) < len(ids):
        raise UserError(f"{path.name}: two claims have the same id; rename one of them")
    return claims


def claims_table(claims: Iterable[dict[str, Any]], results: Table, config: dict[str, Any]) -> pd.DataFrame:
    """One row a claim (`COLUMNS`): its verdict, why, and the numbers with their interval and runs.

    Parameters
    ----------
    claims
        As `read` returns them.
    results
        The tables ``runs``, ``runtime`` and ``scores``.
    config
        The resolved config.
    """
    results = {**results, "scores": tables.tidy(results["scores"])}
    return pd.DataFrame([judge(claim, results, config) for claim in claims], columns=list(COLUMNS))


def judge(claim: dict[str, Any], results: Table, config: dict[str, Any]) -> dict[str, Any]:
    """One row of the table of claims."""
    row = {"claim": claim["id"], **{key: claim[key] for key in ("where", "says", "taken_as", "published")}}
    ((name, settings),) = claim["test"].items()
    reasons = []
    for dataset in filter(None, (claim["dataset"], claim["stand_in"])):
        try:
            evidence = TESTS[name](results, dataset, settings, claim, config)
        except NotTested as reason:
            reasons.append(f"on {dataset}: {reason}")
            continue
        own = dataset == claim["dataset"]
        row |= weigh(evidence, settings, own or claim["decides"], reasons)
        row |= where(evidence.dataset or dataset, evidence, results)
        return row | {"discussion": f"{found(row)} {claim['differs']}"}
    why = "; ".join(reasons)
    row |= {"verdict": UNTESTED, "why": why, "dataset": claim["dataset"]}
    return row | {"discussion": f"Not tested: {why}. {claim['differs']}"}


def found(row: dict[str, Any]) -> str:
    """One sentence on what was measured, with its interval, its seeds and its cells."""
    say = UNITS[row["unit"]]
    interval = f"{row['seeds']} seed{'s'[: row['seeds'] != 1]}"
    if np.isnan(row["lower"]):
        interval += ", no interval"
    else:
        interval += f", 95 % interval {say(row['lower'])} to {say(row['upper'])}"
    cells = f"{row['cells']:,} cells of {row['dataset']} ({row['extent']})"
    published = "" if row["published"] is None else f", where the published number is {say(row['published'])}"
    return f"On {cells} the {row['quantity']} is {say(row['value'])} ({interval}){published}."


def weigh(evidence: Evidence, settings: dict[str, Any], decides: bool, reasons: list[str]) -> dict[str, Any]:
    """Verdict, why, and the numbers; ``reasons`` say why it was not tested where the publication says it."""
    (side,) = SIDES & set(settings)
    threshold = settings[side]
    values = list(evidence.by_seed.values())
    if evidence.unit == "times":
        mean, lower, upper = (float(np.exp(v)) for v in tables.interval(np.log(values)))
    else:
        mean, lower, upper = tables.interval(values)
    if evidence.interval is not None:
        lower, upper = evidence.interval
    beyond = np.greater if side == "above" else np.greater_equal
    holds, sure = bool(beyond(mean, threshold)), bool(np.isnan(lower) or beyond(lower, threshold))
    words = f"{'above' if side == 'above' else 'at least'} {threshold:g}"
    if not decides:
        verdict, why = UNTESTED, "; ".join([*reasons, "what was run instead shows its numbers and decides nothing"])
    elif holds and sure:
        verdict, why = REPRODUCED, f"claimed {words}"
    elif evidence.at_least:
        verdict, why = UNTESTED, f"claimed {words}; runs were stopped before they were done, so it may be more"
    elif holds:
        verdict, why = FAILED, f"claimed {words}: so it is on average, but its interval reaches below"
    else:
        verdict, why = FAILED, f"claimed {words}"
    if decides and reasons:
        why += f" ({'; '.join(reasons)})"
    if decides and np.isnan(lower):
        why += f"; {len(evidence.by_seed)} seed{'s'[: len(evidence.by_seed) > 1]}, too few for an interval"
    return {
        "verdict": verdict,
        "why": why,
        "quantity": ("lower bound of the " if evidence.at_least else "") + evidence.quantity,
        "unit": evidence.unit,
        "value": mean,
        "lower": lower,
        "upper": upper,
        "threshold": words,
        "seeds": len(evidence.by_seed),
        "details": "; ".join(evidence.details),
    }


def where(dataset: str, evidence: Evidence, results: Table) -> dict[str, Any]:
    """The dataset, what part of it, its cells, and the runs that ``evidence`` comes from."""
    rows = results["runtime"]
    row = rows[rows["dataset"] == dataset].iloc[0]
    runs = ", ".join(f"{method}/{seed}" for method, seed in dict.fromkeys(evidence.runs))
    return {"dataset": dataset, "extent": row["extent"], "cells": int(row["cells"]), "runs": runs}
