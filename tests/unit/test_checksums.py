"""Pins: when they are written, where, and what is refused from then on. Sources: what is checked before a download."""

import hashlib
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from factorbench.config import plan
from factorbench.contracts.errors import UserError
from factorbench.data import checksums, local, sources
from factorbench.data.checksums import Pin

from tests.planted import ROOT
from tests.server import running

CONTENT = random.Random(0).randbytes(2_000)


def sha(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(autouse=True)
def committed(tmp_path_factory, monkeypatch):
    """The committed table, in a project of its own. The working directory is another new folder."""
    table = tmp_path_factory.mktemp("project") / "checksums.tsv"
    monkeypatch.setattr(checksums, "COMMITTED", table)
    monkeypatch.chdir(tmp_path_factory.mktemp("work"))
    return table


def row(file, content=CONTENT, group="liao", source="https://example.org/x"):
    return Pin(group, file, sha(content), str(len(content)), source)


def entry(name, *places, sha256=""):
    return {"name": name, "sha256": sha256, "sources": list(places)}


# -------------------------------------------------------------------------------------------------------------- tables


def test_committed_table_of_the_project_is_valid():
    table = ROOT / "checksums.tsv"
    assert table.read_text(encoding="utf-8").startswith(checksums.HEADING + "\n")
    assert all(key == pin[:2] for key, pin in checksums.read_pins(table).items())


def test_table_is_sorted_and_complete():
    pins = [row("b.h5"), row("a.h5"), row("z.txt", group="kang")]
    assert checksums.pin(pins[:2]) == pins[:2]
    assert checksums.pin(pins) == pins[2:]
    comment, columns, *lines = checksums.LOCAL.read_text(encoding="utf-8").splitlines()
    assert comment.startswith("# ")
    assert columns.split("\t") == ["group", "file", "sha256", "bytes", "source"]
    assert [line.split("\t")[:2] for line in lines] == [["kang", "z.txt"], ["liao", "a.h5"], ["liao", "b.h5"]]
    assert set(checksums.read_pins(checksums.LOCAL).values()) == set(pins)
    assert [path.name for path in checksums.LOCAL.parent.glob("[!.]*")] == ["checksums.tsv"]


def test_no_pins_write_no_table():
    assert checksums.pin([]) == []
    assert not checksums.LOCAL.exists()


def test_a_pin_is_not_replaced():
    checksums.pin([row("a.h5")])
    before = checksums.LOCAL.read_text(encoding="utf-8")
    with pytest.raises(UserError, match=rf"^liao/a.h5: .*{sha(CONTENT)}, not {sha(b'other')}.*delete"):
        checksums.pin([row("b.h5"), row("a.h5", b"other")])
    assert checksums.LOCAL.read_text(encoding="utf-8") == before


@pytest.mark.parametrize("line", ["<<<<<<< HEAD", "liao\ta.h5\tabc\t12\tx", "liao a.h5", ""])
def test_a_line_that_is_not_a_pin_is_named(line):
    checksums.pin([row("a.h5")])
    checksums.LOCAL.write_text(f"{checksums.LOCAL.read_text(encoding='utf-8')}{line}\nmore\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"resources/checksums.tsv: line 4 "):
        checksums.read_pins(checksums.LOCAL)


PIN = """
import sys, time
from factorbench.data import checksums
read_pins = checksums.read_pins
def slow(table):  # time for other processes to write in between, if nothing stops them
    pins = read_pins(table)
    time.sleep(0.01)
    return pins
checksums.read_pins = slow
for i in range(8):
    checksums.pin([checksums.Pin(sys.argv[1], f"{i}.txt", f"{i:064x}", "1", "nowhere")])
"""


def test_processes_that_pin_at_the_same_time_lose_no_pin():
    environment = {"PYTHONPATH": str(ROOT / "workflow/scripts")}
    jobs = [subprocess.Popen([sys.executable, "-c", PIN, group], env=environment) for group in "abc"]
    assert [job.wait(60) for job in jobs] == [0, 0, 0]
    assert len(checksums.read_pins(checksums.LOCAL)) == 24


def test_a_table_that_cannot_be_written_is_reported_in_one_line(committed):
    committed.mkdir()  # a folder in its place: root cannot write it either
    with pytest.raises(UserError, match=rf"cannot be written \(.+\).* in the config: liao/a.h5 {sha(CONTENT)}$"):
        checksums.pin([row("a.h5")], committed)


def test_make_pin_copies_new_pins_to_the_committed_table(committed, capsys):
    checksums.pin([row("old.h5")], committed)
    checksums.pin([row("old.h5"), row("a.h5"), row("b.h5")])
    checksums.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"pinned liao/{name}: sha256 {sha(CONTENT)}" for name in ("a.h5", "b.h5")]
    assert checksums.read_pins(committed) == checksums.read_pins(checksums.LOCAL)
    checksums.main()
    assert not capsys.readouterr().out.startswith("pinned")


def test_make_pin_refuses_a_pin_that_differs_from_the_committed_one(committed):
    checksums.pin([row("a.h5")], committed)
    checksums.pin([row("a.h5", b"other"), row("b.h5")])
    before = committed.read_text(encoding="utf-8")
    with pytest.raises(SystemExit) as exit_:
        checksums.main()
    (line,) = str(exit_.value).splitlines()
    assert all(part in line for part in ("error: liao/a.h5", sha(CONTENT), sha(b"other"), str(checksums.LOCAL)))
    assert committed.read_text(encoding="utf-8") == before


# ------------------------------------------------------------------------------------------------ right and wrong files


def test_known_hash_is_from_the_config_then_the_committed_table_then_the_local_one(committed):
    checksums.pin([row("a.h5", b"local"), row("b.h5", b"local")])
    checksums.pin([row("a.h5", b"committed")], committed)
    assert checksums.known(entry("a.h5", sha256="0" * 64), "liao") == ("0" * 64, "the config")
    assert checksums.known(entry("a.h5"), "liao") == (sha(b"committed"), str(committed))
    assert checksums.known(entry("b.h5"), "liao") == (sha(b"local"), str(checksums.LOCAL))
    assert checksums.known(entry("a.h5"), "kang") == ("", "")


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
        ("a.txt", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", False),
    ],
)
def test_a_file_without_a_known_hash_must_fit_its_name(tmp_path, name, content, good):
    (tmp_path / name).write_bytes(content)
    assert (checksums.fault(tmp_path / name, entry(name), "liao") == "") is good


