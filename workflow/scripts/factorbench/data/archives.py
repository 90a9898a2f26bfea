"""What is packed: a text file, or one member of an archive, whatever else that holds: no path ever comes from it."""

from __future__ import annotations

import gzip
import io
import lzma
import math
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from ..contracts.errors import UserError

CHUNK = 1 << 20
GIB = 1 << 30
SIZE_LIMIT = 16 * GIB
"""Bytes. A member of an archive that unpacks to more is refused."""

BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError)
"""What an archive that is cut off or damaged makes the libraries raise."""


class Failure(Exception):
    """A source did not give the file; the text says why, in short."""


class Broken(Failure):
    """An archive that cannot be read: another copy of it may be whole."""


def short(error: BaseException) -> str:
    """The innermost cause of an error, on one short line."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


def as_file(source: dict[str, str]) -> dict[str, Any]:
    """The archive of a source with a ``url``, as a ``file`` of the config: it is fetched, kept and pinned like any."""
    name = urlsplit(source["url"]).path.rsplit("/", 1)[-1]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        name = f"archive_{sha256(source['url'].encode()).hexdigest()[:8]}"
    return {"name": name, "sha256": source.get("sha256", ""), "sources": [source["url"]]}


def extract(archive: Path, member: str, target: Path, limit: int = SIZE_LIMIT) -> None:
    """Write one member of a zip (wheel) or tar archive to ``target``.

    Raises
    ------
    Broken
        If the archive is broken or of another kind.
    Failure
        If it has no such member, that is not a plain file, or it unpacks to more than ``limit`` bytes.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as found:
                if member not in found.namelist() or member.endswith("/"):
                    raise Failure(f"{archive.name} has no file {member}")
                with found.open(member) as file:
                    _copy(file, target, limit)
            return
        with tarfile.open(archive) as found:
            info = next((info for info in _within(found, archive, limit) if info.name == member), None)
            if info is None or not info.isreg():
                raise Failure(f"{archive.name} has no file {member}")
            _copy(found.extractfile(info), target, limit)
    # RuntimeError: what zipfile says of a member that is encrypted or compressed in a way it does not know. ValueError:
    # what tarfile says of a header that should hold numbers.
    except (*BROKEN, RuntimeError, ValueError) as error:
        target.unlink(missing_ok=True)
        raise Broken(f"broken archive ({short(error)})") from None


def _within(found: tarfile.TarFile, archive: Path, limit: int) -> Iterator[tarfile.TarInfo]:
    """The members of a tar archive; `Failure` if more than ``limit`` bytes would have to be unpacked to get there."""
    for info in found:
        yield info
        end = info.offset_data + info.size
        if end > max(limit, archive.stat().st_size):
            raise Failure(f"{archive.name} unpacks to more than {limit} bytes")


def _copy(file: IO[bytes], target: Path, limit: int) -> None:
    written = 0
    with open(target, "wb") as out:
        while block := file.read(CHUNK):
            written += len(block)
            if written > limit:
                break
            out.write(block)
    if written > limit:
        target.unlink()
        raise Failure(f"the member unpacks to more than {limit} bytes")


# ---------------------------------------------------------------------------------------------------------------- text


class Text(io.RawIOBase):
    """The bytes of a text file, plain or gzip, unpacked as they are asked for.

    Parameters
    ----------
    path
        The file.
    unpacked
        GiB that it may unpack to.

    Raises
    ------
    OSError, ValueError, EOFError, zlib.error
        If it cannot be opened or, while it is read, unpacked.
    UserError
        While it is read: if it unpacks to more, or has a byte that no text has.
    """

    def __init__(self, path: Path, unpacked: float):
        self.path, self.unpacked = path, unpacked
        self.stored = io.BufferedReader(io.FileIO(path), CHUNK)
        packed = self.stored.read(2) == b"\x1f\x8b"
        self.stored.seek(0)
        if path.suffix == ".gz" and not packed:
            self.stored.close()
            raise ValueError("it is not gzip")
        self.content = gzip.GzipFile(fileobj=self.stored) if packed else self.stored
        self.left = int(unpacked * GIB) if packed else math.inf

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        n = self.content.readinto1(buffer)  # what there is before an error is still given
        self.left -= n
        if self.left < 0:
            raise UserError(
                f"{self.path}: unpacks to more than {self.unpacked:g} GiB; raise limits.unpacked if that is right"
            )
        if b"\0" in bytes(buffer[:n]):
            raise UserError(f"{self.path}: is not text; give the file that its name promises")
        return n

    def close(self) -> None:
        self.stored.close()
        super().close()


def text(path: Path, unpacked: float) -> io.BufferedReader:
    """`Text`, buffered: for those who read lines."""
    return io.BufferedReader(Text(path, unpacked), CHUNK)
