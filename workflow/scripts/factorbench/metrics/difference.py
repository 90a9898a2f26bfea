"""Does the mean score of a factor differ between the classes of the contrast, from donor to donor?"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..contracts.prepared import prepared_record
from ..registry import MetricSpec
from ._questions import contrast_question, scores_of
from ._rows import check_same, no_rows, rows

if TYPE_CHECKING:
    from anndata import AnnData

SPEC = MetricSpec(
    name="difference",
    title="Difference of the mean score between the classes of the contrast",
    measures={"difference": (-np.inf, np.inf, ""), "p_difference": (0, 1, "down"), "q_difference": (0, 1, "down")},
)


def score(data: AnnData, factors: AnnData, params: dict[str, Any]) -> pd.DataFrame:
    """Test for each factor whether its score has another mean in the positive class of the contrast.

    Cells of one donor are not independent, so a test on cells finds differences between donors, too. The test on donors
    compares means over the cells of each donor and class (pseudobulk).

    Returns
    -------
    DataFrame, about the contrast only
        For each factor ``difference`` of the means, in standard deviations of the score over cells, ``p_difference``
        of Student's or Welch's test, and ``q_difference``, corrected for the number of factors that vary (Benjamini and
        Hochberg 1995). Splits:

        - ``donor``, if donors are known: the paired test on donors that have cells of both classes, if there are three
          or more of them; else Welch's test, if there are two or more donors in each class (``n``: donors).
        - ``cell``: Welch's test on cells (``n``: cells).
    """
    check_same(data, factors)
    question, donor = contrast_question(data), prepared_record(data).get("donor")
    if question is None or factors.uns["factors"].empty:
        return no_rows()
    cells, label, y = question
    scores, names = scores_of(factors)[cells], factors.uns["factors"]["name"].to_numpy(str)
    spread = scores.std(axis=0)
    scores = np.divide(scores, spread, out=np.zeros_like(scores), where=spread > 0)
    parts = [_rows(scores[y], scores[~y], False, names, label, "cell", len(y))]
    if donor:
        codes = data.obs[donor].cat.codes.to_numpy()[cells]
        inside, outside = (_means(scores, codes, known) for known in (y & (codes >= 0), ~y & (codes >= 0)))
        both = inside.index.intersection(outside.index)
        if len(both) >= 3:
            pair = inside.loc[both].to_numpy(), outside.loc[both].to_numpy()
            parts.append(_rows(*pair, True, names, label, "donor", len(both)))
        elif min(len(inside), len(outside)) >= 2:
            n = len(inside.index.union(outside.index))
            parts.append(_rows(inside.to_numpy(), outside.to_numpy(), False, names, label, "donor", n))
    return pd.concat(parts, ignore_index=True)


def _means(scores: np.ndarray, donors: np.ndarray, cells: np.ndarray) -> pd.DataFrame:
    """Return the mean scores of each donor in the ``cells`` (bool, shape (n_cells,)), one row per donor."""
    return pd.DataFrame(scores[cells]).groupby(donors[cells]).mean()


def _rows(
    inside: np.ndarray, outside: np.ndarray, paired: bool, names: np.ndarray, label: str, split: str, n: int
) -> pd.DataFrame:
    """Return the rows of one test; ``inside`` and ``outside``: (n_inside, n_factors) and (n_outside, n_factors)."""
    from scipy.stats import false_discovery_control, ttest_ind, ttest_rel

    varies = np.ptp(np.concatenate([inside, outside]), axis=0) > 0
    p = np.full(len(names), np.nan)
    if varies.any():
        pair = inside[:, varies], outside[:, varies]
        with warnings.catch_warnings():
            # scipy warns of a score that is nearly constant in both classes: its p is 0 or NaN, as it should be.
            warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
            p[varies] = (ttest_rel(*pair) if paired else ttest_ind(*pair, equal_var=False)).pvalue
    q = p.copy()
    known = np.isfinite(p)
    if known.any():
        q[known] = false_discovery_control(p[known])
    at = {"factor": names, "label": label, "split": split, "n": n}
    difference = rows("difference", inside.mean(axis=0) - outside.mean(axis=0), **at)
    return pd.concat([difference, rows("p_difference", p, **at), rows("q_difference", q, **at)], ignore_index=True)
