"""Counts in an h5ad file of any age, dense or sparse."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...contracts.errors import UserError
from ...registry import Param, Spec, nearest
from ._cells import BROKEN, PARAMS, annotate, check_unpacked, checked

if TYPE_CHECKING:
    from anndata import AnnData
    from scipy import sparse

SPEC = Spec(
    name="h5ad",
    title="AnnData file",
    url="https://anndata.readthedocs.io",
    params={"layer": Param("", "where the counts are: a layer's name, raw (.raw.X) or nothing (X)"), **PARAMS},
)

CHUNK = 2_000
"""Cells turned from dense to sparse at a time: bounds the memory, 2,000 x 20,000 float32 are 160 MB."""


def read(files: dict[str, Path], options: dict[str, Any]) -> AnnData:
    """Read counts, all columns of ``obs`` and the names of cells and genes from one file, with a table of cells or not.

    Returns
    -------
    AnnData
        ``X`` CSR, shape (n_cells, n_genes), in the type it is stored in; names as found; ``obs`` what the file holds
        and the columns of the table; ``uns["reader"]`` json text: what `annotate` counts.

    Raises
    ------
    UserError
        If there is not exactly one file beside the table, it is not a whole h5ad file, it unpacks to too much, it
        lacks the layer, or that is no matrix of numbers; and what `annotate` finds.
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
    layer = options["layer"]
    try:
        with h5py.File(path) as file:
            check_unpacked(file, path, options["unpacked"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", anndata.OldFormatWarning)  # one for each column of an old file
            try:
                found = anndata.read_h5ad(path, backed="r")
            except Exception as error:  # anndata has errors of its own for what it does not know how to read
                raise ValueError(error) from None
        try:
            known = ["X", *(["raw"] if found.raw is not None else []), *found.layers]
            if (layer or "X") not in known:
                raise UserError(f"{path}: options.layer: there is no {layer!r}{nearest(layer, known)}")
            genes = found.raw.var if layer == "raw" else found.var
            obs = found.obs
        finally:
            found.file.close()
        with h5py.File(path) as file:
            counts = to_csr(file[{"": "X", "X": "X", "raw": "raw/X"}.get(layer, f"layers/{layer}")])
        if counts.shape != (len(obs), len(genes)):
            raise ValueError(f"it names {len(obs)} cells and {len(genes)} genes, its matrix is of shape {counts.shape}")
    except BROKEN as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: not a whole h5ad file ({reason}); delete it to have it fetched again") from None
    data = anndata.AnnData(counts, obs=obs.copy(), var=genes[[]].copy())
    return annotate(data, data.obs_names.to_series(), files, options, {})


def to_csr(stored: Any) -> sparse.csr_matrix:
    """A matrix of an open h5ad file (a dense dataset, or a group that holds a sparse one) as CSR."""
    import h5py
    from anndata.io import sparse_dataset
    from scipy import sparse

    if isinstance(stored, h5py.Group):
        return checked(sparse_dataset(stored).to_memory())
    if stored.ndim != 2 or stored.dtype.kind not in "iuf":
        raise ValueError(f"{stored.name} holds {stored.dtype} of shape {stored.shape}, not numbers of cells x genes")
    rows = [sparse.csr_matrix(stored[start : start + CHUNK]) for start in range(0, stored.shape[0], CHUNK)]
    return sparse.vstack(rows, format="csr") if rows else sparse.csr_matrix(stored.shape, dtype=stored.dtype)
