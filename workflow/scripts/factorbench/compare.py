"""Are two methods' factors of one name equally good at telling the contrast? Paired, cell by cell.

Both are asked about the same cells, so only the cells that one gets right and the other does not say which is better
(McNemar 1947, 10.1007/BF02295996).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .metrics import _logistic
from .metrics._questions import contrast_question, correct, scores_of, standardised
from .metrics._rows import check_same
from .tables import interval

if TYPE_CHECKING:
    from anndata import AnnData

COLUMNS = (
    *("dataset", "label", "factor", "method", "reference", "accuracy", "reference_accuracy", "difference", "lower"),
    *("upper", "seeds", "only_method", "only_reference", "n", "p", "p_corrected"),
)


def right_cells(data: AnnData, factors: AnnData) -> pd.DataFrame:
    """Which cells of the contrast each annotated factor puts into the right class.

    By the univariate logistic regression of ``separation``, fitted to all these cells; a factor that is switched off
    is constant, so that it puts all of them into the larger class.

    Returns
    -------
    DataFrame of bool, one row an annotated factor (by name), one column a cell; without columns if there is no contrast
    """
    check_same(data, factors)
    table = factors.uns["factors"]
    annotated = (table["kind"] == "annotated").to_numpy()
    names = table["name"].to_numpy(str)[annotated]
    asked = contrast_question(data)
    if asked is None:
        return pd.DataFrame(index=names)
    cells, _, y = asked
    found = np.empty((len(names), len(cells)), bool)
    for right, x in zip(found, scores_of(factors)[cells][:, annotated].T, strict=True):
        x = standardised(x)
        right[:] = correct(x, y[None], *_logistic.fit(x, y[None]))[0]
    return pd.DataFrame(found, index=names)


def compare(dataset: str, label: str, right: dict[tuple[str, int], pd.DataFrame], reference: str) -> pd.DataFrame:
    """Compare every method with the reference, factor by factor.

    Parameters
    ----------
    dataset, label
        Names, for the table.
    right
        (method, seed) -> `right_cells` of that run.
    reference
        The method that all others are held against.

    Returns
    -------
    DataFrame with `COLUMNS`, one row a factor that both have and a method, in the order of ``right``
        Means over pairs of runs with the same seed (a method that ran with one seed is paired with every seed of the
        other; ``seeds``: pairs): training accuracies, their ``difference`` (method minus reference) with a 95 %
        interval of Student's t over the pairs (missing below three; it holds for the seeds, not for other cells),
        and numbers of cells that only one of the two gets right (``n``: all cells). ``p``: the largest over the pairs
        of McNemar's exact mid-p (`mid_p`), so that a small one is small with every seed. ``p_corrected``: Holm's
        (`holm`) over all rows. Both take the cells as independent.
    """
    found = []
    for method in dict.fromkeys(method for method, _ in right if method != reference):
        pairs = list(paired_seeds(right, method, reference))
        names = list(dict.fromkeys(name for _, second in pairs for name in right[reference, second].index))
        for name in names:
            at = {"dataset": dataset, "label": label, "factor": name, "method": method, "reference": reference}
            both = [(right[method, i], right[reference, j]) for i, j in pairs]
            cells = [(a.loc[name], b.loc[name]) for a, b in both if name in a.index and name in b.index]
            if cells:
                found.append(at | _compared(cells))
    table = pd.DataFrame(found, columns=list(COLUMNS))
    return table.assign(p_corrected=holm(table["p"].to_numpy(float)))


def paired_seeds(right: dict[tuple[str, int], pd.DataFrame], method: str, other: str) -> Iterator[tuple[int, int]]:
    """Seeds of the runs of two methods that are compared: the same one, or every one where a method has one only."""
    seeds, others = ([seed for name, seed in right if name == m] for m in (method, other))
    for first in seeds:
        for second in others:
            if first == second or len(seeds) == 1 or len(others) == 1:
                yield first, second


def _compared(cells: list[tuple[pd.Series, pd.Series]]) -> dict[str, float]:
    """The numbers of one row, from which cells method and reference get right in each pair of runs."""
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


def mid_p(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """McNemar's exact test on the cells that only one of two methods gets right, two-sided, with mid-p.

    Under the null hypothesis the smaller count k of ``first`` and ``second`` is a draw from Binomial(n, 1/2) with
    n their sum; p = 2 P(K < k) + P(K = k). The plain exact test is conservative, since counts are few and discrete
    (Fagerland et al. 2013, 10.1186/1471-2288-13-91). 1 if they never differ.
    """
    from scipy.special import bdtr

    smaller, n = np.minimum(first, second), np.add(first, second)
    fewer = np.where(smaller > 0, bdtr(np.maximum(smaller - 1, 0), n, 0.5), 0)
    return np.clip(fewer + bdtr(smaller, n, 0.5), 0, 1)


def holm(p: np.ndarray) -> np.ndarray:
    """p-values corrected for their number (Holm 1979, A simple sequentially rejective multiple test procedure)."""
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(steps, 1)
    return corrected
