"""Recovery of planted truth against one property of the simulated data at a time."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ..statistics import interval

MEASURES = {
    "activity_correlation": "correlation of score and planted activity",
    "matched_correlation": "the same for the best matching factor",
    "matched_by_name": "share of sets whose own factor matches best",
    "aupr": "average precision of the responding genes",
    "aupr_top": "average precision among the 200 genes with the largest loadings",
    "precision": "precision of the genes with a loading",
    "recall": "recall of the genes with a loading",
    "aupr_missing": "average precision of the genes taken out",
    "auroc_added": "AUROC of true against added genes",
    "decoy_auroc": "AUROC of relevance, active sets against decoys",
    "decoys_off": "share of decoys switched off",
    "unannotated_correlation": "correlation with a programme that is no set",
    "leakage": "correlation of gene sets with a technical programme",
}
"""Measures of the metric ``recovery`` in words."""

COLUMNS = ["measure", "varied", "value_of", "order", "method", "permuted", "mean", "lower", "upper", "data"]


def curves(scores: pd.DataFrame, params: dict[str, Any], config: dict[str, Any]) -> pd.DataFrame:
    """Return means over simulated data of each measure, method and property.

    Parameters
    ----------
    scores
        The table ``scores``, tidy.
    params
        ``datasets``, the usual one first; ``methods``, ``measures``, ``vary`` (title -> key of a dataset, with dots).
    config
        The resolved config.

    Returns
    -------
    DataFrame of `COLUMNS`
        One row per measure, property (``varied``), value (``value_of``; ``order`` is its place), method and whether
        gene sets are ``permuted``. A dataset belongs to a property if it differs from the first dataset in nothing else
        that is varied. ``mean``, and its 95 % interval over ``data`` (simulated data; missing below three).
    """
    entries = {name: config["datasets"][name] for name in params["datasets"]}
    settings = {
        name: {title: setting(entry, key) for title, key in params["vary"].items()} for name, entry in entries.items()
    }
    usual = settings[params["datasets"][0]]
    chosen = scores[scores["dataset"].isin(entries) & scores["method"].isin(params["methods"])]
    chosen = chosen[chosen["metric"].isin(params["measures"])]
    of_data = chosen.groupby(["metric", "method", "dataset"], sort=False)["value"].mean().dropna().reset_index()
    rows = []
    for title in params["vary"]:
        others = [other for other in params["vary"] if other != title]
        members = [name for name in entries if all(settings[name][o] == usual[o] for o in others)]
        values = list(dict.fromkeys(settings[name][title] for name in members))
        order = {
            v: i for i, v in enumerate(sorted(values) if all(isinstance(v, int | float) for v in values) else values)
        }
        part = of_data[of_data["dataset"].isin(members)]
        part = part.assign(
            value_of=part["dataset"].map({name: settings[name][title] for name in members}),
            permuted=part["dataset"].map({name: entries[name].get("permute_sets") is not None for name in members}),
        )
        for (measure, method, value, permuted), group in part.groupby(
            ["metric", "method", "value_of", "permuted"], sort=False
        ):
            mean, lower, upper = interval(group["value"].to_numpy())
            rows.append((measure, title, value, order[value], method, permuted, mean, lower, upper, len(group)))
    return pd.DataFrame(rows, columns=COLUMNS)


def setting(entry: dict[str, Any], key: str) -> Any:
    """Return the value of a key with dots (``corrupt.missing``) in a dataset's entry.

    It is 0 below a key that is empty (nothing is corrupted), and ``all`` if it is empty itself (``n_cells``).
    """
    value: Any = entry
    for part in key.split("."):
        if value is None:
            return 0
        value = value.get(part)
    return "all" if value is None else value
