"""Means over seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..contracts.scores import SCORE_COLUMNS

SEEDS_OF = ("dataset", "method", "metric", "factor", "label", "split")
"""A mean over seeds is taken for each combination of these columns."""


def tidy(scores: pd.DataFrame) -> pd.DataFrame:
    """Return scores read from a TSV as they were written: empty text, which was read as missing, is empty text."""
    text = ["dataset", "method", "metric", "factor", "label", "split", "status"]
    return scores[list(SCORE_COLUMNS)].assign(**{c: scores[c].fillna("").astype(str) for c in text})


def over_seeds(scores: pd.DataFrame) -> pd.DataFrame:
    """Return means over seeds of every measure.

    A measure that is about all seeds (stability, for example) has one row without a seed. It is taken as it is, with
    its own interval.

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
