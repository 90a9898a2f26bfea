"""How good the scores of held-out cells are: cells that the method was not fitted on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..contracts.errors import ContractError
from ..contracts.prepared import seen_cells
from ..registry import MetricSpec
from ..statistics import correlation
from . import _logistic
from ._questions import correct, questions, scores_of, two_sided
from ._rows import check_same, no_rows, rows, share_rows

if TYPE_CHECKING:
    from anndata import AnnData

SPEC = MetricSpec(
    name="projection",
    title="Projection of held-out cells",
    measures={
        "projected_accuracy": (0, 1, "up"),
        "projected_auroc": (0, 1, ""),
        "projected_baseline": (0, 1, ""),
        "score_correlation": (-1, 1, "up"),
    },
    held_out=True,
)


def score(data: AnnData, factors: AnnData, params: dict[str, Any], seen: AnnData | None = None) -> pd.DataFrame:
    """Test the scores of held-out cells, and compare them with those of a run that was fitted on these cells.

    Parameters
    ----------
    seen
        Factors of a run of the same method and seed that was fitted on all cells of ``data`` (the full run). Factors
        are matched by name.

    Returns
    -------
    DataFrame; empty if no cell is held out
        For each factor and class, as in ``separation``: ``projected_accuracy`` of a univariate logistic regression that
        is fitted to the seen cells, in these (split ``seen``) and in the held-out cells (``held_out``), with Wilson's
        interval; ``projected_auroc`` of the score in the same two splits, with DeLong's interval (10.2307/2531595; NaN
        if a split has cells inside the class only, or outside only). For each class ``projected_baseline``: the
        accuracy of always guessing the larger side in the held-out cells. All but the baseline are NaN for a class
        without seen cells.

        With ``seen``: ``projected_accuracy`` of split ``saw_them``, as ``held_out``, but with the scores of the full
        run and a regression fitted to these scores, so that only the factor model differs. For each factor
        ``score_correlation``, Pearson's correlation of its scores in the two runs, in the held-out cells and in the
        seen cells (split ``seen``), which shows how much two trainings differ anyway. 0 if one run switched the factor
        off, NaN if both did.

    Raises
    ------
    ContractError
        If cells are missing in ``seen``.
    """
    check_same(data, factors)
    fitted = seen_cells(data)
    scores, names = scores_of(factors), factors.uns["factors"]["name"].to_numpy(str)
    if fitted.all() or not len(names):
        return no_rows()
    full_scores, full_names = _full_run(seen, data)
    parts = [no_rows(), *_correlations(names, scores, full_names, full_scores, fitted)]
    for cells, classes, y in questions(data):
        known = fitted[cells]
        share = _accuracies(full_scores[cells], y, known)[1]
        at = {"factor": full_names[:, None], "label": classes, "split": "saw_them", "n": (~known).sum()}
        parts += [*_projected(names, scores[cells], classes, y, known), share_rows("projected_accuracy", share, **at)]
    return pd.concat(parts, ignore_index=True)


def _full_run(seen: AnnData | None, data: AnnData) -> tuple[np.ndarray, np.ndarray]:
    """Return scores in the cells of ``data`` and names of the factors of the full run; no factors without a run."""
    if seen is None:
        return np.zeros((data.n_obs, 0)), np.array([], str)
    order = seen.obs_names.get_indexer(data.obs_names)
    if (order < 0).any():
        raise ContractError(f"the run to compare with was not fitted on {(order < 0).sum()} of these cells")
    return scores_of(seen)[order], seen.uns["factors"]["name"].to_numpy(str)


def _projected(
    names: np.ndarray, scores: np.ndarray, classes: list[str], y: np.ndarray, fitted: np.ndarray
) -> Iterator[pd.DataFrame]:
    """Yield the rows of one label; ``scores`` (n_cells, n_factors), ``y`` (n_classes, n_cells)."""
    n, inside = (~fitted).sum(), y[:, ~fitted].sum(axis=1)
    larger = np.maximum(inside, n - inside) / n if n else np.nan
    yield rows("projected_baseline", larger, label=classes, split="held_out", n=n)
    shares = _accuracies(scores, y, fitted)
    for split, part, share in zip(("seen", "held_out"), (fitted, ~fitted), shares, strict=True):
        at = {"factor": names[:, None], "label": classes, "split": split, "n": part.sum()}
        yield share_rows("projected_accuracy", share, **at)
        area = np.full((3, *share.shape), np.nan)
        usable = two_sided(y[:, part]) & two_sided(y[:, fitted])
        if usable.any():
            for k, x in enumerate(scores[part].T):
                area[:, k, usable] = _logistic.auroc(x, y[usable][:, part])
        yield rows("projected_auroc", area[0], lower=area[1], upper=area[2], **at)


def _accuracies(scores: np.ndarray, y: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Return accuracies of regressions on the fitted cells, in these and in the other cells, (2, n_factors, n_classes).

    NaN if there are no such cells, or no regression: all fitted cells are of the class, or none.
    """
    result = np.full((2, scores.shape[1], len(y)), np.nan)
    for k, x in enumerate(scores.T):
        known = x[fitted]
        x = (x - known.mean()) / known.std() if np.ptp(known) else np.zeros_like(x)
        regressions = _logistic.fit(x[fitted], y[:, fitted])
        right = np.where(np.isfinite(regressions[:1].T), correct(x, y, *regressions), np.nan)
        for share, part in zip(result, (fitted, ~fitted), strict=True):
            if part.any():
                share[k] = right[:, part].mean(axis=1)
    return result


def _correlations(
    names: np.ndarray, scores: np.ndarray, full_names: np.ndarray, full_scores: np.ndarray, fitted: np.ndarray
) -> Iterator[pd.DataFrame]:
    """Yield the rows of ``score_correlation`` for the factors that both runs have."""
    shared = np.isin(names, full_names)
    a, b = scores[:, shared], full_scores[:, pd.Index(full_names).get_indexer(names[shared])]
    off = (np.ptp(a, axis=0) == 0) & (np.ptp(b, axis=0) == 0)
    for split, part in (("seen", fitted), ("held_out", ~fitted)):
        values = np.where(off, np.nan, correlation(a[part], b[part]))
        yield rows("score_correlation", values, factor=names[shared], split=split, n=part.sum())
