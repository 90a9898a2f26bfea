"""scores.tsv: every measure of every factor of every run."""

from __future__ import annotations

from typing import Any

import pandas as pd

from .errors import ContractError

METRIC_COLUMNS = ("metric", "factor", "label", "split", "value", "lower", "upper", "n")
"""The columns that a metric returns."""

SCORE_COLUMNS = ("dataset", "method", "seed", *METRIC_COLUMNS, "status")
"""The columns of scores.tsv: what a metric returns, with the name and status of the run."""


def contrast_label(contrast: dict[str, Any]) -> str:
    """Return the ``label`` under which scores.tsv holds a contrast: ``condition=stimulated``."""
    return f"{contrast['label']}={contrast['positive']}"


def check_scores(table: pd.DataFrame, columns: tuple[str, ...] = SCORE_COLUMNS) -> None:
    """Raise `ContractError` unless ``table`` has these columns in this order and numbers where numbers belong.

    ``seed`` is missing in rows that are about all seeds of a method.
    """
    if tuple(table.columns) != columns:
        raise ContractError(f"a table of scores has the columns {columns}, not {tuple(table.columns)}")
    for column in ("value", "lower", "upper"):
        if not pd.api.types.is_numeric_dtype(table[column]):
            raise ContractError(f"column {column} of a table of scores must be numbers")
