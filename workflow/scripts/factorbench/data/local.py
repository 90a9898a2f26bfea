"""Local sources: files of the user, which may be corrected or replaced at any time.

What was read from a local source is read again when its content changes. A file that only has a new time has the same
content, so hashes are compared; they are kept with size and time of the file, and calculated again when those change.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from ..config.plan import PROJECT
from ..contracts.files import read_json, sha256, write_json

HASHES = Path(".snakemake/factorbench/local_sources.json")
"""Path of a local source -> number of its files, their size, their latest time (ns), and the sha256 of a copy."""


def is_local(place: str) -> bool:
    """Return whether a place is a path, not an address or a package."""
    return not place.lower().startswith(("http://", "https://", "ftp://", "pypi:"))


def find(place: str) -> Path:
    """Return the path of a local place. A relative one is looked up in the working directory, then in the project."""
    path = Path(re.sub("^file://(localhost)?(?=/)", "", place)).expanduser()
    return path if path.exists() else PROJECT / path


def fault(place: str) -> str:
    """Return in a few words why a local place cannot be copied; an empty text if it can."""
    path = find(place)
    if "://" in place and not place.startswith("file://"):
        return "is an address of a kind that is not read; give one with https"
    if path.is_dir():
        return "" if is_zarr(path) else "is a folder; name a file in it (of folders, only zarr stores are read)"
    return "" if path.is_file() else "is not there"


def is_zarr(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (".zgroup", "zarr.json"))


def copy(place: str, target: Path) -> None:
    """Copy a local place to ``target``; a zarr store as an uncompressed zip archive, equal stores to equal bytes."""
    source = find(place)
    if not source.is_dir():
        shutil.copyfile(source, target)
        return
    with zipfile.ZipFile(target, "w") as archive:
        for path in _files(source):
            entry = zipfile.ZipInfo(path.relative_to(source).as_posix())  # without the time of the file
            with open(path, "rb") as file, archive.open(entry, "w", force_zip64=True) as member:
                shutil.copyfileobj(file, member)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def content(place: str) -> str:
    """Return the sha256 that a copy of a local place would have now; an empty text if it cannot be copied."""
    if fault(place):
        return ""
    path = find(place).absolute()
    paths = _files(path) if path.is_dir() else [path]
    states = [part.stat() for part in paths]
    state = [len(paths), sum(part.st_size for part in states), max(part.st_mtime_ns for part in states)]
    kept: dict[str, list[Any]] = {}
    with contextlib.suppress(OSError, ValueError):
        kept = read_json(HASHES)
    if kept.get(str(path), [])[:-1] != state:
        with tempfile.TemporaryDirectory() as folder:
            if path.is_dir():
                copy(place, Path(folder, "copy"))
            kept[str(path)] = [*state, sha256(Path(folder, "copy") if path.is_dir() else path)]
        with contextlib.suppress(OSError):  # in a folder that cannot be written, hashes are calculated each time
            write_json(HASHES, kept)
    return kept[str(path)][-1]
