"""Gene sets that are altered on purpose: with permuted genes, as a null, or with wrong genes, as a test.

Both take the mask of prepared data, bool, shape (n_genes, n_sets), and return another of the same shape.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import sparse

from ..contracts.errors import UserError

STRATUM = 20
"""Genes that are exchanged with each other, at least."""


def expression_strata(blocks: Iterable[sparse.csr_matrix], where: str) -> np.ndarray:
    """Return groups of genes with about the same mean expression and share of cells that express them.

    Genes are cut into groups of twice `STRATUM` or more by their mean, and each of these into two by the share.

    Parameters
    ----------
    blocks
        Log-normalised expression, a block of cells at a time, each CSR, shape (n_cells, n_genes).

    Returns
    -------
    ndarray of int, shape (n_genes,)
        The number of each gene's group.

    Raises
    ------
    UserError
        With ``where``, if there are fewer genes than two groups have.
    """
    total, expressed = 0.0, 0
    for block in blocks:
        total = total + np.asarray(block.sum(axis=0, dtype=np.float64)).ravel()
        expressed = expressed + block.getnnz(axis=0)
    n_genes = len(total)
    if n_genes < 2 * STRATUM:
        raise UserError(
            f"{where}: the gene sets have {n_genes} genes, and {2 * STRATUM} are needed to exchange genes of about the "
            "same expression; raise n_top_genes or leave this key out"
        )
    strata = np.empty(n_genes, int)
    by_mean = np.array_split(np.lexsort((expressed, total)), n_genes // (2 * STRATUM))
    for number, genes in enumerate(by_mean):
        halves = np.array_split(genes[np.argsort(expressed[genes], kind="stable")], 2)
        for half, genes_of_half in enumerate(halves):
            strata[genes_of_half] = 2 * number + half
    return strata


def permute(mask: np.ndarray, strata: np.ndarray, seed: int) -> np.ndarray:
    """Exchange genes at random within strata (`expression_strata`).

    Every gene takes the place of another in all sets. So sets keep their sizes and overlaps, and, up to a stratum, the
    expression of their genes.
    """
    order, rng = np.arange(len(mask)), np.random.default_rng(seed)
    for stratum in range(strata.max() + 1):
        genes = np.flatnonzero(strata == stratum)
        order[genes] = rng.permutation(genes)
    return mask[order]


def corrupt(mask: np.ndarray, missing: float, added: float, seed: int) -> np.ndarray:
    """Take a share of the genes out of every set, and add a share of its size of other genes, both drawn at random.

    One gene of a set is always left. Genes that the mask has and no set keeps stay in the data.
    """
    rng, corrupted = np.random.default_rng(seed), mask.copy()
    for k, members in enumerate(mask.T):
        inside, outside = np.flatnonzero(members), np.flatnonzero(~members)
        n_missing = min(round(missing * len(inside)), len(inside) - 1)
        n_added = min(round(added * len(inside)), len(outside))
        corrupted[rng.choice(inside, n_missing, replace=False), k] = False
        corrupted[rng.choice(outside, n_added, replace=False), k] = True
    return corrupted
