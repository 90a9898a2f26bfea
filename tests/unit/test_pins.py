"""Pins: what is written, when, and what is refused from then on; and what is asked before anything is fetched."""

import hashlib
import http.server
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from factorbench.contracts.errors import UserError
from factorbench.data import checksums, sources
from factorbench.data.checksums import Known, Pin
from factorbench.data.locks import locked

from tests.server import Handler

SCRIPTS = Path(checksums.__file__).parents[1]
CONTENT = random.Random(0).randbytes(2_000)


def sha(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.setattr(checksums, "ROOT", folder)
    monkeypatch.setattr(checksums, "TABLE", folder / "checksums.tsv")
    return folder


def row(file, content=CONTENT, group="liao", source="https://example.org/x"):
    return Pin(group, file, sha(content), len(content), source)


# ------------------------------------------------------------------------------------------------------------ the table


def test_table_of_the_project_is_one_of_ours(monkeypatch):
    monkeypatch.setattr(checksums, "TABLE", SCRIPTS.parents[1] / "checksums.tsv")
    assert checksums.TABLE.read_text().splitlines()[0] == checksums.HEADING
    for (group, file), pin in checksums.table().items():
        assert (pin.group, pin.file) == (group, file)
        int(pin.sha256, 16)


def test_table_is_sorted_says_what_it_is_and_is_read_back():
    made = [row("b.h5"), row("a.h5"), row("z.txt", group="kang")]
    assert checksums.pin(made[:2]) == made[:2]
    assert checksums.pin(made) == made[2:]
    comment, heading, *lines = checksums.TABLE.read_text().splitlines()
    assert comment.startswith("# ")
    assert heading.split("\t") == ["group", "file", "sha256", "bytes", "source"]
    assert [line.split("\t")[:2] for line in lines] == [["kang", "z.txt"], ["liao", "a.h5"], ["liao", "b.h5"]]
    assert set(checksums.table().values()) == set(made)
    assert [path.name for path in checksums.TABLE.parent.iterdir()] == ["checksums.tsv"]


def test_nothing_to_pin_leaves_the_table_alone():
    assert checksums.pin([]) == []
    assert not checksums.TABLE.exists()


def test_another_hash_does_not_replace_a_pin():
    checksums.pin([row("a.h5")])
    before = checksums.TABLE.read_text()
    with pytest.raises(UserError, match=rf"liao/a.h5: sha256 {sha(b'other')} was read, {sha(CONTENT)} is pinned"):
        checksums.pin([row("b.h5"), row("a.h5", b"other")])
    assert checksums.TABLE.read_text() == before


@pytest.mark.parametrize("line", ["<<<<<<< HEAD", "liao\ta.h5\tabc\t12\tx", "liao a.h5"])
def test_line_that_is_none_of_ours_is_named(line):
    checksums.pin([row("a.h5")])
    checksums.TABLE.write_text(f"{checksums.TABLE.read_text()}{line}\n")
    with pytest.raises(UserError, match=r"checksums.tsv: line 4 "):
        checksums.table()


def test_lock_lets_in_one_at_a_time_and_leaves_nothing(tmp_path):
    folder = tmp_path / "shared"
    folder.mkdir()
    count = folder / "count"
    count.write_text("0")

    def add():
        for _ in range(50):
            with locked(count):
                n = int(count.read_text())
                time.sleep(0.0005)  # for others to come in, if they can
                count.write_text(str(n + 1))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count.read_text() == "200"
    assert list(folder.iterdir()) == [count]


PIN = """
import sys, time
from pathlib import Path
from factorbench.data import checksums
checksums.TABLE = Path(sys.argv[1])
table = checksums.table
def slow():  # as on a network's disk: time for others to write in between, if they can
    found = table()
    time.sleep(0.01)
    return found
checksums.table = slow
for i in range(20):
    checksums.pin([checksums.Pin(sys.argv[2], f"{i}.txt", f"{i:064x}", i, "nowhere")])
"""


def test_processes_that_pin_at_once_keep_each_others_pins():
    jobs = [
        subprocess.Popen([sys.executable, "-c", PIN, str(checksums.TABLE), group], cwd=SCRIPTS)
        for group in ("a", "b", "c")
    ]
    assert [job.wait(60) for job in jobs] == [0, 0, 0]
    assert len(checksums.table()) == 60
    assert [path.name for path in checksums.TABLE.parent.iterdir()] == ["checksums.tsv"]


def test_project_that_cannot_be_written_is_told_in_one_line(tmp_path, monkeypatch):
    # A file where the folder should be: what makes root fail too, whom permissions do not stop.
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(checksums, "TABLE", tmp_path / "file" / "checksums.tsv")
    with pytest.raises(
        UserError, match=rf"cannot be written \(.+\).* in the config: liao/a.h5 {sha(CONTENT)}$"
    ) as error:
        checksums.pin([row("a.h5")])
    assert "\n" not in str(error.value)


# ------------------------------------------------------------------------------------------------------- what a file is


def test_hash_of_the_config_goes_before_the_pin():
    checksums.pin([row("a.h5")])
    assert checksums.known({"name": "a.h5", "sha256": ""}, "liao") == Known(sha(CONTENT), pinned=True)
    assert checksums.known({"name": "a.h5", "sha256": "0" * 64}, "liao") == Known("0" * 64)
    assert checksums.known({"name": "a.h5", "sha256": ""}, "kang") == Known()


@pytest.mark.parametrize(
    ("name", "content", "good"),
    [
        ("a.gz", b"\x1f\x8b rest", True),
        ("a.h5", b"\x89HDF\r\n\x1a\n rest", True),
        ("a.zip", b"PK\x03\x04 rest", True),
        ("a.tar", bytes(257) + b"ustar  \0", True),
        ("a.txt", b"gene\tcell", True),
        ("a.gz", b"gene\tcell", False),
        ("a.h5ad", b"\x1f\x8b rest", False),
        ("a.zip", b"", False),
        ("a.tar", bytes(200), False),
        ("a.txt", b"", False),
        ("a.txt", b"  <!DOCTYPE html>", False),
    ],
)
def test_file_without_a_hash_is_what_its_name_says(tmp_path, name, content, good):
    (tmp_path / name).write_bytes(content)
    assert (checksums.fault(tmp_path / name, name, Known()) == "") is good


def test_web_page_is_the_right_file_if_its_hash_says_so(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"<html>")
    assert checksums.fault(tmp_path / "a.txt", "a.txt", Known(sha(b"<html>"))) == ""


# ------------------------------------------------------------------------------------------------ reading, then pinning


def dataset(folder, **files):
    """Entries and paths of files under ``folder``/liao; a file's value is its content and the hash the config gives."""
    (folder / "liao").mkdir()
    entries, paths = {}, {}
    for key, (content, given) in files.items():
        entries[key] = {"name": f"{key}.txt", "sha256": given, "sources": []}
        paths[key] = folder / "liao" / f"{key}.txt"
        paths[key].write_bytes(content)
    return entries, paths


def test_files_without_a_hash_are_to_be_pinned_with_their_archive(tmp_path):
    entries, paths = dataset(tmp_path, a=(b"a", sha(b"a")), b=(b"b", ""), c=(b"c", ""))
    archive = {"url": "https://example.org/RAW.tar", "member": "b"}
    for key in "abc":
        entries[key]["sources"] = ["https://example.org/curl", archive]
    (tmp_path / "liao" / "RAW.tar").write_bytes(CONTENT)
    checksums.remember(paths["b"], "https://example.org/RAW.tar (b)")
    assert checksums.verify(entries, paths, "liao") == [
        row("RAW.tar", source="unknown"),
        row("b.txt", b"b", source="https://example.org/RAW.tar (b)"),
        row("c.txt", b"c", source="unknown"),
    ]
    assert not checksums.TABLE.exists()  # not before they were read
    checksums.pin(checksums.verify(entries, paths, "liao"))
    assert checksums.verify(entries, paths, "liao") == []


@pytest.mark.parametrize("pinned", [False, True])
def test_wrong_file_is_named_before_it_is_read(tmp_path, pinned):
    entries, paths = dataset(tmp_path, a=(b"changed", "" if pinned else sha(b"a")))
    if pinned:
        checksums.pin([row("a.txt", b"a")])
    with pytest.raises(UserError) as error:
        checksums.verify(entries, paths, "liao")
    text = str(error.value)
    assert "\n" not in text
    for part in (str(paths["a"]), sha(b"a"), sha(b"changed"), "delete it to have it fetched again"):
        assert part in text
    assert ("delete its line in checksums.tsv" in text) is pinned


def test_shape_that_is_not_what_was_expected():
    checksums.check_shape("liao", 10, 20, {"cells": 10, "genes": 20})
    checksums.check_shape("liao", 10, 20, {"cells": None, "genes": None})
    with pytest.raises(UserError, match=r"^datasets.liao.expect: expected 66,452 cells, found 10: .*incomplete"):
        checksums.check_shape("liao", 10, 20, {"cells": 66452, "genes": 20})
    with pytest.raises(UserError, match=r"expected 1 cells, found 10 and 2 genes, found 20"):
        checksums.check_shape("liao", 10, 20, {"cells": 1, "genes": 2})


# -------------------------------------------------------------------------------------------------------------- sources


def config():
    def file(name):
        return {"name": name, "sha256": "", "sources": []}

    plain = {"gene_sets": ["sets"], "symbols": "as_is", "orthologs": ""}
    return {
        "datasets": {
            "kang": {"group": "kang", "files": {"x": file("k.h5")}, **plain},
            "small": {"group": "kang", "files": {"x": file("k.h5")}, **plain, "gene_sets": ["sets", "more"]},
            "mouse": {"group": "mouse", "files": {"x": file("m.gz"), "y": file("y.txt")}, **plain}
            | {"symbols": "orthologs", "orthologs": "biomart"},
        },
        "gene_sets": {"sets": {"file": file("s.gmt")}, "more": {"file": file("m.gmt")}},
        "orthologs": {"biomart": {"file": file("o.tsv")}},
    }


def test_planned_files_are_those_the_datasets_need_and_no_more():
    assert sources.planned(config(), ["kang"]) == [("kang", "k.h5"), ("sets", "s.gmt")]
    both = [("kang", "k.h5"), ("sets", "s.gmt"), ("more", "m.gmt")]
    assert sources.planned(config(), ["kang", "small"]) == both
    mouse = [("mouse", "m.gz"), ("mouse", "y.txt"), ("sets", "s.gmt"), ("biomart", "o.tsv")]
    assert sources.planned(config(), ["mouse"]) == mouse


ANSWERS = {"/good.h5": (200, b"\x89HDF"), "/page.h5": (200, b"<html>"), "/busy.h5": (429, b"")}


class Listed(Handler):
    def do_GET(self):
        self.server.asked.append(self.path)
        status, body = ANSWERS.get(self.path, (404, b""))
        self.send(body, status)


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listed) as server:
        server.asked = []
        server.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def entry(name, *places):
    return {"name": name, "sha256": "", "sources": list(places)}


