"""What all metrics share: rows of the tidy table, a check of what they are given, Wilson's interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..contracts import METRIC_COLUMNS, ContractError

if TYPE_CHECKING:
    from anndata import AnnData

Z95 = 1.959963984540054
"""The 97.5 % point of the normal distribution."""


def rows(metric: str, value: Any, **columns: Any) -> pd.DataFrame:
    """Rows of one measure, `contracts.METRIC_COLUMNS`; every argument is one value or one a row."""
    given = {"metric": metric, "factor": "", "label": "", "split": "", "lower": np.nan, "upper": np.nan, "n": 0}
    given |= {"value": value} | columns
    arrays = dict(zip(given, np.broadcast_arrays(*(np.atleast_1d(v) for v in given.values())), strict=True))
    table = pd.DataFrame({column: arrays[column] for column in METRIC_COLUMNS})
    return table.astype({"value": float, "lower": float, "upper": float, "n": int})


def no_rows() -> pd.DataFrame:
    """What a metric returns that has nothing to say."""
    return rows("", np.nan).iloc[:0]


def check_same(data: AnnData, factors: AnnData) -> None:
    """Raise `ContractError` unless ``factors`` were found on the cells and genes of ``data``, in the same order."""
    if not (data.obs_names.equals(factors.obs_names) and data.var_names.equals(factors.var_names)):
        raise ContractError("factors and prepared data are not of the same cells and genes")


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson correlation of the columns of ``a`` and ``b`` (n, k), shape (k,); 0 where one of them is constant."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    size = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    varies = (np.ptp(a, axis=0) > 0) & (np.ptp(b, axis=0) > 0)
    return np.divide(np.einsum("ij,ij->j", a, b), size, out=np.zeros(len(size)), where=varies).clip(-1, 1)


def wilson(share: np.ndarray, n: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of a share of ``n`` cells (Wilson 1927, without continuity correction)."""
    share = np.asarray(share, float)
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * np.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)
