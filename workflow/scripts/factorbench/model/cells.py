"""Cells as the network takes them: finite float32, genes in the order of the model, all at once or in batches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import Tensor

from ..contracts.errors import UserError
from ..contracts.files import row_blocks

BLOCK = 256
"""Consecutive cells that are read together."""

N_BLOCKS = 64
"""Blocks that are shuffled together in memory."""

DENSE_LIMIT = 2**30
"""Bytes up to which sparse expression is made dense for the whole training. Above it, only batches are made dense."""


def batch_sizes(n_cells: int, size: int) -> list[int]:
    """Return the sizes of the fewest batches of at most ``size`` cells, as equal as possible.

    No batch is a single cell, because BatchNorm needs a variance. Where that is impossible otherwise, batches are
    larger than ``size``.
    """
    n_batches = max(1, min(math.ceil(n_cells / size), n_cells // 2))
    return [n_cells // n_batches + (i < n_cells % n_batches) for i in range(n_batches)]


class DenseCells:
    """Cells as one dense tensor on the device: centred expression, and covariates or ``None``."""

    def __init__(self, expression: Tensor, covariates: Tensor | None = None):
        self.expression, self.covariates = expression, covariates

    def __len__(self) -> int:
        return len(self.expression)

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield every cell once, in random order (drawn from torch's generator), in batches of `batch_sizes`."""
        order = torch.randperm(len(self)).to(self.expression.device)
        return map(self._part, order.split(batch_sizes(len(self), size)))

    def blocks(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield every cell once, in the order of the data."""
        return map(self._part, row_blocks(len(self)))

    def _part(self, rows: Tensor | slice) -> tuple[Tensor, Tensor | None]:
        return self.expression[rows], None if self.covariates is None else self.covariates[rows]


class SparseCells:
    """Cells that stay sparse, in memory or on disk; only batches are dense. It is used as `DenseCells`.

    The order of cells is nearly random: blocks of `BLOCK` consecutive cells are read in random order, `N_BLOCKS` at a
    time, and their cells are shuffled in memory.

    Parameters
    ----------
    matrix
        Not centred: a CSR matrix, or one on disk (`contracts.files.on_disk`), shape (n_cells, n_genes).
    offset
        What centring subtracts, shape (n_genes,).
    covariates
        Shape (n_cells, n_covariates), on the device, or ``None``.
    device
        The device of the batches.
    """

    def __init__(self, matrix: Any, offset: np.ndarray, covariates: Tensor | None, device: torch.device):
        self.matrix, self.covariates, self.device = matrix, covariates, device
        self.offset = torch.from_numpy(offset).to(device)

    def __len__(self) -> int:
        return self.matrix.shape[0]

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield every cell once, as `DenseCells.batches`."""
        sizes = iter(batch_sizes(len(self), size))
        wanted = next(sizes)
        block = np.arange(len(self)) // BLOCK
        order = torch.randperm(int(block[-1]) + 1).numpy()
        buffer, cells = sparse.csr_matrix((0, self.matrix.shape[1]), dtype=np.float32), np.zeros(0, np.int64)
        for first in range(0, len(order), N_BLOCKS):
            # One request for all blocks, in the order of the file, because every request to the disk costs time.
            chosen = np.isin(block, order[first : first + N_BLOCKS])
            buffer = sparse.vstack([buffer, self.matrix[chosen]], format="csr")
            cells = np.concatenate([cells, np.flatnonzero(chosen)])
            shuffled, taken = torch.randperm(len(cells)).numpy(), 0
            while wanted and taken + wanted <= len(cells):
                rows = shuffled[taken : taken + wanted]
                yield self._part(buffer[rows], cells[rows])
                taken, wanted = taken + wanted, next(sizes, 0)
            buffer, cells = buffer[shuffled[taken:]], cells[shuffled[taken:]]

    def blocks(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield every cell once, in the order of the data."""
        for rows in row_blocks(len(self)):
            yield self._part(self.matrix[rows], rows)

    def _part(self, matrix: sparse.csr_matrix, cells: np.ndarray | slice) -> tuple[Tensor, Tensor | None]:
        expression = torch.from_numpy(matrix.toarray()).float().to(self.device) - self.offset
        return expression, None if self.covariates is None else self.covariates[cells]


Cells = DenseCells | SparseCells


def dense_matrix(X: np.ndarray | sparse.spmatrix, first: int = 0) -> np.ndarray:
    """Return a dense float32 copy of ``X``, whose first row is cell ``first``; raise unless all values are finite."""
    dense = X.toarray().astype(np.float32, copy=False) if sparse.issparse(X) else np.array(X, np.float32)
    finite = np.isfinite(dense).all(axis=1)
    if not finite.all():
        cell = first + int(np.argmin(finite))
        raise UserError(f"X has values that are NaN or infinite (first in cell number {cell}); correct or remove them")
    return dense


def mean_expression(X: Any) -> np.ndarray:
    """Return the mean of every gene, float32, of a sparse matrix in memory or on disk; all values must be finite."""
    total = np.zeros(X.shape[1])
    for rows in row_blocks(X.shape[0]):
        block = X[rows]
        total += np.asarray(block.sum(axis=0, dtype=np.float64)).ravel()
        if not np.isfinite(total).all():
            dense_matrix(block, rows.start)  # raises the error, with the number of the cell
    return (total / X.shape[0]).astype(np.float32)


def align_genes(genes: pd.Index, wanted: pd.Index, min_share: float) -> np.ndarray:
    """Return the positions in ``genes`` of the genes that the model was fitted on (``wanted``), -1 where missing.

    Raise `UserError` if ``genes`` are not unique, or contain less than ``min_share`` of ``wanted``.
    """
    if not genes.is_unique:
        raise UserError(f"names of genes are not unique ({genes[genes.duplicated()][0]}); make them so")
    position = genes.get_indexer(wanted)
    n_matched = int((position >= 0).sum())
    if n_matched < min_share * len(wanted):
        missing = wanted[position < 0]
        raise UserError(
            f"only {n_matched} of the model's {len(wanted)} genes are in the data, fewer than {min_share:.0%} "
            f"(model: {', '.join(map(str, missing[:3]))}; data: {', '.join(map(str, genes[:3]))}); "
            f"use the same kind of gene names or lower min_share"
        )
    return position


def chunks(
    X: np.ndarray | sparse.spmatrix, position: np.ndarray, fill: np.ndarray
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield slices of cells and their dense expression, genes in the order of the model (``position``: `align_genes`).

    Missing genes get the values ``fill``, float32, shape (n_genes,).
    """
    if sparse.issparse(X):
        X = X.tocsr()
    present = position >= 0
    in_order = np.array_equal(position, np.arange(X.shape[1]))
    for rows in row_blocks(X.shape[0]):
        if in_order:
            yield rows, dense_matrix(X[rows], rows.start)
        else:
            block = np.tile(fill, (rows.stop - rows.start, 1))
            block[:, present] = dense_matrix(X[rows][:, position[present]], rows.start)
            yield rows, block
