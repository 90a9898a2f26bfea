"""Where files can be had: every place of a file in order, and whether each of them answers, before any is asked for it.

A benchmark of hours that lacks one file should say so in its first seconds, and name all that it lacks.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from ..config.plan import PROJECT
from . import archives, checksums

TIMEOUT = 5.0
"""Seconds a place has to answer; nothing is asked twice here, unlike when a file is fetched."""
DEADLINE = 10.0
"""Seconds after which whoever was asked and said nothing (a slow redirect, a name that is looked up) is given up."""
BUSY = 429
"""The status of a server that has the file and wants us to slow down."""


def mirrored(name: str, group: str, mirrors: Sequence[str]) -> list[str]:
    """The places of a file on mirrors, in order."""
    return [f"{str(mirror).rstrip('/')}/{tail}" for mirror in mirrors for tail in (f"{group}/{name}", name)]


def own(entry: dict[str, Any]) -> list[tuple[str, str | dict[str, str]]]:
    """Label and source of the places that the config names for a file, in order."""
    return [
        (source, source)
        if isinstance(source, str)
        else (f"{source.get('pypi') or source['url']} ({source['member']})", source)
        for source in entry["sources"]
    ]


def remote(place: str) -> bool:
    return place.lower().startswith(("http://", "https://", "ftp://"))


def local(place: str) -> Path:
    """The path of a local place; a relative one is looked for here, then in the project."""
    path = Path(place).expanduser()
    return path if path.exists() else PROJECT / path


def ask(files: Sequence[tuple[str, dict[str, Any]]], mirrors: Sequence[str], resources: Path) -> list[str]:
    """Ask, all at once, whether every file can be had.

    Parameters
    ----------
    files
        Group and ``file`` of the config of each.
    mirrors
        Folders or base addresses that are tried first.
    resources
        The folder of what was fetched before.

    Returns
    -------
    list of str
        One line for each source that should give one or several files which were seen nowhere.
    """
    places = {f"{group}/{entry['name']}": list(_places(entry, group, mirrors, resources)) for group, entry in files}
    says = {place: _answer(place) for of in places.values() for place in of if not _far(place)}
    lacking = [of for of in places.values() if all(says.get(place) != "" for place in of)]
    says |= _ask_all({place for of in lacking for place in of if _far(place)})
    seen = {file for file, of in places.items() if any(says.get(place) == "" for place in of)}
    missing: dict[tuple[str, str], list[str]] = {}
    for group, entry in files:
        if f"{group}/{entry['name']}" not in seen:
            reasons = "; ".join(f"{place} {says[place]}" for place in map(_place, entry["sources"]))
            missing.setdefault((group, reasons or "the config names no source"), []).append(entry["name"])
    return [_line(group, names, reasons, mirrors) for (group, reasons), names in missing.items()]


def _line(group: str, names: list[str], reasons: str, mirrors: Sequence[str]) -> str:
    """What is told of files of a group that nobody has, all for the same reasons."""
    more = f"{', ...' if len(names) > 3 else ''} ({len(names)} files)" if len(names) > 1 else ""
    to = f"{mirrors[0]}/{group}/" if mirrors else f"<folder>/{group}/ and name the folder under mirrors"
    what = "the files" if more else "the file"
    return f"{group}: {', '.join(names[:3])}{more}: {reasons}; put {what} into {to}, or mend the address"


def _place(source: str | dict[str, str]) -> str:
    """What is asked for a source: an address, a local path, or pypi:NAME==VERSION."""
    if isinstance(source, str):
        return source
    return source["url"] if "url" in source else f"pypi:{source['pypi']}"


def _places(entry: dict[str, Any], group: str, mirrors: Sequence[str], resources: Path) -> Iterator[str]:
    """Wherever a file can come from, in order. It or its archive may be here already, or on a mirror."""
    here = (resources / group).absolute()
    path = here / entry["name"]
    if path.exists() and not checksums.fault(path, path.name, checksums.known(entry, group)):
        yield str(path)
    yield from mirrored(path.name, group, mirrors)
    for source in entry["sources"]:
        if isinstance(source, dict) and "url" in source:
            archive = archives.as_file(source)["name"]
            yield str(here / archive)
            yield from mirrored(archive, group, mirrors)
        yield _place(source)


def _far(place: str) -> bool:
    return remote(place) or place.startswith("pypi:")


def _ask_all(places: Iterable[str]) -> dict[str, str]:
    """What is wrong with each place (empty: nothing), after `DEADLINE` seconds at most."""
    says = dict.fromkeys(places, f"does not answer within {DEADLINE:g} s")
    threads = [Thread(target=lambda place=place: says.update({place: _answer(place)}), daemon=True) for place in says]
    end = time.monotonic() + DEADLINE
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return dict(says)


def _answer(place: str) -> str:
    """What is wrong with a place, in short; nothing, if a file can be had there."""
    if place.startswith("pypi:"):
        return _package(place.removeprefix("pypi:"))
    if place.lower().startswith("ftp:"):
        return _ftp(place)
    if remote(place):
        return _http(place)
    return "" if local(place).is_file() else "is not there"


def _http(address: str) -> str:
    import requests
    from urllib3.exceptions import HTTPError

    headers = {"Accept-Encoding": "identity", "User-Agent": "factorbench"}
    try:
        with requests.get(address, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code not in (200, BUSY):
                return f"answers HTTP {response.status_code}"
            page = response.status_code == 200 and checksums.web_page(response.raw.read(100))
            return "sends a web page" if page else ""
    except (OSError, HTTPError, ValueError) as error:
        return f"does not answer ({archives.short(error)})"


def _ftp(address: str) -> str:
    import socket

    server = urlsplit(address)
    try:
        socket.create_connection((server.hostname, server.port or 21), timeout=TIMEOUT).close()
    except OSError as error:
        return f"does not answer ({archives.short(error)})"
    return ""


def _package(requirement: str) -> str:
    """Whether the package registry lists this version. Only its plain no counts: not every registry has a list."""
    from packaging.version import Version

    name, version = requirement.split("==")
    command = [sys.executable, "-m", "pip", "index", "versions", name, "--pre", "--ignore-requires-python"]
    command += ["--disable-pip-version-check", "--no-input", "--retries=0", f"--timeout={TIMEOUT:g}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE - 1)
    except subprocess.TimeoutExpired:
        return ""
    if "No matching distribution found" in done.stderr:
        return "is not listed by the package registry, or that does not answer"
    listed = done.stdout.partition("Available versions:")[2].partition("\n")[0].replace(",", " ").split()
    if listed and Version(version) not in map(Version, listed):
        return f"is not listed by the package registry (it has {', '.join(listed[:5])})"
    return ""
