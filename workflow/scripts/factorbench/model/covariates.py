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
    return [{"name": name, **_learn(_column(obs, name))} for name in names]


def _learn(column: pd.Series) -> dict[str, Any]:
    if not _is_number(column):
        return {"levels": sorted(column.astype(str).unique())}
    mean, scale = float(column.mean()), float(column.std(ddof=0)) or 1.0
    if not np.isfinite([mean, scale]).all():
        raise UserError(f"obs[{column.name!r}]: its numbers are too large to standardise; give them in another unit")
    return {"mean": mean, "scale": scale}


def encode_covariates(obs: pd.DataFrame, coding: list[dict[str, Any]]) -> np.ndarray:
    """Return X of eq. 2 for the cells of ``obs``: float32, shape (n_cells, n_covariates).

    Raises
    ------
    UserError
        If a column is missing, has missing values, is not a number where the coding has a number, or has a category
        that the coding does not have.
    """
    parts = [np.zeros((len(obs), 0), np.float32), *(_encode(_column(obs, part["name"]), part) for part in coding)]
    return np.concatenate(parts, axis=1, dtype=np.float32)


def width(coding: list[dict[str, Any]]) -> int:
    """Return n_covariates, the number of columns that `encode_covariates` makes."""
    return sum(len(covariate.get("levels", [0])) for covariate in coding)


def _encode(column: pd.Series, covariate: dict[str, Any]) -> np.ndarray:
    if "levels" not in covariate:
        if not _is_number(column):
            raise UserError(f"obs[{column.name!r}]: the model was fitted on numbers, not {column.dtype}; convert it")
        return (column.to_numpy(np.float64)[:, None] - covariate["mean"]) / covariate["scale"]
    levels, text = covariate["levels"], column.astype(str)
    unknown = sorted(set(text) - set(levels))
    if unknown:
        raise UserError(
            f"obs[{column.name!r}]: the model was not fitted on {', '.join(unknown[:5])} "
            f"(it knows {', '.join(levels[:10])}); leave these cells out or fit again with them"
        )
    return text.to_numpy(object)[:, None] == np.array(levels, object)


def _column(obs: pd.DataFrame, name: str) -> pd.Series:
    if name not in obs:
        raise UserError(f"obs has no column {name!r} for a covariate (there are: {', '.join(map(str, obs.columns))})")
    column = obs[name]
    missing = column.isna() | (np.isinf(column.to_numpy(np.float64)) if _is_number(column) else False)
    if missing.any():
        raise UserError(f"obs[{name!r}]: {missing.sum()} cells have no (finite) value; every cell must have one")
    return column


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
