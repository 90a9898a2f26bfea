"""All metrics that a config names, one below the other."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pandas as pd

from . import contracts, registry
from .metrics._rows import no_rows


def score(
    metrics: dict[str, dict[str, Any]], over: str, measure: Callable[[ModuleType, dict[str, Any]], pd.DataFrame]
) -> pd.DataFrame:
    """The tables of all metrics of one kind.

    Parameters
    ----------
    metrics
        Metrics by name, each with its params.
    over
        The kind: ``run`` or ``seeds`` (`registry.MetricSpec`).
    measure
        Calls the ``score`` of a metric's module with its params on the data at hand.

    Returns
    -------
    DataFrame with `contracts.METRIC_COLUMNS`

    Raises
    ------
    ContractError
        If a metric's table is not tidy.
    """
    tables = [no_rows()]
    for name, params in metrics.items():
        metric = registry.load("metric", name)
        if metric.SPEC.over == over:
            table = measure(metric, params)
            contracts.check_scores(table, contracts.METRIC_COLUMNS)
            tables.append(table)
    return pd.concat(tables, ignore_index=True)
