"""Questions about the cells (which of them are of a class?), and how the score of one factor answers them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..contracts.prepared import prepared_record
from ..contracts.scores import contrast_label
from . import _logistic

if TYPE_CHECKING:
    from anndata import AnnData


def questions(data: AnnData) -> Iterator[tuple[np.ndarray, list[str], np.ndarray]]:
    """Yield the questions of each label, those of the contrast's label first.

    The contrast compares its two classes only. Every other label compares each of its classes with all other cells.
    Cells without a value are left out. Donors are no question, because answers are tested on them.

    Yields
    ------
    cells, names, y
        Indices of the cells, shape (n_cells,); names of the classes (``label=class``); whether each cell is of each
        class, bool, shape (n_classes, n_cells). All classes have cells inside and outside them.
    """
    record = prepared_record(data)
    contrast = record["contrast"] or {"label": None}
    labels = [label for label in record["labels"] if label != record.get("donor")]
    for label in sorted(labels, key=lambda name: name != contrast["label"]):
        values = data.obs[label].astype(object).map(str, na_action="ignore").to_numpy(object)
        known = ~pd.isna(values)
        classes = sorted(set(values[known]))
        if label == contrast["label"]:
            classes = [str(contrast["positive"])]
            if contrast.get("negative"):
                known &= np.isin(values.astype(str), [*classes, str(contrast["negative"])])
        cells = np.flatnonzero(known)
        y = values[cells] == np.array(classes, object)[:, None]
        usable = two_sided(y)
        if usable.any():
            yield cells, [f"{label}={classes[k]}" for k in np.flatnonzero(usable)], y[usable]


def contrast_question(data: AnnData) -> tuple[np.ndarray, str, np.ndarray] | None:
    """Return the contrast's question: indices of its cells, its name, bool (n_cells,); ``None`` if there is none."""
    contrast = prepared_record(data)["contrast"]
    for cells, names, y in questions(data):
        if contrast and names == [contrast_label(contrast)]:
            return cells, names[0], y[0]
    return None


def two_sided(y: np.ndarray) -> np.ndarray:
    """Return whether each class has cells inside and outside it, from bool (n_classes, n_cells)."""
    return y.any(axis=1) & ~y.all(axis=1)


def scores_of(factors: AnnData) -> np.ndarray:
    """Return scores in float64, (n_cells, n_factors); 0 for factors that are switched off, which have no loadings."""
    return np.asarray(factors.obsm["scores"], float) * factors.uns["factors"]["active"].to_numpy(bool)


def standardised(x: np.ndarray) -> np.ndarray:
    """Return ``x`` with mean 0 and standard deviation 1; zeros if it is constant."""
    return np.zeros_like(x) if np.ptp(x) == 0 else (x - x.mean()) / x.std()


def correct(x: np.ndarray, y: np.ndarray, intercept: np.ndarray, coefficient: np.ndarray) -> np.ndarray:
    """Return whether a regression (`_logistic.fit`) puts each cell on the right side of each class.

    ``x``: score of each cell, shape (n_cells,); ``y`` and the result: bool, shape (n_classes, n_cells).
    """
    return (intercept[:, None] + coefficient[:, None] * x > 0) == y


def accuracies(scores: np.ndarray, labellings: np.ndarray) -> np.ndarray:
    """Return the training accuracy of the logistic regression of each labelling on each factor.

    ``scores``: (n_cells, n_factors); a constant score guesses the larger class. ``labellings``: bool, (n_labellings,
    n_cells). Result: (n_factors, n_labellings).
    """
    y = labellings.astype(float)
    standard = map(standardised, scores.T)
    return np.stack([correct(x, labellings, *_logistic.fit(x, y)).mean(axis=1) for x in standard])


def aurocs(scores: np.ndarray, labellings: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve of each factor for each labelling; ties count half.

    Shapes as in `accuracies`. All labellings have cells inside and outside the class.
    """
    inside, n = labellings.sum(axis=1), labellings.shape[1]
    # Centred ranks are multiples of 1/2, so sums of them are exact, and equal areas are equal.
    ranks = pd.DataFrame(scores).rank().to_numpy() - (n + 1) / 2
    return 0.5 + (labellings.astype(float) @ ranks).T / (inside * (n - inside))
