"""A download goes wrong, with Snakemake around it; tests/unit/test_fetch.py has what a server may do to one request."""

import http.server
import threading

import pytest
from factorbench.contracts.prepared import read_prepared

from tests.faults.conftest import wait_for
from tests.server import Handler

FILE, PART = "resources/planted/planted.h5ad", "resources/planted/.planted.h5ad.*.part"


class Server(http.server.ThreadingHTTPServer):
    """Answers whoever only asks whether it has the file; then the n-th download as the n-th of ``answers`` says."""

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Scripted)
        self.content, self.answers, self.asked_for = content, [], []
        self.go_on = threading.Event()

    def handle_error(self, request, client_address):
        pass


class Scripted(Handler):
    def do_GET(self):
        self.server.asked_for.append(self.headers.get("Range"))
        n = len(self.server.asked_for)
        answer = self.server.answers[min(n, len(self.server.answers)) - 1]
        answer(self)


def well(handler):
    """The file, or the part of it that is asked for."""
    content, asked = handler.server.content, handler.headers.get("Range")
    if not asked:
        handler.send(content)
        return
    start = int(asked.removeprefix("bytes=").removesuffix("-"))
    handler.send(content[start:], 206, Content_Range=f"bytes {start}-{len(content) - 1}/{len(content)}")


def half(handler):
    """Half of what was promised, then nothing until the test is over."""
    content = handler.server.content
    handler.send(content[: len(content) // 2], length=len(content))
    handler.wfile.flush()
    handler.server.go_on.wait(60)


def dying(handler):
    content = handler.server.content
    handler.send(content[: len(content) // 3], length=len(content))


def page(handler):
    handler.send(b"<!DOCTYPE html><html><title>503 Service Unavailable</title></html>")


def short(handler):
    """Less than the file, and says that this is all."""
    handler.send(handler.server.content[:-1000])


def long(handler):
    """More than the file."""
    handler.send(handler.server.content + b"and more")


def loop(handler):
    handler.send(b"", 302, Location=handler.path)


def silent(handler):
    handler.server.go_on.wait(20)


TROUBLE = {
    "dies in the middle": (dying, "IncompleteRead"),
    "sends a page that says 503, with status 200": (page, "it is a web page"),
    "truncates, and says so is all": (short, "wrong file: sha256 expected"),
    "sends more than the file": (long, "wrong file: sha256 expected"),
    "redirects in a circle": (loop, "more than 10 redirects"),
    "says nothing": (silent, "timed out after 0 bytes"),
}


def change(bench, module, old, new):
    path = bench.folder / "workflow/scripts/factorbench" / module
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.fixture
def server(bench):
    """A server of the planted counts, which the config of ``bench`` names; downloads are tried quickly."""
    content = (bench.folder / FILE).read_bytes()
    (bench.folder / FILE).unlink()
    with Server(content) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        file = bench.config["datasets"]["planted"]["files"]["counts"]
        address = f"http://127.0.0.1:{server.server_port}/planted.h5ad"
        planted = bench.config["datasets"]["planted"] | {"files": {"counts": file | {"sources": [address]}}}
        bench.write_config(bench.config | {"datasets": {"planted": planted}})
        change(bench, "fetch.py", "pause: float = 1.0", "pause: float = 0.01")
        change(bench, "fetch.py", "read: float = 60.0", "read: float = 0.5")
        change(bench, "archives.py", "CHUNK = 1 << 20", "CHUNK = 1 << 14")  # these files are small
        yield server
        server.go_on.set()
        server.shutdown()


@pytest.mark.parametrize("name", TROUBLE)
def test_a_server_that_fails_and_comes_back(bench, server, name):
    trouble, told = TROUBLE[name]
    server.answers = [well, trouble]  # it is asked first whether it has the file
    with bench.running(FILE) as process:
        assert process.wait(60) != 0
    (line,) = bench.errors()
    assert line.startswith("error: planted/planted.h5ad: no source gave it (http://127.0.0.1")
    assert told in line
    assert not (bench.folder / FILE).exists()
    server.answers = [well]
    bench.finish(FILE)
    assert (bench.folder / FILE).read_bytes() == server.content


@pytest.mark.parametrize("who", ["-m snakemake", ".fetch.py"], ids=["Snakemake", "its script"])
def test_a_download_is_killed(undisturbed, bench, server, who):
    """What came is kept under another name, and the same command asks for the rest only."""
    data = "results/data/planted/prepared.h5ad"
    bench.remove("results/data")
    change(bench, "fetch.py", "read: float = 0.5", "read: float = 60.0")
    server.answers = [well, half]
    with bench.running(data) as process:
        wait_for(lambda: sum(path.stat().st_size for path in bench.folder.glob(PART)) > 0)
        (fetching,) = bench.processes(who)
        fetching.kill()
        assert process.wait(60) != 0
        bench.nothing_is_left_running()
    assert not (bench.folder / FILE).exists()
    assert not (bench.folder / data).exists()
    (left,) = bench.folder.glob(PART)
    came = left.stat().st_size
    server.asked_for, server.answers = [], [well]
    bench.finish(data)
    assert server.asked_for == [None, f"bytes={came}-"]
    assert not list(bench.folder.glob(PART))
    found, expected = (read_prepared(b.folder / data) for b in (bench, undisturbed))
    assert (found.X != expected.X).nnz == 0
    assert found.obs.equals(expected.obs)
    assert found.uns["factorbench"] == expected.uns["factorbench"]


def test_the_disk_is_full_in_the_middle_of_a_download(bench, server, small):
    """No other source is tried; what came is kept, and asked for no more."""
    grow = small(bench.folder / "resources/planted", len(server.content) // 2048)
    server.answers = [well]
    with bench.running(FILE) as process:
        assert process.wait(60) != 0
    assert bench.errors() == [
        "error: planted/planted.h5ad: no space left on the disk: free some, and run the same command again"
    ]
    assert not (bench.folder / FILE).exists()
    grow()
    server.asked_for.clear()
    bench.finish(FILE)
    assert server.asked_for[-1].startswith("bytes=")
    assert (bench.folder / FILE).read_bytes() == server.content
