"""One member of an archive, whatever else the archive holds: no path ever comes from it."""

from __future__ import annotations

import re
import tarfile
import zipfile
import zlib
from hashlib import sha256
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

CHUNK = 1 << 20
SIZE_LIMIT = 16 << 30
"""Bytes. A member of an archive that unpacks to more is refused."""


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
            info = next((info for info in found if info.name == member), None)
            if info is None or not info.isreg():
                raise Failure(f"{archive.name} has no file {member}")
            _copy(found.extractfile(info), target, limit)
    # RuntimeError: what zipfile says of a member that is encrypted or compressed in a way it does not know.
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError) as error:
        target.unlink(missing_ok=True)
        raise Broken(f"broken archive ({short(error)})") from None


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