def test_all_that_is_missing_is_named_at_once_one_line_a_source(server, tmp_path):
    url = f"{server.url}/RAW.tar"
    files = [("liao", entry(f"C{i}.h5", {"url": url, "member": f"C{i}"})) for i in range(51, 60)]
    files += [
        ("liao", entry("good.h5", f"{server.url}/none.h5", f"{server.url}/good.h5")),
        ("liao", entry("busy.h5", f"{server.url}/busy.h5")),
        ("kang", entry("page.h5", f"{server.url}/page.h5", "/nowhere/page.h5")),
        ("kang", entry("dead.h5", "http://127.0.0.1:9/dead.h5")),
        ("kang", entry("ftp.h5", "ftp://127.0.0.1:9/ftp.h5")),
        ("kang", entry("none.h5")),
    ]
    missing = sources.ask(files, [], tmp_path)
    assert not [line for line in missing if "good.h5" in line or "busy.h5" in line]
    archive, page, dead, ftp, none = missing
    assert archive == (
        f"liao: C51.h5, C52.h5, C53.h5, ... (9 files): {url} answers HTTP 404; "
        "put the files into <folder>/liao/ and name the folder under mirrors, or mend the address"
    )
    assert f"kang: page.h5: {server.url}/page.h5 sends a web page; /nowhere/page.h5 is not there; put the file" in page
    assert "dead.h5: http://127.0.0.1:9/dead.h5 does not answer (ConnectionRefusedError" in dead
    assert "ftp.h5: ftp://127.0.0.1:9/ftp.h5 does not answer (ConnectionRefusedError" in ftp
    assert "kang: none.h5: the config names no source" in none
    assert server.asked.count("/RAW.tar") == 1


