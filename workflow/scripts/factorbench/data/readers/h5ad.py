"""Counts in an h5ad file, dense or sparse, of any version of anndata."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...contracts.errors import UserError
from ...contracts.files import row_blocks
from ...registry import Param, Spec, refer
from ._cells import PARAMS, annotate
from ._files import BROKEN, build_csr, check_unpacked, unreadable

if TYPE_CHECKING:
    from anndata import AnnData
    from scipy import sparse

SPEC = Spec(
    name="h5ad",
    title="AnnData file",
    url="https://anndata.readthedocs.io",
    params={"layer": Param("", "where the counts are: name of a layer, raw (.raw.X), or empty (X)"), **PARAMS},
)


def read(files: dict[str, Path], options: dict[str, Any]) -> AnnData:
    """Read the counts, ``obs`` and the names of cells and genes from one file, and the table of cells if there is one.

    Returns
    -------
    AnnData
        ``X`` CSR, shape (n_cells, n_genes), of the stored type; the rest as `annotate` says.

    Raises
    ------
    UserError
        If there is not exactly one file beside the table, it is damaged or unpacks to too much, or the layer does not
        exist or is not a matrix of numbers; and see `annotate`.
    """
    import anndata
    import h5py

    paths = [path for key, path in files.items() if key != options["cells"]]
    if len(paths) != 1:
        raise UserError(f"files: h5ad reads exactly one file, not {len(paths)}; options.cells names a table of cells")
    (path,) = paths
    layer = options["layer"] or "X"
    try:
        with h5py.File(path) as file:
            check_unpacked(file, path, options["unpacked"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", anndata.OldFormatWarning)  # one for each column of an old file
            try:
                stored = anndata.read_h5ad(path, backed="r")
            except Exception as error:  # anndata has its own errors for unknown encodings
                raise ValueError(error) from None
        with contextlib.closing(stored.file):
            raw = ["raw"] * (stored.raw is not None)
            refer(layer, ["X", *raw, *stored.layers], f"{path}: options.layer")
            obs, var = stored.obs, stored.raw.var if layer == "raw" else stored.var
        with h5py.File(path) as file:
            counts = to_csr(file[{"X": "X", "raw": "raw/X"}.get(layer, f"layers/{layer}")])
        if counts.shape != (len(obs), len(var)):
            raise ValueError(f"it names {len(obs)} cells and {len(var)} genes, its matrix is of shape {counts.shape}")
    except BROKEN as error:
        raise unreadable(path, error) from None
    data = anndata.AnnData(counts, obs=obs.copy(), var=var[[]].copy())
    return annotate(data, data.obs_names.to_series(), files, options, {})


def to_csr(stored: Any) -> sparse.csr_matrix:
    """Read a matrix of an open h5ad file (a dense dataset, or a group that holds a sparse matrix) as CSR."""
    import h5py
    from anndata.io import sparse_dataset
    from scipy import sparse

    if isinstance(stored, h5py.Group):
        matrix = sparse_dataset(stored).to_memory()
        return build_csr(type(matrix), (matrix.data, matrix.indices, matrix.indptr), matrix.shape)
    if stored.ndim != 2 or stored.dtype.kind not in "iuf":
        raise ValueError(f"{stored.name} holds {stored.dtype} of shape {stored.shape}, not numbers of cells x genes")
    blocks = [sparse.csr_matrix(stored[rows]) for rows in row_blocks(stored.shape[0])]  # a block is dense in memory
    return sparse.vstack(blocks, format="csr") if blocks else sparse.csr_matrix(stored.shape, dtype=stored.dtype)
