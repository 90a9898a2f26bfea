"""Counts as text, genes x cells: the digital expression of Drop-seq as deposited at GEO."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...contracts.errors import UserError
from ...progress import bar
from ...registry import Param, Spec
from ..archives import CHUNK, Text
from ._cells import BROKEN, PARAMS, annotate, broken, file_of

if TYPE_CHECKING:
    from anndata import AnnData

SPEC = Spec(
    name="dge_text",
    title="Text, genes x cells",
    doi="10.1016/j.cell.2015.05.002",
    params={
        "matrix": Param(
            "counts", "key of the file: tab-separated, plain or gzip; a header of cells, a line of whole numbers a gene"
        ),
        **PARAMS,
    },
)
DIGITS = 9
"""Digits a count may have: what int32 holds."""


def read(files: dict[str, Path], options: dict[str, Any]) -> AnnData:
    """Read the matrix line by line: never more than one line of it is there dense.

    Returns
    -------
    AnnData
        ``X`` CSR int32, shape (n_cells, n_genes); names as found; ``obs`` the columns of the table of cells;
        ``uns["reader"]`` json text: what `annotate` counts.

    Raises
    ------
    UserError
        Naming file and line: a line of another length than the header, a name that is empty or there twice, a value
        that is no whole number, a file that is cut off, empty or not what its name says; and what `annotate` finds.
    """
    import anndata
    import pandas as pd
    from scipy import sparse

    path = file_of(files, options["matrix"], "matrix")
    lines = _lines(path, options["unpacked"])
    cells = _header(path, next(lines, b""))
    genes: dict[str, int] = {}
    columns, values, ends = [], [], [0]
    for number, line in enumerate(lines, start=2):
        at = f"{path}: line {number}"
        name, _, rest = line.partition(b"\t")
        gene = _text(name, at)
        if not gene:
            raise UserError(f"{at}: has no name of a gene")
        if genes.setdefault(gene, number) != number:
            raise UserError(f"{at}: the gene {gene} is there twice, first in line {genes[gene]}")
        expressed, counts = parse(rest, cells, at)
        columns.append(expressed)
        values.append(counts)
        ends.append(ends[-1] + len(counts))
    if not genes:
        raise UserError(f"{path}: has no genes, only a header")
    by_gene = sparse.csr_matrix(
        (np.concatenate(values), np.concatenate(columns), np.array(ends)), shape=(len(genes), len(cells))
    )
    found = anndata.AnnData(by_gene.T.tocsr(), obs=pd.DataFrame(index=cells), var=pd.DataFrame(index=list(genes)))
    return annotate(found, found.obs_names.to_series(), files, options, {})


def parse(line: bytes, cells: list[str], at: str) -> tuple[np.ndarray, np.ndarray]:
    """Which cells have counts in a line of tab-separated whole numbers, and how many: both int32, shape (n_expressed,).

    Almost all numbers are 0. Only the others are looked at digit by digit, all of them at once.

    Raises
    ------
    UserError
        Beginning with ``at``, if there is not one whole number for each of the ``cells``.
    """
    digit = np.frombuffer(line, np.uint8) - np.uint8(ord("0"))  # wraps: whatever is not a digit is larger than 9
    breaks = np.flatnonzero(digit > 9)
    n_fields = line.count(b"\t") + 1
    if n_fields != len(cells):
        raise UserError(f"{at}: has {n_fields} numbers, the header names {len(cells)} cells")
    if len(breaks) != n_fields - 1:
        raise _not_a_count(line, cells, at)
    start = np.concatenate([[0], breaks + 1])
    width = np.concatenate([breaks, [len(line)]]) - start
    if width.min() < 1 or width.max() > DIGITS:
        raise _not_a_count(line, cells, at)
    expressed = np.flatnonzero((width > 1) | (digit[start] > 0))
    start, width = start[expressed], width[expressed]
    counts = digit[start].astype(np.int32)
    for place in range(1, int(width.max(initial=1))):
        longer = width > place
        counts[longer] = counts[longer] * 10 + digit[start[longer] + place]
    return expressed[counts > 0].astype(np.int32), counts[counts > 0]


def _not_a_count(line: bytes, cells: list[str], at: str) -> UserError:
    fields = zip(line.split(b"\t"), cells, strict=True)
    field, cell = next((f, c) for f, c in fields if not f.isdigit() or len(f) > DIGITS)
    shown = repr(field.decode("utf-8", "replace"))[:40]
    return UserError(f"{at}: {shown} of the cell {cell} is no whole number of at most {DIGITS} digits")


def _header(path: Path, line: bytes) -> list[str]:
    """Names of cells: all fields but the first."""
    at = f"{path}: line 1"
    if not line:
        raise UserError(f"{at}: there is no header; is the file empty?")
    cells = _text(line, at).split("\t")[1:]
    if not cells:
        raise UserError(f"{at}: names no cells; it should be GENE and the names of cells, tab-separated")
    seen: set[str] = set()
    for cell in cells:
        if not cell:
            raise UserError(f"{at}: has an empty name of a cell")
        if cell in seen:
            raise UserError(f"{at}: the cell {cell} is there twice")
        seen.add(cell)
    return cells


def _text(name: bytes, at: str) -> str:
    try:
        return name.decode("utf-8").strip(" ")
    except UnicodeDecodeError:
        raise UserError(f"{at}: is not text") from None


def _lines(path: Path, unpacked: float) -> Iterator[bytes]:
    """The lines of a file, plain or gzip, without their ends; progress is counted in bytes of the file."""
    number = 0
    try:
        with Text(path, unpacked) as file, bar(path.stat().st_size, f"read {path.name}", "bytes") as progress:
            for line in io.BufferedReader(file, CHUNK):
                number += 1
                yield line.rstrip(b"\r\n")
                progress.update(file.stored.tell() - progress.n)
    except BROKEN as error:
        raise broken(path, f"after line {number}: {error}") from None
