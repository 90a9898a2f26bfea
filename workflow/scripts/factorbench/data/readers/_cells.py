"""A table of cells beside the counts: joined by barcode, clusters named, cells chosen. The same options in each reader.

The values of a table stay text, as they are written there: a donor called 101 does not become 101.0 where another cell
has none.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...contracts.errors import UserError
from ...registry import Param, nearest
from ..archives import GIB, SIZE_LIMIT, text

if TYPE_CHECKING:
    import h5py
    from anndata import AnnData
    from scipy import sparse

PARAMS = {
    "cells": Param("", "key of a table of cells, tab-separated; empty: there is none"),
    "cells_columns": Param([], "names of the table's columns if it has no header", types=(list,)),
    "cell_name": Param("", "the table's column of cell names; empty: its row names or first column"),
    "sample_label": Param("", "label that says which sample a cell is of; a table that has it is matched by it too"),
    "barcode": Param("", "regular expression: what it matches in two names must be equal; empty: the whole names"),
    "annotated_only": Param(False, "whether cells that the table lacks are left out"),
    "names": Param(
        {},
        "new labels from numbers: label -> {column: ..., values: {number or range such as 3-23: name}}",
        types=(dict,),
    ),
    "keep": Param({}, "cells to keep: column -> value or list of values", types=(dict,)),
    "unpacked": Param(SIZE_LIMIT / GIB, "GiB that a file may unpack to; where not given, limits.unpacked", minimum=0),
}

BROKEN = (OSError, EOFError, KeyError, OverflowError, RuntimeError, TypeError, ValueError, zlib.error)
"""What a file that is cut off, not compressed or of another kind makes the libraries raise."""

LONGEST_RANGE = 100_000
"""Numbers that a range of ``names`` may have."""


def annotate(
    data: AnnData, names: pd.Series, files: dict[str, Path], options: dict[str, Any], notes: dict[str, int]
) -> AnnData:
    """Add what the table of cells knows, name clusters and choose cells, as `PARAMS` says.

    Parameters
    ----------
    data
        Counts and the labels that came with them; ``obs`` gets columns, and a column that it has already stays.
    names
        The names of the cells that are compared with the table's, in the order of ``data``.
    files, options
        As the reader got them.
    notes
        Counts for the record; completed here and written to ``uns["reader"]`` as json text.

    Returns
    -------
    AnnData
        The cells that are left.

    Raises
    ------
    UserError
        Naming the file or option, if there is no cell or no gene, the table cannot be read, has a cell twice or shares
        none with the data, or if a column or value is not there or cannot be stored.
    """
    if 0 in data.shape:
        raise UserError(f"files: the data have {data.n_obs} cells and {data.n_vars} genes; both are needed")
    kept = np.ones(data.n_obs, bool)
    if options["cells"]:
        path = file_of(files, options["cells"], "cells")
        table = _table(path, options)
        row = _match(data.obs, names, table, path, options)
        found = table[[column for column in table if column not in data.obs]].reset_index(drop=True).reindex(row)
        for column in found:
            data.obs[column] = found[column].to_numpy()
        known = row >= 0
        notes["cells not in the table"] = int((~known).sum())
        notes["rows of the table without a cell"] = len(table) - len(np.unique(row[known]))
        notes["cells that share a row of the table"] = int(pd.Series(row[known]).duplicated(keep=False).sum())
        kept = known if options["annotated_only"] else kept
    elif options["annotated_only"]:
        raise UserError("options.annotated_only: needs a table of cells; name its key in options.cells")
    for label, rule in options["names"].items():
        data.obs[label] = _named(data.obs, label, rule)
    kept = kept & _chosen(data.obs, options["keep"])
    if not kept.any():
        raise UserError("options.keep: no cell is left; accept more values")
    _check_columns(data.obs)
    # Text that is nowhere known cannot be written as text.
    unknown = [column for column, values in data.obs.items() if values.dtype == object and values.isna().all()]
    data.obs = data.obs.astype(dict.fromkeys(unknown, "category"))
    notes["cells left out"] = int((~kept).sum())
    if not kept.all():
        data = data[kept].copy()
    data.uns["reader"] = json.dumps(notes)
    return data


def file_of(files: dict[str, Path], key: Any, option: str) -> Path:
    """The path of the file that an option names by its key."""
    if key not in files:
        raise UserError(f"options.{option}: files has no key {key!r}{nearest(str(key), list(files))}")
    return Path(files[key])


def broken(path: Path, error: BaseException | str) -> UserError:
    """The error for a file that cannot be read to its end or is none of its kind."""
    return UserError(
        f"{path}: cannot be read ({' '.join(str(error).split())[:120]}); delete it to have it fetched again"
    )


def check_unpacked(file: h5py.File, path: Path, unpacked: float) -> None:
    """Raise a `UserError` if the arrays of an open HDF5 file take more than ``unpacked`` GiB of memory.

    ValueError: if some are in other files.
    """
    import h5py

    size = 0

    def add(_: str, found: h5py.Group | h5py.Dataset) -> None:
        nonlocal size
        if isinstance(found, h5py.Dataset):
            if found.is_virtual or found.external:
                raise ValueError(f"{found.name} is kept in another file")
            size += found.nbytes

    file.visititems(add)
    if size > unpacked * GIB:
        raise UserError(
            f"{path}: unpacks to {size / GIB:.3g} GiB, more than {unpacked:g}; raise limits.unpacked if that is right"
        )


def check_parts(data: np.ndarray, indices: np.ndarray, indptr: np.ndarray) -> None:
    """ValueError: if these are no parts of one compressed matrix; scipy rounds indices and passes over what is left."""
    if any(part.dtype.kind not in "iu" for part in (indices, indptr)):
        raise ValueError("indices and indptr should be whole numbers")
    if len(indptr) and indptr[-1] != len(data):
        raise ValueError(f"indptr ends at {indptr[-1]}, there are {len(data)} values")


def checked(matrix: sparse.csr_matrix | sparse.csc_matrix) -> sparse.csr_matrix:
    """A matrix whose parts were read from a file, cells x genes, with sorted indices.

    ValueError: if its parts do not fit each other, or a gene is there twice in a cell.
    """
    check_parts(matrix.data, matrix.indices, matrix.indptr)
    matrix.check_format(full_check=True)
    matrix.sort_indices()
    if not matrix.has_canonical_format:
        raise ValueError("a gene is there twice in a cell")
    return matrix.tocsr()


def _table(path: Path, options: dict[str, Any]) -> pd.DataFrame:
    """A table of text; row names are the cells'. Empty fields and R's NA are missing values."""
    columns, cell_name = options["cells_columns"], options["cell_name"]
    if not all(isinstance(column, str) and column for column in columns) or len(set(columns)) < len(columns):
        raise UserError(f"options.cells_columns: {columns} should be names of columns, each once")
    try:
        with text(path, options["unpacked"]) as file:
            table = pd.read_csv(
                file,
                sep="\t",
                header=None if columns else "infer",
                dtype=str,
                keep_default_na=False,
                na_values=["", "NA"],
            )
    except BROKEN as error:
        raise broken(path, error) from None
    if isinstance(table.index, pd.MultiIndex):
        raise UserError(f"{path}: a line has {table.index.nlevels} fields more than the header; mend the header")
    if columns:
        if len(columns) != table.shape[1]:
            raise UserError(f"{path}: has {table.shape[1]} columns, options.cells_columns names {len(columns)}")
        table.columns = columns
    if cell_name and cell_name not in table:
        raise UserError(f"options.cell_name: {path} has no column {cell_name!r}{nearest(cell_name, list(table))}")
    if cell_name or isinstance(table.index, pd.RangeIndex):  # R leaves the header of row names out
        table = table.set_index(cell_name or table.columns[0])
    if table.empty:
        raise UserError(f"{path}: has no cells, or nothing but their names; options.cells needs a table of labels")
    return table


def _match(obs: pd.DataFrame, names: pd.Series, table: pd.DataFrame, path: Path, options: dict[str, Any]) -> np.ndarray:
    """The row of ``table`` that is each cell's (-1: none), shape (n_cells,).

    That is the row with the same barcode and, where the table has the sample's label, of the same sample.
    """
    label = options["sample_label"]
    if label and label not in obs:
        raise UserError(f"options.sample_label: the data have no label {label!r}{nearest(label, list(obs.columns))}")
    theirs, ours = (_barcodes(pd.Series(side), options["barcode"]) for side in (table.index, names))
    if label in table:
        theirs = table[label].reset_index(drop=True) + "\t" + theirs
        ours = obs[label].astype(str).reset_index(drop=True) + "\t" + ours
    known = np.flatnonzero(theirs.notna())
    rows = pd.Index(theirs.iloc[known])
    if not rows.is_unique:
        twice = rows[rows.duplicated()][0].replace("\t", " ")
        raise UserError(
            f"{path}: rows of the table are there twice ({twice}); "
            f"options.sample_label should name its column of samples (it has {', '.join(table.columns)})"
        )
    place = rows.get_indexer(ours)
    if (place < 0).all():
        samples = f", samples {', '.join(map(str, obs[label].unique()[:5]))}" if label else ""
        raise UserError(
            f"{path}: no barcode of the table is one of the data (table: {table.index[0]}, data: {names.iloc[0]}"
            f"{samples}); check options.barcode, cell_name and sample_label"
        )
    return np.where(place >= 0, known[place], -1)


def _barcodes(names: pd.Series, pattern: str) -> pd.Series:
    """What is compared of each name; missing where the pattern matches nothing."""
    names = names.reset_index(drop=True).astype(object)
    if not pattern:
        return names
    try:
        return names.str.extract(f"({pattern})", expand=True)[0]
    except (re.error, OverflowError, RecursionError) as error:
        raise UserError(f"options.barcode: {pattern!r} is no regular expression ({error})") from None


def _named(obs: pd.DataFrame, label: str, rule: Any) -> pd.Series:
    """The new label: the name of each cell's number; missing where the number is."""
    at = f"options.names.{label}"
    if not isinstance(rule, dict) or set(rule) != {"column", "values"} or not isinstance(rule["values"], dict):
        raise UserError(f"{at}: should be {{column: <column>, values: {{<number or range>: <name>}}}}, not {rule}")
    column = rule["column"]
    if str(column) not in obs:
        raise UserError(f"{at}.column: there is no column {column!r}{nearest(str(column), list(obs.columns))}")
    if label in obs:
        raise UserError(f"{at}: the data have a column of this name; choose another")
    meaning: dict[str, str] = {}
    for key, name in rule["values"].items():
        if not isinstance(name, str | int | float):
            raise UserError(f"{at}.values.{key}: {name} should be a name")
        for number in _numbers(str(key), f"{at}.values.{key}"):
            if number in meaning:
                raise UserError(f"{at}.values: {number} has two names, {meaning[number]} and {name}")
            meaning[number] = str(name)
    values = _text(obs[str(column)])
    unnamed = values[values.notna() & ~values.isin(meaning)]
    if len(unnamed):
        raise UserError(f"{at}.values: {column} {unnamed.iloc[0]} has no name; add it")
    return values.map(meaning)


