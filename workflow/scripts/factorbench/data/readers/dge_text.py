"""Counts as text, genes x cells: the digital expression of Drop-seq as deposited at GEO."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...contracts.errors import UserError
from ...progress import bar
from ...registry import Param, Spec
from ..archives import CHUNK, Text
from ._cells import PARAMS, annotate
from ._files import BROKEN, file_of, unreadable

if TYPE_CHECKING:
    from anndata import AnnData

SPEC = Spec(
    name="dge_text",
    title="Text, genes x cells",
    doi="10.1016/j.cell.2015.05.002",
    params={
        "matrix": Param(
            "counts", "key of the file: tab-separated, plain or gzip; a header of cells, then one line per gene"
        ),
        **PARAMS,
    },
)
LARGEST = 999_999_999
"""The largest count, so that counts fit int32."""


def read(files: dict[str, Path], options: dict[str, Any]) -> AnnData:
    """Read the matrix line by line, so that only one line at a time is dense in memory.

    Returns
    -------
    AnnData
        ``X`` CSR int32, shape (n_cells, n_genes); names as in the file; the rest as `annotate` says.

    Raises
    ------
    UserError
        Naming file and line: if a line has not one whole number per cell, a name is empty or occurs twice, or the file
        is cut off, empty or of another format; and see `annotate`.
    """
    import anndata
    from scipy import sparse

    path = file_of(files, options["matrix"], "matrix")
    lines = _read_lines(path, options["unpacked"])
    cells = _header(path, next(lines, b""))
    genes: dict[str, int] = {}
    columns, values, ends = [], [], [0]
    for number, line in enumerate(lines, start=2):
        at = f"{path}: line {number}"
        name, _, rest = line.partition(b"\t")
        gene = _decode(name, at)
        if not gene:
            raise UserError(f"{at}: has no name of a gene")
        if genes.setdefault(gene, number) != number:
            raise UserError(f"{at}: the gene {gene} occurs twice, first in line {genes[gene]}")
        counts = parse(rest, cells, at)
        columns.append(np.flatnonzero(counts).astype(np.int32))
        values.append(counts[columns[-1]])
        ends.append(ends[-1] + len(columns[-1]))
    if not genes:
        raise UserError(f"{path}: has no genes, only a header")
    parts = (np.concatenate(values), np.concatenate(columns), np.array(ends))
    counts = sparse.csr_matrix(parts, shape=(len(genes), len(cells))).T.tocsr()
    data = anndata.AnnData(counts, obs=pd.DataFrame(index=cells), var=pd.DataFrame(index=list(genes)))
    return annotate(data, data.obs_names.to_series(), files, options, {})


def parse(line: bytes, cells: list[str], at: str) -> np.ndarray:
    """Return the counts of a line, int32, shape (n_cells,). Raise a `UserError` with ``at`` if one is wrong."""
    n_fields = line.count(b"\t") + 1
    if n_fields != len(cells):
        raise UserError(f"{at}: has {n_fields} numbers, the header names {len(cells)} cells")
    counts = np.fromstring(line, np.int64, sep="\t") if line.replace(b"\t", b"").isdigit() else np.zeros(0)
    if len(counts) < n_fields or counts.max() > LARGEST:  # empty fields give no count
        fields = zip(line.split(b"\t"), cells, strict=True)
        field, cell = next((field, cell) for field, cell in fields if not re.fullmatch(rb"0*[0-9]{1,9}", field))
        shown = repr(field.decode("utf-8", "replace"))[:40]
        raise UserError(f"{at}: {shown} of the cell {cell} is not a whole number of at most nine digits")
    return counts.astype(np.int32)


def _header(path: Path, line: bytes) -> list[str]:
    """Return the names of cells: all fields but the first."""
    at = f"{path}: line 1"
    cells = _decode(line, at).split("\t")[1:]
    if not all(cells) or not cells:
        raise UserError(f"{at}: should be GENE and the names of cells, tab-separated")
    for cell, n in Counter(cells).items():
        if n > 1:
            raise UserError(f"{at}: the cell {cell} occurs twice")
    return cells


def _decode(name: bytes, at: str) -> str:
    try:
        return name.decode("utf-8").strip(" ")
    except UnicodeDecodeError:
        raise UserError(f"{at}: is not text") from None


def _read_lines(path: Path, unpacked: float) -> Iterator[bytes]:
    """Yield the lines of a file, plain or gzip, without their ends. Progress is shown in bytes of the file."""
    number = 0
    try:
        with Text(path, unpacked) as file, bar(path.stat().st_size, f"read {path.name}", "bytes") as progress:
            for line in io.BufferedReader(file, CHUNK):
                number += 1
                yield line.rstrip(b"\r\n")
                progress.update(file.stored.tell() - progress.n)
    except BROKEN as error:
        raise unreadable(path, f"after line {number}: {error}") from None
