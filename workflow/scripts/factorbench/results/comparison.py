"""Two methods' factors of one name, compared on the same cells: which separates the contrast better?

Only the cells that one factor gets right and the other does not say which is better (McNemar 1947,
10.1007/BF02295996).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..metrics import _logistic
from ..metrics._questions import contrast_question, correct, scores_of, standardised
from ..metrics._rows import check_same
from ..statistics import holm, interval, mid_p

if TYPE_CHECKING:
    from anndata import AnnData

COLUMNS = (
    *("dataset", "label", "factor", "method", "reference", "accuracy", "reference_accuracy", "difference", "lower"),
    *("upper", "seeds", "only_method", "only_reference", "n", "p", "p_corrected"),
)

Run = tuple[str, int]
"""Method and seed."""


def compare(dataset: str, data: AnnData, runs: Iterable[tuple[Run, AnnData]], reference: str) -> pd.DataFrame:
    """Compare every method on a dataset with the reference, factor by factor (`compare_right`).

    ``runs`` are (method, seed) and the factors of each run, without held-out cells. Without a contrast the table is
    empty.
    """
    question = contrast_question(data)
    label = question[1] if question else ""
    right = {run: right_cells(data, factors) for run, factors in runs} if question else {}
    return compare_right(dataset, label, right, reference)


def right_cells(data: AnnData, factors: AnnData) -> pd.DataFrame:
    """Return which cells of the contrast each annotated factor puts into the right class.

    The univariate logistic regression of ``separation`` is fitted to all these cells. A factor that is switched off
    is constant and puts all cells into the larger class.

    Returns
    -------
    DataFrame of bool
        One row per annotated factor (by name), one column per cell; no columns without a contrast.
    """
    check_same(data, factors)
    table = factors.uns["factors"]
    annotated = (table["kind"] == "annotated").to_numpy()
    names = table["name"].to_numpy(str)[annotated]
    question = contrast_question(data)
    if question is None:
        return pd.DataFrame(index=names)
    cells, _, y = question
    result = np.empty((len(names), len(cells)), bool)
    for right, x in zip(result, scores_of(factors)[cells][:, annotated].T, strict=True):
        x = standardised(x)
        right[:] = correct(x, y[None], *_logistic.fit(x, y[None]))[0]
    return pd.DataFrame(result, index=names)


def compare_right(dataset: str, label: str, right: dict[Run, pd.DataFrame], reference: str) -> pd.DataFrame:
    """Compare every method with the reference, factor by factor.

    Parameters
    ----------
    dataset, label
        Names, for the table.
    right
        (method, seed) -> `right_cells` of that run.
    reference
        The method that the others are compared with.

    Returns
    -------
    DataFrame with `COLUMNS`, one row per method and factor that both have, in the order of ``right``
        Means over pairs of runs with the same seed (a method with one seed is paired with every seed of the other;
        ``seeds``: number of pairs): training accuracies; their ``difference`` (method minus reference) with a 95 %
        interval of Student's t over the pairs (missing below three; it is about seeds, not about other cells); numbers
        of cells that only one of the two gets right (``n``: all cells). ``p``: the largest McNemar's mid-p (`mid_p`)
        over the pairs, so that a small p is small for every seed. ``p_corrected``: Holm's correction over all rows.
        Both treat the cells as independent.
    """
    rows = []
    for method in dict.fromkeys(method for method, _ in right if method != reference):
        pairs = list(paired_seeds(right, method, reference))
        names = list(dict.fromkeys(name for _, second in pairs for name in right[reference, second].index))
        for name in names:
            at = {"dataset": dataset, "label": label, "factor": name, "method": method, "reference": reference}
            both = [(right[method, i], right[reference, j]) for i, j in pairs]
            cells = [(a.loc[name], b.loc[name]) for a, b in both if name in a.index and name in b.index]
            if cells:
                rows.append(at | _compared(cells))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.assign(p_corrected=holm(table["p"].to_numpy(float)))


def paired_seeds(right: dict[tuple[str, int], pd.DataFrame], method: str, other: str) -> Iterator[tuple[int, int]]:
    """Yield the pairs of seeds at which two methods are compared: equal seeds, or all if one method has one seed."""
    seeds, others = ([seed for name, seed in right if name == m] for m in (method, other))
    for first in seeds:
        for second in others:
            if first == second or len(seeds) == 1 or len(others) == 1:
                yield first, second


def _compared(cells: list[tuple[pd.Series, pd.Series]]) -> dict[str, float]:
    """Return the numbers of one row, from the cells that method and reference get right in each pair of runs."""
    only = np.array([[(a & ~b).sum(), (b & ~a).sum()] for a, b in cells])
    shares = np.array([[a.mean(), b.mean()] for a, b in cells])
    difference, lower, upper = interval(shares[:, 0] - shares[:, 1])
    return {
        "accuracy": shares[:, 0].mean(),
        "reference_accuracy": shares[:, 1].mean(),
        "difference": difference,
        "lower": lower,
        "upper": upper,
        "seeds": len(cells),
        "only_method": only[:, 0].mean(),
        "only_reference": only[:, 1].mean(),
        "n": len(cells[0][0]),
        "p": mid_p(only[:, 0], only[:, 1]).max(),
    }
