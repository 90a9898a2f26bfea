"""Highly variable genes of data that need not fit in memory: read a block of cells at a time, twice at most.

scanpy's own function needs all cells at once. These are its three flavours, held to the same genes by the tests.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import sparse

SPAN = 0.3
"""Share of the genes that the local regression of `seurat_v3` looks at for each of them."""


def seurat_v3(counts: Iterable[sparse.csr_matrix], n_top_genes: int) -> np.ndarray:
    """The genes whose counts vary most beside what is expected of their mean, bool, shape (n_genes,).

    Variances are those of counts standardised by the deviation that a local regression of log variance on log mean
    expects, and clipped at sqrt(n_cells) deviations (Stuart et al. 2019, 10.1016/j.cell.2019.05.031).

    Parameters
    ----------
    counts
        Blocks of cells of shape (any, n_genes); they are gone through twice.
    n_top_genes
        How many.

    Raises
    ------
    ValueError
        If the regression fails: too few cells, or too few distinct means.
    """
    from skmisc.loess import loess

    n_cells, mean, variance = moments(counts)
    varies = variance > 0
    if varies.sum() * SPAN < 1:  # loess would look for neighbours where no memory is
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


def dispersed(expression: Iterable[sparse.csr_matrix], flavor: str, n_top_genes: int) -> np.ndarray:
    """The genes most dispersed (variance over mean) among those of about their mean, bool, shape (n_genes,).

    Parameters
    ----------
    expression
        Log-normalised, in blocks of cells of shape (any, n_genes).
    flavor
        ``seurat``: log dispersion of the values without their logarithm, 20 bins of log mean of the same width, z-score
        (Satija et al. 2015, 10.1038/nbt.3192). ``cell_ranger``: dispersion of the logarithms, bins between percentiles
        of the mean, median and median absolute deviation (Zheng et al. 2017, 10.1038/ncomms14049).
    n_top_genes
        How many; more of them if the last are equal.

    Raises
    ------
    ValueError
        If there is nothing to rank genes by: each is alone among those of about its mean, or equal to them.
    """
    seurat = flavor == "seurat"
    _, mean, variance = moments(block.expm1() if seurat else block for block in expression)
    mean[mean == 0] = 1e-12
    dispersion = variance / mean
    if seurat:
        dispersion[dispersion == 0] = np.nan
        mean, dispersion = np.log1p(mean), np.log(dispersion)
    bins = pd.cut(mean, 20 if seurat else np.r_[-np.inf, np.percentile(mean, np.arange(10, 105, 5)), np.inf])

    def within(values: pd.Series, statistic: str) -> pd.Series:
        return values.groupby(bins, observed=True).transform(statistic)

    values = pd.Series(dispersion)
    centre = within(values, "mean" if seurat else "median")
    scale = within(values, "std") if seurat else within((values - centre).abs(), "median")
    if seurat:  # a gene alone in its bin has a normalised dispersion of one
        alone = scale.isna()
        scale[alone], centre[alone] = centre[alone], 0
    normalised = ((values - centre) / scale).to_numpy()
    known = np.sort(normalised[~np.isnan(normalised)])[::-1]
    if not len(known):
        raise ValueError("no gene's dispersion differs from that of others of about its mean")
    return normalised >= known[min(n_top_genes, len(known)) - 1]


def moments(blocks: Iterable[sparse.csr_matrix]) -> tuple[int, np.ndarray, np.ndarray]:
    """Number of cells, and mean and unbiased variance of each gene, shape (n_genes,)."""
    n_cells, total, squares = 0, 0.0, 0.0
    for block in blocks:
        values = block.data.astype(np.float64)
        n_cells += block.shape[0]
        total += per_gene(block, values)
        squares += per_gene(block, values**2)
    mean = total / n_cells
    return n_cells, mean, (squares / n_cells - mean**2) * (n_cells / max(n_cells - 1, 1))


def per_gene(block: sparse.csr_matrix, values: np.ndarray) -> np.ndarray:
    """Sum of ``values``, one a stored entry of ``block``, by gene."""
    return np.bincount(block.indices, values, minlength=block.shape[1])
