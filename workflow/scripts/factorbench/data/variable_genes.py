"""Select highly variable genes: `seurat_v3` in blocks of cells, the other flavours by scanpy in memory."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from anndata import AnnData
from scipy import sparse

SPAN = 0.3
"""Share of the genes that the local regression of `seurat_v3` uses for each gene."""


def seurat_v3(counts: Iterable[sparse.csr_matrix], n_top_genes: int) -> np.ndarray:
    """Select the genes with more variance in their counts than genes of the same mean usually have.

    The variance is that of counts divided by the standard deviation that a local regression of log variance on log mean
    expects, clipped at sqrt(n_cells) (Stuart et al. 2019, 10.1016/j.cell.2019.05.031). scanpy selects the same genes,
    but needs all cells in memory.

    ``counts`` are blocks of cells, shape (any, n_genes), which are read twice. Return whether each gene is selected,
    bool, shape (n_genes,). Raise a ValueError if the regression fails: too few cells, or too few distinct means.
    """
    from skmisc.loess import loess

    n_cells, mean, variance = moments(counts)
    varies = variance > 0
    if varies.sum() * SPAN < 1:  # loess would crash, because no gene has a neighbour
        raise ValueError(f"{varies.sum()} genes vary, too few for a regression")
    model = loess(np.log10(mean[varies]), np.log10(variance[varies]), span=SPAN, degree=2)
    model.fit()
    log_expected = np.zeros(len(mean))
    log_expected[varies] = model.outputs.fitted_values
    deviation = np.sqrt(10**log_expected)
    ceiling = deviation * np.sqrt(n_cells) + mean

    total, squares = 0.0, 0.0
    for block in counts:
        clipped = np.minimum(block.data, ceiling[block.indices])
        total += per_gene(block, clipped)
        squares += per_gene(block, clipped**2)
    standardised = (n_cells * mean**2 + squares - 2 * total * mean) / ((n_cells - 1) * deviation**2)
    chosen = np.zeros(len(mean), bool)
    chosen[np.argsort(-standardised)[:n_top_genes]] = True
    return chosen


def by_scanpy(expression: Iterable[sparse.csr_matrix], flavor: str, n_top_genes: int) -> np.ndarray:
    """Select genes with scanpy's flavour ``seurat`` or ``cell_ranger``. All cells are held in memory.

    ``expression`` are blocks of cells, log-normalised, shape (any, n_genes). Return whether each gene is selected,
    bool, shape (n_genes,). Raise a ValueError if scanpy cannot rank the genes: there are too few, or no two have about
    the same mean.
    """
    import scanpy as sc

    data = AnnData(sparse.vstack(list(expression), format="csr"))
    try:
        table = sc.pp.highly_variable_genes(data, flavor=flavor, n_top_genes=n_top_genes, inplace=False)
    except IndexError:
        raise ValueError("no two genes have about the same mean") from None
    return table["highly_variable"].to_numpy()


def moments(blocks: Iterable[sparse.csr_matrix]) -> tuple[int, np.ndarray, np.ndarray]:
    """Return the number of cells, and mean and unbiased variance of each gene, shape (n_genes,)."""
    n_cells, total, squares = 0, 0.0, 0.0
    for block in blocks:
        values = block.data.astype(np.float64)
        n_cells += block.shape[0]
        total += per_gene(block, values)
        squares += per_gene(block, values**2)
    mean = total / n_cells
    return n_cells, mean, (squares / n_cells - mean**2) * (n_cells / max(n_cells - 1, 1))


def per_gene(block: sparse.csr_matrix, values: np.ndarray) -> np.ndarray:
    """Return the sum of ``values``, one per stored entry of ``block``, for each gene."""
    return np.bincount(block.indices, values, minlength=block.shape[1])
