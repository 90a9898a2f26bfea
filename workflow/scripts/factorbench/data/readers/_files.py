"""What readers share: paths of files, limits of size, and one-line errors for damaged files."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import zlib
from collections.abc import Iterator
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


def read_columns(path: Path, unpacked: float, sep: str = "\t", **options: Any) -> pd.DataFrame:
    """Read a table, plain or gzip, as text; ``options`` are those of `pandas.read_csv`."""
    try:
        with text(path, unpacked) as file:
            return pd.read_csv(file, sep=sep, dtype=str, keep_default_na=False, **options)
    except BROKEN as error:
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
