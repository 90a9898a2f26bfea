"""The manifest: files, packages and machines; and how results are checked against it."""

import gzip
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from factorbench.contracts.errors import UserError
from factorbench.contracts.files import write_json
from factorbench.contracts.scores import SCORE_COLUMNS
from factorbench.data import local
from factorbench.results import provenance, verify
from factorbench.results.runtime import runs_table, runtime_table
from factorbench.runs import machine

from tests.unit import metric_fixtures as toy

FILES = {"results/b.tsv": "b", "results/a.tsv": "a", "results/model/x.json": "x", "results/model/.hidden": "h"}
OF_A = {"bytes": 1, "sha256": "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"}
"""The output of ``sha256sum`` for a file that holds the letter a."""
RUNS = [
    toy.run(seed=0, started="2020-01-01T10:00:00+00:00", seconds=30.0),
    toy.run(seed=1, started="2020-01-01T09:00:00+00:00", seconds=7200.0),
    toy.run(seed=2, started="2020-01-01T11:30:00+01:00", seconds=1.0, host="", git_commit=None, git_dirty=None),
]


def fill(folder, files=FILES):
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(fill(tmp_path))
    return tmp_path


def manifest(runs=RUNS, outputs=("results/model", "results/b.tsv", "results/a.tsv")):
    return provenance.manifest({"a": 1}, {"a": 0}, runs, [], outputs)


def test_files_are_listed_in_order_with_size_and_hash(here):
    outputs = manifest()["outputs"]
    assert list(outputs) == ["results/a.tsv", "results/b.tsv", "results/model/x.json"]
    assert outputs["results/a.tsv"] == OF_A


def test_paths_are_relative(here):
    assert list(provenance.hashed([here / "results/a.tsv"])) == ["results/a.tsv"]


def test_the_same_files_and_runs_give_the_same_manifest(here):
    write_json("one.json", manifest())
    write_json("two.json", manifest(RUNS[::-1], ["results/b.tsv", "results/a.tsv", "results/model"]))
    assert (here / "one.json").read_bytes() == (here / "two.json").read_bytes()


def test_every_package_is_listed(here):
    record = manifest()
    assert record["python"] == platform.python_version()
    for name in ("numpy", "torch", "snakemake", "pytest"):
        assert record["packages"][name] == importlib.metadata.version(name)
    assert list(record["packages"]) == sorted(record["packages"], key=str.lower)
    assert set(record["packages"]) == {found.metadata["Name"] for found in importlib.metadata.distributions()}


def test_runs_are_counted_by_machine_and_commit(here):
    runs = manifest()["runs"]
    assert (runs["number"], runs["start"], runs["end"]) == (3, "2020-01-01T09:00:00+00:00", "2020-01-01T11:00:00+00:00")
    assert runs["machines"] == [
        {"host": "", "processor": "Quick 1", "git_commit": None, "git_dirty": None, "runs": 1},
        {"host": "node", "processor": "Quick 1", "git_commit": "a" * 40, "git_dirty": True, "runs": 2},
    ]


def test_inputs_are_downloads_gene_sets_of_the_project_and_claims(here, monkeypatch):
    monkeypatch.setattr(provenance, "PROJECT", here)
    monkeypatch.setattr(local, "PROJECT", here)
    sets = {
        "mine": {"file": {"name": "mine.gmt", "sources": ["sets/mine.gmt", "https://example.org/mine.gmt"]}},
        "unused": {"file": {"name": "unused.gmt", "sources": ["sets/unused.gmt"]}},
    }
    files = {"counts": {"name": "counts.h5ad"}, "gone": {"name": "gone.h5ad"}}
    data = {"group": "toy", "files": files, "gene_sets": ["mine"], "symbols": "keep"}
    config = {"datasets": {"toy": data}, "gene_sets": sets, "orthologs": {}, "claims": "claims.yaml"}
    fill(here, dict.fromkeys(["sets/mine.gmt", "sets/unused.gmt", "claims.yaml", "resources/toy/counts.h5ad"], "a"))
    assert set(provenance.hashed(provenance.inputs(config, ["toy"]))) == {
        *("resources/toy/counts.h5ad", "sets/mine.gmt", "claims.yaml")
    }
    assert provenance.inputs(config | {"claims": ""}, []) == []


def test_timings_are_columns_of_their_tables():
    runs = runs_table([toy.run()])
    for name, table in {"runs": runs, "runtime": runtime_table(runs, "ae", {"toy": {}})}.items():
        left = provenance.without_timings(name, table)
        assert set(table) - set(left) == set(provenance.TIMINGS[name])
    assert list(provenance.without_timings("scores", toy.scores({}))) == list(SCORE_COLUMNS)


# ----------------------------------------------------------------------------------------------------------------- git


def git(folder, *arguments):
    author = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "core.hooksPath=/dev/null"]
    done = subprocess.run(
        ["git", "-C", folder, *author, *arguments], check=True, capture_output=True, text=True, encoding="utf-8"
    )
    return done.stdout.strip()


