"""Cells as the network takes them: finite float32, genes in the model's order, a chunk at a time or all at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import sparse

from ..contracts import UserError

CHUNK = 4096
"""Cells evaluated at once."""


def dense_matrix(X: np.ndarray | sparse.spmatrix, first: int = 0) -> np.ndarray:
    """A copy of ``X`` as a dense float32 array, shape (n_cells, n_genes); its first row is cell ``first`` of the data.

    Raises
    ------
    UserError
        If a value is NaN or infinite (as float32).
    """
    dense = X.toarray().astype(np.float32, copy=False) if sparse.issparse(X) else np.array(X, np.float32)
    finite = np.isfinite(dense).all(axis=1)
    if not finite.all():
        cell = first + int(np.argmin(finite))
        raise UserError(f"X has values that are NaN or infinite (first in cell number {cell}); mend or drop them")
    return dense


def align_genes(found: pd.Index, wanted: pd.Index, min_share: float) -> np.ndarray:
    """Positions in ``found`` of the genes the model was fitted on (``wanted``), -1 where missing.

    Raises
    ------
    UserError
        If names in ``found`` are not unique, or fewer than ``min_share`` of ``wanted`` are there.
    """
    if not found.is_unique:
        twice = list(found[found.duplicated()].unique()[:3])
        raise UserError(f"names of genes are not unique ({', '.join(map(str, twice))}); make them so")
    position = found.get_indexer(wanted)
    n_matched = int((position >= 0).sum())
    if n_matched < min_share * len(wanted):
        missing = wanted[position < 0]
        raise UserError(
            f"only {n_matched} of the model's {len(wanted)} genes are in the data, fewer than {min_share:.0%} "
            f"(model: {', '.join(map(str, missing[:3]))}; data: {', '.join(map(str, found[:3]))}); "
            f"use the same kind of gene names or lower min_share"
        )
    return position


def chunks(
    X: np.ndarray | sparse.spmatrix, position: np.ndarray, fill: np.ndarray, size: int = CHUNK
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield slices of cells and their dense expression in the model's gene order.

    Parameters
    ----------
    X
        Shape (n_cells, any number of genes).
    position
        `align_genes`, shape (n_genes,).
    fill
        Values of missing genes, shape (n_genes,).
    """
    if sparse.issparse(X):
        X = X.tocsr()
    present = position >= 0
    in_order = len(position) == X.shape[1] and np.array_equal(position, np.arange(X.shape[1]))
    for start in range(0, X.shape[0], size):
        rows = slice(start, min(start + size, X.shape[0]))
        if in_order:
            yield rows, dense_matrix(X[rows], start)
        else:
            block = np.repeat(fill[None].astype(np.float32), rows.stop - rows.start, axis=0)
            block[:, present] = dense_matrix(X[rows][:, position[present]], start)
            yield rows, block