def _numbers(key: str, at: str) -> Iterator[str]:
    """Every number of a range such as 3-23, or whatever else it is."""
    ends = re.fullmatch(r"([0-9]{1,9})-([0-9]{1,9})", key)
    if ends is None:
        yield key
        return
    first, last = int(ends[1]), int(ends[2])
    if not first <= last < first + LONGEST_RANGE:
        raise UserError(f"{at}: should go up, and over at most {LONGEST_RANGE:,} numbers")
    yield from map(str, range(first, last + 1))


def _check_columns(obs: pd.DataFrame) -> None:
    """Raise a `UserError` for a name that has a meaning of its own in an h5ad file: part of a path, or its index."""
    for column in obs:
        if column == "_index" or {"", ".", ".."}.intersection(column.split("/")):
            raise UserError(f"files: a label of cells cannot be called {column!r}; rename that column")


def _chosen(obs: pd.DataFrame, keep: dict[str, Any]) -> np.ndarray:
    """Which cells have one of the accepted values in every column that ``keep`` names, bool, shape (n_cells,)."""
    kept = np.ones(len(obs), bool)
    for column, accepted in keep.items():
        if column not in obs:
            raise UserError(f"options.keep.{column}: there is no such column{nearest(column, list(obs.columns))}")
        accepted = [str(value) for value in (accepted if isinstance(accepted, list) else [accepted])]
        values = _text(obs[column])
        known = values.dropna().unique().tolist()
        for value in accepted:
            if value not in known:
                raise UserError(f"options.keep.{column}: no cell is {value!r}{nearest(value, known)}")
        kept &= values.isin(accepted).to_numpy()
    return kept


def _text(values: pd.Series) -> pd.Series:
    """Values as text, so that 3 of the config is the 3 of a table; missing ones stay missing."""
    return values.astype(object).where(values.notna(), None).map(str, na_action="ignore")
