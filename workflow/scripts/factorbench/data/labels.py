"""Labels of cells: under our names, as text; the contrast, donors, subsets and held-out cells that rest on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..contracts.errors import UserError
from ..registry import nearest

HELD_OUT = "held_out"
"""Column of the prepared cells that says which are held out."""


def read_labels(obs: pd.DataFrame, labels: dict[str, str], where: str) -> pd.DataFrame:
    """The labels under our names (``labels``: our name -> column of ``obs``), categories of text."""
    for name, column in labels.items():
        if column not in obs:
            raise UserError(f"{where}.{name}: the data have no label {column!r}{nearest(column, list(obs.columns))}")
    found = pd.DataFrame({name: as_text(obs[column]) for name, column in labels.items()}, index=obs.index)
    for name in labels:
        odd = [value for value in found[name].cat.categories if not value.isprintable()]
        if odd:
            raise UserError(f"{where}.{name}: {odd[0]!r} has characters that cannot be printed; rename it in the data")
    return found


def as_text(label: pd.Series) -> pd.Series:
    """A label as categories of text in sorted order; a whole number is written without a decimal point."""
    values = label.astype(object)
    text = [_text(value) if known else None for value, known in zip(values, values.notna(), strict=True)]
    return pd.Series(pd.Categorical(text), index=label.index)


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def read_contrast(obs: pd.DataFrame, contrast: dict[str, Any] | None, where: str) -> dict[str, str] | None:
    """The contrast with its values as text: label, positive, negative (empty: all other cells).

    Raises
    ------
    UserError
        If the label has fewer than two classes, or a value of the contrast is none of them.
    """
    if not contrast:
        return None
    given = {key: _text(contrast.get(key, "")) for key in ("label", "positive", "negative")}
    if given["label"] not in obs:
        raise UserError(f"{where}.label: {given['label']!r} is none of the dataset's labels")
    classes = list(obs[given["label"]].cat.categories)
    if len(classes) < 2:
        raise UserError(
            f"{where}.label: {given['label']} has one class in the data ({', '.join(classes) or 'none'}); "
            f"a contrast needs two: choose another label"
        )
    for key in ("positive", "negative"):
        if given[key] not in classes and (given[key] or key == "positive"):
            raise UserError(
                f"{where}.{key}: no cell is {given[key]!r} in {given['label']}{nearest(given[key], classes)}"
            )
    if given["positive"] == given["negative"]:
        raise UserError(f"{where}.negative: is the positive class too; name another or leave it out")
    return given


def check_classes(obs: pd.DataFrame, contrast: dict[str, str] | None, where: str) -> None:
    """Raise a `UserError` if a class of the contrast has no cell left after subsetting."""
    if contrast is None:
        return
    positive = obs[contrast["label"]] == contrast["positive"]
    negative = obs[contrast["label"]] == contrast["negative"] if contrast["negative"] else ~positive
    for key, cells in (("positive", positive), ("negative", negative)):
        if not cells.any():
            raise UserError(f"{where}.{key}: none of its cells is left; choose a larger n_cells")


def subset(labels: pd.DataFrame, n_cells: int, seed: int, where: str) -> np.ndarray:
    """Sorted positions of ``n_cells`` cells drawn at random in proportion to all their labels jointly.

    Each stratum gets its share rounded down; the strata with the largest remainders get one cell more.
    """
    if n_cells > len(labels):
        raise UserError(f"{where}: {n_cells} cells were asked for and there are {len(labels)}; lower n_cells")
    stratum = np.zeros(len(labels), int)
    if len(labels.columns):
        stratum = labels.groupby(list(labels), observed=True, dropna=False).ngroup().to_numpy()
    share = np.bincount(stratum) * (n_cells / len(labels))
    take = np.floor(share).astype(int)
    take[np.argsort(take - share, kind="stable")[: n_cells - take.sum()]] += 1
    order = np.random.default_rng(seed).permutation(len(labels))
    place = pd.Series(order).groupby(stratum[order]).cumcount().to_numpy()
    return np.sort(order[place < take[stratum[order]]])


def check_donors(obs: pd.DataFrame, donor: str, where: str) -> None:
    """Raise a `UserError` if the label ``donor`` (empty: there is none) is not known of two donors or more."""
    if not donor:
        return
    if donor not in obs:
        raise UserError(f"{where}: {donor!r} is none of the dataset's labels{nearest(donor, list(obs.columns))}")
    donors = sorted(obs[donor].dropna().unique())
    if len(donors) < 2:
        raise UserError(
            f"{where}: {donor} has fewer than two values in the data ({', '.join(donors) or 'none'}); "
            f"choose another label or leave donor out"
        )


def hold_out(obs: pd.DataFrame, entry: dict[str, Any], where: str) -> np.ndarray:
    """Which cells methods are not to be fitted on, bool, shape (n_cells,).

    Parameters
    ----------
    obs
        Labels as `read_labels` returns them.
    entry
        Either ``share`` and ``seed`` (a random share of all cells, rounded), or ``label`` and ``value`` (all cells
        with that value).
    where
        The entry's place in the config, for messages.

    Raises
    ------
    UserError
        If it is both or neither, label or value is not there, or fewer than two cells are left on either side.
    """
    share, label, value = entry.get("share"), entry.get("label", ""), _text(entry.get("value", ""))
    if (share is None) == (not label and not value):
        raise UserError(f"{where}: give either share, or label and value")
    if HELD_OUT in obs:
        raise UserError(f"{where}: a label is called {HELD_OUT}, as the cells held out are; rename the label")
    if share is not None:
        held_out = np.zeros(len(obs), bool)
        drawn = np.random.default_rng(entry.get("seed", 0)).permutation(len(obs))
        held_out[drawn[: round(share * len(obs))]] = True
    else:
        if label not in obs:
            raise UserError(f"{where}.label: {label!r} is none of the dataset's labels{nearest(label, list(obs))}")
        classes = list(obs[label].dropna().unique())
        if value not in classes:
            raise UserError(f"{where}.value: no cell is {value!r} in {label}{nearest(value, classes)}")
        held_out = (obs[label] == value).to_numpy()
    n = int(held_out.sum())
    if min(n, len(obs) - n) < 2:
        key = "label" if share is None else "share"
        raise UserError(f"{where}.{key}: holds out {n} of {len(obs)} cells; at least two are needed on either side")
    return held_out