def test_a_web_page_is_accepted_if_it_has_the_known_hash(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"<html>")
    assert checksums.fault(tmp_path / "a.txt", entry("a.txt", sha256=sha(b"<html>")), "liao") == ""


# --------------------------------------------------------------------------------------------------- files of a dataset


def dataset(**files):
    """Entries and paths of files in resources/liao: key -> content, and the sha256 that the config gives."""
    folder = Path("resources/liao")
    folder.mkdir(parents=True)
    for key, (content, _) in files.items():
        (folder / f"{key}.txt").write_bytes(content)
    entries = {key: entry(f"{key}.txt", sha256=sha256) for key, (_, sha256) in files.items()}
    return entries, {key: folder / f"{key}.txt" for key in files}


def test_first_reading_pins_files_and_their_archive_without_touching_the_committed_table(committed):
    checksums.pin([row("other.h5")], committed)
    before = committed.read_text(encoding="utf-8")
    entries, paths = dataset(a=(b"a", sha(b"a")), b=(b"b", ""), c=(b"c", ""))
    archive = {"url": "https://example.org/RAW.tar", "member": "b"}
    for key in "abc":
        entries[key]["sources"] = ["https://example.org/b", archive]
    paths["a"].with_name("RAW.tar").write_bytes(CONTENT)
    checksums.note(paths["b"]).write_text(f"{sha(b'b')} https://example.org/RAW.tar", encoding="utf-8")
    checksums.note(paths["c"]).write_text(
        f"{sha(b'before')} https://example.org/b", encoding="utf-8"
    )  # the file was replaced since
    pins = checksums.verify(entries, paths, "liao")
    assert pins == [
        row("RAW.tar", source="unknown"),
        row("b.txt", b"b", source="https://example.org/RAW.tar"),
        row("c.txt", b"c", source="unknown"),
    ]
    assert not checksums.LOCAL.exists()  # a file is pinned after it was read without an error
    assert checksums.pin(pins) == pins
    assert checksums.verify(entries, paths, "liao") == []
    assert committed.read_text(encoding="utf-8") == before


