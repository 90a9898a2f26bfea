"""Raw counts: read them in blocks of cells, and check that they are counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ..contracts.errors import UserError
from ..contracts.files import row_blocks

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class Counts:
    """Counts of some cells and genes. Iterating gives blocks of cells, and can be repeated.

    Attributes
    ----------
    stored
        A matrix in memory or on disk, shape (n_cells, n_genes); its rows can be sliced.
    cells, genes
        Positions of the cells (sorted) and genes.
    """

    stored: Any
    cells: np.ndarray
    genes: np.ndarray

    def __iter__(self) -> Iterator[sparse.csr_matrix]:
        for rows in row_blocks(self.stored.shape[0]):
            cells = self.cells[slice(*np.searchsorted(self.cells, (rows.start, rows.stop)))]
            if len(cells):
                yield read_counts(self.stored, rows)[cells - rows.start][:, self.genes]


def read_counts(stored: Any, rows: slice) -> sparse.csr_matrix:
    """Return some rows of a matrix in memory or on disk, without stored zeros."""
    counts = sparse.csr_matrix(stored[rows])  # a copy, since a slice is one
    counts.eliminate_zeros()
    return counts


def check_counts(raw: AnnData, where: str) -> None:
    """Raise a `UserError` unless cells and genes have unique names and all values are counts."""
    check_names(raw, where)
    for _ in checked_counts(raw, where):
        pass


def check_names(raw: AnnData, where: str) -> None:
    """Raise a `UserError` unless there are cells and genes with unique names that can be printed."""
    if 0 in raw.shape:
        raise UserError(f"{where}.files: the data have {raw.n_obs} cells and {raw.n_vars} genes; both are needed")
    for what, names in (("cells", raw.obs_names), ("genes", raw.var_names)):
        odd = [name for name in names if not str(name).isprintable()]
        repeated = list(names[names.duplicated()].unique())
        problem = "have characters that cannot be printed" if odd else "occur more than once"
        if odd or repeated:
            examples = ", ".join(map(repr, (odd or repeated)[:3]))
            raise UserError(
                f"{where}.files: {len(odd or repeated)} names of {what} {problem} ({examples}); rename them in the file"
            )


def checked_counts(raw: AnnData, where: str) -> Iterator[tuple[slice, sparse.csr_matrix]]:
    """Yield all counts in blocks of cells, each with its rows. Raise a `UserError` if a value is not a count."""
    if raw.X.dtype.kind not in "iuf":
        raise UserError(f"{where}.files: the data are of type {raw.X.dtype}; give raw counts, whole numbers")
    for rows in row_blocks(raw.n_obs):
        counts = read_counts(raw.X, rows)
        values = counts.data
        right = (values >= 0) & (values < 2**31) & (values == np.round(values))
        if not right.all():  # NaN is not right either
            entry = np.argmin(right)
            cell = raw.obs_names[rows.start + np.searchsorted(counts.indptr, entry, side="right") - 1]
            gene = raw.var_names[counts.indices[entry]]
            raise UserError(
                f"{where}.files: {values[entry]} in cell {cell}, gene {gene} is not a whole number from 0 to 2^31 - 1; "
                f"give raw counts (an h5ad file may have them in options.layer)"
            )
        yield rows, counts


def seen_in(blocks: Iterable[tuple[slice, sparse.csr_matrix]], groups: list[np.ndarray]) -> np.ndarray:
    """Count the cells of each group (bool, shape (n_cells,)) that have each gene, shape (n_groups, n_genes)."""
    member = np.array(groups)
    return sum(member[:, rows].astype(np.int64) @ (counts != 0) for rows, counts in blocks)
