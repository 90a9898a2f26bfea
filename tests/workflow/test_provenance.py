"""Where results come from: all is told, whatever is changed is found, and the same seeds give the same results."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from factorbench.contracts.files import read_json, read_table
from factorbench.results import manifest, verify

from tests.workflow.conftest import Bench, jobs_of, planted_config

TAMPERED = {"scores": "tables/scores.tsv", "figure": "figures/accuracy.svg", "table": "tables/separation.tsv"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A benchmark that no clock ends, run once."""
    done = Bench(tmp_path_factory.mktemp("made"))
    config = done.config = planted_config(done.folder)
    config["methods"]["fsclvm"] = {"use": "fsclvm", "params": {"max_iterations": 100}}
    del config["methods"]["impatient"], config["methods"]["random_mask"], config["figures"]["all"]
    config["runs"] = [
        {"datasets": ["planted"], "methods": ["ae"], "seeds": [0, 1]},
        {"datasets": ["planted"], "methods": ["fsclvm", "gene_set_mean"]},
    ]
    config["figures"]["accuracy"]["methods"] = ["ae", "fsclvm"]
    done.write_config(config)
    done.snakemake()
    return done


@pytest.fixture
def record(made):
    return read_json(made.result("manifest.json"))


@pytest.fixture(scope="module")
def again(made, tmp_path_factory):
    """Scores, tables, figures and the report, made again from its runs."""
    folder = tmp_path_factory.mktemp("again")
    verify.make_again(read_json(made.result("manifest.json")), made.folder, folder)
    return folder


@pytest.fixture
def copy(made, tmp_path):
    """The results and what they are made from, to be tampered with."""
    for part in ("results", "resources", "claims.yaml", "planted.gmt"):
        duplicate = shutil.copytree if (made.folder / part).is_dir() else shutil.copy
        duplicate(made.folder / part, tmp_path / part)
    return tmp_path


# ------------------------------------------------------------------------------------------------------------ manifest


def test_everything_that_went_in_and_came_out_is_told(made, record):
    assert set(record["inputs"]) == {
        *("claims.yaml", "planted.gmt", "resources/planted/planted.h5ad", "resources/sets/planted.gmt")
    }
    files = {path for path in made.files() if path.startswith("results/") and not path.endswith(".snakemake_timestamp")}
    left = files - set(record["outputs"])
    assert set(record["outputs"]) <= files
    assert {path for path in left if "/benchmarks/" not in path} == {
        *("results/manifest.json", "results/data/planted/raw.h5ad", "results/data/planted/checked.json")
    }
    assert record["given"] == json.loads(json.dumps(made.config))
    assert record["config"]["methods"]["ae"]["params"]["lambda1"]
    assert record["runs"]["number"] == 4
    assert verify.changed(record, made.folder) == []


def test_the_manifest_is_made_when_what_it_says_changes_and_nothing_else_is(made):
    assert "Nothing to be done" in made.snakemake("-n")
    path = made.folder / "workflow/scripts/factorbench/manifest.py"
    text = path.read_text()
    path.write_text(text + "\n# changed\n")
    try:
        assert set(jobs_of(made.snakemake("-n"))) == {"manifest", "all"}
    finally:
        path.write_text(text)
    config = json.loads(json.dumps(made.config))
    config["runs"].append({"datasets": ["planted"], "methods": ["gene_set_mean"], "seeds": [7]})
    made.write_config(config)
    shutil.move(made.folder / "resources", made.folder / "deleted")
    try:
        jobs = jobs_of(made.snakemake("-n"))
    finally:
        shutil.move(made.folder / "deleted", made.folder / "resources")
        made.write_config(made.config)
    assert (jobs["fit"], jobs["manifest"]) == (1, 1)
    assert not {"fetch", "read", "prepare"} & set(jobs)


# -------------------------------------------------------------------------------------------------------------- verify


def test_what_is_as_it_was_made_passes(made, again, monkeypatch, capsys):
    def as_before(record, root, folder):
        shutil.copytree(again, folder, symlinks=True, dirs_exist_ok=True)

    monkeypatch.setattr(verify, "make_again", as_before)
    assert verify.main([str(made.folder / "results")]) == 0
    line = r"verify: \d+ files are those of .*manifest\.json; \d+ of them were made again from 4 runs and are the same"
    assert re.fullmatch(line, capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_tampered_with_is_found_twice(copy, record, again, what):
    """By its hash, and, should the manifest have been tampered with as well, because the runs give something else."""
    path = copy / "results" / TAMPERED[what]
    if what == "scores":
        digits = re.sub(r"(?<=\t0\.\d)\d", lambda found: str((int(found[0]) + 1) % 10), path.read_text(), count=1)
        assert digits != path.read_text()
        path.write_text(digits)
    elif what == "figure":
        shutil.copy(path.with_name("runtime.svg"), path)
    else:
        path.unlink()
    by_hash, by_runs = verify.changed(record, copy), verify.differing(record, copy, again)
    assert [line.partition(":")[0] for line in by_hash] == [f"results/{TAMPERED[what]}"]
    assert [line.partition(":")[0] for line in by_runs] == [f"results/{TAMPERED[what]}"]


def verified(folder):
    """Exit status and lines of the command on a folder of results."""
    path = {"PYTHONPATH": str(verify.pins.ROOT / "workflow/scripts")}
    command = [sys.executable, "-m", "factorbench.verify", "results"]
    done = subprocess.run(command, cwd=folder, env=os.environ | path, capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines()


def test_factors_of_another_seed_are_found(copy):
    runs = copy / "results/runs/planted/ae"
    shutil.copy(runs / "0/factors.h5ad", runs / "1/factors.h5ad")
    code, lines = verified(copy)
    assert code == 1
    assert "wrong: results/runs/planted/ae/1/factors.h5ad: is not the file that the manifest was made with" in lines
    for path in ("scores/planted/ae/1.tsv", "tables/scores.tsv", "figures/accuracy.png", "report.html"):
        assert f"wrong: results/{path}: is not what these runs give" in lines
    assert not [line for line in lines if "scores/planted/fsclvm" in line]


# ------------------------------------------------------------------------------------------------------ the same again


def test_the_same_seeds_give_the_same_results(made, record, tmp_path):
    """From the files on, in a second copy of the project: bit for bit, but for the clocks."""
    second = Bench(tmp_path)
    second.write_config(made.config)
    second.snakemake()
    same = {path for path in record["outputs"] if path.startswith(("results/data", "results/scores", "results/comp"))}
    same |= {path for path in record["outputs"] if path.startswith("results/tables") and not timed(path)}
    same |= {f"results/figures/{name}.{kind}" for name in ("scatter", "accuracy") for kind in ("png", "svg")}
    assert len(same) > 15
    for path in sorted(same):
        assert verify.content(made.folder / path) == verify.content(second.folder / path), path
    for name in manifest.TIMINGS:
        one, other = (read_table(b.result(f"tables/{name}.tsv")) for b in (made, second))
        one, other = (manifest.without_timings(name, table).to_csv() for table in (one, other))
        assert one == other
    assert (made.result("tables/runs.tsv").read_bytes()) != second.result("tables/runs.tsv").read_bytes()


def timed(path):
    return any(path.endswith(f"/{name}.tsv") for name in manifest.TIMINGS)