@pytest.mark.parametrize("table", ["the config", "local", "committed"])
def test_a_changed_file_is_refused_before_it_is_read(committed, table):
    entries, paths = dataset(a=(b"changed", sha(b"a") if table == "the config" else ""))
    where = {"local": checksums.LOCAL, "committed": committed}.get(table)
    if where:
        checksums.pin([row("a.txt", b"a")], where)
    with pytest.raises(UserError) as error:
        checksums.verify(entries, paths, "liao")
    (line,) = str(error.value).splitlines()
    assert all(part in line for part in (str(paths["a"]), sha(b"a"), sha(b"changed"), "delete the file to download"))
    assert (f"delete its line in {where}" in line) is (where is not None)


def test_unexpected_numbers_of_cells_and_genes():
    checksums.check_shape("liao", 10, 20, {"cells": 10, "genes": 20})
    checksums.check_shape("liao", 10, 20, {"cells": None, "genes": None})
    with pytest.raises(UserError, match=r"^datasets.liao.expect: .* 66,452 cells, not 10: .*incomplete"):
        checksums.check_shape("liao", 10, 20, {"cells": 66452, "genes": 20})
    with pytest.raises(UserError, match=r"1 cells, not 10 and 2 genes, not 20"):
        checksums.check_shape("liao", 10, 20, {"cells": 1, "genes": 2})


# -------------------------------------------------------------------------------------------------------------- sources


def test_needed_files_are_those_of_the_datasets_and_their_gene_sets_and_orthologs():
    plain = {"gene_sets": ["sets"], "symbols": "as_is", "orthologs": ""}
    mouse = plain | {"symbols": "orthologs", "orthologs": "biomart"}
    config = {
        "datasets": {
            "kang": {"group": "kang", "files": {"x": entry("k.h5")}, **plain},
            "small": {"group": "kang", "files": {"x": entry("k.h5")}, **plain, "gene_sets": ["sets", "more"]},
            "mouse": {"group": "mouse", "files": {"x": entry("m.gz"), "y": entry("y.txt")}, **mouse},
        },
        "gene_sets": {"sets": {"file": entry("s.gmt")}, "more": {"file": entry("m.gmt")}},
        "orthologs": {"biomart": {"file": entry("o.tsv")}},
    }
    assert plan.needed_files(config, ["kang"]) == [("kang", "k.h5"), ("sets", "s.gmt")]
    both = [("kang", "k.h5"), ("sets", "s.gmt"), ("more", "m.gmt")]
    assert plan.needed_files(config, ["kang", "small"]) == both
    files = [("mouse", "m.gz"), ("mouse", "y.txt"), ("sets", "s.gmt"), ("biomart", "o.tsv")]
    assert plan.needed_files(config, ["mouse"]) == files


def answer(handler):
    status, body = {"/good.h5": (200, b"\x89HDF"), "/page.h5": (200, b"<html>"), "/busy.h5": (429, b"")}.get(
        handler.path, (404, b"")
    )
    handler.send(body, status)


@pytest.fixture
def server():
    with running() as server:
        server.answers = [answer]
        yield server


