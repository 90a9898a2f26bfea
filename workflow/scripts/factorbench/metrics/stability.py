"""How closely the factors of a method agree between runs that differ only in the seed."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..registry import MetricSpec
from ..statistics import correlation
from ._questions import scores_of
from ._rows import check_same, no_rows, rows

if TYPE_CHECKING:
    from anndata import AnnData

SPEC = MetricSpec(
    name="stability",
    title="Stability over seeds",
    measures={
        "score_agreement": (0, 1, "up"),
        "loading_agreement": (-1, 1, "up"),
        "on_share": (0, 1, ""),
        "active_agreement": (0, 1, "up"),
        "rank_agreement": (-1, 1, "up"),
        "top_agreement": (0, 1, "up"),
    },
    over="seeds",
)
TOP = 10
"""Number of the most relevant factors that ``top_agreement`` compares."""


def score(data: AnnData, factors: list[AnnData], params: dict[str, Any]) -> pd.DataFrame:
    """Compare the annotated factors of every pair of seeds.

    Returns
    -------
    DataFrame; empty for fewer than two seeds or without annotated factors
        For each annotated factor, as means over pairs of seeds (``n``: pairs): ``score_agreement``, the absolute
        Pearson correlation of its scores, and ``loading_agreement``, the cosine of its loadings. A pair counts as 0 if
        one seed switched the factor off, and is left out if both did (NaN if no pair is left). ``on_share``: share of
        seeds in which the factor is on (``n``: seeds). For all factors together, as means over pairs (``n``: pairs):
        ``active_agreement``, the Jaccard index of the sets of factors that are on; ``rank_agreement``, the Spearman
        correlation of relevance; ``top_agreement``, the shared part of the ten most relevant factors (or of as many as
        are on in both). Pairs for which one of these is not defined are left out of its mean.
    """
    for run in factors:
        check_same(data, run)
    tables = [run.uns["factors"].set_index("name") for run in factors]
    names = tables[0].index[tables[0]["kind"] == "annotated"] if len(factors) > 1 else []
    if not len(names):
        return no_rows()
    columns = [table.index.get_indexer(names) for table in tables]
    on = np.stack([table.loc[names, "active"].to_numpy(bool) for table in tables])
    relevance = np.stack([table.loc[names, "relevance"].to_numpy(float) for table in tables])
    scores = [scores_of(run)[:, k] for run, k in zip(factors, columns, strict=True)]
    loadings = [np.asarray(run.varm["loadings"], float)[:, k] for run, k in zip(factors, columns, strict=True)]

    pairs = list(combinations(range(len(factors)), 2))
    either = np.stack([on[i] | on[j] for i, j in pairs])
    parts = []
    for name, values in (
        ("score_agreement", [np.abs(correlation(scores[i], scores[j])) for i, j in pairs]),
        ("loading_agreement", [cosine(loadings[i], loadings[j]) for i, j in pairs]),
    ):
        mean = pd.DataFrame(np.where(either, values, np.nan)).mean()
        parts.append(rows(name, mean, factor=names, n=either.sum(axis=0)))
    parts.append(rows("on_share", on.mean(axis=0), factor=names, n=len(factors)))
    for name, values in (
        ("active_agreement", [jaccard(on[i], on[j]) for i, j in pairs]),
        ("rank_agreement", [spearman(relevance[i], relevance[j]) for i, j in pairs]),
        ("top_agreement", [overlap(relevance[i], relevance[j], TOP) for i, j in pairs]),
    ):
        parts.append(rows(name, pd.Series(values).mean(), n=np.isfinite(values).sum()))
    return pd.concat(parts, ignore_index=True)


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosine of the columns of ``a`` and ``b``, shape (n_columns,); 0 where one is zero."""
    size = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    return np.divide(np.einsum("ij,ij->j", a, b), size, out=np.zeros(len(size)), where=size > 0).clip(-1, 1)


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Return the size of the intersection of two sets (bool) over that of their union; NaN if both are empty."""
    return (a & b).sum() / (a | b).sum() if (a | b).any() else np.nan


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Return the correlation of the ranks of ``a`` and ``b`` (ties share their mean rank); NaN if one is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return np.nan
    ranks = [pd.Series(x).rank().to_numpy()[:, None] for x in (a, b)]
    return float(correlation(*ranks)[0])


def overlap(a: np.ndarray, b: np.ndarray, top: int) -> float:
    """Return the shared part of the ``top`` largest of ``a`` and of ``b``, or of as many as are positive in both."""
    top = min(top, (a > 0).sum(), (b > 0).sum())
    if not top:
        return np.nan
    largest = [set(np.argsort(-x, kind="stable")[:top]) for x in (a, b)]
    return len(largest[0] & largest[1]) / top
