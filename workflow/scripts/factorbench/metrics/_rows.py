"""Rows of the table that every metric returns, and a check of what it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..contracts.errors import ContractError
from ..contracts.scores import METRIC_COLUMNS

if TYPE_CHECKING:
    from anndata import AnnData


def rows(metric: str, value: Any, **columns: Any) -> pd.DataFrame:
    """Return rows of one measure, `contracts.scores.METRIC_COLUMNS`; each argument is one value, or one per row."""
    given = {"metric": metric, "factor": "", "label": "", "split": "", "lower": np.nan, "upper": np.nan, "n": 0}
    given |= {"value": value} | columns
    arrays = dict(zip(given, np.broadcast_arrays(*(np.atleast_1d(v) for v in given.values())), strict=True))
    table = pd.DataFrame({column: arrays[column] for column in METRIC_COLUMNS})
    return table.astype({"value": float, "lower": float, "upper": float, "n": int})


def no_rows() -> pd.DataFrame:
    """Return the table of a metric that has nothing to measure."""
    return rows("", np.nan).iloc[:0]


def check_same(data: AnnData, factors: AnnData) -> None:
    """Raise `ContractError` unless ``factors`` have the cells and genes of ``data``, in the same order."""
    if not (data.obs_names.equals(factors.obs_names) and data.var_names.equals(factors.var_names)):
        raise ContractError("factors and prepared data are not of the same cells and genes; fit this run again")