def test_all_missing_files_are_reported_together_in_one_line_for_each_source(server, tmp_path):
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
    archive, page, dead, ftp, none = sources.ask(files, [], tmp_path)
    assert archive.startswith(f"liao: C51.h5, C52.h5, C53.h5, ... (9 files): {url} answers HTTP 404; put ")
    assert "<folder>/liao/ and name the folder under mirrors" in archive
    assert f"kang: page.h5: {server.url}/page.h5 sends a web page; /nowhere/page.h5 is not there; put" in page
    assert "dead.h5: http://127.0.0.1:9/dead.h5 does not answer (ConnectionRefusedError" in dead
    assert "ftp.h5: ftp://127.0.0.1:9/ftp.h5 does not answer (ConnectionRefusedError" in ftp
    assert "kang: none.h5: the config names no source" in none
    assert [path for path, _ in server.requests].count("/RAW.tar") == 1


def test_addresses_are_not_checked_for_files_that_a_folder_has(server, tmp_path):
    mirror, resources = tmp_path / "mirror", tmp_path / "resources"
    for folder in (mirror / "liao", resources / "liao"):
        folder.mkdir(parents=True)
    (mirror / "liao" / "a.txt").write_text("a", encoding="utf-8")
    (mirror / "RAW.tar").write_text("archive", encoding="utf-8")
    (resources / "liao" / "MORE.tar").write_text("archive", encoding="utf-8")
    files = [
        ("liao", entry("a.txt", f"{server.url}/a.txt")),
        ("liao", entry("b.txt", {"url": f"{server.url}/RAW.tar", "member": "b"})),
        ("liao", entry("c.txt", {"url": f"{server.url}/MORE.tar", "member": "c"})),
    ]
    assert sources.ask(files, [str(mirror)], resources) == []
    assert server.requests == []
    (line,) = sources.ask([("liao", entry("d.txt", f"{server.url}/d"))], [str(mirror)], resources)
    assert f"into {mirror}/liao/, or correct" in line


def test_checks_end_at_the_deadline(tmp_path, monkeypatch):
    done = threading.Event()
    monkeypatch.setattr(sources, "DEADLINE", 0.2)
    monkeypatch.setattr(
        sources, "_problem", lambda place: str(done.wait(5)) if not local.is_local(place) else "is not there"
    )
    try:
        (line,) = sources.ask([("liao", entry("a.txt", "https://example.org/a"))], [], tmp_path)
        assert "https://example.org/a does not answer within 0.2 s" in line
    finally:
        done.set()


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("{folder}/a.txt", ""),
        ("file://{folder}/a.txt", ""),
        ("file://localhost{folder}/a.txt", ""),
        ("{folder}/b.txt", "is not there"),
        ("{folder}", "is a folder; name a file in it"),
        ("s3://bucket/a.txt", "is an address of a kind that is not read; give one with https"),
    ],
)
def test_places_of_local_sources(tmp_path, place, problem):
    (tmp_path / "a.txt").write_text("right", encoding="utf-8")
    place = place.format(folder=tmp_path)
    assert local.fault(place).startswith(problem)
    assert (local.fault(place) == "") is (problem == "")
    if not problem:
        local.copy(place, tmp_path / "copy")
        assert (tmp_path / "copy").read_text(encoding="utf-8") == "right"
        assert local.content(place) == sha(b"right")


def test_the_content_of_a_local_source_is_hashed_again_only_if_its_size_or_time_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, hashed = tmp_path / "a.txt", []
    monkeypatch.setattr(local, "sha256", lambda path: hashed.append(path) or sha(path.read_bytes()))
    path.write_bytes(b"old")
    os.utime(path, ns=(1, 1))
    assert [local.content(str(path)) for _ in range(3)] == [sha(b"old")] * 3
    assert len(hashed) == 1
    path.write_bytes(b"new")  # of the same size
    os.utime(path, ns=(2, 2))
    assert local.content(str(path)) == sha(b"new")
    local.HASHES.write_text("damaged", encoding="utf-8")
    assert local.content(str(path)) == sha(b"new")
    assert len(hashed) == 3