def test_what_is_near_is_not_asked_for_afar(server, tmp_path):
    mirror, resources = tmp_path / "mirror", tmp_path / "resources"
    for folder in (mirror / "liao", resources / "liao"):
        folder.mkdir(parents=True)
    (mirror / "liao" / "a.txt").write_text("a")
    (mirror / "RAW.tar").write_text("archive")
    (resources / "liao" / "c.txt").write_text("c")
    (resources / "liao" / "page.txt").write_text("<html>")
    files = [
        ("liao", entry("a.txt", f"{server.url}/a.txt")),
        ("liao", entry("b.txt", {"url": f"{server.url}/RAW.tar", "member": "b"})),
        ("liao", entry("c.txt", f"{server.url}/c.txt")),
    ]
    assert sources.ask(files, [str(mirror)], resources) == []
    assert server.asked == []
    (line,) = sources.ask([("liao", entry("page.txt", f"{server.url}/x"))], [str(mirror)], resources)
    assert f"put the file into {mirror}/liao/, or mend" in line


def test_nobody_is_waited_for_longer_than_the_deadline(tmp_path, monkeypatch):
    done = threading.Event()
    monkeypatch.setattr(sources, "DEADLINE", 0.2)
    monkeypatch.setattr(sources, "_http", lambda address: str(done.wait(5)))
    try:
        (line,) = sources.ask([("liao", entry("a.txt", "https://example.org/a"))], [], tmp_path)
        assert "https://example.org/a does not answer within 0.2 s" in line
    finally:
        done.set()


def test_package_is_asked_for_at_the_registry(tmp_path, monkeypatch):
    registry = tmp_path / "registry"
    registry.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(registry))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    (registry / "carrier-1.0-py3-none-any.whl").write_bytes(b"")
    files = [
        ("kang", entry(f"{i}.txt", {"pypi": requirement, "member": "x", "sha256": "0" * 64}))
        for i, requirement in enumerate(["carrier==1.0", "carrier==2.0", "nobody==1.0"])
    ]
    version, name = sources.ask(files, [], tmp_path)
    assert "pypi:carrier==2.0 is not listed by the package registry (it has 1.0)" in version
    assert "pypi:nobody==1.0 is not listed by the package registry" in name
