"""Does a factor mean its gene set? Whether it still lies in it, and whether random sets separate the cells as well."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from .seeds import over_seeds, tidy

MARK = " †"
"""Follows the name of a factor that is no longer its gene set, wherever the name is shown."""
LEVEL = 0.05
"""False discovery rate at which a gene set counts as better than random ones."""

AT = ["dataset", "method", "label", "factor"]
COLUMNS = (
    *("dataset", "method", "label", "factor", "in_set_share", "accuracy", "in_set_accuracy", "auroc", "in_set_auroc"),
    *("random_auroc", "random_lower", "random_upper", "p_random_set", "q_random_set", "p_best_random_set"),
    *("permutations", "p_donors", "q_donors", "seeds", "verdict"),
)
VERDICTS = {
    "off": "switched off",
    "lost": "no longer its set",
    "beats": "more than random sets",
    "few": "too few random sets to tell",
    "same": "no more than random sets",
    "open": "not compared with random sets",
}


def in_set_shares(scores: pd.DataFrame) -> pd.Series:
    """Return the mean over seeds of ``in_set_share``, by dataset, method and factor; NaN if always switched off."""
    rows = tidy(scores)
    rows = rows[rows["metric"] == "in_set_share"]
    return rows.groupby(["dataset", "method", "factor"], sort=False)["value"].mean()


def with_shares(table: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Add ``in_set_share`` to a table with the columns dataset, method and factor."""
    shares = in_set_shares(scores)
    return table.assign(in_set_share=pd.MultiIndex.from_frame(table[shares.index.names]).map(shares).astype(float))


def lost(share: float | pd.Series | None) -> bool | pd.Series:
    """Return whether a factor, or each of several, is no longer its set: less than half of its squares lie inside."""
    return share is not None and share < 0.5


def marked(names: Iterable[str], shares: Iterable[float]) -> list[str]:
    """Return names of factors; those that are no longer their sets have a `MARK`."""
    return [f"{name}{MARK}" if lost(share) else name for name, share in zip(names, shares, strict=True)]


def gene_sets_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Return what is known of each annotated factor and question about the cells.

    Returns
    -------
    DataFrame of `COLUMNS`, one row per dataset, method, label and factor
        Means over seeds: ``in_set_share``; training ``accuracy`` and ``auroc`` (1/2 + its distance from 1/2, whichever
        class scores higher), and the same of the genes of the set alone, ``in_set_accuracy`` and ``in_set_auroc``.
        ``random_auroc``: the median for random sets, with the 2.5 and 97.5 % quantiles. ``p_random_set``,
        ``q_random_set``, ``p_best_random_set`` (`results.nulls.null_rows`), ``p_donors`` and ``q_donors`` (metric
        ``difference``): the largest over seeds. ``permutations``: random draws of all gene sets. Columns are empty
        where nothing was measured. ``verdict``: one of `VERDICTS`; too few random sets if none of them did as well.
    """
    scores = tidy(scores)
    shares = in_set_shares(scores)
    tested = scores[scores["metric"].isin(["accuracy", "auroc"]) & (scores["factor"] != "")]
    known = pd.MultiIndex.from_frame(tested[shares.index.names]).isin(shares.index)
    index = pd.MultiIndex.from_frame(tested.loc[known, AT].drop_duplicates())
    areas = scores["metric"].isin(["auroc", "in_set_auroc"])
    scores.loc[areas, "value"] = 0.5 + (scores.loc[areas, "value"] - 0.5).abs()
    means = over_seeds(scores)

    def values(metric: str, split: str = "", column: str = "mean") -> np.ndarray:
        rows = means[(means["metric"] == metric) & (means["split"] == split)]
        return rows.set_index(AT)[column].reindex(index).to_numpy(float)

    random = scores[scores["metric"] == "random_set"].groupby(AT)[["value", "lower", "upper"]].mean().reindex(index)
    table = index.to_frame(index=False)
    table["in_set_share"] = pd.MultiIndex.from_frame(table[shares.index.names]).map(shares).astype(float)
    table["accuracy"], table["in_set_accuracy"] = values("accuracy", "train"), values("in_set_accuracy")
    table["auroc"], table["in_set_auroc"] = values("auroc"), values("in_set_auroc")
    table[["random_auroc", "random_lower", "random_upper"]] = 0.5 + random.to_numpy(float)
    for metric in ("p_random_set", "q_random_set", "p_best_random_set"):
        table[metric] = values(metric, column="highest")
    table["permutations"] = values("p_random_set", column="n")
    table["p_donors"] = values("p_difference", "donor", "highest")
    table["q_donors"] = values("q_difference", "donor", "highest")
    table["seeds"] = values("accuracy", "train", "seeds")
    share, q = table["in_set_share"], table["q_random_set"]
    smallest = table["p_random_set"] * (1 + table["permutations"]) < 1.5
    cases = [share.isna(), lost(share), q.isna(), q <= LEVEL, smallest]
    verdicts = [VERDICTS[name] for name in ("off", "lost", "open", "beats", "few")]
    return table.assign(verdict=np.select(cases, verdicts, VERDICTS["same"]))[list(COLUMNS)]
