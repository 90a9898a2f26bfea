"""What metrics ask about the cells: which of them are of a class, and how one score tells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..contracts.prepared import prepared_record
from ..contracts.scores import contrast_label

if TYPE_CHECKING:
    from anndata import AnnData


def questions(data: AnnData) -> Iterator[tuple[np.ndarray, list[str], np.ndarray]]:
    """For each label, the contrast's first: its cells (indices), names of its classes (``label=class``), their cells.

    The cells of classes are bool, shape (n_classes, n_cells).

    The contrast asks about its two classes only, every other label about each class against all others. A label with a
    single class asks nothing, nor do donors: they are what answers are tested on.
    """
    record = prepared_record(data)
    contrast = record["contrast"] or {"label": None}
    labels = [label for label in record["labels"] if label != record.get("donor")]
    for label in sorted(labels, key=lambda name: name != contrast["label"]):
        values = data.obs[label].astype(object).map(str, na_action="ignore").to_numpy(object)
        known = ~pd.isna(values)
        classes = sorted(set(values[known]))
        if label == contrast["label"]:
            positive, negative = str(contrast["positive"]), str(contrast.get("negative") or "")
            if negative:
                known &= np.isin(values.astype(str), [positive, negative])
            classes = [positive]
        cells = np.flatnonzero(known)
        y = np.stack([values[cells] == c for c in classes]) if classes else np.zeros((0, len(cells)), bool)
        asked = y.any(axis=1) & ~y.all(axis=1)
        if asked.any():
            yield cells, [f"{label}={c}" for c, a in zip(classes, asked, strict=True) if a], y[asked]


def contrast_question(data: AnnData) -> tuple[np.ndarray, str, np.ndarray] | None:
    """The contrast among `questions`: its cells (indices), its name, bool (n_cells,); ``None`` if nothing is asked."""
    contrast = prepared_record(data)["contrast"]
    wanted = contrast_label(contrast) if contrast else None
    for cells, names, y in questions(data):
        if names == [wanted]:
            return cells, names[0], y[0]
    return None


def scores_of(factors: AnnData) -> np.ndarray:
    """Scores in float64, (n_cells, n_factors); a factor that is off has no loadings: its score says nothing, so 0."""
    return np.asarray(factors.obsm["scores"], float) * factors.uns["factors"]["active"].to_numpy(bool)


def standardised(x: np.ndarray) -> np.ndarray:
    """``x`` with mean 0 and standard deviation 1; zeros where it is constant."""
    return np.zeros_like(x) if np.ptp(x) == 0 else (x - x.mean()) / x.std()


def correct(x: np.ndarray, y: np.ndarray, intercept: np.ndarray, coefficient: np.ndarray) -> np.ndarray:
    """Whether each fit puts each cell into its class, bool (n_classes, n_cells), from ``x`` (n_cells,).

    A cell is put into the class where its score is on one side of a threshold.
    """
    everywhere = np.where(intercept > 0, -np.inf, np.inf)
    threshold = np.divide(-intercept, coefficient, out=everywhere, where=coefficient != 0)
    return (x > threshold[:, None]) == (y ^ (coefficient < 0)[:, None])
