"""How far runs of one method that differ in the seed alone agree on what the factors are."""

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
"""How many of the most relevant factors ``top_agreement`` looks at."""


def score(data: AnnData, factors: list[AnnData], params: dict[str, Any]) -> pd.DataFrame:
    """Compare the annotated factors of every pair of seeds.

    Parameters
    ----------
    data
        Prepared data (`contracts.check_prepared`).
    factors
        Factors of each seed on these data (`contracts.check_factors`), of one method: with the same gene sets.
    params
        None.

    Returns
    -------
    DataFrame with `contracts.METRIC_COLUMNS`; empty for fewer than two seeds or without annotated factors
        For each annotated factor, as means over pairs of seeds: ``score_agreement``, absolute Pearson correlation of
        its scores over cells, and ``loading_agreement``, cosine of its loadings; both 0 for a pair in which one seed
        switched it off, and without a pair in which both did (NaN if no pair is left; ``n``: pairs). ``on_share``:
        share of seeds in which it is on (``n``: seeds). For all of them, as means over pairs (``n``: pairs):
        ``active_agreement``, Jaccard index of the sets of factors that are on; ``rank_agreement``, Spearman
        correlation of relevance; ``top_agreement``, shared part of the ten most relevant (or as many as are on in
        both). Pairs that do not say (no factor is on, all are as relevant) are left out.
    """
    for run in factors:
        check_same(data, run)
    kinds = [run.uns["factors"].query("kind == 'annotated'")["name"] for run in factors]
    if len(factors) < 2 or kinds[0].empty:
        return no_rows()
    names = kinds[0].to_numpy(str)
    columns = [pd.Index(run.uns["factors"]["name"]).get_indexer(names) for run in factors]
    runs = list(zip(factors, columns, strict=True))
    on = np.stack([run.uns["factors"]["active"].to_numpy(bool)[k] for run, k in runs])
    relevance = np.stack([run.uns["factors"]["relevance"].to_numpy(float)[k] for run, k in runs])
    scores = [scores_of(run)[:, k] for run, k in runs]
    loadings = [np.asarray(run.varm["loadings"], float)[:, k] for run, k in runs]

    pairs = list(combinations(range(len(runs)), 2))
    same_scores = np.stack([np.abs(correlation(scores[i], scores[j])) for i, j in pairs])
    same_loadings = np.stack([cosine(loadings[i], loadings[j]) for i, j in pairs])
    either = np.stack([on[i] | on[j] for i, j in pairs])
    at = {"factor": names, "n": either.sum(axis=0)}
    return pd.concat(
        [
            rows("score_agreement", _mean(np.where(either, same_scores, np.nan)), **at),
            rows("loading_agreement", _mean(np.where(either, same_loadings, np.nan)), **at),
            rows("on_share", on.mean(axis=0), factor=names, n=len(runs)),
            *(
                rows(name, _mean(found)[0], n=np.isfinite(found).sum())
                for name, found in (
                    ("active_agreement", np.array([[jaccard(on[i], on[j])] for i, j in pairs])),
                    ("rank_agreement", np.array([[spearman(relevance[i], relevance[j])] for i, j in pairs])),
                    ("top_agreement", np.array([[overlap(relevance[i], relevance[j], TOP)] for i, j in pairs])),
                )
            ),
        ],
        ignore_index=True,
    )


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of the columns of ``a`` and ``b``, shape (n_columns,); 0 where one is zero."""
    size = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    return np.divide(np.einsum("ij,ij->j", a, b), size, out=np.zeros(len(size)), where=size > 0).clip(-1, 1)


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Size of the intersection of two sets (bool) over that of their union; NaN if both are empty."""
    return (a & b).sum() / (a | b).sum() if (a | b).any() else np.nan


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of the ranks of ``a`` and ``b``, ties sharing their mean rank; NaN if all of one are equal."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return np.nan
    ranks = [pd.Series(x).rank().to_numpy()[:, None] for x in (a, b)]
    return float(correlation(*ranks)[0])


def overlap(a: np.ndarray, b: np.ndarray, top: int) -> float:
    """Share of the ``top`` largest of ``a`` (of all that are positive in both, if fewer) among those of ``b``."""
    top = min(top, (a > 0).sum(), (b > 0).sum())
    if not top:
        return np.nan
    largest = [set(np.argsort(-x, kind="stable")[:top]) for x in (a, b)]
    return len(largest[0] & largest[1]) / top


def _mean(values: np.ndarray) -> np.ndarray:
    """Means of columns over what is not NaN; NaN where nothing is left."""
    return pd.DataFrame(values).mean().to_numpy()
