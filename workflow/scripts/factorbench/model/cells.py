"""Cells as the network takes them: finite float32, genes in the model's order, all at once or as they are needed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import Tensor

from ..contracts.errors import UserError
from ..contracts.files import row_blocks

BLOCK = 256
"""Cells that are read together, since they lie together."""

N_BLOCKS = 64
"""Blocks that are shuffled together in memory."""

DENSE_LIMIT = 2**30
"""Bytes that sparse expression may take when it is made dense for the whole training; beyond, only batches are."""


class Cells(Protocol):
    """The cells of a fit: centred expression (n, n_genes) and covariates (n, n_covariates) or ``None``, as tensors."""

    def __len__(self) -> int: ...

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Every cell once, in random order from torch's generator, in batches of `batch_sizes`."""

    def blocks(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Every cell once, in order."""


def batch_sizes(n_cells: int, size: int) -> list[int]:
    """Sizes of the fewest batches of at most ``size`` cells, as equal as can be.

    None is a single cell, which has no variance for BatchNorm: rather are there fewer and larger ones.
    """
    n_batches = max(1, min(math.ceil(n_cells / size), n_cells // 2))
    return [n_cells // n_batches + (i < n_cells % n_batches) for i in range(n_batches)]


class DenseCells:
    """Cells as one dense tensor on the device.

    Parameters
    ----------
    expression
        Centred, shape (n_cells, n_genes).
    covariates
        Shape (n_cells, n_covariates), or ``None``.
    """

    def __init__(self, expression: Tensor, covariates: Tensor | None = None):
        self.expression, self.covariates = expression, covariates

    def __len__(self) -> int:
        return len(self.expression)

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        order = torch.randperm(len(self)).to(self.expression.device)
        for rows in order.split(batch_sizes(len(self), size)):
            yield self.expression[rows], None if self.covariates is None else self.covariates[rows]

    def blocks(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        for rows in row_blocks(len(self)):
            yield self.expression[rows], None if self.covariates is None else self.covariates[rows]


class SparseCells:
    """Cells that stay sparse, in memory or on disk; only batches are dense.

    Batches are nearly random: blocks of `BLOCK` neighbours are read in random order, `N_BLOCKS` at a time, and shuffled
    cell by cell in memory.

    Parameters
    ----------
    matrix
        Not centred: a CSR matrix, or one on disk (``contracts.on_disk``), shape (n_cells, n_genes).
    offset
        What centring takes off, shape (n_genes,).
    covariates
        Shape (n_cells, n_covariates), on the device, or ``None``.
    device
        Where batches are wanted.
    """

    def __init__(self, matrix: Any, offset: np.ndarray, covariates: Tensor | None, device: torch.device):
        self.matrix, self.covariates, self.device = matrix, covariates, device
        self.offset = torch.from_numpy(offset).to(device)

    def __len__(self) -> int:
        return self.matrix.shape[0]

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        sizes = iter(batch_sizes(len(self), size))
        wanted = next(sizes)
        block = np.arange(len(self)) // BLOCK
        order = torch.randperm(int(block[-1]) + 1).numpy()
        buffer, cells = sparse.csr_matrix((0, self.matrix.shape[1]), dtype=np.float32), np.zeros(0, np.int64)
        for first in range(0, len(order), N_BLOCKS):
            # All blocks in one request and in the order of the file: on disk each request has a price of its own.
            chosen = np.isin(block, order[first : first + N_BLOCKS])
            buffer = sparse.vstack([buffer, self.matrix[chosen]], format="csr")
            cells = np.concatenate([cells, np.flatnonzero(chosen)])
            shuffled, taken = torch.randperm(len(cells)).numpy(), 0
            while wanted and taken + wanted <= len(cells):
                rows = shuffled[taken : taken + wanted]
                yield self._dense(buffer[rows], cells[rows])
                taken, wanted = taken + wanted, next(sizes, 0)
            buffer, cells = buffer[shuffled[taken:]], cells[shuffled[taken:]]

    def blocks(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        for rows in row_blocks(len(self)):
            yield self._dense(self.matrix[rows], rows)

    def _dense(self, rows: sparse.csr_matrix, cells: np.ndarray | slice) -> tuple[Tensor, Tensor | None]:
        expression = torch.from_numpy(rows.toarray()).float().to(self.device) - self.offset
        return expression, None if self.covariates is None else self.covariates[cells]


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


def mean_expression(X: Any) -> np.ndarray:
    """Mean of every gene, float32, shape (n_genes,), of a sparse matrix in memory or on disk, a block at a time.

    Raises
    ------
    UserError
        If a value is NaN or infinite (as float32).
    """
    total = np.zeros(X.shape[1])
    for rows in row_blocks(X.shape[0]):
        block = X[rows]
        total += np.asarray(block.sum(axis=0, dtype=np.float64)).ravel()
        if not np.isfinite(total).all():
            dense_matrix(block, rows.start)  # says where
    return (total / X.shape[0]).astype(np.float32)


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
    X: np.ndarray | sparse.spmatrix, position: np.ndarray, fill: np.ndarray
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
    for rows in row_blocks(X.shape[0]):
        if in_order:
            yield rows, dense_matrix(X[rows], rows.start)
        else:
            block = np.repeat(fill[None].astype(np.float32), rows.stop - rows.start, axis=0)
            block[:, present] = dense_matrix(X[rows][:, position[present]], rows.start)
            yield rows, block
