"""The null of a gene set: would a random set of the same size and expression, fitted in the same way, do as well?

The statistic of a factor for a question about the cells is its strength, the distance of its AUROC from 1/2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..contracts.budget import Budget
from ..contracts.prepared import without_held_out
from ..contracts.scores import SCORE_COLUMNS, check_scores
from ..contracts.truth import without_truth
from ..metrics._questions import aurocs, questions, scores_of
from ..metrics._rows import no_rows, rows
from ..progress import bar
from ..runs.permuted import permuted_masks, scores_for

if TYPE_CHECKING:
    from anndata import AnnData

MEASURES = ("p_random_set", "q_random_set", "p_best_random_set", "random_set")
"""Measures in scores.tsv, see `null_rows`."""


def strengths(scores: np.ndarray, asked: list[tuple[np.ndarray, list[str], np.ndarray]]) -> np.ndarray:
    """Return the strength of each factor for each question, shape (n_questions, n_factors).

    ``scores``: shape (n_cells, n_factors); ``asked``: as `metrics._questions.questions` yields them.
    """
    if not asked:
        return np.zeros((0, scores.shape[1]))
    cells = asked[0][0]
    if all(np.array_equal(cells, others) for others, _, _ in asked):  # scores are ranked once
        asked = [(cells, [], np.concatenate([y for _, _, y in asked]))]
    return np.concatenate([np.abs(aurocs(scores[cells], y) - 0.5).T for cells, _, y in asked])


def random_strengths(
    use: str, data: AnnData, params: dict[str, Any], seed: int, threads: int, permutations: int, budget: float | None
) -> np.ndarray:
    """Return the `strengths` for permuted gene sets, shape (n_permutations, n_questions, n_sets).

    There are fewer than ``permutations`` if ``budget`` seconds do not suffice.

    Parameters
    ----------
    use, params, seed
        The method's file, its parameters and its seed.
    data
        Prepared data without held-out cells.
    """
    data = without_truth(data)
    asked, clock, found = list(questions(data)), Budget(budget), []
    masks = permuted_masks(data, "nulls")
    with bar(permutations, "random gene sets", "permutations") as progress:
        for scores in scores_for(masks, use, data, params, seed, threads, clock):
            found.append(strengths(scores, asked))
            progress.update()
            if len(found) == permutations or clock.spent():
                break
    return np.array(found)


def null_rows(data: AnnData, factors: AnnData, random: np.ndarray) -> pd.DataFrame:
    """Return how the annotated factors of a run compare with random gene sets, with `METRIC_COLUMNS`.

    Parameters
    ----------
    data, factors
        Prepared data and the factors of a run, without held-out cells.
    random
        As `random_strengths` returns them.

    Returns
    -------
    DataFrame
        For each annotated factor and question (``n``: permutations): ``p_random_set``, (1 + permutations in which the
        factor of the same place has at least its strength) / (1 + permutations); ``p_best_random_set``, the same with
        the strongest of all factors of a permutation; ``q_random_set``, the first corrected for the number of factors
        (Benjamini and Hochberg 1995); ``random_set``, the median strength in permutations, with the 2.5 and 97.5 %
        quantiles. For each question ``random_set`` without a factor: that of the strongest factors.
    """
    from scipy.stats import false_discovery_control

    table = factors.uns["factors"]
    annotated = (table["kind"] == "annotated").to_numpy()
    if not annotated.any() or not len(random):
        return no_rows()
    asked = list(questions(data))
    labels = [name for _, names, _ in asked for name in names]
    own = strengths(scores_of(factors)[:, annotated], asked)
    best = random.max(axis=2)
    n = len(random)
    p = (1 + (random >= own).sum(axis=0)) / (1 + n)
    p_best = (1 + (best[:, :, None] >= own).sum(axis=0)) / (1 + n)
    q = false_discovery_control(p, axis=1)
    at = {"factor": table["name"].to_numpy(str)[annotated], "label": np.array(labels, object)[:, None], "n": n}
    parts = [rows(name, values, **at) for name, values in zip(MEASURES, (p, q, p_best), strict=False)]
    for values, of in ((random, at), (best, {"label": labels, "n": n})):
        lower, median, upper = np.quantile(values, [0.025, 0.5, 0.975], axis=0)
        parts.append(rows("random_set", median, lower=lower, upper=upper, **of))
    return pd.concat(parts, ignore_index=True)


def null_table(
    data: AnnData, runs: Iterable[tuple[dict[str, Any], AnnData]], fit: dict[str, Any]
) -> tuple[pd.DataFrame, int]:
    """Return the `null_rows` of all seeds of a method on a dataset, with `SCORE_COLUMNS`, and the permutations done.

    Parameters
    ----------
    data
        Prepared data.
    runs
        ``dataset``, ``method``, ``seed`` and ``status`` of each run, and its factors.
    fit
        The other arguments of `random_strengths`. The random sets are fitted with one seed.
    """
    data = without_held_out(data)
    random = random_strengths(data=data, **fit)
    tables = [null_rows(data, without_held_out(factors), random).assign(**run) for run, factors in runs]
    table = pd.concat(tables, ignore_index=True)[list(SCORE_COLUMNS)]
    check_scores(table)
    return table, len(random)
