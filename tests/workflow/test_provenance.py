"""The manifest is complete, every change of the results is detected, and the same seeds give the same results."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from factorbench.config.plan import planned_runs
from factorbench.contracts.factors import read_factors
from factorbench.contracts.files import read_json
from factorbench.results import verify

from tests.workflow.conftest import Bench, jobs_of

TAMPERED = {"scores": "tables/scores.tsv", "figure": "figures/accuracy.svg", "table": "tables/separation.tsv"}


@pytest.fixture
def record(finished):
    return read_json(finished.result("manifest.json"))


@pytest.fixture(scope="module")
def again(finished, tmp_path_factory):
    """Scores, tables, figures and the report, made again from its runs."""
    folder = tmp_path_factory.mktemp("again")
    verify.make_again(read_json(finished.result("manifest.json")), finished.folder, folder)
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the results and their inputs, to be changed."""
    for part in ("results", "resources", "claims.yaml", "planted.gmt"):
        duplicate = shutil.copytree if (finished.folder / part).is_dir() else shutil.copy
        duplicate(finished.folder / part, tmp_path / part)
    return tmp_path


# ------------------------------------------------------------------------------------------------------------ manifest


def test_the_manifest_lists_every_input_and_output(finished, record):
    assert set(record["inputs"]) == {
        *("claims.yaml", "planted.gmt", "resources/planted/planted.h5ad", "resources/sets/planted.gmt")
    }
    files = {
        path for path in finished.files() if path.startswith("results/") and not path.endswith(".snakemake_timestamp")
    }
    left = files - set(record["outputs"])
    assert set(record["outputs"]) <= files
    assert {path for path in left if "/benchmarks/" not in path} == {
        *("results/manifest.json", "results/data/planted/raw.h5ad"),
        *(f"results/data/planted{name}/checked.json" for name in ("", "_new", "_permuted")),
    }
    assert record["given"] == json.loads(json.dumps(finished.config))
    assert record["config"]["methods"]["ae"]["params"]["lambda1"]
    assert record["runs"]["number"] == len(planned_runs(finished.config))
    assert verify.changed(record, finished.folder) == []


def test_the_manifest_is_made_again_when_its_content_changes(finished):
    assert "Nothing to be done" in finished.snakemake("-n")
    path = finished.folder / "workflow/scripts/factorbench/results/provenance.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "\nCHANGED = 1\n", encoding="utf-8")
    try:
        assert set(jobs_of(finished.snakemake("-n"))) == {"manifest", "all"}
    finally:
        path.write_text(text, encoding="utf-8")
    config = json.loads(json.dumps(finished.config))
    config["runs"].append({"datasets": ["planted"], "methods": ["gene_set_mean"], "seeds": [7]})
    finished.write_config(config)
    shutil.move(finished.folder / "resources", finished.folder / "deleted")
    try:
        jobs = jobs_of(finished.snakemake("-n"))
    finally:
        shutil.move(finished.folder / "deleted", finished.folder / "resources")
        finished.write_config(finished.config)
    assert (jobs["fit"], jobs["manifest"]) == (1, 1)
    assert not {"fetch", "read", "prepare"} & set(jobs)


# -------------------------------------------------------------------------------------------------------------- verify


def test_unchanged_results_pass(finished, again, monkeypatch, capsys):
    def as_before(record, root, folder):
        shutil.copytree(again, folder, symlinks=True, dirs_exist_ok=True)

    monkeypatch.setattr(verify, "make_again", as_before)
    assert verify.main([str(finished.folder / "results")]) == 0
    line = r"verify: \d+ files are those of .*manifest\.json; \d+ of them were made again from 11 runs and are the same"
    assert re.fullmatch(line, capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("what", TAMPERED)
def test_a_changed_file_is_detected_twice(copy, record, again, what):
    """By its hash and, in case the manifest was changed as well, because the runs give something else."""
    path = copy / "results" / TAMPERED[what]
    if what == "scores":
        digits = re.sub(
            r"(?<=\t0\.\d)\d", lambda found: str((int(found[0]) + 1) % 10), path.read_text(encoding="utf-8"), count=1
        )
        assert digits != path.read_text(encoding="utf-8")
        path.write_text(digits, encoding="utf-8")
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
    done = subprocess.run(command, cwd=folder, env=os.environ | path, capture_output=True, text=True, encoding="utf-8")
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


def test_the_same_seeds_give_the_same_results(finished, tmp_path):
    """In a second copy of the project: data, factors and scores. Tables and figures follow from these."""
    second = Bench(tmp_path)
    second.write_config(finished.config)
    runs = [("planted", "ae"), ("planted", "strict"), ("planted", "fsclvm"), ("planted_new", "ae")]
    second.snakemake(*(f"results/scores/{dataset}/{method}/0.tsv" for dataset, method in runs))
    for dataset, method in runs:
        name = f"{dataset}/{method}/0"
        assert read_json(finished.result(f"runs/{name}/run.json"))["status"] == "ok", "no time limit stopped it"
        one, other = (read_factors(bench.result(f"runs/{name}/factors.h5ad")) for bench in (finished, second))
        np.testing.assert_array_equal(one.obsm["scores"], other.obsm["scores"], name)
        np.testing.assert_array_equal(one.varm["loadings"], other.varm["loadings"], name)
        assert finished.result(f"scores/{name}.tsv").read_text(encoding="utf-8") == second.result(
            f"scores/{name}.tsv"
        ).read_text(encoding="utf-8")
    for dataset in ("planted", "planted_new"):
        path = f"data/{dataset}/prepared.h5ad"
        assert finished.result(path).read_bytes() == second.result(path).read_bytes(), path
