"""A download goes wrong, with Snakemake around it. tests/unit/test_fetch.py has the faults of single requests."""

import threading

import pytest
from factorbench.contracts.prepared import read_prepared

from tests.faults.conftest import wait_for
from tests.server import running

FILE, PART = "resources/planted/planted.h5ad", "resources/planted/.planted.h5ad.*.part"


def works(handler):
    """Send the file, or the part that is asked for."""
    handler.send_rest(handler.server.content)


def half(handler):
    """Send half of the file, then nothing until the test ends."""
    content = handler.server.content
    handler.send(content[: len(content) // 2], length=len(content))
    handler.wfile.flush()
    handler.server.test_ends.wait(60)


def breaks_off(handler):
    content = handler.server.content
    handler.send(content[: len(content) // 3], length=len(content))


def page(handler):
    handler.send(b"<!DOCTYPE html><html><title>503 Service Unavailable</title></html>")


def too_short(handler):
    handler.send(handler.server.content[:-1000])


def too_long(handler):
    handler.send(handler.server.content + b"and more")


def redirects_in_a_circle(handler):
    handler.send(b"", 302, Location=handler.path)


def silent(handler):
    handler.server.test_ends.wait(20)


REASONS = {
    breaks_off: "IncompleteRead",
    page: "it is a web page",
    too_short: "wrong file: the config has sha256",
    too_long: "wrong file: the config has sha256",
    redirects_in_a_circle: "TooManyRedirects",
    silent: "timed out after 0 bytes",
}


def change(bench, module, old, new):
    path = bench.folder / "workflow/scripts/factorbench/data" / module
    assert old in path.read_text(encoding="utf-8")
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


@pytest.fixture
def server(bench):
    """A server of the planted counts, which the config of ``bench`` names. Pauses and time-outs are short."""
    with running() as server:
        server.content, server.test_ends = (bench.folder / FILE).read_bytes(), threading.Event()
        (bench.folder / FILE).unlink()
        server.file = bench.config["datasets"]["planted"]["files"]["counts"]
        use(bench, counts=server.file | {"sources": [f"{server.url}/planted.h5ad"]})
        change(bench, "download.py", "PAUSE, LONGEST_PAUSE = 4, 1.0", "PAUSE, LONGEST_PAUSE = 4, 0.01")
        change(bench, "download.py", "READ = 10.0, 60.0", "READ = 10.0, 0.5")
        change(bench, "archives.py", "CHUNK = 1 << 20", "CHUNK = 1 << 14")  # these files are small
        yield server
        server.test_ends.set()


def use(bench, **files):
    planted = bench.config["datasets"]["planted"] | {"files": files}
    bench.write_config(bench.config | {"datasets": {"planted": planted}})


def ranges(server):
    """The header Range of each request."""
    return [headers.get("Range") for _, headers in server.requests]


def test_a_server_that_fails_and_comes_back(bench, server):
    """One file for each fault, all in one run. The first request for a file asks whether the server has it."""
    faults = {fault.__name__: fault for fault in REASONS}
    use(bench, **{name: server.file | {"name": name, "sources": [f"{server.url}/{name}"]} for name in faults})
    files = {name: f"resources/planted/{name}" for name in faults}

    def fails(handler):
        first = [path for path, _ in server.requests].count(handler.path) == 1
        (works if first else faults[handler.path.strip("/")])(handler)

    server.answers = [fails]
    with bench.running("--keep-going", *files.values()) as process:
        assert process.wait(120) != 0
    errors = {line.split(": ")[1]: line for line in bench.errors()}
    assert sorted(errors) == sorted(f"planted/{name}" for name in files)
    for name, fault in faults.items():
        assert f": no source has it ({server.url}/{name}: " in errors[f"planted/{name}"]
        assert REASONS[fault] in errors[f"planted/{name}"]
        assert not (bench.folder / files[name]).exists()
    server.answers = [works]
    bench.finish(*files.values())
    assert all((bench.folder / path).read_bytes() == server.content for path in files.values())


@pytest.mark.parametrize("who", ["-m snakemake", ".fetch.py"], ids=["Snakemake", "its script"])
def test_a_download_is_killed(undisturbed, bench, server, who):
    """The incomplete file stays under a hidden name, and the same command downloads the rest only."""
    data = "results/data/planted/prepared.h5ad"
    bench.remove("results/data")
    change(bench, "download.py", "READ = 10.0, 0.5", "READ = 10.0, 60.0")
    server.answers = [works, half]
    with bench.running(data) as process:
        wait_for(lambda: sum(path.stat().st_size for path in bench.folder.glob(PART)) > 0)
        (fetching,) = bench.processes(who)
        fetching.kill()
        assert process.wait(60) != 0
        bench.nothing_is_left_running()
    assert not (bench.folder / FILE).exists()
    assert not (bench.folder / data).exists()
    (part,) = bench.folder.glob(PART)
    size = part.stat().st_size
    server.requests, server.answers = [], [works]
    if who == "-m snakemake":
        bench.snakemake("--unlock")
    bench.finish(data)
    assert ranges(server) == [None, f"bytes={size}-"]
    assert not list(bench.folder.glob(PART))
    prepared, expected = (read_prepared(b.folder / data) for b in (bench, undisturbed))
    assert (prepared.X != expected.X).nnz == 0
    assert prepared.obs.equals(expected.obs)
    assert prepared.uns["factorbench"] == expected.uns["factorbench"]


def test_the_disk_is_full_in_the_middle_of_a_download(bench, server, small):
    """No other source is tried. The incomplete file stays, and the next run downloads the rest only."""
    grow = small(bench.folder / "resources/planted", len(server.content) // 2048)
    server.answers = [works]
    with bench.running(FILE) as process:
        assert process.wait(60) != 0
    assert bench.errors() == [
        "error: planted/planted.h5ad: no space left on the disk: free some, and run the same command again"
    ]
    assert not (bench.folder / FILE).exists()
    grow()
    server.requests.clear()
    bench.finish(FILE)
    assert ranges(server)[-1].startswith("bytes=")
    assert (bench.folder / FILE).read_bytes() == server.content
