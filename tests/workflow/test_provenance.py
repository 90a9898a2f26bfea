"""The manifest is complete, every change of the results is detected, and the same seeds give the same results."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from factorbench.contracts.files import read_json, read_table
from factorbench.results import provenance, verify

from tests.workflow.conftest import Bench, jobs_of, planted_config

TAMPERED = {"scores": "tables/scores.tsv", "figure": "figures/accuracy.svg", "table": "tables/separation.tsv"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A benchmark that no time limit stops, run once."""
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
    """A copy of the results and their inputs, to be changed."""
    for part in ("results", "resources", "claims.yaml", "planted.gmt"):
        duplicate = shutil.copytree if (made.folder / part).is_dir() else shutil.copy
        duplicate(made.folder / part, tmp_path / part)
    return tmp_path


# ------------------------------------------------------------------------------------------------------------ manifest


def test_the_manifest_lists_every_input_and_output(made, record):
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


def test_the_manifest_is_made_again_when_its_content_changes(made):
    assert "Nothing to be done" in made.snakemake("-n")
    path = made.folder / "workflow/scripts/factorbench/results/provenance.py"
    text = path.read_text()
    path.write_text(text + "\nCHANGED = 1\n")
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


def test_unchanged_results_pass(made, again, monkeypatch, capsys):
    def as_before(record, root, folder):
        shutil.copytree(again, folder, symlinks=True, dirs_exist_ok=True)

    monkeypatch.setattr(verify, "make_again", as_before)
    assert verify.main([str(made.folder / "results")]) == 0
    line = r"verify: \d+ files are those of .*manifest\.json; \d+ of them were made again from 4 runs and are the same"
    assert re.fullmatch(line, capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("what", TAMPERED)
def test_a_changed_file_is_detected_twice(copy, record, again, what):
    """By its hash and, in case the manifest was changed as well, because the runs give something else."""
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
    """Return exit status and lines of the command on a folder of results."""
    path = {"PYTHONPATH": str(verify.PROJECT / "workflow/scripts")}
    command = [sys.executable, "-m", "factorbench.results.verify", "results"]
    done = subprocess.run(command, cwd=folder, env=os.environ | path, capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines()


def test_factors_of_another_seed_are_detected(copy):
    runs = copy / "results/runs/planted/ae"
    shutil.copy(runs / "0/factors.h5ad", runs / "1/factors.h5ad")
    code, lines = verified(copy)
    assert code == 1
    assert "wrong: results/runs/planted/ae/1/factors.h5ad: is not the file that the manifest lists" in lines
    for path in ("scores/planted/ae/1.tsv", "tables/scores.tsv", "figures/accuracy.png", "report.html"):
        assert f"wrong: results/{path}: differs from what these runs give" in lines
    assert not [line for line in lines if "scores/planted/fsclvm" in line]


# ------------------------------------------------------------------------------------------------------ the same again


def test_the_same_seeds_give_the_same_results(made, record, tmp_path):
    """In a second copy of the project, bit for bit, except for times."""
    second = Bench(tmp_path)
    second.write_config(made.config)
    second.snakemake()
    same = {path for path in record["outputs"] if path.startswith(("results/data", "results/scores", "results/comp"))}
    same |= {path for path in record["outputs"] if path.startswith("results/tables") and not timed(path)}
    same |= {f"results/figures/{name}.{kind}" for name in ("scatter", "accuracy") for kind in ("png", "svg")}
    assert len(same) > 15
    for path in sorted(same):
        assert verify.content(made.folder / path) == verify.content(second.folder / path), path
    for name in provenance.TIMINGS:
        one, other = (read_table(b.result(f"tables/{name}.tsv")) for b in (made, second))
        one, other = (provenance.without_timings(name, table).to_csv() for table in (one, other))
        assert one == other
    assert (made.result("tables/runs.tsv").read_bytes()) != second.result("tables/runs.tsv").read_bytes()


def timed(path):
    return any(path.endswith(f"/{name}.tsv") for name in provenance.TIMINGS)
