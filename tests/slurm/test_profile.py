"""What the profile plans, and what runs ask for; no Slurm is needed to plan."""

import itertools
import json
import re

import pytest
import yaml
from factorbench import registry
from factorbench.contracts.files import write_json
from factorbench.contracts.prepared import write_prepared
from factorbench.contracts.run import JOB_KEYS
from factorbench.runs.supervise import supervise

from tests.planted import ROOT, planted
from tests.slurm.conftest import PROFILE, ClusterBench
from tests.workflow.conftest import planted_config

pytest.importorskip("snakemake_executor_plugin_slurm", reason="envs/slurm.txt is not installed: make slurm-test")

CELLS, GENES, SETS = 13_576, 953, 130


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """All methods on data that are said to be there and large."""
    bench = ClusterBench(tmp_path_factory.mktemp("plan"))
    bench.config = planted_config(bench.folder)
    bench.config["methods"]["patient"] = {"use": "fsclvm", "params": {"n_dense": 3}}
    bench.config["methods"]["random_mask"]["timeout"] = "2h"
    bench.config["runs"].append({"datasets": ["planted"], "methods": ["patient"]})
    data = bench.result("data/planted")
    data.mkdir(parents=True)
    (data / "checked.json").write_text(json.dumps({"cells": CELLS, "genes": GENES, "gene_sets": SETS}))
    return bench


def plan(bench, device="cpu"):
    """Rule and what it asks for, of every job that a dry run shows; with --cores, or a dry run takes it to be 1."""
    bench.config["device"] = device
    bench.write_config(bench.config)
    with bench.started("-n", "--cores", "64", *PROFILE) as process:
        printed = bench.finish(process, 60)
    assert bench.code == 0, printed[-3000:]
    jobs = []
    for block in re.split(r"\n(?=(?:local)?rule )", printed)[1:]:
        asked = dict(part.split("=", 1) for part in re.search(r"resources: (.*)", block)[1].split(", "))
        asked["threads"] = (re.search(r"threads: (\d+)", block) or [None, "1"])[1]
        asked["wildcards"] = (re.search(r"wildcards: (.*)", block) or [None, ""])[1]
        jobs.append((block.split(":")[0], asked))
    return jobs


def fits(jobs):
    pattern = r"dataset=planted, method=(\w+), seed=0"
    return {
        re.fullmatch(pattern, asked["wildcards"])[1]: asked
        for rule, asked in jobs
        if rule == "rule fit" and asked["wildcards"].endswith("seed=0")
    }


@pytest.fixture(scope="module")
def planned(bench):
    return plan(bench)


def test_timed_runs_and_only_they_take_a_node_for_themselves(planned):
    for rule, asked in planned:
        assert (asked.get("slurm_extra") == "--exclusive") is (rule == "rule fit")
    assert all("mem_mb" in asked and "runtime" in asked for _, asked in planned)


def test_time_is_by_time_out_budget_or_else_a_day(planned):
    minutes = {method: int(asked["runtime"]) for method, asked in fits(planned).items()}
    assert minutes == {
        "ae": 15 + 24 * 60,
        "gene_set_mean": 15 + 24 * 60,
        "pca": 15 + 24 * 60,
        "patient": 15 + 24 * 60,
        "random_mask": 15 + 120,
        "fsclvm": 16,
        "impatient": 16,
    }


def test_memory_is_by_method_and_size(planned):
    """f-scLVM took 2,870 MiB on data of this size, the autoencoder 500, PCA 240."""
    memory = {method: int(asked["mem_mb"]) for method, asked in fits(planned).items()}
    assert memory["fsclvm"] == pytest.approx(2000 + 1.25 * 8 * CELLS * (8 * GENES + SETS**2) / 2**20, abs=1)
    assert memory["patient"] > memory["fsclvm"] > 2870 * 1.5
    assert 1000 < memory["pca"] == memory["ae"] < 3000


def test_threads_are_the_methods_own(planned):
    """16: the profile's most, for what can use all there are."""
    threads = {method: int(asked["threads"]) for method, asked in fits(planned).items()}
    assert threads == {
        "ae": 4,
        "random_mask": 4,
        "fsclvm": 1,
        "impatient": 1,
        "patient": 1,
        "gene_set_mean": 1,
        "pca": 16,
    }


@pytest.mark.parametrize("device", ["cpu", "auto", "cuda"])
def test_a_card_is_asked_for_by_those_who_can_use_it(bench, device):
    asking = {method for method, asked in fits(plan(bench, device=device)).items() if "gpu" in asked}
    assert asking == (set() if device == "cpu" else {"ae", "random_mask"})


def test_a_run_takes_the_memory_that_its_method_says(tmp_path):
    """So much more than a small one as it says, in bytes, to a quarter."""
    method, peaks, said = registry.load("method", "fsclvm"), [], []
    params = registry.resolve(method.SPEC, {"max_iterations": 1}, "fsclvm")
    for n_cells, n_genes, n_sets in ((100, 200, 10), (3000, 500, 70)):
        folder = tmp_path / str(n_cells)
        folder.mkdir()
        data = planted(n_cells, n_genes, n_sets)
        write_prepared(folder / "prepared.h5ad", data)
        job = dict.fromkeys(JOB_KEYS) | {
            "dataset": "planted",
            "method": "fsclvm",
            "use": "fsclvm",
            "params": params,
            "seed": 0,
            "device": "cpu",
            "threads": 1,
            "prepared": str(folder / "prepared.h5ad"),
            "factors": str(folder / "factors.h5ad"),
            "run": str(folder / "run.json"),
            "model": str(folder / "model"),
        }
        write_json(folder / "job.json", job)
        peaks.append(supervise(folder / "job.json", lambda chunk: None)["peak_memory_mb"])
        said.append(method.memory(n_cells, *data.varm["mask"].shape, params) / 2**20)
    assert peaks[1] - peaks[0] == pytest.approx(said[1] - said[0], rel=0.25)


@pytest.mark.parametrize("preset", ["config.yaml", "workflow/presets/paper.yaml"])
def test_presets_can_be_planned(preset, tmp_path):
    bench = ClusterBench(tmp_path)
    with bench.started("-n", *PROFILE, "--configfile", "config.yaml", preset) as process:
        printed = bench.finish(process, 100)
    assert bench.code == 0, printed[-3000:]
    assert re.search(r"^fit +\d", printed, re.M)


def test_every_line_of_the_profile_is_explained():
    """By a comment beside it, or on the line above it, or above the block that it begins."""
    lines = (ROOT / "profiles/slurm/profile.yaml").read_text().splitlines()
    for before, line in itertools.pairwise(["", *lines]):
        explained = "#" in line or not line.strip() or before.lstrip().startswith("#")
        assert explained, line
    assert set(yaml.safe_load("\n".join(lines))["set-resources"]) <= {
        *re.findall(r"^rule (\w+):", "".join(p.read_text() for p in (ROOT / "workflow/rules").glob("*.smk")), re.M)
    }
