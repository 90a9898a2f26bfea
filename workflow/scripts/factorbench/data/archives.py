"""Read one member of an archive, or a text file that may be compressed, up to a limit of size."""

from __future__ import annotations

import contextlib
import gzip
import io
import lzma
import math
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import IO

from ..contracts.errors import UserError
from ..registry import nearest
from . import formats

CHUNK = 1 << 20
"""Bytes read at a time."""
GIB = 1 << 30
SIZE_LIMIT = 16 * GIB
"""Bytes. A larger member of an archive is refused."""
BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError)
"""Errors that damaged archives raise. RuntimeError: zipfile does not know the compression. ValueError: tarfile reads
text where a header should hold a number."""


class Failure(Exception):
    """A source did not give the file. The text is the reason, in a few words."""


class Broken(Failure):
    """The archive is damaged or of another kind. Another copy of it may be intact."""


def short(error: BaseException) -> str:
    """Return the innermost cause of an error as one short line."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


def extract(archive: Path, member: str, target: Path, limit: int = SIZE_LIMIT) -> None:
    """Write one member of a zip (wheel) or tar archive to ``target``. Paths inside the archive are never used.

    Raise `Broken` if the archive is damaged or of another kind, and `Failure` if it has no such member, the member is
    not a plain file, or more than ``limit`` bytes must be unpacked.
    """
    try:
        with contextlib.ExitStack() as stack, open(target, "wb") as out:
            file = _open(archive, member, limit, stack)
            while block := file.read(CHUNK):
                if out.tell() + len(block) > limit:
                    raise Failure(f"{member} unpacks to more than {limit} bytes")
                out.write(block)
    except (Failure, *BROKEN) as error:
        target.unlink()
        raise error if isinstance(error, Failure) else Broken(f"broken archive ({short(error)})") from None


def _open(archive: Path, member: str, limit: int, stack: contextlib.ExitStack) -> IO[bytes]:
    names = []
    if zipfile.is_zipfile(archive):
        zipped = stack.enter_context(zipfile.ZipFile(archive))
        for name in zipped.namelist():
            if _plain(name) == _plain(member) and not name.endswith("/"):
                return zipped.open(name)
            names.append(name)
    else:
        tarred = stack.enter_context(tarfile.open(archive))  # noqa: SIM115
        for info in tarred:
            if _plain(info.name) == _plain(member) and info.isreg():
                return tarred.extractfile(info)
            names.append(info.name)
            # All members before the right one are unpacked to get there.
            if info.offset_data + info.size > max(limit, archive.stat().st_size):
                raise Failure(f"{archive.name} unpacks to more than {limit} bytes")
    raise Failure(f"{archive.name} has no file {member}{nearest(member, names)}")


def _plain(member: str) -> str:
    """Return the path of a member without the ./ that some programs put before it."""
    return member.removeprefix("./")


class Content(io.RawIOBase):
    """The bytes of a file, plain or gzip, unpacked while they are read. The first bytes decide, not the name.

    Raises OSError, ValueError, EOFError or zlib.error if the file cannot be opened or unpacked, and a `UserError` if it
    unpacks to more than ``unpacked`` GiB.
    """

    def __init__(self, path: Path, unpacked: float):
        self.path, self.unpacked = path, unpacked
        self.stored = open(path, "rb", CHUNK)  # noqa: SIM115
        packed = self.stored.peek(2)[:2] == formats.GZIP
        self.content = gzip.GzipFile(fileobj=self.stored) if packed else self.stored
        self.left = unpacked * GIB if packed else math.inf

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        n = self.content.readinto1(buffer)  # if an error follows, the bytes before it are returned first
        self.left -= n
        if self.left < 0:
            remedy = "raise limits.unpacked if that is right"
            raise UserError(f"{self.path}: unpacks to more than {self.unpacked:g} GiB; {remedy}")
        return n

    def close(self) -> None:
        self.stored.close()
        super().close()


class Text(Content):
    """The bytes of a text file. Raises what `Content` does, and a `UserError` if it contains a zero byte."""

    def readinto(self, buffer: memoryview) -> int:
        n = super().readinto(buffer)
        if b"\0" in bytes(buffer[:n]):
            reason = formats.READ_INSTEAD.get(formats.recognise(self.path), "")
            raise UserError(f"{self.path}: is not text; {f'it is {reason}' if reason else 'give a text file'}")
        return n


def text(path: Path, unpacked: float) -> io.BufferedReader:
    """Return a buffered `Text`, for functions that read lines."""
    return io.BufferedReader(Text(path, unpacked), CHUNK)
