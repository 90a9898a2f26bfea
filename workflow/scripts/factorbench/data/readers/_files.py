"""What readers share: paths of files, tables of text, limits of size, and one-line errors for damaged files."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...contracts.errors import OutOfResources, UserError, out_of_resources
from ...registry import refer
from .. import formats
from ..archives import CHUNK, GIB, Content, text

if TYPE_CHECKING:
    import h5py
    from scipy import sparse

BROKEN = (OSError, EOFError, KeyError, OverflowError, RuntimeError, TypeError, ValueError, zlib.error)
"""Errors that libraries raise for a file that is cut off, not compressed, or of another format."""
SEPARATORS = {"\t": "tab", ",": "comma", ";": "semicolon"}
"""What may separate the columns of a table, and its name."""


def file_of(files: dict[str, Path], key: Any, option: str) -> Path:
    """Return the path of the file that an option names by its key."""
    refer(key, files, f"options.{option}")
    return Path(files[key])


def unreadable(path: Path, error: BaseException | str, *reads: str) -> UserError | OutOfResources:
    """Return the error for a file that is damaged, or of another format than those that the reader ``reads``.

    ``error`` is what a library raised, or the text of what it raised where the file should have gone on.
    """
    if isinstance(error, Exception) and (resource_error := out_of_resources(error, str(path))):
        return resource_error
    format_ = formats.recognise(path)
    if format_ and format_ not in reads:
        return UserError(f"{path}: cannot be read: it is {formats.READ_INSTEAD[format_]}")
    reason = " ".join(str(error).split())[:120]
    if isinstance(error, str | OSError | EOFError | RuntimeError | zlib.error):
        return UserError(f"{path}: cannot be read ({reason}); if it is incomplete, delete it to download it again")
    return UserError(f"{path}: cannot be read ({reason}); docs/inputs.md says which forms of files are read")


def read_table(path: Path, unpacked: float, header: bool = True, na_values: Sequence[str] = ("",)) -> pd.DataFrame:
    """Read a table, plain or gzip, as text, with columns separated by tabs, commas or semicolons.

    Lines above the header that start with # are comments. If R wrote names of rows, which have no name in the header,
    they are the index.

    Raises
    ------
    UserError
        If the file cannot be read, its separator is not certain, a column occurs twice, or lines have more fields than
        the header, but not as R writes names of rows.
    """
    with _lines(path, unpacked) as file:
        n_before, first, second = _head(file)
        sep = _separator(path, first, second)
        names, fields = _fields(first, sep), _fields(second, sep)
    n_more = max(len(fields) - len(names), 0)
    table = read_columns(
        path, unpacked, sep, n_before + header, names=range(len(names) + n_more), na_values=list(na_values)
    )
    if not header:
        return table
    if names and not names[-1].strip() and table[len(names) - 1].notna().any():
        raise UserError(f"{path}: line {n_before + 1}: the last column has no name; name each column")
    names = [name.strip() or f"Unnamed: {i}" for i, name in enumerate(names)]
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise UserError(f"{path}: line {n_before + 1}: the column {twice[0]!r} occurs twice; rename or delete one")
    if n_more > 1:
        raise UserError(f"{path}: a line has {n_more} fields more than the header; correct the header")
    if n_more and not fields[-1] and table.iloc[:, -1].isna().all():
        raise UserError(
            f"{path}: its lines end with a {SEPARATORS[sep]}, the header (line {n_before + 1}) does not; if the header "
            "names their first column, delete it from the lines, or else name that column"
        )
    return (table.set_index(0) if n_more else table).set_axis(names, axis=1)


def _head(file: io.TextIOWrapper) -> tuple[int, str, str]:
    """Return how many lines are before the first one that is neither empty nor a comment, this line, and the next."""
    lines = ((number, line.rstrip("\n")) for number, line in enumerate(file) if line.strip())
    (number, first), (after, second) = (next(lines, (0, "")) for _ in range(2))
    while first.startswith("#") and second and not _is_header(first, second):
        number, first, (after, second) = after, second, next(lines, (0, ""))
    return number, first, second


def _is_header(first: str, second: str) -> bool:
    """Return whether a line that starts with # has a name there, and as many fields as the next line."""
    sizes = ([line.count(sep) for sep in SEPARATORS] for line in (first, second))
    return first[1:2] not in ("#", " ", "") and any(n == n_next > 0 for n, n_next in zip(*sizes, strict=True))


def _separator(path: Path, first: str, second: str) -> str:
    """Return the separator of a table by its first two lines: a tab if there is one, or else what makes most columns.

    The second line may have fewer fields than the first, or one more (`read_table`).
    """
    if "\t" in first + second:
        return "\t"
    sizes = {sep: [len(_fields(line, sep)) for line in (first, second)] for sep in ",;"}
    fits = {sep: n for sep, (n, n_next) in sizes.items() if n_next <= n + 1 and max(n, n_next) > 1}
    most = [sep for sep, n in fits.items() if n == max(fits.values())]
    if len(most) > 1:
        raise UserError(f"{path}: commas or semicolons may separate its columns; separate them by tabs")
    return most[0] if most else "\t"


def _fields(line: str, sep: str) -> list[str]:
    return next(csv.reader([line], delimiter=sep), [])


