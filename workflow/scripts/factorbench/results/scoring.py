"""All metrics of the config, in one table."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import registry
from ..contracts.prepared import without_held_out
from ..contracts.scores import METRIC_COLUMNS, SCORE_COLUMNS, check_scores
from ..metrics._rows import no_rows

if TYPE_CHECKING:
    from anndata import AnnData

Metrics = dict[str, dict[str, Any]]
"""Metrics by name, each with its parameters."""


def score_run(
    metrics: Metrics, data: AnnData, factors: AnnData, seen: AnnData | None, run: dict[str, Any]
) -> pd.DataFrame:
    """Return a table of `SCORE_COLUMNS`: every metric of one run.

    Parameters
    ----------
    metrics
        Metrics over seeds are left out.
    data, factors
        Prepared data and the factors of the run, held-out cells included.
    seen
        Factors of the same method and seed that were fitted on the held-out cells too, if there is such a run.
    run
        ``dataset``, ``method``, ``seed`` and ``status``, written into every row.

    Raises
    ------
    ContractError
        If a metric's table is not tidy.
    """
    fitted = without_held_out(data), without_held_out(factors)

    def measure(metric: ModuleType, params: dict[str, Any]) -> pd.DataFrame:
        if metric.SPEC.held_out:
            return metric.score(data, factors, params, seen)
        return metric.score(*fitted, params)

    return _combine(metrics, "run", measure).assign(**run)[list(SCORE_COLUMNS)]


def score_seeds(
    metrics: Metrics, data: AnnData, factors: list[AnnData], statuses: list[str], group: dict[str, Any]
) -> pd.DataFrame:
    """Return a table of `SCORE_COLUMNS`: every metric over the seeds of one method on one dataset (see `score_run`).

    ``factors`` and ``statuses`` have one entry per seed, without held-out cells. Runs without factors are left out;
    the rows get the first status of the others that is not ``ok``.
    """
    with_factors = [not run.uns["factors"].empty for run in factors]
    status = next((s for s, has in zip(statuses, with_factors, strict=True) if has and s != "ok"), "ok")
    runs = [run for run, has in zip(factors, with_factors, strict=True) if has]
    table = _combine(metrics, "seeds", lambda metric, params: metric.score(data, runs, params))
    return table.assign(**group, seed=None, status=status)[list(SCORE_COLUMNS)]


def _combine(
    metrics: Metrics, over: str, measure: Callable[[ModuleType, dict[str, Any]], pd.DataFrame]
) -> pd.DataFrame:
    """Return the tables of all metrics ``over`` runs or seeds, one below the other, each checked."""
    tables = [no_rows()]
    for name, params in metrics.items():
        metric = registry.load("metric", name)
        if metric.SPEC.over == over:
            table = measure(metric, params)
            check_scores(table, METRIC_COLUMNS)
            tables.append(table)
    return pd.concat(tables, ignore_index=True)
