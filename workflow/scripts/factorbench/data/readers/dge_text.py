"""Counts as text: the digital expression of Drop-seq as deposited at GEO, and the tables that R and pandas write.

A header has names, and every line a name and its counts. The header and the first line say how fields are separated;
the names say whether lines are genes or cells.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from ...contracts.errors import UserError
from ...progress import bar
from ...registry import Param, Spec
from ..archives import CHUNK, Text
from ._cells import PARAMS, annotate
from ._files import BROKEN, file_of, unreadable
from ._names import check_genes, exchanged, looks_like

if TYPE_CHECKING:
    from anndata import AnnData

SPEC = Spec(
    name="dge_text",
    title="Text, genes x cells or cells x genes",
    doi="10.1016/j.cell.2015.05.002",
    params={
        "matrix": Param(
            "counts",
            "key of the file, plain or gzip: a header of names, then lines of a name and its counts; "
            "separated by tabs, commas, semicolons or spaces",
        ),
        "lines": Param(
            "", "what lines are; empty: what the names look like, or else genes", choices=("", "genes", "cells")
        ),
        **PARAMS,
    },
)
ANNOTATION = re.compile(
    "chr|chrom|chromosome|seqnames|start|end|width|strand|length|description|(gene|transcript)_length|gene_?id|gene_?name|"
    "((gene|hgnc)_)?symbol|(entrez|ensembl)_?(gene_?)?(id)?|(gene_)?(bio)?type",
    re.IGNORECASE,
)
"""Names of columns that featureCounts, biomaRt and others put between the names of genes and their counts."""
LARGEST = 999_999_999
"""The largest count, so that counts fit int32."""
SEPARATORS = (b"\t", b",", b";", b" ")
CORNER = re.compile(rb"(gene|cell|barcode|symbol|feature|name|index|id|s|[ _.-])*", re.IGNORECASE)
"""The first field of a header that names the lines, in every form that is certain."""
QUOTED = rb'"[^"]*(?:""[^"]*)*"(?![^%b])'
"""A field in quotes, before a separator or the end. Separators in it are text, and two quotes are one."""
NUMBERS = re.compile(rb'[0-9.e+"\t]+')
"""Only what numbers are written with; `parse` says whether they are."""
QUOTED_NUMBER = re.compile(rb'(?<![^\t])"([0-9.e+]*)"(?![^\t])')
ZEROS = re.compile(rb"(?<=[0-9])\.0*(?![^\t])")
"""The decimals of a whole number."""
POWER = re.compile(rb"(?<![^\t])[0-9]{1,9}(?:\.[0-9]{1,9})?e\+0?[0-9](?![^\t])")
"""A number as R writes 100000: 1e+05."""


class Layout(NamedTuple):
    """How a file is written: whether lines end with a separator (``trailing``), and the ``names`` of the header."""

    sep: bytes
    trailing: bool
    names: list[bytes]


def read(files: dict[str, Path], options: dict[str, Any]) -> AnnData:
    """Read the matrix line by line, so that only one line at a time is dense in memory.

    Returns
    -------
    AnnData
        ``X`` CSR int32, shape (n_cells, n_genes); names as in the file; the rest as `annotate` says.

    Raises
    ------
    UserError
        Naming file and line: if a line has not one whole number per name of the header, a name is empty or occurs
        twice, or the file is cut off, empty or of another format; and see `annotate`.
    """
    import anndata
    from scipy import sparse

    path = file_of(files, options["matrix"], "matrix")
    n_before, layout, lines = _header(enumerate(_read_lines(path, options["unpacked"]), start=1))
    at = f"{path}: line {n_before}"
    across = [_decode(name, at) for name in layout.names]
    if not all(across) or not across:
        raise UserError(f"{at}: should be GENE and the names of cells, separated by tabs, commas, semicolons or spaces")
    turned = looks_like(across) == "genes" if not options["lines"] else options["lines"] == "cells"
    kind, kind_across = ("cell", "gene") if turned else ("gene", "cell")
    described = [name for name in across if ANNOTATION.fullmatch(re.sub("[ .]", "_", name))]
    if described and not turned:
        columns = "columns" if len(described) > 1 else "column"
        raise UserError(f"{at}: {', '.join(described)} would be read as cells; delete the {columns}")
    for name, n in Counter(across).items():
        if n > 1:
            raise UserError(f"{at}: the {kind_across} {name} occurs twice")

    names: dict[str, int] = {}
    columns, values, ends = [], [], [0]
    for number, line in lines:
        at = f"{path}: line {number}"
        if layout.trailing and not line.endswith(layout.sep):
            raise UserError(f"{at}: does not end with {layout.sep.decode()!r}, as the first line does")
        name, rest = _split_name(line, layout)
        name = _decode(name, at)
        if not name:
            raise UserError(f"{at}: has no name of a {kind}")
        if names.setdefault(name, number) != number:
            raise UserError(f"{at}: the {kind} {name} occurs twice, first in line {names[name]}")
        counts = parse(rest, across, kind_across, at)
        columns.append(np.flatnonzero(counts).astype(np.int32))
        values.append(counts[columns[-1]])
        ends.append(ends[-1] + len(columns[-1]))
    if not names:
        raise UserError(f"{path}: has no {kind}s, only a header")
    counts = sparse.csr_matrix(
        (np.concatenate(values), np.concatenate(columns), np.array(ends)), shape=(len(names), len(across))
    )
    turned = exchanged(names, across) if not options["lines"] else turned
    cells, genes = (list(names), across) if turned else (across, list(names))
    counts = counts if turned else counts.T.tocsr()
    check_genes(genes, path)
    data = anndata.AnnData(counts, obs=pd.DataFrame(index=cells), var=pd.DataFrame(index=genes))
    notes = {"cells read from lines (a guess by the names)": len(cells)} if turned and not options["lines"] else {}
    return annotate(data, data.obs_names.to_series(), files, options, notes)


def parse(line: bytes, names: list[str], kind: str, at: str) -> np.ndarray:
    """Return the counts of a line, int32, shape (n_names,). Raise a `UserError` with ``at`` if one is wrong.

    ``line`` has numbers and tabs between them. ``names`` are those of the header, of cells or genes (``kind``).
    """
    n_fields = line.count(b"\t") + 1
    if n_fields != len(names):
        raise UserError(f"{at}: has {n_fields} numbers, the header names {len(names)} {kind}s")
    digits = _is_digits(line)
    plain = line if digits else POWER.sub(_whole, ZEROS.sub(b"", line))
    counts = np.fromstring(plain, np.int64, sep="\t") if digits or _is_digits(plain) else np.zeros(0)
    if len(counts) < n_fields or counts.max() > LARGEST:  # empty fields give no count
        fields = zip(line.split(b"\t"), plain.split(b"\t"), names, strict=True)
        field, name = next((field, name) for field, n, name in fields if not re.fullmatch(rb"0*[0-9]{1,9}", n))
        shown = repr(field.decode("utf-8", "replace"))[:40]
        raise UserError(
            f"{at}: {shown} of the {kind} {name} is not a whole number of at most nine digits; give raw counts"
        )
    return counts.astype(np.int32)


def _is_digits(line: bytes) -> bool:
    return line.replace(b"\t", b"").isdigit()


def _whole(number: re.Match[bytes]) -> bytes:
    """Return the digits of a number such as 1e+05; as it is if it is not whole."""
    value = Decimal(number[0].decode())
    return b"%d" % int(value) if value == int(value) else number[0]


def _header(lines: Iterator[tuple[int, bytes]]) -> tuple[int, Layout, Iterator[tuple[int, bytes]]]:
    """Return the number of the header's line, the layout of the file, and its further lines.

    Lines before the header that start with # are comments, unless the first counts follow and fit.
    """
    number, header = next(lines, (1, b""))
    header = header.removeprefix(b"\xef\xbb\xbf")
    first = next(lines, None)
    while header.startswith(b"#") and first and not _has_counts(first[1], _fits(header, first[1])):
        (number, header), first = first, next(lines, None)
    fits = _fits(header, first[1] if first else b"")
    sep = next((sep for sep in SEPARATORS[:-1] if sep in header), b"\t")  # for the errors of a file that does not fit
    layout = max(fits, key=lambda fit: len(fit.names)) if fits else Layout(sep, False, _split(header, sep)[1:])
    return number, layout, chain([first] if first else [], lines)


def _fits(header: bytes, line: bytes) -> list[Layout]:
    """Return the layouts in which a header fits the first line.

    A header that does not name its first column, as R writes it, has one field less than the line. Separators at the
    end of only the header or only the lines could look the same; then the name of the first column decides.
    """
    fits = []
    for sep in SEPARATORS:
        names, fields = _split(header, sep), _split(line, sep)
        more, trailing = not names[-1], not fields[-1]
        n_names, n_fields = len(names) - more, len(fields) - trailing
        known = CORNER.fullmatch(names[0])
        corner = n_names == n_fields and (known or more >= trailing)
        no_corner = 1 < n_names == n_fields - 1 and more <= trailing and not known
        if n_fields > 1 and (corner or no_corner):
            fits.append(Layout(sep, trailing, names[n_names - n_fields + 1 : n_names]))
    return fits


def _has_counts(line: bytes, layouts: list[Layout]) -> bool:
    """Return whether a line has a name and numbers in any of the layouts."""
    return any(NUMBERS.fullmatch(_split_name(line, layout)[1]) for layout in layouts)


def _split(line: bytes, sep: bytes) -> list[bytes]:
    """Return the fields of a line without quotes around them."""
    if b'"' not in line:
        return line.split(sep)
    quoted = QUOTED % sep
    return [_bare(field, quoted) for field in re.findall(b"(?:^|%b)(%b|[^%b]*)" % (sep, quoted, sep), line)]


def _bare(field: bytes, quoted: bytes) -> bytes:
    return field[1:-1].replace(b'""', b'"') if re.fullmatch(quoted, field) else field


def _split_name(line: bytes, layout: Layout) -> tuple[bytes, bytes]:
    """Return the name of a line, and its numbers with tabs between them."""
    sep = layout.sep
    if not line.startswith(b'"'):
        name, _, rest = line.partition(sep)
    else:
        name = re.match(b"%b|[^%b]*" % (QUOTED % sep, sep), line)[0]
        name, rest = _bare(name, QUOTED % sep), line[len(name) + 1 :]
    if sep != b"\t":
        rest = rest.translate(bytes.maketrans(sep + b"\t", b"\t" + sep))
    if layout.trailing:
        rest = rest.removesuffix(b"\t")
    return name, QUOTED_NUMBER.sub(rb"\1", rest) if b'"' in rest else rest


def _decode(name: bytes, at: str) -> str:
    try:
        return name.decode("utf-8").strip(" ")
    except UnicodeDecodeError:
        raise UserError(f"{at}: is not text") from None


def _read_lines(path: Path, unpacked: float) -> Iterator[bytes]:
    """Yield the lines of a file, plain or gzip, without their ends and without empty lines at the end of the file.

    Progress is shown in bytes of the file.
    """
    number = n_empty = 0
    try:
        with Text(path, unpacked) as file, bar(path.stat().st_size, f"read {path.name}", "bytes") as progress:
            for line in io.BufferedReader(file, CHUNK):
                number += 1
                line = line.rstrip(b"\r\n")
                if line:
                    yield from repeat(b"", n_empty)
                    yield line
                n_empty = 0 if line else n_empty + 1
                progress.update(file.stored.tell() - progress.n)
    except BROKEN as error:
        raise unreadable(path, f"after line {number}: {error}") from None
