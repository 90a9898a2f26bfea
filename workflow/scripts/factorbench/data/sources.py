"""Find out which files no source has, before the first download.

A benchmark that runs for hours reports all missing files within its first seconds.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from ..config.plan import archive_entry
from . import archives, formats, local

TIMEOUT, DEADLINE = 5.0, 10.0
"""Seconds in which each server must answer, in one attempt, and after which all checks end."""
BUSY = 429
"""Status of a server that has the file but wants fewer requests."""
HEADERS = {"Accept-Encoding": "identity", "User-Agent": "factorbench"}
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]


def mirrored(name: str, group: str, mirrors: Sequence[str]) -> list[str]:
    """Return the places of a file on mirrors, in order."""
    return [f"{str(mirror).rstrip('/')}/{tail}" for mirror in mirrors for tail in (f"{group}/{name}", name)]


def own(entry: dict[str, Any]) -> list[tuple[str, str | dict[str, str]]]:
    """Return the place (an address, a path, or pypi:NAME==VERSION) of each source of a ``file``, and the source."""
    return [
        (source if isinstance(source, str) else source.get("url") or f"pypi:{source['pypi']}", source)
        for source in entry["sources"]
    ]


def watched(entry: dict[str, Any]) -> str:
    """Return the sha256 of the first local source of a ``file`` that is there; an empty text if there is none.

    The file is fetched again when it changes. A file with a hash in the config is not watched: only that hash is right.
    """
    if entry["sha256"]:
        return ""
    places = (place for place, _ in own(entry) if local.is_local(place))
    return next(filter(None, map(local.content, places)), "")


def replaced(entry: dict[str, Any]) -> str:
    """Return the place of the first local source with another hash than that in the config; an empty text: none has."""
    places = [place for place, source in own(entry) if isinstance(source, str) and local.is_local(place)]
    right = ("", entry["sha256"])
    return next((place for place in places if entry["sha256"] and local.content(place) not in right), "")


def ask(files: Sequence[tuple[str, dict[str, Any]]], mirrors: Sequence[str], resources: Path) -> list[str]:
    """Check that at least one source of each file has it.

    ``files`` are group and ``file`` of the config, for each file that is not downloaded yet; ``mirrors`` are folders or
    base addresses that are tried first; ``resources`` is the folder of downloads. Return a line for the files of a
    group that are missing for the same reason, with the remedy.
    """
    problems: dict[str, str] = {}
    missing = [(group, entry, set(_places(entry, group, mirrors, resources))) for group, entry in files]
    for far in (False, True):  # addresses are checked only for files that no folder has
        problems |= _check({place for *_, places in missing for place in places if local.is_local(place) is not far})
        missing = [file for file in missing if all(problems.get(place) != "" for place in file[-1])]
    lines: dict[tuple[str, str], list[str]] = {}
    for group, entry, _ in missing:
        reasons = "; ".join(f"{place} {problems[place]}" for place, _ in own(entry)) or "the config names no source"
        lines.setdefault((group, reasons), []).append(entry["name"])
    messages = []
    for (group, reasons), names in lines.items():
        shown = ", ".join([*names[:3], f"... ({len(names)} files)"] if len(names) > 3 else names)
        folder = f"{mirrors[0]}/{group}/" if mirrors else f"<folder>/{group}/ and name the folder under mirrors"
        messages.append(f"{group}: {shown}: {reasons}; put missing files into {folder}, or correct the address")
    return messages


def _places(entry: dict[str, Any], group: str, mirrors: Sequence[str], resources: Path) -> Iterator[str]:
    """Yield every place that may have a file or its archive: the downloads, the mirrors, the sources."""
    yield str((resources / group / entry["name"]).absolute())
    yield from mirrored(entry["name"], group, mirrors)
    for place, source in own(entry):
        packed = isinstance(source, dict) and "url" in source
        yield from _places(archive_entry(source), group, mirrors, resources) if packed else [place]


def _check(places: Iterable[str]) -> dict[str, str]:
    """Return what is wrong with each place (an empty text: it has the file), after `DEADLINE` seconds at most."""
    problems = dict.fromkeys(places, f"does not answer within {DEADLINE:g} s")
    threads = [Thread(target=lambda at=place: problems.update({at: _problem(at)}), daemon=True) for place in problems]
    end = time.monotonic() + DEADLINE
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return dict(problems)


def _problem(place: str) -> str:
    import requests
    from urllib3.exceptions import HTTPError

    if local.is_local(place):
        return local.fault(place)
    try:
        server = urlsplit(place)
        if server.scheme == "pypi":
            return _package(server.path)
        if server.scheme == "ftp":
            socket.create_connection((server.hostname, server.port or 21), timeout=TIMEOUT).close()
            return ""
        with requests.get(place, headers=HEADERS, stream=True, timeout=TIMEOUT) as response:
            if response.status_code not in (200, BUSY):
                return f"answers HTTP {response.status_code}"
            sent = formats.stand_in(response.raw.read(100)) if response.ok else ""
            return f"sends a {sent}" if sent else ""
    except (OSError, HTTPError, ValueError) as error:
        return f"does not answer ({archives.short(error)})"


def _package(requirement: str) -> str:
    """Return what is wrong with a package: nothing if the registry does not say."""
    from packaging.version import Version

    name, version = requirement.split("==")
    command = [*PIP, "index", "versions", name, "--pre", "--ignore-requires-python"]
    command += ["--retries=0", f"--timeout={TIMEOUT}"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DEADLINE - 1, encoding="utf-8", errors="replace"
        )
    except subprocess.TimeoutExpired:
        return ""
    listed = done.stdout.partition("Available versions:")[2].partition("\n")[0].replace(",", " ").split()
    if "No matching distribution found" in done.stderr or (listed and Version(version) not in map(Version, listed)):
        return f"is not listed by the package registry (it lists {', '.join(listed[:5]) or 'none, or does not answer'})"
    return ""
