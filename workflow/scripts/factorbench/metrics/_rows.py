"""Rows of the table that every metric returns, and a check of what it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..contracts.errors import ContractError
from ..statistics import wilson

if TYPE_CHECKING:
    from anndata import AnnData


def rows(metric: str, value: Any, **columns: Any) -> pd.DataFrame:
    """Return rows of one measure, with `contracts.scores.METRIC_COLUMNS`.

    Arguments are broadcast: factors of shape (n_factors, 1), labels (n_classes,) and values (n_factors, n_classes) give
    one row per factor and class.
    """
    usual = {"factor": "", "label": "", "split": "", "value": value, "lower": np.nan, "upper": np.nan, "n": 0}
    given = {"metric": metric, **usual, **columns}
    arrays = np.broadcast_arrays(*map(np.atleast_1d, given.values()))
    table = pd.DataFrame({column: array.ravel() for column, array in zip(given, arrays, strict=True)})
    return table.astype({"value": float, "lower": float, "upper": float, "n": int})


def share_rows(metric: str, share: np.ndarray, n: int, **columns: Any) -> pd.DataFrame:
    """Return `rows` of shares of ``n`` cells with Wilson's interval; all NaN where the share is."""
    lower, upper = wilson(share, max(n, 1))
    return rows(metric, share, lower=lower, upper=upper, n=n, **columns)


def no_rows() -> pd.DataFrame:
    """Return the table of a metric that has nothing to measure."""
    return rows("", np.nan).iloc[:0]


def check_same(data: AnnData, factors: AnnData) -> None:
    """Raise `ContractError` unless ``factors`` have the cells and genes of ``data``, in the same order."""
    if not (data.obs_names.equals(factors.obs_names) and data.var_names.equals(factors.var_names)):
        raise ContractError("factors and prepared data are not of the same cells and genes; fit this run again")
