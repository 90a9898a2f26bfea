"""The covariance of the genes, S = Y'Y / N, in one pass over the cells: all that the exact solution needs of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from ..contracts.files import row_blocks
from ..progress import bar
from .cells import dense_matrix

SPARSE_BELOW = 0.02
"""Share of values other than zero below which a product of sparse blocks is faster than one of dense blocks."""


@dataclass(frozen=True)
class Covariance:
    """What `gene_covariance` returns.

    Attributes
    ----------
    genes
        S, the covariance of the genes after covariates are regressed out, float32, shape (n_genes, n_genes).
    means
        Mean expression of every gene, float32, shape (n_genes,).
    effects
        Phi of eq. 2, the coefficients of that regression, float32, shape (n_genes, n_covariates).
    """

    genes: np.ndarray
    means: np.ndarray
    effects: np.ndarray


def gene_covariance(X: Any, covariates: np.ndarray, center: bool) -> Covariance:
    """Return the covariance of the genes over all cells, and what it was made with.

    Parameters
    ----------
    X
        Expression, not centred, shape (n_cells, n_genes): dense, CSR, or CSR on disk. It is read once, in blocks.
    covariates
        X of eq. 2 (`covariates.encode_covariates`), shape (n_cells, n_covariates).
    center
        Whether genes are centred by their means. If not, S has second moments around zero.

    Raises
    ------
    UserError
        If a value is NaN or infinite.
    """
    (n_cells, n_genes), n_covariates = X.shape, covariates.shape[1]
    squares, total = np.zeros((n_genes, n_genes)), np.zeros(n_genes)
    crossed = np.zeros((n_genes, n_covariates))
    with bar(n_cells, "covariance", "cells") as progress:
        for rows in row_blocks(n_cells):
            block = X[rows]
            if sparse.issparse(block) and block.nnz < SPARSE_BELOW * np.prod(block.shape):
                block = block.astype(np.float64)
            else:
                block = (block.toarray() if sparse.issparse(block) else block).astype(np.float32, copy=False)
            total += np.asarray(block.sum(axis=0, dtype=np.float64)).ravel()
            if not np.isfinite(total).all():
                dense_matrix(block, rows.start)  # raises the error, with the number of the cell
            product = block.T @ block
            squares += product.toarray() if sparse.issparse(product) else product
            crossed += block.T @ covariates[rows]
            progress.update(rows.stop - rows.start)
    means = total / n_cells
    offset = means if center else np.zeros(n_genes)
    squares -= n_cells * np.outer(offset, offset)
    crossed -= np.outer(offset, covariates.sum(axis=0, dtype=np.float64))
    effects = crossed @ np.linalg.pinv(covariates.T.astype(np.float64) @ covariates, hermitian=True)
    squares -= effects @ crossed.T
    return Covariance(*(part.astype(np.float32) for part in (squares / n_cells, means, effects)))
