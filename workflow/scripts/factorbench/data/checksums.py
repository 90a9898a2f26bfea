"""Check the sha256 of files, and pin it where none is published.

The known hash of a file is the one in the config, else that in the committed table checksums.tsv, else that in
resources/checksums.tsv. A file without a known hash is pinned when it is first read: the rule ``read`` adds it to
resources/checksums.tsv, and a file with another hash is refused from then on. ``make pin`` copies these pins to the
committed table.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from ..config.plan import PROJECT, archive_entry
from ..contracts.errors import UserError
from ..contracts.files import atomic, sha256
from ..contracts.process import begin
from . import formats

COMMITTED, LOCAL = PROJECT / "checksums.tsv", Path("resources/checksums.tsv")
HEADING = "# Files without a published hash, as they were when first read\ngroup\tfile\tsha256\tbytes\tsource"
LINE = re.compile(r"([^\t]+)\t([^\t]+)\t([0-9a-f]{64})\t([0-9]+)\t([^\t]*)")

GZIP, HDF5 = (0, b"\x1f\x8b"), (0, b"\x89HDF\r\n\x1a\n")
MAGIC = {".gz": GZIP, ".tgz": GZIP, ".h5": HDF5, ".h5ad": HDF5, ".hdf5": HDF5}
MAGIC |= {".zip": (0, b"PK\x03\x04"), ".zarr": (0, b"PK\x03\x04"), ".tar": (257, b"ustar")}
"""Suffix of a name -> offset and bytes by which its format is recognised."""


class Pin(NamedTuple):
    """A line of a table: the file resources/<group>/<file>, its hash, its size in bytes, and its source."""

    group: str
    file: str
    sha256: str
    bytes: str
    source: str


def read_pins(table: Path) -> dict[tuple[str, ...], Pin]:
    """Return the pins of a table by group and file. Raise a `UserError` if a line is not a pin."""
    pins = {}
    for number, line in enumerate(table.read_text(encoding="utf-8").splitlines() if table.exists() else [], 1):
        if match := LINE.fullmatch(line):
            pins[match.group(1, 2)] = Pin(*match.groups())
        elif not line.startswith("#") and line not in HEADING.splitlines():
            raise UserError(f"{table}: line {number} is not a pin (five columns, tab-separated): correct or delete it")
    return pins


def known(entry: dict[str, Any], group: str) -> tuple[str, str]:
    """Return the known hash of a ``file`` of the config (empty: not known), and where it is written down."""
    if entry["sha256"]:
        return entry["sha256"], "the config"
    for table in (COMMITTED, LOCAL):
        if pin := read_pins(table).get((group, entry["name"])):
            return pin.sha256, str(table)
    return "", ""


def fault(path: Path, entry: dict[str, Any], group: str) -> str:
    """Return in a few words why ``path`` is not the ``file`` of the config; an empty text if it is.

    A file whose hash is not known must not be empty or stand in place of another, and must begin as the suffix of its
    name demands.
    """
    expected, where = known(entry, group)
    with open(path, "rb") as file:
        start = file.read(512)
    name = formats.stand_in(start)
    kind = f" (it is a {name})" if name else ""
    if not expected:
        offset, magic = MAGIC.get(Path(entry["name"]).suffix, (0, b""))
        fits = start and not kind and start[offset:].startswith(magic)
        return "" if fits else f"wrong file{kind}: the content does not fit the name"
    actual = sha256(path)
    if actual == expected:
        return ""
    remedy = "" if entry["sha256"] else f" (if the change is right, delete its line in {where})"
    return f"wrong file{kind}: {where} has sha256 {expected}, the file has {actual}{remedy}"


def note(path: Path) -> Path:
    """Return the hidden file that holds the hash and the source of a download."""
    return path.with_name(f".{path.name}.source")


def verify(entries: dict[str, dict[str, Any]], paths: dict[str, Path], group: str) -> list[Pin]:
    """Check all files of a dataset before its reader opens them. Raise a `UserError` if one is wrong.

    ``entries`` are the files in the config and ``paths`` those on disk, by the keys that the reader uses. Return the
    pins of the files that have no known hash, and of their archives: `pin` them when the reader has succeeded.
    """
    pins = {}
    for key, path in paths.items():
        if problem := fault(path, entries[key], group):
            raise UserError(f"{path}: {problem}; delete the file to download it again")
        packed = [source for source in entries[key]["sources"] if isinstance(source, dict) and "url" in source]
        for entry in (entries[key], *map(archive_entry, packed)):
            file = path.with_name(entry["name"])
            if file not in pins and file.exists() and not known(entry, group)[0]:
                hash_, noted = sha256(file), note(file).read_text(encoding="utf-8") if note(file).exists() else ""
                source = noted.removeprefix(f"{hash_} ") if noted.startswith(hash_) else "unknown"
                pins[file] = Pin(group, file.name, hash_, str(file.stat().st_size), source)
    return list(pins.values())


def forget(group: str, file: str, sha256: str) -> None:
    """Remove the pin of a file from resources/checksums.tsv if it has another hash than ``sha256``.

    A local source is a file of the user, who may correct it: its pin follows. Committed pins are not changed.
    """
    pins = read_pins(LOCAL)
    if pins.get((group, file), Pin("", "", sha256, "", "")).sha256 != sha256:
        with FileLock(LOCAL.with_name(f".{LOCAL.name}.lock")):
            pins = read_pins(LOCAL)
            pins.pop((group, file), None)
            _write_pins(LOCAL, pins)


def read_from(paths: Iterable[Path], error: str) -> str:
    """Return the end of the text of an ``error``: the copy that was read, if one was or it is named, and its source."""
    paths = list(paths)
    copies = []
    for path in paths if len(paths) == 1 else [path for path in paths if str(path) in error]:
        source = note(path).read_text(encoding="utf-8").partition(" ")[2] if note(path).exists() else ""
        copies.append(f"{path}, a copy of {source}" if source else str(path))
    return f" (read from {'; '.join(copies)})" if copies else ""


def _write_pins(table: Path, pins: dict[tuple[str, ...], Pin]) -> None:
    with atomic(table) as part:
        part.write_text("\n".join([HEADING, *("\t".join(pins[key]) for key in sorted(pins))]) + "\n", encoding="utf-8")


def check_shape(dataset: str, cells: int, genes: int, expect: dict[str, int | None]) -> None:
    """Raise a `UserError` unless a dataset has as many cells and genes as its key ``expect`` says."""
    actual = {"cells": cells, "genes": genes}
    wrong = [f"{n:,} {key}, not {actual[key]:,}" for key, n in expect.items() if n is not None and n != actual[key]]
    if wrong:
        remedy = "a file is probably incomplete; delete it to download it again, or correct expect"
        raise UserError(f"datasets.{dataset}.expect: there should be {' and '.join(wrong)}: {remedy}")


def pin(pins: Iterable[Pin], table: Path = LOCAL) -> list[Pin]:
    """Add pins to a table and return the new ones.

    Raise a `UserError` if the table has another hash for one of the files, or cannot be written.
    """
    given = {pin[:2]: pin for pin in pins}
    if not given:
        return []
    try:
        LOCAL.parent.mkdir(exist_ok=True)
        with FileLock(LOCAL.with_name(f".{LOCAL.name}.lock")):
            merged = given | read_pins(table)
            for key, pin in given.items():
                if pin.sha256 != merged[key].sha256:
                    remedy = f"if that is right, delete its line in {table}, else the file and its line in {LOCAL}"
                    raise UserError(
                        f"{'/'.join(key)}: {table} has sha256 {merged[key].sha256}, not {pin.sha256}: {remedy}"
                    )
            _write_pins(table, merged)
    except OSError as error:
        hashes = ", ".join(f"{'/'.join(key)} {pin.sha256}" for key, pin in given.items())
        remedy = f"make it writable, or give these sha256 in the config: {hashes}"
        raise UserError(f"{table} cannot be written ({error.strerror}): {remedy}") from None
    return [pin for key, pin in given.items() if merged[key] is pin]


def main() -> None:
    """Copy the pins of resources/checksums.tsv to the committed table; print a line for each new one."""
    try:
        new = pin(read_pins(LOCAL).values(), COMMITTED)
    except UserError as error:
        sys.exit(f"error: {error}")
    for pinned in new:
        print(f"pinned {pinned.group}/{pinned.file}: sha256 {pinned.sha256}")
    print(f"{len(new)} new pins in {COMMITTED}")


if __name__ == "__main__":
    begin()
    main()
