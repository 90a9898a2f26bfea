"""fetch against a server that really misbehaves, hostile archives, and pip with a folder in the registry's place."""

import hashlib
import http.server
import io
import json
import random
import socket
import socketserver
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from pathlib import Path

import pooch
import pytest
from factorbench.contracts.errors import UserError
from factorbench.data import checksums
from factorbench.data import download as module
from factorbench.data.archives import Failure, extract
from factorbench.data.download import Patience, fetch

from tests.server import Handler

CONTENT = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)
QUICK = Patience(attempts=3, pause=0.01, connect=1.0, read=0.3)


@pytest.fixture(autouse=True)
def no_pins(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(checksums, "TABLE", tmp_path_factory.mktemp("project") / "checksums.tsv")


FTP_DEFAULTS = pooch.FTPDownloader.__init__.__defaults__


def sha(content):
    return hashlib.sha256(content).hexdigest()


def entry(*sources, content=CONTENT):
    return {"name": "counts.bin", "sha256": sha(content), "sources": list(sources)}


def get(folder, *sources, **options):
    return fetch(entry(*sources), folder / "counts.bin", "kang", progress=False, patience=QUICK, **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


class Server(http.server.ThreadingHTTPServer):
    """Answers the n-th request as the n-th of ``answers`` says (the last one from then on) and keeps the headers."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Scripted)
        self.answers, self.requests = [whole], []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/counts.bin"

    def handle_error(self, request, client_address):
        pass


class Scripted(Handler):
    def do_GET(self):
        self.server.requests.append((self.path, dict(self.headers)))
        answers = self.server.answers
        answers[min(len(self.server.requests), len(answers)) - 1](self)


def whole(handler, content=CONTENT):
    handler.send(content)


def rest(handler, content=CONTENT, etag=None):
    """What was asked for by Range, if the file is still the one If-Range names."""
    asked = handler.headers.get("Range")
    if not asked or (etag and handler.headers.get("If-Range", etag) != etag):
        handler.send(content, **({"ETag": etag} if etag else {}))
        return
    start = int(asked.removeprefix("bytes=").removesuffix("-"))
    handler.send(content[start:], 206, Content_Range=f"bytes {start}-{len(content) - 1}/{len(content)}")


def cut(n, content=CONTENT, **headers):
    """The first ``n`` bytes under a Content-Length that promises all."""
    return lambda handler: handler.send(content[:n], length=len(content), **headers)


def status(code, body=b"", **headers):
    return lambda handler: handler.send(body, code, **headers)


def page(handler):
    handler.send(b"<!DOCTYPE html><html>503 Service Unavailable</html>")


def dying(handler):
    handler.connection.close()


def stalling(handler):
    handler.send(CONTENT[:1000], length=len(CONTENT))
    handler.wfile.flush()
    time.sleep(0.6)


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()


# ---------------------------------------------------------------------------------------------------------------- http


def test_whole_file(server, tmp_path):
    assert get(tmp_path, server.url) == server.url
    assert (tmp_path / "counts.bin").read_bytes() == CONTENT
    assert names(tmp_path) == ["counts.bin"]
    assert get(tmp_path, server.url) == "already there"
    assert len(server.requests) == 1


@pytest.mark.parametrize("trouble", [status(503), status(429), status(500), dying, stalling])
def test_passing_trouble_is_tried_again(server, tmp_path, trouble):
    server.answers = [trouble, rest]
    get(tmp_path, server.url)
    assert (tmp_path / "counts.bin").read_bytes() == CONTENT
    assert len(server.requests) == 2
    assert names(tmp_path) == ["counts.bin"]


def test_broken_off_body_is_resumed_where_it_ended(server, tmp_path):
    server.answers = [cut(100_000), cut(0), rest]
    server.answers[1] = lambda handler: handler.send(
        CONTENT[100_000:150_000], 206, 200_000, Content_Range="bytes 100000-299999/300000"
    )
    get(tmp_path, server.url)
    assert (tmp_path / "counts.bin").read_bytes() == CONTENT
    assert [headers.get("Range") for _, headers in server.requests] == [None, "bytes=100000-", "bytes=150000-"]


def test_next_call_resumes_what_the_last_one_left(server, tmp_path):
    server.answers = [cut(50_000, ETag='"a"'), status(503)]
    with pytest.raises(UserError, match=r"HTTP 503, 3 attempts"):
        get(tmp_path, server.url)
    assert not (tmp_path / "counts.bin").exists()
    server.answers = [rest]
    get(tmp_path, server.url)
    assert server.requests[-1][1]["Range"] == "bytes=50000-"
    assert server.requests[-1][1]["If-Range"] == '"a"'
    assert (tmp_path / "counts.bin").read_bytes() == CONTENT
    assert names(tmp_path) == ["counts.bin"]


def test_server_without_ranges_starts_over(server, tmp_path):
    server.answers = [cut(100_000), whole]
    get(tmp_path, server.url)
    assert (tmp_path / "counts.bin").read_bytes() == CONTENT


def test_changed_file_starts_over_by_its_etag(server, tmp_path):
    server.answers = [cut(100_000, OTHER, ETag='"old"'), lambda handler: rest(handler, etag='"new"')]
    get(tmp_path, server.url)
    assert server.requests[1][1]["If-Range"] == '"old"'
    assert len(server.requests) == 2
    assert (tmp_path / "counts.bin").read_bytes() == CONTENT


def test_changed_file_without_etag_starts_over_by_its_hash(server, tmp_path):
    server.answers = [cut(100_000, OTHER), rest, rest]
    get(tmp_path, server.url)
    assert [headers.get("Range") for _, headers in server.requests] == [None, "bytes=100000-", None]
    assert (tmp_path / "counts.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "answer",
    [status(416), lambda handler: handler.send(CONTENT[:9], 206, Content_Range="bytes 0-8/300000")],
)
def test_range_that_cannot_be_had_starts_over(server, tmp_path, answer):
    server.answers = [cut(100_000), answer, rest]
    get(tmp_path, server.url)
    assert "Range" not in server.requests[2][1]
    assert (tmp_path / "counts.bin").read_bytes() == CONTENT


def test_body_is_kept_as_it_was_sent(server, tmp_path):
    # A server that labels a .gz file as encoded must not have it unpacked: its hash is the packed file's.
    server.answers = [lambda handler: handler.send(CONTENT, Content_Encoding="gzip")]
    get(tmp_path, server.url)
    assert (tmp_path / "counts.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("answer", "says", "requests"),
    [
        (page, "it is a web page", 1),
        (lambda handler: handler.send(OTHER), f"expected {sha(CONTENT)}, found {sha(OTHER)}", 1),
        (status(404), "HTTP 404", 1),
        (status(503), "HTTP 503, 3 attempts", 3),
        (dying, "3 attempts", 3),
        (cut(0), "after 0 bytes, 3 attempts", 3),
        (status(302, Location="/counts.bin"), "more than 10 redirects", 11),
    ],
)
def test_source_that_fails_is_named_with_its_reason_and_the_next_is_tried(server, tmp_path, answer, says, requests):
    server.answers = [answer]
    with pytest.raises(UserError) as error:
        get(tmp_path, server.url)
    text = str(error.value)
    assert says in text
    assert "\n" not in text
    assert all(part in text for part in ("kang/counts.bin", server.url, "mirrors", sha(CONTENT)))
    assert len(server.requests) == requests
    assert not (tmp_path / "counts.bin").exists()
    assert all((tmp_path / name).stat().st_size == 0 for name in names(tmp_path))
    (tmp_path / "local").write_bytes(CONTENT)
    assert get(tmp_path, server.url, str(tmp_path / "local")) == str(tmp_path / "local")
    assert names(tmp_path) == ["counts.bin", "local"]


def test_pauses_grow(server, tmp_path, monkeypatch):
    pauses = []
    monkeypatch.setattr(module.time, "sleep", pauses.append)
    asked = [status(503, Retry_After="7"), status(503, Retry_After="9999"), status(503, Retry_After="soon")]
    server.answers = [*asked, status(503)]
    with pytest.raises(UserError):
        fetch(entry(server.url), tmp_path / "counts.bin", "kang", (), False, Patience(6, 0.01, 1.0, 0.3))
    assert pauses[:2] == [7, module.LONGEST_WAIT]
    ours = [(0.005 * 2**attempt, pauses[attempt], 0.015 * 2**attempt) for attempt in (2, 3, 4)]
    assert all(low <= pause <= high for low, pause, high in ours)
    assert len(pauses) == 5  # none after the last attempt


def test_nobody_answers(tmp_path):
    with socket.socket() as free:  # bound, never listening: a port at which connections are refused
        free.bind(("127.0.0.1", 0))
        with pytest.raises(UserError, match=r"ConnectionRefusedError: .* after 0 bytes, 3 attempts"):
            get(tmp_path, f"http://127.0.0.1:{free.getsockname()[1]}/counts.bin")


class FtpServer(socketserver.StreamRequestHandler):
    """As much of ftp as a download needs; the first connection ends in the middle of the file."""

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
                    self.wfile.write(b"150 here it comes\r\n")
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
        get(tmp_path, "ftp://127.0.0.1/counts.bin")
        ftp.shutdown()
    assert FtpServer.connections == 2
    assert (tmp_path / "counts.bin").read_bytes() == CONTENT


def test_progress_goes_to_stderr(server, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("FACTORBENCH_PROGRESS", "lines")
    fetch(entry(server.url), tmp_path / "counts.bin", "kang")
    out, err = capfd.readouterr()
    assert out == ""
    assert "counts.bin" in err
    assert "300k/300k" in err


# -------------------------------------------------------------------------------------------------- folders and mirrors


def test_wrong_file_under_the_name_is_replaced_or_removed(tmp_path):
    (tmp_path / "local").write_bytes(CONTENT)
    (tmp_path / "counts.bin").write_bytes(OTHER)
    get(tmp_path, str(tmp_path / "local"))
    assert (tmp_path / "counts.bin").read_bytes() == CONTENT
    (tmp_path / "counts.bin").write_bytes(OTHER)
    with pytest.raises(UserError, match="not there"):
        get(tmp_path, str(tmp_path / "nowhere"))
    assert names(tmp_path) == ["local"]


def test_mirrors_come_first(server, tmp_path):
    folder = tmp_path / "mirror"
    (folder / "kang").mkdir(parents=True)
    (folder / "counts.bin").write_bytes(CONTENT)
    flat = get(tmp_path, server.url, mirrors=[str(tmp_path / "none"), str(folder)])
    assert flat == f"{folder}/counts.bin"
    (tmp_path / "counts.bin").unlink()
    (folder / "kang" / "counts.bin").write_bytes(CONTENT)
    assert get(tmp_path, server.url, mirrors=[f"{folder}/"]) == f"{folder}/kang/counts.bin"
    assert server.requests == []


def test_wrong_file_on_a_mirror_does_not_stop_the_sources(server, tmp_path):
    base = server.url.rsplit("/", 1)[0]
    server.answers = [lambda handler: handler.send(OTHER), status(404), whole]
    assert get(tmp_path, server.url, mirrors=[base]) == server.url
    assert [path for path, _ in server.requests] == ["/kang/counts.bin", "/counts.bin", "/counts.bin"]


def test_no_source_at_all(tmp_path):
    with pytest.raises(UserError, match=r"kang/counts.bin: no source gave it \(the config names none\)"):
        get(tmp_path)


def test_relative_path_is_looked_for_here_then_in_the_project(tmp_path, monkeypatch):
    monkeypatch.setattr(checksums, "ROOT", tmp_path / "project")
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / "project" / "sets", tmp_path / "sets"):
        folder.mkdir(parents=True)
    (tmp_path / "project" / "sets" / "a.gmt").write_bytes(CONTENT)
    assert get(tmp_path / "kang", "sets/a.gmt") == "sets/a.gmt"
    (tmp_path / "sets" / "a.gmt").write_bytes(OTHER)  # what lies here comes first, and is refused by its hash
    (tmp_path / "kang" / "counts.bin").unlink()
    with pytest.raises(UserError, match=rf"sets/a.gmt: wrong file: .* found {sha(OTHER)}"):
        get(tmp_path / "kang", "sets/a.gmt")


# ------------------------------------------------------------------------------------------------------ hash not known


def unknown(*sources, name="counts.bin"):
    return {"name": name, "sha256": "", "sources": list(sources)}


def get_unknown(folder, *sources, name="counts.bin", **options):
    return fetch(unknown(*sources, name=name), folder / name, "kang", progress=False, patience=QUICK, **options)


def test_file_without_a_hash_is_taken_and_its_source_noted(server, tmp_path):
    assert get_unknown(tmp_path, server.url) == server.url
    assert (tmp_path / "counts.bin").read_bytes() == CONTENT
    assert checksums.source_of(tmp_path / "counts.bin", sha(CONTENT)) == server.url
    assert get_unknown(tmp_path, server.url) == "already there"
    (tmp_path / "counts.bin").write_bytes(OTHER)
    assert checksums.source_of(tmp_path / "counts.bin", sha(OTHER)) == "unknown"


def test_where_a_mirror_is_is_not_noted(tmp_path):
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "counts.bin").write_bytes(CONTENT)
    get_unknown(tmp_path, mirrors=[str(tmp_path / "private")])
    assert checksums.source_of(tmp_path / "counts.bin", sha(CONTENT)) == "a mirror"


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
def test_file_without_a_hash_must_be_what_its_name_says(server, tmp_path, name, content):
    server.answers = [lambda handler: handler.send(content)]
    with pytest.raises(UserError, match=r"wrong file.*: its content is not what its name says") as error:
        get_unknown(tmp_path, server.url, name=name)
    assert "\n" not in str(error.value)
    assert names(tmp_path) == []
    assert not checksums.TABLE.exists()


def test_file_without_a_hash_is_resumed_by_its_etag_only(server, tmp_path):
    server.answers = [cut(100_000, OTHER), rest]
    get_unknown(tmp_path, server.url)
    assert "Range" not in server.requests[1][1]
    assert (tmp_path / "counts.bin").read_bytes() == CONTENT
    (tmp_path / "counts.bin").unlink()
    server.answers = [status(404)] * 2 + [cut(100_000, ETag='"a"'), lambda handler: rest(handler, etag='"a"')]
    get_unknown(tmp_path, server.url)
    assert server.requests[3][1]["Range"] == "bytes=100000-"
    assert (tmp_path / "counts.bin").read_bytes() == CONTENT


def test_changed_file_is_refused_once_pinned(server, tmp_path):
    checksums.pin([checksums.Pin("kang", "counts.bin", sha(CONTENT), len(CONTENT), server.url)])
    server.answers = [lambda handler: handler.send(OTHER)]
    with pytest.raises(UserError) as error:
        get_unknown(tmp_path, server.url)
    text = str(error.value)
    for part in (
        "kang/counts.bin",
        f"pinned {sha(CONTENT)}",
        f"found {sha(OTHER)}",
        "delete its line in checksums.tsv",
    ):
        assert part in text
    assert "\n" not in text
    assert names(tmp_path) == []
    server.answers = [whole]
    assert get_unknown(tmp_path, server.url) == server.url


# ------------------------------------------------------------------------------------------------------------- archives


def zipped(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tarred(path, infos):
    with tarfile.open(path, "w:gz") as archive:
        for info, content in infos:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def link(name, target, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("member", ["data/counts.bin", "../evil", "/tmp/evil_absolute"])
def test_member_goes_where_we_say_and_nowhere_else(tmp_path, kind, member):
    inside = tmp_path / "deep" / "folder"
    inside.mkdir(parents=True)
    members = {"data/counts.bin": CONTENT, "../evil": b"evil", "/tmp/evil_absolute": b"evil"}
    if kind == "zip":
        archive = zipped(inside / "a.zip", **members)
    else:
        archive = tarred(inside / "a.tar.gz", [(tarfile.TarInfo(name), content) for name, content in members.items()])
    extract(archive, member, inside / "target")
    assert (inside / "target").read_bytes() == members[member]
    assert names(inside) == [archive.name, "target"]
    assert names(tmp_path / "deep") == ["folder"]
    assert not Path("/tmp/evil_absolute").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_member_that_is_no_plain_file_is_refused(tmp_path, kind):
    (tmp_path / "secret").write_text("secret")
    archive = tarred(tmp_path / "a.tar.gz", [link("data", str(tmp_path / "secret"), kind)])
    with pytest.raises(Failure, match="no file data"):
        extract(archive, "data", tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_bomb_is_stopped(tmp_path):
    archive = zipped(tmp_path / "a.zip", bomb=bytes(5_000_000))
    with pytest.raises(Failure, match="more than 1000000 bytes"):
        extract(archive, "bomb", tmp_path / "target", limit=1_000_000)
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_broken_archive(tmp_path, name):
    path = tmp_path / name
    if name == "a.zip":
        zipped(path, data=CONTENT)
        content = bytearray(path.read_bytes())
        content[1000:2000] = bytes(1000)
        path.write_bytes(content)
    else:
        tarred(path, [(tarfile.TarInfo("data"), CONTENT)])
        path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(Failure, match="broken archive"):
        extract(path, "data", tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_archive_from_the_web_is_kept(server, tmp_path):
    archive = zipped(tmp_path / "a.zip", **{"sets/counts.bin": CONTENT}).read_bytes()
    (tmp_path / "a.zip").unlink()
    server.answers = [lambda handler: handler.send(archive)]
    source = {"url": server.url.replace("counts.bin", "sets.zip"), "member": "sets/counts.bin", "sha256": sha(archive)}
    assert get(tmp_path, source) == f"{source['url']} (sets/counts.bin)"
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
from factorbench.data import checksums
from factorbench.fetch import Patience, fetch
entry, path, table = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
checksums.TABLE = Path(table)
fetch(entry, path, "liao", (), False, Patience(3, 0.01, 1.0, 5.0))
"""


@pytest.mark.parametrize("known", [True, False], ids=["hash known", "hash not known"])
def test_archive_is_downloaded_once_for_all_that_want_a_member(server, tmp_path, known):
    members = {f"folder/{i}.txt": random.Random(i).randbytes(100_000) for i in range(3)}
    with tarfile.open(tmp_path / "RAW.tar", "w") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    archive = (tmp_path / "RAW.tar").read_bytes()

    def slow(handler):
        time.sleep(1.0)  # until all three have asked for it
        handler.send(archive)

    server.answers = [slow]
    url = server.url.replace("counts.bin", "geo/RAW.tar")
    (tmp_path / "liao").mkdir()
    jobs = []
    for i, (name, content) in enumerate(members.items()):
        source = {"url": url, "member": name, "sha256": sha(archive) if known else ""}
        file = {"name": f"{i}.txt", "sha256": sha(content) if known else "", "sources": [source]}
        command = [sys.executable, "-c", FETCH, json.dumps(file), tmp_path / "liao" / f"{i}.txt", checksums.TABLE]
        jobs.append(subprocess.Popen(command, cwd=Path(module.__file__).parents[1]))
    assert [job.wait(60) for job in jobs] == [0, 0, 0]
    assert len(server.requests) == 1
    for i, content in enumerate(members.values()):
        assert (tmp_path / "liao" / f"{i}.txt").read_bytes() == content
    shown = [name for name in names(tmp_path / "liao") if not name.endswith(".source")]
    assert shown == ["0.txt", "1.txt", "2.txt", "RAW.tar"]


@pytest.mark.parametrize(
    ("change", "says"),
    [({"sha256": sha(b"x")}, f"expected {sha(b'x')}"), ({"member": "none"}, "no file none"), ({}, sha(OTHER))],
)
def test_archive_that_is_not_what_the_config_says(tmp_path, change, says):
    archive = zipped(tmp_path / "a.zip", data=OTHER)
    source = {"url": str(archive), "member": "data", "sha256": sha(archive.read_bytes()), **change}
    with pytest.raises(UserError, match=says):
        get(tmp_path / "kang", source)
    assert not (tmp_path / "kang" / "counts.bin").exists()
    assert names(tmp_path / "kang") == ([] if change == {"sha256": sha(b"x")} else ["a.zip"])


def test_broken_archive_is_not_kept(server, tmp_path):
    whole_archive = zipped(tmp_path / "a.zip", data=CONTENT).read_bytes()
    server.answers = [
        lambda handler: handler.send(whole_archive[:1000]),
        lambda handler: handler.send(whole_archive),
    ]
    source = {"url": server.url.replace("counts.bin", "a.zip"), "member": "data", "sha256": ""}
    with pytest.raises(UserError, match="broken archive"):
        get(tmp_path / "kang", source)
    get(tmp_path / "kang", source)
    assert (tmp_path / "kang" / "counts.bin").read_bytes() == CONTENT


def test_archive_on_a_mirror(tmp_path):
    (tmp_path / "mirror" / "kang").mkdir(parents=True)
    archive = zipped(tmp_path / "mirror" / "kang" / "a.zip", data=CONTENT)
    source = {"url": "http://127.0.0.1:9/a.zip", "member": "data", "sha256": sha(archive.read_bytes())}
    get(tmp_path / "kang", source, mirrors=[str(tmp_path / "mirror")])
    assert (tmp_path / "kang" / "counts.bin").read_bytes() == CONTENT


def test_archive_that_bears_the_name_of_its_file_is_refused(server, tmp_path):
    with pytest.raises(UserError, match="its archive bears the same name"):
        get(tmp_path, {"url": server.url, "member": "data", "sha256": ""})
    assert server.requests == []


# ------------------------------------------------------------------------------------------------------------- packages


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A folder, the only place pip looks at."""
    folder = tmp_path / "registry"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


@pytest.fixture
def package(registry):
    wheel = zipped(
        registry / "carrier-1.0-py3-none-any.whl",
        **{
            "carrier/__init__.py": "raise SystemExit('imported')",
            "carrier/data/counts.bin": CONTENT,
            "carrier-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n"
            "Requires-Python: <3\nRequires-Dist: nowhere-to-be-found\n",
            "carrier-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "carrier-1.0.dist-info/RECORD": "",
        },
    )
    return {"pypi": "carrier==1.0", "member": "carrier/data/counts.bin", "sha256": sha(wheel.read_bytes())}


def test_member_of_a_package_that_is_neither_installed_nor_asked_for_its_needs(tmp_path, package):
    assert get(tmp_path, package) == "carrier==1.0 (carrier/data/counts.bin)"
    assert (tmp_path / "counts.bin").read_bytes() == CONTENT
    assert names(tmp_path) == ["counts.bin", "registry"]


def test_member_of_a_source_package(tmp_path, registry):
    backend = (
        "import pathlib\n"
        "def prepare_metadata_for_build_wheel(folder, config_settings=None):\n"
        "    info = pathlib.Path(folder, 'carrier-1.0.dist-info')\n"
        "    info.mkdir()\n"
        "    (info / 'METADATA').write_text('Metadata-Version: 2.1\\nName: carrier\\nVersion: 1.0\\n')\n"
        "    return info.name\n"
    )
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "PKG-INFO": "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n",
        "backend.py": backend,
        "data/counts.bin": CONTENT,
    }
    infos = [
        (tarfile.TarInfo(f"carrier-1.0/{name}"), text if isinstance(text, bytes) else text.encode())
        for name, text in files.items()
    ]
    sdist = sha(tarred(registry / "carrier-1.0.tar.gz", infos).read_bytes())
    get(tmp_path, {"pypi": "carrier==1.0", "member": "carrier-1.0/data/counts.bin", "sha256": sdist})
    assert (tmp_path / "counts.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("change", "says"),
    [({"sha256": sha(b"x")}, "pip: THESE PACKAGES DO NOT MATCH"), ({"pypi": "carrier==2.0"}, "pip: No matching")],
)
def test_package_that_is_not_what_the_config_says(tmp_path, package, change, says):
    with pytest.raises(UserError, match=says) as error:
        get(tmp_path, {**package, **change})
    assert "\n" not in str(error.value)
    assert names(tmp_path) == ["registry"]


def test_a_member_larger_than_the_limit_is_refused(tmp_path):
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("data", CONTENT)
    source = {"url": str(archive), "member": "data", "sha256": sha(archive.read_bytes())}
    with pytest.raises(UserError, match="unpacks to more than 10 bytes"):
        get(tmp_path, source, limit=10)
    assert get(tmp_path, source, limit=len(CONTENT)).startswith(str(archive))
