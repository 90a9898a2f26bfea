"""What the scores of cells are worth that the method was not fitted on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..contracts.errors import ContractError
from ..contracts.prepared import seen_cells
from ..registry import MetricSpec
from ..statistics import correlation, wilson
from . import _logistic
from ._questions import correct, questions, scores_of
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
    """Ask held-out cells the questions of ``separation``, and compare their scores with those of a model that saw them.

    Parameters
    ----------
    data
        Prepared data (`contracts.check_prepared`), with ``obs["held_out"]``.
    factors
        Factors of a run that was fitted on the other cells (`contracts.check_factors`).
    params
        None.
    seen
        Factors of a run of the same method and seed that was fitted on all these cells. Factors are matched by name.

    Returns
    -------
    DataFrame with `contracts.METRIC_COLUMNS`; empty if no cell is held out
        For each factor and question ``projected_accuracy`` of one univariate logistic regression, fitted to the seen
        cells: on these (split ``seen``) and on the others (``held_out``), with Wilson's intervals;
        ``projected_auroc`` of the score in the same two parts, with DeLong's (10.2307/2531595; NaN where a part has
        one class only). For each question ``projected_baseline``, the share of the larger class among the held-out
        cells. A class that the seen cells lack cannot be learnt: NaN.

        With ``seen``: ``projected_accuracy`` of split ``saw_them``, as ``held_out``, but with that run's scores (and
        a regression fitted to its scores of the cells seen by both), so that only the factor model differs. For each
        factor ``score_correlation``, Pearson's of the two runs' scores on the held-out cells and, split ``seen``, on
        the others: how far two trainings differ anyway. 0 if one of them switched the factor off, NaN if both did.

    Raises
    ------
    ContractError
        If ``seen`` lacks some of the cells.
    """
    check_same(data, factors)
    learnt = seen_cells(data)
    if learnt.all() or factors.uns["factors"].empty:
        return no_rows()
    scores, names = scores_of(factors), factors.uns["factors"]["name"].to_numpy(str)
    parts = [no_rows()]
    if seen is not None:
        others, other_scores = _same_cells(seen, data)
        parts.append(_correlations(names, scores, others, other_scores, learnt))
    for cells, labels, y in questions(data):
        fit_on = learnt[cells]
        parts.append(_projected(names, scores[cells], labels, y, fit_on))
        if seen is not None and len(others):
            share = _accuracies(other_scores[cells], y, fit_on)[1]
            at = {"factor": np.repeat(others, len(labels)), "label": np.tile(labels, len(others)), "split": "saw_them"}
            parts.append(_accuracy_rows(share.ravel(), (~fit_on).sum(), **at))
    return pd.concat(parts, ignore_index=True)


def _projected(
    names: np.ndarray, scores: np.ndarray, labels: list[str], y: np.ndarray, learnt: np.ndarray
) -> pd.DataFrame:
    """Rows of one label; ``scores`` (n_cells, n_factors), ``y`` (n_classes, n_cells), ``learnt`` (n_cells,)."""
    n = (~learnt).sum()
    inside = y[:, ~learnt].sum(axis=1)
    larger = np.maximum(inside, n - inside) / n if n else np.full(len(y), np.nan)
    parts = [rows("projected_baseline", larger, label=labels, split="held_out", n=n)]
    shares = _accuracies(scores, y, learnt)
    for split, part, share in zip(("seen", "held_out"), (learnt, ~learnt), shares, strict=True):
        at = {"factor": np.repeat(names, len(labels)), "label": np.tile(labels, len(names)), "split": split}
        parts.append(_accuracy_rows(share.ravel(), part.sum(), **at))
        area, lower, upper = np.full((3, len(names), len(y)), np.nan)
        both = _both(y[:, part]) & _both(y[:, learnt])
        if both.any():
            asked = y[both][:, part]
            for k, x in enumerate(scores[part].T):
                area[k, both], lower[k, both], upper[k, both] = _logistic.auroc(x, asked)
        interval = {"lower": lower.ravel(), "upper": upper.ravel()}
        parts.append(rows("projected_auroc", area.ravel(), n=part.sum(), **interval, **at))
    return pd.concat(parts, ignore_index=True)


def _accuracies(scores: np.ndarray, y: np.ndarray, learnt: np.ndarray) -> np.ndarray:
    """Accuracies of fits to the learnt cells, on these and on the others, (2, n_factors, n_classes).

    NaN where these cells lack a class or its complement.
    """
    result = np.full((2, scores.shape[1], len(y)), np.nan)
    parts = [(scores[part], y[:, part]) for part in (learnt, ~learnt)]
    for k, known in enumerate(parts[0][0].T):
        centre, spread = (known.mean(), known.std()) if np.ptp(known) else (0, np.inf)
        intercept, coefficient = _logistic.fit((known - centre) / spread, parts[0][1])
        fitted = np.isfinite(intercept)
        for share, (values, classes) in zip(result, parts, strict=True):
            if len(values):
                x = (values[:, k] - centre) / spread
                share[k, fitted] = correct(x, classes[fitted], intercept[fitted], coefficient[fitted]).mean(axis=1)
    return result


def _both(y: np.ndarray) -> np.ndarray:
    """Whether each class has cells in it and outside it, from bool (n_classes, n_cells)."""
    return y.any(axis=1) & ~y.all(axis=1)


def _accuracy_rows(share: np.ndarray, n: int, **at: Any) -> pd.DataFrame:
    lower, upper = wilson(share, n) if n else (np.nan, np.nan)
    return rows("projected_accuracy", share, lower=lower, upper=upper, n=n, **at)


def _same_cells(seen: AnnData, data: AnnData) -> tuple[np.ndarray, np.ndarray]:
    """Names of the factors of ``seen`` and their scores in the cells of ``data``."""
    order = seen.obs_names.get_indexer(data.obs_names)
    if (order < 0).any():
        raise ContractError(f"the run to compare with was not fitted on {(order < 0).sum()} of these cells")
    return seen.uns["factors"]["name"].to_numpy(str), scores_of(seen)[order]


def _correlations(
    names: np.ndarray, scores: np.ndarray, others: np.ndarray, other_scores: np.ndarray, learnt: np.ndarray
) -> pd.DataFrame:
    """Rows of ``score_correlation`` for the factors that both runs have."""
    place = {name: k for k, name in enumerate(others)}
    mine = [k for k, name in enumerate(names) if name in place]
    theirs = [place[names[k]] for k in mine]
    a, b = scores[:, mine], other_scores[:, theirs]
    off = (np.ptp(a, axis=0) == 0) & (np.ptp(b, axis=0) == 0)
    return pd.concat(
        [
            rows(
                "score_correlation",
                np.where(off, np.nan, correlation(a[part], b[part])),
                **{"factor": names[mine], "split": split, "n": part.sum()},
            )
            for split, part in (("seen", learnt), ("held_out", ~learnt))
        ],
        ignore_index=True,
    )
