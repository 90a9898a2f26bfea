"""One way to get any file: sources in order, resumed, retried, its sha256 checked before it gets its name.

Packages come by pip, ftp by pooch, which hashes everything too. http is done here, on requests: neither pooch nor
urllib3's own retries resume a body that broke off.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from . import clock
from .contracts import UserError

CHUNK = 1 << 20
SIZE_LIMIT = 16 << 30
"""Bytes. A member of an archive that unpacks to more is refused."""
REDIRECTS = 10
LONGEST_WAIT = 30.0
"""Seconds. A server that asks for more (Retry-After) is asked again all the same."""
TRANSIENT_STATUSES = {408, 425, 429, 500, 502, 503, 504}


class Failure(Exception):
    """A source did not give the file; the text says why, in short."""


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
) -> str:
    """Get one file from the first source that gives it with the right hash.

    Parameters
    ----------
    entry
        ``file`` of the config: ``name``, ``sha256``, ``sources``.
    path
        Where it shall be. Nothing but the whole file ever bears this name; what came of an unfinished download stays
        beside it, hidden, and is resumed next time.
    group
        The dataset or collection it belongs to: its folder on mirrors.
    mirrors
        Folders or base addresses tried first: ``<mirror>/<group>/<name>``, then ``<mirror>/<name>``.
    progress
        Whether to show a bar on stderr.

    Returns
    -------
    str
        The source it came from, or ``"already there"``.

    Raises
    ------
    UserError
        In one line: the file, what each source said, what to do.
    """
    path = Path(path)
    if path.exists():
        if _hash(path) == entry["sha256"]:
            return "already there"
        path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    get = _Getter(path.name, entry["sha256"], progress, patience)
    problems = []
    for label, source in _candidates(entry, group, mirrors):
        part = _part(path, label)
        try:
            get.source(source, part)
        except Failure as problem:
            problems.append(f"{label}: {problem}")
        except OSError as problem:
            problems.append(f"{label}: {problem.strerror or problem}")
        else:
            os.replace(part, path)
            _tidy(path)
            return label
    raise UserError(
        f"{group}/{entry['name']}: no source gave it ({'; '.join(problems) or 'the config names none'}); put the file "
        f"with sha256 {entry['sha256']} into <folder>/{group}/ and name the folder under mirrors, or mend its sources"
    )


def _candidates(entry: dict[str, Any], group: str, mirrors: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Label and source of all places to look at, in order."""
    for mirror in mirrors:
        for tail in (f"{group}/{entry['name']}", entry["name"]):
            place = f"{str(mirror).rstrip('/')}/{tail}"
            yield place, place
    for source in entry["sources"]:
        if isinstance(source, str):
            yield source, source
        else:
            yield f"{source.get('pypi') or source['url']} ({source['member']})", source


def _part(path: Path, label: str) -> Path:
    """Where what comes from one source gathers: never mixed with what came from another."""
    return path.with_name(f".{path.name}.{sha256(label.encode()).hexdigest()[:8]}.part")


def _tidy(path: Path) -> None:
    """Remove what is left of downloads of ``path`` from all sources."""
    for left in path.parent.glob(f".{path.name}.*.part*"):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


def _hash(path: Path) -> str:
    import pooch

    return pooch.file_hash(str(path), alg="sha256")


def _remote(source: str) -> bool:
    return source.lower().startswith(("http://", "https://", "ftp://"))


@dataclass(frozen=True)
class _Getter:
    """Gets the file called ``name`` with the hash ``expected`` from one source after the other."""

    name: str
    expected: str
    progress: bool
    patience: Patience

    def source(self, source: str | dict[str, str], part: Path) -> None:
        """Have the file of ``source`` at ``part``, its hash checked; `Failure` says why not."""
        if isinstance(source, str):
            self.address(source, part, self.expected)
            return
        with tempfile.TemporaryDirectory(prefix=f".{self.name}.", suffix=".part", dir=part.parent) as folder:
            if "pypi" in source:
                archive = self.package(source["pypi"], source["sha256"], Path(folder))
            else:
                archive = part.with_name(f"{part.name}.archive")
                self.address(source["url"], archive, source["sha256"])
            try:
                extract(archive, source["member"], part)
            finally:
                archive.unlink()
        _verify(part, self.expected)

    def address(self, address: str, part: Path, expected: str) -> None:
        """Have the file of an address or local path at ``part``, its hash checked."""
        if not _remote(address):
            if not Path(address).expanduser().is_file():
                raise Failure("not there")
            shutil.copyfile(Path(address).expanduser(), part)
            _verify(part, expected)
            return
        if part.exists() and _hash(part) == expected:
            return
        resumed = self.download(address, part)
        try:
            _verify(part, expected)
        except Failure:
            if not resumed:
                raise
            self.download(address, part)  # what was resumed may have been another version's beginning
            _verify(part, expected)

    def download(self, address: str, part: Path) -> bool:
        """Download, trying again after a pause that doubles, with jitter; say whether something was resumed."""
        once = _ftp if address.lower().startswith("ftp:") else _http
        resumed = False
        for attempt in range(self.patience.attempts):
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
        (archive,) = (found for found in folder.iterdir() if found != pinned)
        _verify(archive, expected)
        return archive

    @contextlib.contextmanager
    def bar(self, total: int | None, done: int) -> Iterator[Callable[[int], Any]]:
        """A function that is told how many bytes came."""
        if not self.progress:
            yield lambda n: None
            return
        with clock.bar(total, self.name, "B") as shown:
            shown.unit_scale = True
            shown.update(done)
            yield shown.update


def _verify(part: Path, expected: str) -> None:
    """Raise `Failure` and remove ``part`` unless it has the ``expected`` hash."""
    found = _hash(part)
    if found == expected:
        return
    with open(part, "rb") as file:
        start = file.read(200).lstrip().lower()
    part.unlink()
    page = " (it sent a web page)" if start.startswith((b"<!doctype", b"<html")) else ""
    raise Failure(f"wrong file{page}: sha256 expected {expected}, found {found}")


def _http(address: str, part: Path, getter: _Getter) -> None:
    """One attempt at an http(s) address; what is at ``part`` is continued if the server can and has not changed it."""
    import requests
    from urllib3.exceptions import HTTPError

    tag = part.with_name(f"{part.name}.tag")
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
        raise Transient(f"{_short(error)} after {got} bytes") from None
    except (requests.RequestException, ValueError) as error:
        raise Failure(_short(error)) from None
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
        raise Transient(_short(error)) from None


def _short(error: BaseException) -> str:
    """The innermost cause of an error, on one short line."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


# ------------------------------------------------------------------------------------------------------------- archives


def extract(archive: Path, member: str, target: Path, limit: int = SIZE_LIMIT) -> None:
    """Write one member of a zip (wheel) or tar archive to ``target``; no path comes from the archive.

    Raises
    ------
    Failure
        If the archive is broken or of another kind, has no such member, it is not a plain file, or it unpacks to
        more than ``limit`` bytes.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as found:
                if member not in found.namelist() or member.endswith("/"):
                    raise Failure(f"the archive has no file {member}")
                with found.open(member) as file:
                    _copy(file, target, limit)
            return
        with tarfile.open(archive) as found:
            info = next((info for info in found if info.name == member), None)
            if info is None or not info.isreg():
                raise Failure(f"the archive has no file {member}")
            _copy(found.extractfile(info), target, limit)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        target.unlink(missing_ok=True)
        raise Failure(f"broken archive ({_short(error)})") from None


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
