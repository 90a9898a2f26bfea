"""Labels of cells as text, and what depends on them: the contrast, donors, subsets and held-out cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import yaml

from ..contracts.errors import UserError
from ..registry import nearest, refer

MISSING = ("", "NA", "N/A", "#N/A", "<NA>", "NaN", "nan", "None")
"""What R, Excel, pandas and Python write for a label that is missing. No class can have such a name."""


def read_labels(obs: pd.DataFrame, labels: dict[str, str], where: str) -> pd.DataFrame:
    """Return the labels under our names (``labels``: our name -> column of ``obs``) as categories of text."""
    texts = {}
    for name, column in labels.items():
        refer(column, obs, f"{where}.{name}")
        texts[name] = as_text(obs[column])
        odd = [value for value in texts[name].cat.categories if not value.isprintable()]
        if odd:
            raise UserError(f"{where}.{name}: {odd[0]!r} has characters that cannot be printed; rename it in the data")
    return pd.DataFrame(texts, index=obs.index)


def as_text(label: pd.Series) -> pd.Series:
    """Return a label as categories of text in sorted order; texts that are `MISSING` are missing values.

    Whole numbers are written without a decimal point. Blanks at the ends of texts are left out.
    """
    texts = label.astype(object).map(_text, na_action="ignore")
    return texts.mask(texts.isin(MISSING)).astype("category")


def missing_texts(label: pd.Series) -> Counter[str]:
    """Count the texts of a label that are `MISSING`."""
    counts = Counter()
    for value, n in label.value_counts().items():
        counts[_text(value)] += n
    return Counter({text: int(counts[text]) for text in MISSING if counts[text]})


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def find_class(value: Any, classes: Iterable[str], where: str) -> str:
    """Return the class that a value of the config means, as `fitting_classes` does; `UserError`: there is none."""
    for name in fitting_classes(value, classes, where):
        return name
    text = _text(value)
    if text in MISSING:
        raise UserError(f"{where}: {text!r} means that the label is missing; give the class another name in the data")
    raise UserError(f"{where}: {text!r} is not defined{nearest(text, classes)}")


def fitting_classes(value: Any, classes: Iterable[str], where: str) -> list[str]:
    """Return the class that a value of the config means, or no class.

    YAML reads a name without quotes as a number or truth value if it can: 1_0 as 10, 1.10 as 1.1, NO as False. Such a
    value means the class that is written in a way that YAML reads so. Raise a `UserError` if several are.
    """
    text = _text(value)
    fits = [name for name in classes if name == text or (not isinstance(value, str) and _is_read_as(name, value))]
    if len(fits) > 1:
        raise UserError(f"{where}: {value} may mean {' or '.join(fits)}; put the name in quotes")
    return fits


def _is_read_as(name: str, value: Any) -> bool:
    """Return whether YAML reads ``name`` without quotes as ``value``."""
    loader = yaml.SafeLoader("")
    tag = loader.resolve(yaml.ScalarNode, name, (True, False))
    try:
        read = loader.construct_object(yaml.ScalarNode(tag, name))
    except (ValueError, yaml.YAMLError):  # such as the date 2020-13-01
        return False
    return type(read) is type(value) and read == value  # 1 == True in Python


def read_contrast(obs: pd.DataFrame, contrast: dict[str, Any] | None, where: str) -> dict[str, str] | None:
    """Return the contrast with its values as text: label, positive, negative (empty: all other cells).

    Raise a `UserError` if the two values are the same, or not classes of the label.
    """
    if not contrast:
        return None
    label, negative = contrast["label"], contrast.get("negative", "")
    classes = obs[label].cat.categories
    positive = find_class(contrast["positive"], classes, f"{where}.positive")
    negative = find_class(negative, classes, f"{where}.negative") if _text(negative) else ""
    if positive == negative:
        raise UserError(f"{where}.negative: is the same as positive; name another class or leave it out")
    return {"label": label, "positive": positive, "negative": negative}


def check_classes(obs: pd.DataFrame, contrast: dict[str, str] | None, where: str) -> None:
    """Raise a `UserError` unless both classes of the contrast have cells in the subset ``obs``."""
    if contrast is None:
        return
    label, value, other = contrast.values()
    positive = obs[label] == value
    negative = obs[label] == other if other else ~positive
    words = {"positive": f"no selected cell is {value!r} in {label}"}
    words["negative"] = f"no selected cell is {other!r} in {label}" if other else f"all selected cells are {value!r}"
    for key, cells in (("positive", positive), ("negative", negative)):
        if not cells.any():
            raise UserError(f"{where}.{key}: {words[key]}; choose another class or label, or raise n_cells")


def check_donors(obs: pd.DataFrame, donor: str, where: str) -> None:
    """Raise a `UserError` if the label ``donor`` (empty: there is none) has fewer than two values."""
    values = obs[donor].dropna().unique() if donor else []
    if donor and len(values) < 2:
        raise UserError(
            f"{where}: {donor} has fewer than two values in the data ({', '.join(values) or 'none'}); "
            f"choose another label or leave donor out"
        )


def subset(labels: pd.DataFrame, n_cells: int, seed: int, where: str) -> np.ndarray:
    """Draw ``n_cells`` cells at random, in proportion to all labels jointly; return their sorted positions.

    The number of cells of each stratum (combination of labels) is rounded down. The strata with the largest remainders
    get one cell more.
    """
    if n_cells > len(labels):
        raise UserError(f"{where}: {n_cells} is more than the {len(labels)} cells of the data; lower n_cells")
    stratum = np.zeros(len(labels), int)
    if len(labels.columns):
        stratum = labels.groupby(list(labels), observed=True, dropna=False).ngroup().to_numpy()
    share = np.bincount(stratum) * (n_cells / len(labels))
    take = np.floor(share).astype(int)
    take[np.argsort(take - share, kind="stable")[: n_cells - take.sum()]] += 1
    order = np.random.default_rng(seed).permutation(len(labels))
    rank = pd.Series(order).groupby(stratum[order]).cumcount().to_numpy()  # of each cell in its stratum
    return np.sort(order[rank < take[stratum[order]]])


def hold_out(obs: pd.DataFrame, entry: dict[str, Any], where: str) -> np.ndarray:
    """Return whether each cell is held out, bool, shape (n_cells,): methods are not fitted on such cells.

    ``entry`` has either ``share`` and ``seed`` (a random share of all cells, rounded), or ``label`` and ``value`` (all
    cells with that value). Raise a `UserError` if it has both or neither, no cell has the value, or fewer than two
    cells are held out or left.
    """
    share, label, value = entry.get("share"), entry.get("label", ""), entry.get("value", "")
    if (share is not None) == bool(label or _text(value)):
        raise UserError(f"{where}: give either share, or label and value")
    if share is not None:
        held_out = np.zeros(len(obs), bool)
        drawn = np.random.default_rng(entry.get("seed", 0)).permutation(len(obs))
        held_out[drawn[: round(share * len(obs))]] = True
    else:
        held_out = (obs[label] == find_class(value, obs[label].cat.categories, f"{where}.value")).to_numpy()
    n = int(held_out.sum())
    if min(n, len(obs) - n) < 2:
        key = "label" if share is None else "share"
        raise UserError(
            f"{where}.{key}: holds out {n} of {len(obs)} cells; hold out at least two, and leave at least two"
        )
    return held_out
