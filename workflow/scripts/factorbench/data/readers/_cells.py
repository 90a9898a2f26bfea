"""A table of cells beside the counts: match it to the cells, name clusters, select cells. Several readers do this.

The values of a table stay text. A donor 101 does not become 101.0 because another cell has no donor.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...contracts.errors import UserError
from ...registry import Param, refer
from ..archives import GIB, SIZE_LIMIT
from ..labels import as_text, find_class, fitting_classes, missing_texts
from ._files import file_of, read_table

if TYPE_CHECKING:
    from anndata import AnnData

PARAMS = {
    "cells": Param("", "key of a table of cells, separated by tabs, commas or semicolons; empty: there is none"),
    "cells_columns": Param([], "names of the table's columns if it has no header", types=(list,)),
    "cell_name": Param("", "the table's column of cell names; empty: its row names or first column"),
    "sample_label": Param("", "label of each cell's sample; if the table has this column, rows must match in it too"),
    "barcode": Param("", "regular expression for the part of cell names that must match; empty: the whole names"),
    "annotated_only": Param(False, "whether to leave out cells that are not in the table"),
    "names": Param(
        {},
        "new labels from numbers: label -> {column: ..., values: {number or range such as 3-23: name}}",
        types=(dict,),
    ),
    "keep": Param({}, "cells to keep: column -> value or list of values", types=(dict,)),
    "unpacked": Param(SIZE_LIMIT / GIB, "GiB that a file may unpack to; by default limits.unpacked", minimum=0),
}


def annotate(
    data: AnnData, names: pd.Series, files: dict[str, Path], options: dict[str, Any], notes: dict[str, int]
) -> AnnData:
    """Add the columns of the table of cells to ``data.obs``, name clusters and select cells, as `PARAMS` says.

    Existing columns of ``obs`` are not changed. ``names`` of the cells are compared with the table. ``notes``, counts
    for the record, are completed and written to ``uns["reader"]`` as json text. They count columns of the table that
    differ from those of ``obs``, and labels that are missing as text. Raise a `UserError` that names the file or option
    if it does not fit the data.
    """
    if 0 in data.shape:
        raise UserError(f"files: the data have {data.n_obs} cells and {data.n_vars} genes; both are needed")
    obs, kept = data.obs, np.ones(data.n_obs, bool)
    if options["cells"]:
        path = file_of(files, options["cells"], "cells")
        table = _read_table(path, options)
        row = _match(obs, names, table, path, options)
        table.index = pd.RangeIndex(len(table))
        matched = pd.Series(row[row >= 0])
        known = [column for column in table if column in obs]
        unused = [column for column in known if _differ(obs[column][row >= 0], table[column][matched])]
        if unused:
            what = f"columns of the table that differ from labels of the data and are not used ({', '.join(unused)})"
            notes[what] = len(unused)
        for column in table.columns.difference(known, sort=False):
            obs[column] = pd.Categorical(table[column].reindex(row))
        notes["cells not in the table"] = len(row) - len(matched)
        notes["rows of the table without a cell"] = len(table) - matched.nunique()
        notes["cells that share a row of the table"] = int(matched.duplicated(keep=False).sum())
        kept = row >= 0 if options["annotated_only"] else kept
    elif options["annotated_only"]:
        raise UserError("options.annotated_only: needs a table of cells; name its key in options.cells")
    for label, rule in options["names"].items():
        obs[label] = _name_numbers(obs, label, rule)
    for column, accepted in options["keep"].items():
        kept = kept & _is_accepted(obs, column, accepted)
    texts = [missing_texts(obs[column]) for column in obs.select_dtypes(["object", "category"])]
    notes |= {f"labels {text!r} read as missing": n for text, n in sum(texts, Counter()).items()}
    if not kept.any():
        raise UserError("options.keep: no cell is left; accept more values")
    for column in obs:
        if column == "_index" or {"", ".", ".."}.intersection(column.split("/")):  # h5ad files cannot have it
            raise UserError(f"files: a label of cells cannot be called {column!r}; rename that column")
    notes["cells left out"] = int((~kept).sum())
    data = data if kept.all() else data[kept].copy()
    data.uns["reader"] = json.dumps(notes)
    return data


def _read_table(path: Path, options: dict[str, Any]) -> pd.DataFrame:
    """Read the table of cells as text, with the cells' names as index. Empty fields and R's NA are missing values."""
    columns, cell_name = options["cells_columns"], options["cell_name"]
    if not all(isinstance(column, str) and column for column in columns) or len(set(columns)) < len(columns):
        raise UserError(f"options.cells_columns: {columns} should be names of columns, each once")
    table = read_table(path, options["unpacked"], header=not columns, na_values=["", "NA"])
    if columns:
        if len(columns) != table.shape[1]:
            raise UserError(f"{path}: has {table.shape[1]} columns, options.cells_columns names {len(columns)}")
        table.columns = columns
    if cell_name:
        refer(cell_name, table, f"{path}: options.cell_name")
    if cell_name or isinstance(table.index, pd.RangeIndex):  # otherwise R wrote row names, which have no header
        table = table.set_index(cell_name or table.columns[0])
    if table.empty:
        raise UserError(
            f"{path}: has no cells, or no columns beside their names, separated by tabs, commas or semicolons"
        )
    return table


def _match(obs: pd.DataFrame, names: pd.Series, table: pd.DataFrame, path: Path, options: dict[str, Any]) -> np.ndarray:
    """Return the row of ``table`` for each cell (-1: none), shape (n_cells,).

    It has the same barcode and, if the table has the sample's label, the same sample.
    """
    label = options["sample_label"]
    if label:
        refer(label, obs, "options.sample_label")
    rows, cells = (_barcodes(pd.Series(side), options["barcode"]) for side in (table.index, names))
    if label in table:
        rows = as_text(table[label]).astype(object).reset_index(drop=True) + "\t" + rows
        cells = obs[label].astype(str).str.strip().reset_index(drop=True) + "\t" + cells
    rows = rows.dropna()
    if not rows.is_unique:
        raise UserError(
            f"{path}: rows of the table occur twice ({rows[rows.duplicated()].iloc[0].replace(chr(9), ' ')}); "
            f"options.sample_label should name its column of samples (it has {', '.join(table.columns)})"
        )
    place = pd.Index(rows).get_indexer(cells)
    if (place < 0).all():
        samples = f", samples {', '.join(map(str, obs[label].unique()[:5]))}" if label else ""
        raise UserError(
            f"{path}: no barcode of the table is one of the data (table: {table.index[0]}, data: {names.iloc[0]}"
            f"{samples}); check options.barcode, cell_name and sample_label"
        )
    row = np.where(place >= 0, rows.index[place], -1)
    _check_shared(row, names, table.index, path)
    return row


def _check_shared(row: np.ndarray, names: pd.Series, row_names: pd.Index, path: Path) -> None:
    """Raise a `UserError` if several cells match a row that has the whole name of one of them: it is this cell's row.

    Other rows may be shared, for they may be of samples and not of cells.
    """
    cells = pd.DataFrame({"row": row, "cell": names.to_numpy(object), "name": row_names.to_numpy(object)[row]})
    cells = cells[(row >= 0) & cells["row"].duplicated(keep=False)]
    same = cells["cell"].str.strip() == cells["name"].str.strip()
    wrong = cells[~same & cells["row"].isin(cells["row"][same])]
    if len(wrong):
        _, cell, name = wrong.iloc[0]
        raise UserError(
            f"{path}: {name} is the name of a cell, but the cell {cell} matches this row too; options.barcode should "
            "include what differs, or options.sample_label name the table's column of samples"
        )


def _differ(label: pd.Series, column: pd.Series) -> bool:
    """Return whether a label of cells differs from the column of the table that has the same name."""
    if pd.api.types.is_numeric_dtype(label) and not pd.api.types.is_bool_dtype(label):
        number = pd.to_numeric(column, errors="coerce").to_numpy(float)
        return not np.allclose(label.to_numpy(float, na_value=np.nan), number, rtol=1e-4, equal_nan=True)
    ours, theirs = (as_text(side).astype(object).fillna("").tolist() for side in (label, column))
    return ours != theirs


def _barcodes(names: pd.Series, pattern: str) -> pd.Series:
    """Return the part of each name that is compared (all of it without a pattern); missing if nothing matches."""
    try:
        return names.reset_index(drop=True).astype(object).str.strip().str.extract(f"({pattern or '(?s:.*)'})")[0]
    except (re.error, OverflowError, RecursionError) as error:
        raise UserError(f"options.barcode: {pattern!r} is not a regular expression ({error})") from None


def _name_numbers(obs: pd.DataFrame, label: str, rule: Any) -> pd.Series:
    """Return the new label: the name of each cell's number, missing where the number is missing."""
    at = f"options.names.{label}"
    if not isinstance(rule, dict) or set(rule) != {"column", "values"} or not isinstance(rule["values"], dict):
        raise UserError(f"{at}: should be {{column: <column>, values: {{<number or range>: <name>}}}}, not {rule}")
    column = str(rule["column"])
    refer(column, obs, f"{at}.column")
    if label in obs:
        raise UserError(f"{at}: the data have a column of this name; choose another")
    values = as_text(obs[column])
    meanings: dict[str, set[str]] = {number: set() for number in values.cat.categories}
    for key, name in rule["values"].items():
        if not isinstance(name, str | int | float) or isinstance(name, bool):
            raise UserError(f"{at}.values.{key}: {name} should be a name; put it in quotes")
        for number in _covered(key, meanings, f"{at}.values"):
            meanings[number].add(str(name))
    for number, names in meanings.items():
        if len(names) != 1:
            given = " and ".join(sorted(names)) or "none"
            raise UserError(f"{at}.values: {column} {number} should have one name, it has {given}")
    return values.astype(object).map({number: name for number, (name,) in meanings.items()}).astype("category")


def _covered(key: Any, numbers: Iterable[str], where: str) -> list[str]:
    """Return which numbers a key of ``names`` means: one, or those of a range such as 3-23."""
    ends = re.fullmatch(r"([0-9]{1,9})-([0-9]{1,9})", str(key))
    if not ends:
        return fitting_classes(key, numbers, where)
    digits = {number: int(number) for number in numbers if re.fullmatch("[0-9]{1,9}", number)}
    in_range = {number for number, n in digits.items() if int(ends[1]) <= n <= int(ends[2])}
    return [number for number in numbers if number == key or number in in_range]


def _is_accepted(obs: pd.DataFrame, column: str, accepted: Any) -> np.ndarray:
    """Return whether each cell has one of the accepted values in a column, bool, shape (n_cells,)."""
    at = f"options.keep.{column}"
    refer(column, obs, at)
    values = as_text(obs[column])
    accepted = accepted if isinstance(accepted, list) else [accepted]
    return values.isin([find_class(value, values.cat.categories, at) for value in accepted]).to_numpy()
