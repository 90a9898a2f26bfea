"""What readers share: paths of files, limits of size, and one-line errors for damaged files."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...contracts.errors import UserError
from ...registry import refer
from ..archives import GIB, text

if TYPE_CHECKING:
    import h5py
    from scipy import sparse

BROKEN = (OSError, EOFError, KeyError, OverflowError, RuntimeError, TypeError, ValueError, zlib.error)
"""Errors that libraries raise for a file that is cut off, not compressed, or of another format."""


def file_of(files: dict[str, Path], key: Any, option: str) -> Path:
    """Return the path of the file that an option names by its key."""
    refer(key, files, f"options.{option}")
    return Path(files[key])


def unreadable(path: Path, error: BaseException | str) -> UserError:
    """Return the error for a file that is damaged or of another format."""
    reason = " ".join(str(error).split())[:120]
    remedy = "check what the config says of it; if it is incomplete, delete it to download it again"
    return UserError(f"{path}: cannot be read ({reason}); {remedy}")


def read_columns(path: Path, unpacked: float, sep: str = "\t", **options: Any) -> pd.DataFrame:
    """Read a table, plain or gzip, as text; ``options`` are those of `pandas.read_csv`."""
    try:
        with text(path, unpacked) as file:
            return pd.read_csv(file, sep=sep, dtype=str, keep_default_na=False, **options)
    except BROKEN as error:
        raise unreadable(path, error) from None


def check_unpacked(file: h5py.File, path: Path, unpacked: float) -> None:
    """Raise a `UserError` if the arrays of an open HDF5 file take more than ``unpacked`` GiB of memory.

    ValueError: an array is stored in another file, which could be any file of the user.
    """
    members: list[h5py.Group | h5py.Dataset] = []
    file.visititems(lambda _, member: members.append(member))
    for member in members:
        if getattr(member, "is_virtual", False) or getattr(member, "external", None):
            raise ValueError(f"{member.name} is kept in another file")
    size = sum(getattr(member, "nbytes", 0) for member in members)
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
