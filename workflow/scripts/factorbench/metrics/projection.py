"""How good the scores of held-out cells are: cells that the method was not fitted on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..contracts.errors import ContractError
from ..contracts.prepared import seen_cells
from ..registry import MetricSpec
from ..statistics import correlation, wilson
from . import _logistic
from ._questions import correct, questions, scores_of, two_sided
from ._rows import check_same, no_rows, rows

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
    data
        Prepared data (`contracts.prepared.check_prepared`), with ``obs["held_out"]``.
    factors
        Factors of a run that was fitted on the other cells (`contracts.factors.check_factors`).
    params
        None.
    seen
        Factors of a run of the same method and seed that was fitted on all these cells (the full run). Factors are
        matched by name.

    Returns
    -------
    DataFrame with `contracts.scores.METRIC_COLUMNS`; empty if no cell is held out
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
        If data and factors are not of the same cells and genes, or cells are missing in ``seen``.
    """
    check_same(data, factors)
    fitted = seen_cells(data)
    if fitted.all() or factors.uns["factors"].empty:
        return no_rows()
    scores, names = scores_of(factors), factors.uns["factors"]["name"].to_numpy(str)
    parts = [no_rows()]
    if seen is not None:
        full_names, full_scores = _scores_of_cells(seen, data)
        parts.append(_correlations(names, scores, full_names, full_scores, fitted))
    for cells, classes, y in questions(data):
        parts.append(_projected(names, scores[cells], classes, y, fitted[cells]))
        if seen is not None and len(full_names):
            share = _accuracies(full_scores[cells], y, fitted[cells])[1]
            parts.append(_accuracy_rows(share, "saw_them", full_names, classes, (~fitted[cells]).sum()))
    return pd.concat(parts, ignore_index=True)


def _projected(
    names: np.ndarray, scores: np.ndarray, classes: list[str], y: np.ndarray, fitted: np.ndarray
) -> pd.DataFrame:
    """Return the rows of one label; ``scores`` (n_cells, n_factors), ``y`` (n_classes, n_cells)."""
    n = (~fitted).sum()
    inside = y[:, ~fitted].sum(axis=1)
    larger = np.maximum(inside, n - inside) / n if n else np.nan
    parts = [rows("projected_baseline", larger, label=classes, split="held_out", n=n)]
    shares = _accuracies(scores, y, fitted)
    for split, part, share in zip(("seen", "held_out"), (fitted, ~fitted), shares, strict=True):
        parts.append(_accuracy_rows(share, split, names, classes, part.sum()))
        area, lower, upper = np.full((3, len(names), len(y)), np.nan)
        usable = two_sided(y[:, part]) & two_sided(y[:, fitted])
        if usable.any():
            for k, x in enumerate(scores[part].T):
                area[k, usable], lower[k, usable], upper[k, usable] = _logistic.auroc(x, y[usable][:, part])
        at = _columns(split, names, classes, part.sum())
        parts.append(rows("projected_auroc", area.ravel(), lower=lower.ravel(), upper=upper.ravel(), **at))
    return pd.concat(parts, ignore_index=True)


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


def _accuracy_rows(share: np.ndarray, split: str, names: np.ndarray, classes: list[str], n: int) -> pd.DataFrame:
    """Return the rows of ``share`` (n_factors, n_classes) of ``n`` cells."""
    lower, upper = wilson(share.ravel(), n) if n else (np.nan, np.nan)
    return rows("projected_accuracy", share.ravel(), lower=lower, upper=upper, **_columns(split, names, classes, n))


def _columns(split: str, names: np.ndarray, classes: list[str], n: int) -> dict[str, Any]:
    """Return the columns of one row per factor and class."""
    return {"factor": np.repeat(names, len(classes)), "label": np.tile(classes, len(names)), "split": split, "n": n}


def _scores_of_cells(factors: AnnData, data: AnnData) -> tuple[np.ndarray, np.ndarray]:
    """Return the names of ``factors`` and their scores in the cells of ``data``."""
    order = factors.obs_names.get_indexer(data.obs_names)
    if (order < 0).any():
        raise ContractError(f"the run to compare with was not fitted on {(order < 0).sum()} of these cells")
    return factors.uns["factors"]["name"].to_numpy(str), scores_of(factors)[order]


def _correlations(
    names: np.ndarray, scores: np.ndarray, full_names: np.ndarray, full_scores: np.ndarray, fitted: np.ndarray
) -> pd.DataFrame:
    """Return the rows of ``score_correlation`` for the factors that both runs have."""
    shared = [name for name in names if name in set(full_names)]
    a = scores[:, pd.Index(names).get_indexer(shared)]
    b = full_scores[:, pd.Index(full_names).get_indexer(shared)]
    off = (np.ptp(a, axis=0) == 0) & (np.ptp(b, axis=0) == 0)
    parts = [
        rows(
            "score_correlation",
            np.where(off, np.nan, correlation(a[part], b[part])),
            factor=shared,
            split=split,
            n=part.sum(),
        )
        for split, part in (("seen", fitted), ("held_out", ~fitted))
    ]
    return pd.concat(parts, ignore_index=True)