def commit_all(folder):
    """Commit all files of a new repository in ``folder``; return the commit."""
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "--allow-empty", "-m", "all")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def package(tmp_path):
    """A copy of the project's package, alone in a folder."""
    copy = tmp_path / "outer/project/factorbench"
    shutil.copytree(Path(machine.__file__).parents[1], copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def state(package, **environment):
    """What the copied ``package`` says of its commit, in a process of its own."""
    code = "import json; from factorbench.runs.machine import git_state; print(json.dumps(git_state()))"
    done = subprocess.run(
        [sys.executable, "-B", "-c", code],
        env=os.environ | {"PYTHONPATH": str(package.parent)} | environment,
        check=True,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    return json.loads(done.stdout)


def test_the_commit_is_that_of_the_checkout(package):
    commit = commit_all(package.parent)
    assert state(package) == [commit, False]
    (package / "__init__.py").write_text("", encoding="utf-8")
    assert state(package) == [commit, True]


def test_a_repository_that_does_not_hold_the_package_gives_no_commit(package):
    """As for a project that was unpacked from an archive into a folder of another repository."""
    outer = package.parents[1]
    (outer / ".gitignore").write_text("project\n", encoding="utf-8")
    commit_all(outer)
    assert state(package) == [None, None]
    (outer / ".gitignore").unlink()
    assert state(package) == [None, None]


def test_a_hook_of_another_repository_does_not_lend_its_commit(package, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(package.parent, other)
    (other / "more").touch()
    places = {"GIT_DIR": f"{other}/.git", "GIT_WORK_TREE": str(other), "GIT_INDEX_FILE": f"{other}/.git/index"}
    assert commit_all(other) != (commit := commit_all(package.parent))
    assert state(package, **places, GIT_PREFIX="") == [commit, False]


def test_a_new_method_that_git_does_not_hold_is_a_change(package):
    (package.parent / ".gitignore").write_text("scratch_*\n", encoding="utf-8")
    commit = commit_all(package.parent)
    (package / "methods/notes.txt").touch()
    (package / "methods/scratch_mine.py").touch()
    assert state(package) == [commit, False]
    (package / "methods/mine.py").touch()
    assert state(package) == [commit, True]


# -------------------------------------------------------------------------------------------------------------- verify


def test_changed_and_missing_files_have_a_line_each(here):
    record = manifest()
    assert verify.changed(record, here) == []
    (here / "results/a.tsv").write_text("c", encoding="utf-8")
    shutil.rmtree(here / "results/model")
    assert verify.changed(record, here) == [
        "results/a.tsv: is not the file that the manifest lists",
        "results/model/x.json: is missing",
    ]


def test_unlisted_files_another_commit_and_other_packages_are_noted(here):
    record = manifest()
    record["packages"] |= {"numpy": "0.1"}
    record["git"] = {"commit": "b" * 40, "dirty": False}
    fill(here, dict.fromkeys(["results/logs/a/b.log", "results/data/toy/raw.h5ad", "results/tables/mine.tsv"], ""))
    first, second, third = verify.notes(record, here / "results")
    assert first == "results/tables/mine.tsv: is not in the manifest"
    assert f"by commit {'b' * 40}" in second
    assert third == f"packages have changed since: numpy 0.1 -> {importlib.metadata.version('numpy')}"


def twins(tmp_path, changes):
    """What `verify.differing` says of results that differ by ``changes`` from those made again (None: missing)."""
    files = {"results/tables/a.tsv": "1.5", "results/figures/a.png": "png", "results/runs/x/run.json": "{}"}
    again, mine = fill(tmp_path / "again", files), fill(tmp_path / "mine", files)
    for path, text in changes.items():
        (mine / path).unlink() if text is None else fill(mine, {path: text})
    record = {
        "outputs": dict.fromkeys([*files, "results/tables/b.tsv"] if "results/tables/b.tsv" in changes else files)
    }
    return verify.differing(record, mine, again)


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({}, []),
        ({"results/tables/a.tsv": "1.6"}, ["results/tables/a.tsv: differs from what these runs give"]),
        ({"results/figures/a.png": "pgn"}, ["results/figures/a.png: differs from what these runs give"]),
        ({"results/tables/a.tsv": None}, ["results/tables/a.tsv: is missing, although these runs give it"]),
        ({"results/tables/b.tsv": "0"}, ["results/tables/b.tsv: these runs do not give this file"]),
        ({"results/runs/x/run.json": "changed"}, []),  # the hashes find that
    ],
)
def test_files_that_the_runs_do_not_give_are_faults(tmp_path, changes, lines):
    assert twins(tmp_path, changes) == lines


def test_compressed_tables_are_compared_by_content(tmp_path):
    for name, moment in (("a", 0), ("b", 1)):
        (tmp_path / f"{name}.tsv.gz").write_bytes(gzip.compress(b"cell\tx\n", mtime=moment))
    assert (tmp_path / "a.tsv.gz").read_bytes() != (tmp_path / "b.tsv.gz").read_bytes()
    assert verify.content(tmp_path / "a.tsv.gz") == verify.content(tmp_path / "b.tsv.gz") == b"cell\tx\n"


def test_a_missing_manifest_is_one_line(tmp_path, capsys):
    assert verify.main([str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path}: there is no manifest.json")


@pytest.mark.parametrize(("faults", "code"), [([], 0), (["a: is missing", "b: is missing"], 1)])
def test_the_exit_status_tells_whether_there_are_faults(tmp_path, capsys, monkeypatch, faults, code):
    monkeypatch.setattr(verify, "verify", lambda results: (faults, ["a note"], "all is well"))
    assert verify.main([str(tmp_path)]) == code
    lines = ["note: a note", *(f"wrong: {fault}" for fault in faults)]
    assert capsys.readouterr().out.splitlines() == [*lines, "verify: 2 faults" if faults else "verify: all is well"]


def test_tables_that_cannot_be_made_again_are_one_error_line(tmp_path):
    given = {"datasets": {}, "nonsense": 1}
    fill(tmp_path, {"results/data/x": "", "results/runs/x": ""})
    (tmp_path / "again").mkdir()
    record = {"given": given, "config": {"datasets": {}}}
    with pytest.raises(UserError, match="could not be made again from these runs"):
        verify.make_again(record, tmp_path, tmp_path / "again")
