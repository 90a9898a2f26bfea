"""Counts in an h5ad file, dense or sparse, of any version of anndata."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...contracts.errors import UserError
from ...registry import Param, Spec, nearest
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

CHUNK = 2_000
"""Cells converted from dense to sparse at a time. It bounds the memory: 2,000 x 20,000 float32 are 160 MB."""


def read(files: dict[str, Path], options: dict[str, Any]) -> AnnData:
    """Read the counts, ``obs`` and the names of cells and genes from one file, and the table of cells if there is one.

    Returns
    -------
    AnnData
        ``X`` CSR, shape (n_cells, n_genes), of the stored type; names as stored; ``obs`` the columns of the file and of
        the table; ``uns["reader"]`` json text: what `annotate` counts.

    Raises
    ------
    UserError
        If there is not exactly one file beside the table, the file is damaged or unpacks to too much, the layer does
        not exist or is not a matrix of numbers; and see `annotate`.
    """
    import anndata
    import h5py

    counts_files = {key: path for key, path in files.items() if key != options["cells"]}
    if len(counts_files) != 1:
        raise UserError(
            f"files: the reader h5ad needs exactly one file, not {len(counts_files)} ({', '.join(counts_files)}); "
            f"options.cells names the table of cells"
        )
    (path,) = counts_files.values()
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
            known = ["X", *(["raw"] if stored.raw is not None else []), *stored.layers]
            if layer not in known:
                raise UserError(f"{path}: options.layer: there is no {layer!r}{nearest(layer, known)}")
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
    rows = [sparse.csr_matrix(stored[start : start + CHUNK]) for start in range(0, stored.shape[0], CHUNK)]
    return sparse.vstack(rows, format="csr") if rows else sparse.csr_matrix(stored.shape, dtype=stored.dtype)
