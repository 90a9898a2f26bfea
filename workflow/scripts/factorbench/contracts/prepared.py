"""prepared.h5ad: the cells, genes and gene sets that every method and metric works on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .errors import ContractError
from .files import atomic, on_disk, row_blocks, write_cells
from .truth import check_truth, has_truth

if TYPE_CHECKING:
    from anndata import AnnData

HELD_OUT = "held_out"
"""Column of ``obs`` that says which cells methods are not fitted on."""
GENE_ID = "id"
"""Column of ``var``: the identifier of each gene in the data, or its name there, where the index has symbols."""

TRUE_MASK = "true_mask"
"""Key of ``varm``: the gene sets as they are, where methods are given altered ones."""


def check_prepared(data: AnnData) -> None:
    """Raise `ContractError` unless ``data`` (in memory or `on_disk`) is valid prepared data.

    ``X`` float32, sparse (CSR), log-normalised, not centred; ``layers["counts"]`` when counts are known;
    ``obs`` categorical labels; ``varm["mask"]`` bool (n_genes, n_sets) without an empty column;
    ``uns["gene_sets"]`` the names of its columns; ``uns["factorbench"]`` json text: how the data were prepared;
    ``obs["held_out"]`` bool if some cells, not all, are kept from the fit; ``var["id"]`` as `GENE_ID` says;
    ``varm["true_mask"]`` like the mask if that one was altered; the truth (`contracts.truth`) of simulated data.
    """

    def need(ok: bool, what: str) -> None:
        if not ok:
            raise ContractError(f"prepared data: {what}")

    need(getattr(data.X, "format", "") == "csr", "X must be a CSR matrix")
    need(data.X.dtype == np.float32, f"X must be float32, not {data.X.dtype}")
    need(all(np.isfinite(data.X[rows].data).all() for rows in row_blocks(data.n_obs)), "X must be finite")
    need(data.obs_names.is_unique and data.var_names.is_unique, "names of cells and of genes must be unique")
    need("mask" in data.varm, 'varm["mask"] is missing')
    mask = np.asarray(data.varm["mask"])
    need(mask.dtype == bool, f'varm["mask"] must be bool, not {mask.dtype}')
    need(bool(mask.any(axis=0).all()), 'varm["mask"] has an empty gene set')
    need(len(data.uns.get("gene_sets", ())) == mask.shape[1], 'uns["gene_sets"] must name the columns of the mask')
    if TRUE_MASK in data.varm:
        true = np.asarray(data.varm[TRUE_MASK])
        need(true.dtype == bool and true.shape == mask.shape, f'varm["{TRUE_MASK}"] must be bool and like the mask')
    if has_truth(data):
        check_truth(data)
    record = prepared_record(data)
    for key in ("dataset", "labels", "contrast", "inputs"):
        need(key in record, f'uns["factorbench"] lacks "{key}"')
    for label in record["labels"]:
        need(
            label in data.obs and isinstance(data.obs[label].dtype, pd.CategoricalDtype),
            f"label {label} must be categorical",
        )
    if HELD_OUT in data.obs:
        need(data.obs[HELD_OUT].dtype == bool, f'obs["{HELD_OUT}"] must be bool')
        need(not data.obs[HELD_OUT].all(), "no cell is left to fit on")


def prepared_record(data: AnnData) -> dict[str, Any]:
    """Return how ``data`` was prepared: dataset, labels, contrast, parameters, what was dropped, hashes of inputs."""
    return json.loads(data.uns["factorbench"])


def read_record(path: str | Path) -> dict[str, Any]:
    """Return the `prepared_record` of a prepared.h5ad without reading its cells."""
    import h5py

    with h5py.File(path) as file:
        return json.loads(file["uns/factorbench"].asstr()[()])


def seen_cells(data: AnnData) -> np.ndarray:
    """Return whether methods are fitted on each cell of prepared data or factors, bool, shape (n_cells,)."""
    if HELD_OUT not in data.obs:
        return np.ones(data.n_obs, bool)
    return ~data.obs[HELD_OUT].to_numpy(bool)


def without_held_out(data: AnnData) -> AnnData:
    """Return prepared data or factors without the held-out cells (``data`` itself if there are none)."""
    seen = seen_cells(data)
    return data if seen.all() else data[seen].copy()


def write_prepared(path: str | Path, data: AnnData | Iterable[AnnData]) -> None:
    """Write prepared cells, all or in blocks (`write_cells`), and check the file."""
    with atomic(path) as part:
        write_cells(part, data)
        with on_disk(part) as written:
            check_prepared(written)


def read_prepared(path: str | Path) -> AnnData:
    import anndata

    data = anndata.read_h5ad(path)
    check_prepared(data)
    return data


def prepared_size(path: str | Path) -> tuple[int, int, int]:
    """Return the numbers of cells, genes and gene sets of a prepared.h5ad without reading its cells."""
    import h5py

    # Snakemake plans memory by this. It accepts a missing file only if the error names the file, and h5py's does not.
    with open(path, "rb") as raw, h5py.File(raw) as file:
        return int(file["X"].attrs["shape"][0]), *map(int, file["varm/mask"].shape)