def read_columns(path: Path, unpacked: float, sep: str = "\t", n_before: int = 0, **options: Any) -> pd.DataFrame:
    """Read a table without a header, plain or gzip, as text; ``options`` are those of `pandas.read_csv`.

    ``n_before`` lines are left out. Raise a `UserError` if the file cannot be read, also if a quote that is not closed
    makes several lines one field.
    """
    options = {"sep": sep, "header": None, "dtype": str, "keep_default_na": False, **options}
    with _lines(path, unpacked) as file:
        for _ in range(n_before):
            file.readline()
        try:
            table = pd.read_csv(file, **options)
        except pd.errors.ParserError as error:
            _check_quotes(path, unpacked, sep, n_before)
            if fields := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error)):
                expected, line, n = map(int, fields.groups())
                raise UserError(
                    f"{path}: line {line + n_before} has {n} fields, the lines before it have {expected}; correct it"
                ) from None
            raise
    if any("\n" in value for column in table for value in table[column].dropna().unique()):
        _check_quotes(path, unpacked, sep, n_before)
    return table


def _check_quotes(path: Path, unpacked: float, sep: str, n_before: int) -> None:
    """Raise a `UserError` that names the first line with a quote that makes this line and the next one field."""
    with _lines(path, unpacked) as file:
        for _ in range(n_before):
            file.readline()
        rows, line = csv.reader(file, delimiter=sep), 0
        with contextlib.suppress(csv.Error):  # the field is longer than csv allows
            for row in rows:
                if any(sep in field and "\n" in field for field in row):
                    break
                line = rows.line_num
            else:
                return
    raise UserError(f"{path}: line {n_before + line + 1}: a quote is not closed, so that it hides lines; delete it")


@contextlib.contextmanager
def _lines(path: Path, unpacked: float) -> Iterator[io.TextIOWrapper]:
    """Open a text file, plain or gzip. Errors of reading it become a `UserError`."""
    try:
        with io.TextIOWrapper(text(path, unpacked), "utf-8-sig") as file:
            yield file
    except UnicodeDecodeError as error:
        if formats.recognise(path):
            raise unreadable(path, error) from None
        with text(path, unpacked) as file:
            line = next(n for n, line in enumerate(file, start=1) if line.decode("utf-8", "ignore").encode() != line)
        raise UserError(f"{path}: line {line} is not UTF-8; save the file as UTF-8") from None
    except (*BROKEN, csv.Error) as error:
        raise unreadable(path, error) from None


@contextlib.contextmanager
def open_hdf5(path: Path, unpacked: float) -> Iterator[h5py.File]:
    """Open an HDF5 file, plain or gzip, the arrays of which take at most ``unpacked`` GiB of memory.

    A gzip file is unpacked into a temporary folder, since HDF5 reads its files here and there.

    Raises
    ------
    UserError
        If it unpacks to more, or an array could not be read and one is compressed by a filter that is not installed.
    ValueError
        If an array is stored in another file, which could be any file of the user.
    """
    import h5py

    with contextlib.ExitStack() as stack:
        plain = path
        with open(path, "rb") as file:
            packed = file.read(2) == formats.GZIP
        if packed:
            plain = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "unpacked"
            with Content(path, unpacked) as content, open(plain, "wb") as target:
                shutil.copyfileobj(content, target, CHUNK)
        file = stack.enter_context(h5py.File(plain))
        arrays: list[h5py.Dataset] = []
        file.visititems(lambda _, member: arrays.append(member) if isinstance(member, h5py.Dataset) else None)
        for array in arrays:
            if array.is_virtual or array.external:
                raise ValueError(f"{array.name} is kept in another file")
        check_size(path, sum(array.nbytes for array in arrays), unpacked)
        try:
            yield file
        except OSError:
            if missing := next(filter(None, map(_missing_filter, arrays)), ""):
                raise UserError(f"{path}: {missing}; write it again with compression='gzip'") from None
            raise


FILTERS = {32001: "blosc", 32004: "lz4", 32008: "bitshuffle", 32015: "zstd", 32026: "blosc2"}
"""Filters of HDF5 that h5py does not have, by their registered numbers."""


def _missing_filter(array: h5py.Dataset) -> str:
    """Say which filter an array needs that is not installed; empty: none."""
    import h5py

    pipeline = array.id.get_create_plist()
    codes = [pipeline.get_filter(i)[0] for i in range(pipeline.get_nfilters())]
    names = [FILTERS.get(code, f"number {code}") for code in codes if not h5py.h5z.filter_avail(code)]
    return f"{array.name} is compressed by the HDF5 filter {names[0]}, which is not installed" if names else ""


def check_size(path: Path, size: int, unpacked: float) -> None:
    """Raise a `UserError` if a file unpacks to ``size`` bytes, which is more than ``unpacked`` GiB."""
    if size > unpacked * GIB:
        raise UserError(
            f"{path}: unpacks to {size / GIB:.3g} GiB, more than {unpacked:g}; raise limits.unpacked if that is right"
        )


def build_csr(
    form: type[sparse.spmatrix], parts: tuple[np.ndarray, np.ndarray, np.ndarray], shape: tuple[int, ...]
) -> sparse.csr_matrix:
    """Build a CSR matrix from ``parts`` that a file holds: data, indices, indptr of a ``csr_matrix`` or ``csc_matrix``.

    ValueError: the parts are not numbers, do not fit each other, or an entry occurs twice.
    """
    data, indices, indptr = parts
    if data.dtype.kind not in "iuf":
        raise ValueError(f"values of type {data.dtype} are not numbers")
    if any(part.dtype.kind not in "iu" for part in (indices, indptr)):  # scipy would round them
        raise ValueError("indices and indptr should be whole numbers")
    if len(indptr) and indptr[-1] != len(data):  # scipy would ignore the values after it
        raise ValueError(f"indptr ends at {indptr[-1]}, there are {len(data)} values")
    matrix = form(parts, shape=shape)
    matrix.check_format(full_check=True)
    matrix.sort_indices()
    if not matrix.has_canonical_format:
        raise ValueError("a gene occurs twice in a cell")
    return matrix.tocsr()
