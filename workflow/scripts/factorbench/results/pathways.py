"""The most relevant gene sets of each method, and how far they agree with a published list."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .seeds import over_seeds, tidy


def annotated_relevance(scores: pd.DataFrame, dataset: str | None = None, method: str | None = None) -> pd.DataFrame:
    """Return the rows of the relevance (L2 norm of the loadings) of gene sets, of one dataset and method or of all."""
    scores = tidy(scores)
    scores = scores[(scores["metric"] == "relevance") & (scores["label"] == "kind=annotated")]
    for column, name in (("dataset", dataset), ("method", method)):
        scores = scores if name is None else scores[scores[column] == name]
    return scores


def top_pathways(scores: pd.DataFrame, top: int) -> pd.DataFrame:
    """Return the ``top`` annotated factors of each dataset and method by mean relevance over seeds.

    Returns
    -------
    DataFrame
        ``dataset``, ``method``, ``rank``, ``factor``, ``relevance`` (mean over seeds; 0 in a seed that switched the
        factor off), ``lowest``, ``highest``, ``on`` (seeds in which it was on), ``seeds`` (seeds with factors).
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


def rank_agreement(relevance: pd.Series, published: list[str]) -> dict[str, Any]:
    """Return how far the most relevant gene sets agree with a published list, and with its order.

    Parameters
    ----------
    relevance
        Relevance of each gene set that was kept, by name (mean over seeds; 0: switched off).
    published
        Names of the published list, the most relevant first.

    Returns
    -------
    dict
        ``shared``: how many of the list are among as many of ours (a set that is switched off never is);
        ``expected``: how many by chance; ``p_overlap``: probability of at least as many, hypergeometric: ours are
        drawn from all sets kept, those of the list are marked (Rivals et al. 2007, 10.1093/bioinformatics/btl633).
        ``tau`` and ``p_tau`` (two-sided): Kendall's tau-b of the two rankings (Kendall 1945; sets that are switched
        off are tied) over the ``n`` terms of the list that were kept; NaN below two. ``kept``: all sets kept.
        ``ranks``: our rank of each term of the list, ``None`` if it was not kept.
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
