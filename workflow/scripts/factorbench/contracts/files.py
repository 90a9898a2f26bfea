"""How files are read and written: atomically, as json, as tables, and as cells in blocks."""

from __future__ import annotations

import contextlib
import glob
import gzip
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .errors import out_of_resources

if TYPE_CHECKING:
    import h5py
    from anndata import AnnData

BLOCK = 4_000
"""Cells read or written at a time. It bounds the memory: 4,000 cells x 2,000 genes take 64 MB as float64."""


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to ``path`` if the block ends without an error.

    Temporary files that a killed writer of ``path`` left behind are removed first.

    Raises
    ------
    OutOfResources
        If disk or memory run out; the text names ``path``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for dots in (".", ".."):  # two dots: the temporary file of a writer that was itself given a temporary path
        for leftover in path.parent.glob(f"{dots}{glob.escape(path.name)}.????????.part*"):
            leftover.unlink(missing_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part" + path.suffix, dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        os.chmod(part, 0o666 & ~_umask())
        os.replace(part, path)
    except Exception as error:
        resource_error = out_of_resources(error, str(path))
        if resource_error is None:
            raise
        raise resource_error from error
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sha256(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as json. Numbers that are not finite become null: json has no other way to write them."""
    with atomic(path) as part:
        part.write_text(json.dumps(plain(value), indent=1, sort_keys=False, allow_nan=False) + "\n", encoding="utf-8")


def plain(value: Any) -> Any:
    """Return ``value`` as json can hold it: text keys, Python numbers, ``None`` for what is not finite."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_json(path: str | Path) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """Write a tidy table as TSV, gzip-compressed if the name ends in .gz. Equal tables give equal files."""
    with atomic(path) as part, contextlib.ExitStack() as stack:
        file = stack.enter_context(open(part, "wb"))
        if part.suffix == ".gz":  # by default the gzip header would hold the time and the temporary name
            file = stack.enter_context(gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0))
        table.to_csv(file, sep="\t", index=False, float_format="%.6g")


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a TSV that `write_table` wrote. Text that looks like a missing value (a gene called NA) stays text."""
    return pd.read_csv(path, sep="\t", keep_default_na=False, na_values=[""])


def row_blocks(n_cells: int) -> Iterator[slice]:
    """Yield consecutive blocks of at most `BLOCK` cells."""
    for start in range(0, n_cells, BLOCK):
        yield slice(start, min(start + BLOCK, n_cells))


def write_cells(path: str | Path, data: AnnData | Iterable[AnnData]) -> None:
    """Write cells as one h5ad file.

    Parameters
    ----------
    path
        If writing fails, no file of this name is left.
    data
        All cells, or blocks of cells that are appended one after another. Blocks have the same genes and the same
        categories of labels; their ``X``, ``layers`` and ``obsm`` are CSR matrices. ``var``, ``varm`` and ``uns`` are
        taken from the first block.
    """
    import anndata
    import h5py
    from anndata.io import sparse_dataset, write_elem

    obs = []
    with atomic(path) as part:
        for block in [data] if isinstance(data, anndata.AnnData) else data:
            obs.append(block.obs)
            if len(obs) == 1:
                block.write_h5ad(part, compression="lzf", convert_strings_to_categoricals=False)
                continue
            with h5py.File(part, "a") as file:
                sparse_dataset(file["X"]).append(block.X)
                for group in ("layers", "obsm"):
                    for name, values in getattr(block, group).items():
                        sparse_dataset(file[group][name]).append(values)
        if len(obs) > 1:
            with h5py.File(part, "a") as file:
                write_elem(file, "obs", pd.concat(obs), dataset_kwargs={"compression": "lzf"})


def write_raw(path: str | Path, data: AnnData | Iterable[AnnData]) -> None:
    """Write what a reader returned (`write_cells`). Labels that are text become categorical."""
    import anndata

    if isinstance(data, anndata.AnnData):
        data.strings_to_categoricals()
    write_cells(path, data)


@contextlib.contextmanager
def on_disk(path: str | Path) -> Iterator[AnnData]:
    """Open an h5ad file; ``X``, ``layers`` and ``obsm`` stay on disk until rows are asked for (``data.X[:1000]``).

    They can be read inside the ``with`` block only.
    """
    import anndata
    import h5py
    from anndata.io import read_elem, sparse_dataset

    def matrix(stored: h5py.Group | h5py.Dataset) -> Any:
        return sparse_dataset(stored) if isinstance(stored, h5py.Group) else stored

    with h5py.File(path) as file:
        yield anndata.AnnData(
            X=matrix(file["X"]),
            layers={name: matrix(stored) for name, stored in file["layers"].items()},
            obsm={name: matrix(stored) for name, stored in file["obsm"].items()},
            **{name: read_elem(file[name]) for name in ("obs", "var", "varm", "uns")},
        )
