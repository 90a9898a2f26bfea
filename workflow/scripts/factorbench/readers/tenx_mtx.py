"""Counts as 10x matrices in market form, one a sample, with a table of cells beside them (a usual layout at GEO)."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contracts import UserError
from ..registry import Param, Spec, nearest

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from scipy import sparse

SPEC = Spec(
    name="tenx_mtx",
    title="10x matrix, barcodes and genes",
    params={
        "samples": Param(
            {}, "sample -> {matrix: key, barcodes: key} of files; a matrix is genes x barcodes", types=(dict,)
        ),
        "genes": Param("genes", "key of the file of genes: identifier, symbol"),
        "gene_names": Param("symbol", "which names the genes bear; repeated ones get -1, -2", choices=("symbol", "id")),
        "sample_label": Param("sample", "label that says which sample a cell is of; also looked for in the table"),
        "cells": Param(
            "", "key of a table of cells whose first column or row names are barcodes; empty: there is none"
        ),
        "repeat_suffix": Param("", "what the table appends to a barcode that an earlier sample has too"),
        "keep": Param({}, "cells to keep: column -> value or list of values", types=(dict,)),
    },
)


def read(files: dict[str, Path], options: dict[str, Any]) -> AnnData:
    """Read the samples one below the other.

    Returns
    -------
    AnnData
        ``X`` CSR of whole numbers, shape (n_cells, n_genes); cells named ``<sample>_<barcode>``; ``obs`` the sample
        and the columns of the table; ``var["id"]`` the genes' identifiers; ``uns["reader"]`` json text: how many
        names of genes were made unique, how many cells the table lacks or ``keep`` left out.

    Raises
    ------
    UserError
        Naming the file or option: a file that is broken or does not fit the others, a key that ``files`` has not,
        a table that shares no barcode with the matrices, a column or value of ``keep`` that is not there.
    """
    import anndata
    import pandas as pd
    from scipy import sparse

    if not options["samples"]:
        raise UserError("options.samples: name at least one sample: {sample: {matrix: <key>, barcodes: <key>}}")
    genes = _lines(_file(files, options["genes"], "genes"), "id", "symbol")
    matrices, cells = [], []
    for sample, keys in options["samples"].items():
        if not isinstance(keys, dict) or set(keys) != {"matrix", "barcodes"}:
            raise UserError(f"options.samples.{sample}: should be {{matrix: <key>, barcodes: <key>}}, not {keys}")
        matrix = _file(files, keys["matrix"], f"samples.{sample}.matrix")
        barcodes = _lines(_file(files, keys["barcodes"], f"samples.{sample}.barcodes"), "barcode")["barcode"]
        matrices.append(_matrix(matrix, len(genes), len(barcodes)))
        cells.append(pd.DataFrame({"barcode": barcodes, options["sample_label"]: str(sample)}))
    obs = pd.concat(cells, ignore_index=True)
    obs.index = obs[options["sample_label"]] + "_" + obs["barcode"]
    genes = genes.set_index(options["gene_names"]).rename_axis(None)
    notes = {"gene names made unique": int(genes.index.duplicated().sum())}
    genes.index = anndata.utils.make_index_unique(genes.index)
    data = anndata.AnnData(sparse.vstack(matrices, format="csr"), obs=obs, var=genes)
    if options["cells"]:
        table = _table(_file(files, options["cells"], "cells"))
        data.obs, notes["cells not in the table"] = join(data.obs, table, options)
    kept = kept_cells(data.obs, options["keep"])
    notes["cells left out"] = int((~kept).sum())
    data = data[kept].copy()
    data.uns["reader"] = json.dumps(notes)
    return data


def join(obs: pd.DataFrame, table: pd.DataFrame, options: dict[str, Any]) -> tuple[pd.DataFrame, int]:
    """``obs`` (``barcode``, sample) with the columns of ``table`` (row names: barcodes) and how many cells it lacks.

    A row is a cell's if it is of the same sample, where the table has the sample's label, and bears its barcode,
    or its barcode with the suffix of repeats.
    """
    label, suffix = options["sample_label"], options["repeat_suffix"]
    rows = table.index.astype(str)
    if label in table:
        sample = table[label].astype(str) + "\t"
        rows, wanted, table = sample.to_numpy() + rows, obs[label] + "\t" + obs["barcode"], table.drop(columns=label)
    else:
        wanted = obs["barcode"]
    if not rows.is_unique:
        raise UserError(
            f"options.cells: rows of the table are there twice ({rows[rows.duplicated()][0].strip()}); "
            f"sample_label should name its column of samples (it has {', '.join(table.columns)})"
        )
    place = rows.get_indexer(wanted)
    if suffix:
        place = np.where(place < 0, rows.get_indexer(wanted + suffix), place)
    if (place < 0).all():
        raise UserError(
            f"options.cells: no barcode of the table is one of the matrices (table: {table.index[0]}, matrices: "
            f"{obs['barcode'].iloc[0]}, samples {', '.join(obs[label].unique())}); check samples and sample_label"
        )
    found = table.reset_index(drop=True).reindex(place).set_axis(obs.index)
    return obs.join(found.drop(columns=[column for column in found if column in obs])), int((place < 0).sum())


def kept_cells(obs: pd.DataFrame, keep: dict[str, Any]) -> np.ndarray:
    """Which cells have one of the accepted values in every column that ``keep`` names, bool, shape (n_cells,)."""
    kept = np.ones(len(obs), bool)
    for column, accepted in keep.items():
        if column not in obs:
            raise UserError(f"options.keep.{column}: there is no such column{nearest(column, list(obs.columns))}")
        accepted = accepted if isinstance(accepted, list) else [accepted]
        known = obs[column].dropna().unique()
        for value in accepted:
            if value not in known:
                raise UserError(f"options.keep.{column}: no cell is {value!r}{nearest(str(value), [*map(str, known)])}")
        kept &= obs[column].isin(accepted).to_numpy()
    return kept


def _file(files: dict[str, Path], key: Any, option: str) -> Path:
    if key not in files:
        raise UserError(f"options.{option}: files has no key {key!r}{nearest(str(key), list(files))}")
    return Path(files[key])


BROKEN = (OSError, EOFError, ValueError, zlib.error)
"""What a file that is cut off, not compressed or of another kind makes the libraries raise."""


def _broken(path: Path, error: BaseException) -> UserError:
    return UserError(
        f"{path}: cannot be read ({' '.join(str(error).split())[:120]}); delete it to have it fetched again"
    )


def _lines(path: Path, *columns: str) -> pd.DataFrame:
    """The first columns of a table without a header, as text."""
    import pandas as pd

    try:
        table = pd.read_csv(path, sep="\t", header=None, dtype=str, keep_default_na=False, quoting=3)
    except BROKEN as error:
        raise _broken(path, error) from None
    if table.shape[1] < len(columns):
        raise UserError(f"{path}: needs {len(columns)} columns ({', '.join(columns)}), it has {table.shape[1]}")
    return table.iloc[:, : len(columns)].set_axis(columns, axis=1)


def _table(path: Path) -> pd.DataFrame:
    """A table with a header; row names are its first column (R leaves their header out)."""
    import pandas as pd

    try:
        table = pd.read_csv(path, sep="\t")
    except BROKEN as error:
        raise _broken(path, error) from None
    return table.set_index(table.columns[0]) if isinstance(table.index, pd.RangeIndex) else table


def _matrix(path: Path, n_genes: int, n_cells: int) -> sparse.csr_matrix:
    """Counts of one sample, CSR, shape (n_cells, n_genes)."""
    from scipy import io, sparse

    try:
        matrix = sparse.csr_matrix(io.mmread(path).T)
    except BROKEN as error:
        raise _broken(path, error) from None
    if matrix.shape != (n_cells, n_genes):
        raise UserError(
            f"{path}: {matrix.shape[1]} genes x {matrix.shape[0]} barcodes, the files beside it name {n_genes} genes "
            f"and {n_cells} barcodes; check options.samples"
        )
    return matrix
