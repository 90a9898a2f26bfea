"""What a file must be: the hash that the config gives, else the one it is pinned to, else at least what its name says.

A file whose hash nobody published is pinned when it is first read: after the reader took it and the dataset's
``expect`` held, its hash goes into ``checksums.tsv``, which is committed. From then on no other file is accepted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from ..config.plan import PROJECT
from ..contracts.errors import UserError
from ..contracts.files import atomic
from . import archives
from .locks import locked

TABLE = PROJECT / "checksums.tsv"
HEADING = "# Files whose sha256 nobody published, as they were when first read. Written by the rule read; commit it."
HDF5 = (0, b"\x89HDF\r\n\x1a\n")
MAGIC = {
    ".gz": (0, b"\x1f\x8b"),
    ".tgz": (0, b"\x1f\x8b"),
    ".zip": (0, b"PK\x03\x04"),
    ".tar": (257, b"ustar"),
    ".h5": HDF5,
    ".h5ad": HDF5,
    ".hdf5": HDF5,
}
"""Where and how the content of a file shows what the ending of its name says."""


@dataclass(frozen=True)
class Pin:
    """A row of the table: the file ``resources/<group>/<file>``, its hash and size, and where it came from."""

    group: str
    file: str
    sha256: str
    bytes: int
    source: str


@dataclass(frozen=True)
class Known:
    """The hash that a file must have (empty: not known yet), and whether the table says so or the config."""

    sha256: str = ""
    pinned: bool = False


def table() -> dict[tuple[str, str], Pin]:
    """Every `Pin` by group and file.

    Raises
    ------
    UserError
        If a line of the table is none of ours (an unfinished merge, say).
    """
    if not TABLE.exists():
        return {}
    names = [field.name for field in fields(Pin)]
    pins = {}
    for number, line in enumerate(TABLE.read_text().splitlines(), 1):
        cells = line.split("\t")
        if line.startswith("#") or cells == names:
            continue
        if len(cells) != len(names) or len(cells[2]) != 64 or not cells[3].isdigit():
            raise UserError(f"{TABLE}: line {number} should hold {', '.join(names)}, tab-separated: mend or delete it")
        pin = Pin(cells[0], cells[1], cells[2], int(cells[3]), cells[4])
        pins[pin.group, pin.file] = pin
    return pins


def known(entry: dict[str, Any], group: str) -> Known:
    """What is known of the hash of a ``file`` of the config."""
    if entry["sha256"]:
        return Known(entry["sha256"])
    pin = table().get((group, entry["name"]))
    return Known(pin.sha256, pinned=True) if pin else Known()


def digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def web_page(start: bytes) -> bool:
    """Whether what begins so is a web page: what servers and portals send in place of a file."""
    return start.lstrip().lower().startswith((b"<!doctype", b"<html"))


def fault(path: Path, name: str, known: Known) -> str:
    """What is wrong with the file at ``path``, in short. Empty: it has its hash or, where none is known, it is not
    empty, no web page, and begins as a file called ``name`` must."""
    with open(path, "rb") as file:
        start = file.read(512)
    page = " (it is a web page)" if web_page(start) else ""
    if known.sha256:
        found = digest(path)
        if found == known.sha256:
            return ""
        if not known.pinned:
            return f"wrong file{page}: sha256 expected {known.sha256}, found {found}"
        remedy = f"if the change is right, delete its line in {TABLE.name}"
        return f"changed file{page}: sha256 pinned {known.sha256}, found {found} ({remedy})"
    where, magic = MAGIC.get(Path(name).suffix, (0, b""))
    if page or not start or start[where : where + len(magic)] != magic:
        return f"wrong file{page}: its content is not what its name says"
    return ""


# -------------------------------------------------------------------------------------------------------------- sources


def _note(path: Path) -> Path:
    return path.with_name(f".{path.name}.source")


def remember(path: Path, source: str) -> None:
    """Note beside a file that was just fetched where it came from; its hash tells if another takes its place."""
    _note(path).write_text(f"{digest(path)} {' '.join(source.split())}\n")


def source_of(path: Path, sha256: str) -> str:
    """Where the file came from, if it is still the one that was fetched."""
    noted, _, source = _note(path).read_text().strip().partition(" ") if _note(path).exists() else ("", "", "")
    return source if noted == sha256 else "unknown"


# ----------------------------------------------------------------------------------------------------- reading, pinning


def verify(entries: dict[str, dict[str, Any]], paths: dict[str, Path], group: str) -> list[Pin]:
    """Check every file of a dataset before its reader sees it.

    Parameters
    ----------
    entries, paths
        The dataset's files, as in the config and on disk, by the names its reader knows.
    group
        The dataset whose downloads it shares.

    Returns
    -------
    list of Pin
        What is to be pinned once the files were read: those without a known hash, and the archives they came from.

    Raises
    ------
    UserError
        In one line: the file, what was expected and found, what to do.
    """
    new = {}
    for key, path in paths.items():
        entry = entries[key]
        problem = fault(path, entry["name"], known(entry, group))
        if problem:
            raise UserError(f"{path}: {problem}; delete it to have it fetched again")
        kept = [archives.as_file(source) for source in entry["sources"] if isinstance(source, dict) and "url" in source]
        for file in (entry, *kept):
            place = path.with_name(file["name"])
            if place not in new and place.exists() and not known(file, group).sha256:
                sha256 = digest(place)
                new[place] = Pin(group, file["name"], sha256, place.stat().st_size, source_of(place, sha256))
    return list(new.values())


def check_shape(dataset: str, cells: int, genes: int, expect: dict[str, int | None]) -> None:
    """Raise a `UserError` unless as many cells and genes were read as the dataset's ``expect`` says."""
    found = {"cells": cells, "genes": genes}
    wrong = [f"{n:,} {key}, found {found[key]:,}" for key, n in expect.items() if n is not None and n != found[key]]
    if wrong:
        raise UserError(
            f"datasets.{dataset}.expect: expected {' and '.join(wrong)}: a file of it is likely incomplete; delete it "
            "to have it fetched again, or mend expect"
        )


def pin(new: Iterable[Pin]) -> list[Pin]:
    """Add to the table what it does not hold yet, and return that.

    Raises
    ------
    UserError
        If the table cannot be written, or another process has meanwhile pinned a file to another hash.
    """
    new = list(new)
    if not new:
        return []
    try:
        with locked(TABLE):
            pins = table()
            made = [pin for pin in new if (pin.group, pin.file) not in pins]
            pins = {(pin.group, pin.file): pin for pin in made} | pins
            for pin in new:
                if pins[pin.group, pin.file].sha256 != pin.sha256:
                    raise UserError(
                        f"{pin.group}/{pin.file}: sha256 {pin.sha256} was read, {pins[pin.group, pin.file].sha256} is "
                        f"pinned in {TABLE}; delete the file to have it fetched again"
                    )
            rows = ["\t".join(map(str, astuple(pins[key]))) for key in sorted(pins)]
            with atomic(TABLE) as part:
                part.write_text("\n".join([HEADING, "\t".join(field.name for field in fields(Pin)), *rows]) + "\n")
    except OSError as error:
        files = ", ".join(f"{pin.group}/{pin.file} {pin.sha256}" for pin in new)
        raise UserError(
            f"{TABLE} cannot be written ({error.strerror}): mend that, or give these sha256 in the config: {files}"
        ) from None
    return made
