"""Observed covariates (X of eq. 2) as numbers: a column per category, numbers standardised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..contracts.errors import UserError


def learn_covariates(obs: pd.DataFrame, names: list[str]) -> list[dict[str, Any]]:
    """Return the coding of the columns ``names`` of ``obs``: how each covariate becomes numbers.

    Returns
    -------
    list of dict
        For categories ``name`` and ``levels`` (those that occur, as text, sorted); for numbers ``name``, ``mean`` and
        ``scale`` (standard deviation; 1 for a constant).
    """
    return [_learn(_column(obs, name), name) for name in names]


def _learn(column: pd.Series, name: str) -> dict[str, Any]:
    if _is_number(column):
        mean, scale = float(column.mean()), float(column.std(ddof=0)) or 1.0
        if not np.isfinite([mean, scale]).all():
            raise UserError(f"obs[{name!r}]: its numbers are too large to be standardised; give them in another unit")
        return {"name": name, "mean": mean, "scale": scale}
    return {"name": name, "levels": sorted(column.astype(str).unique())}


def encode_covariates(obs: pd.DataFrame, coding: list[dict[str, Any]]) -> np.ndarray:
    """Return X of eq. 2 for the cells of ``obs``: float32, shape (n_cells, n_covariates).

    Raises
    ------
    UserError
        If a column is missing, has missing values, is not a number where the coding has a number, or has a category
        that the coding does not have.
    """
    parts = [np.zeros((len(obs), 0), np.float32)]
    for covariate in coding:
        column = _column(obs, covariate["name"])
        parts.append(_one_hot(column, covariate) if "levels" in covariate else _standardised(column, covariate))
    return np.concatenate(parts, axis=1, dtype=np.float32)


def width(coding: list[dict[str, Any]]) -> int:
    """Return n_covariates, the number of columns that `encode_covariates` makes."""
    return sum(len(covariate["levels"]) if "levels" in covariate else 1 for covariate in coding)


def _one_hot(column: pd.Series, covariate: dict[str, Any]) -> np.ndarray:
    codes = pd.Index(covariate["levels"]).get_indexer(column.astype(str))
    if (codes < 0).any():
        unknown = sorted(set(column.astype(str)[codes < 0]))
        raise UserError(
            f"obs[{covariate['name']!r}]: the model was not fitted on {', '.join(unknown[:5])} "
            f"(it knows {', '.join(covariate['levels'][:10])}); leave these cells out or fit again with them"
        )
    return np.eye(len(covariate["levels"]), dtype=np.float32)[codes]


def _standardised(column: pd.Series, covariate: dict[str, Any]) -> np.ndarray:
    if not _is_number(column):
        raise UserError(
            f"obs[{covariate['name']!r}]: the model was fitted on numbers, but this column is {column.dtype}; "
            f"convert it to numbers"
        )
    return (column.to_numpy(np.float64)[:, None] - covariate["mean"]) / covariate["scale"]


def _column(obs: pd.DataFrame, name: str) -> pd.Series:
    if name not in obs:
        raise UserError(f"obs has no column {name!r} for a covariate (there are: {', '.join(map(str, obs.columns))})")
    column = obs[name]
    missing = column.isna() | (np.isinf(column.to_numpy(np.float64)) if _is_number(column) else False)
    if missing.any():
        raise UserError(
            f"obs[{name!r}]: {int(missing.sum())} cells have no (finite) value; "
            f"a covariate must be known for every cell"
        )
    return column


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
