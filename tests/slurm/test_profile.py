"""What jobs request with profiles/slurm. Planning needs no Slurm."""

import itertools
import re

import h5py
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
"""The size of the Kang data."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """All methods on a prepared dataset of which only the size exists."""
    bench = ClusterBench(tmp_path_factory.mktemp("plan"))
    bench.config = planted_config(bench.folder)
    bench.config["methods"]["patient"] = {"use": "fsclvm", "params": {"n_dense": 3}}
    bench.config["methods"]["strict"]["timeout"] = "2h"
    bench.config["runs"].append({"datasets": ["planted"], "methods": ["patient"]})
    path = bench.result("data/planted/prepared.h5ad")
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file.create_group("X").attrs["shape"] = (CELLS, GENES)
        file["varm/mask"] = [[False] * SETS] * GENES
    return bench


def plan(bench, device="cpu"):
    """Return rule and requests of every job of a dry run (with --cores, because a dry run plans for one core)."""
    bench.config["device"] = device
    bench.write_config(bench.config)
    with bench.started("-n", "--cores", "64", *PROFILE) as process:
        printed = bench.finish(process, 60)
    assert bench.code == 0, printed[-3000:]
    jobs = []
    for block in re.split(r"\n(?=(?:local)?rule )", printed)[1:]:
        requests = dict(part.split("=", 1) for part in re.search(r"resources: (.*)", block)[1].split(", "))
        requests["threads"] = (re.search(r"threads: (\d+)", block) or [None, "1"])[1]
        requests["wildcards"] = (re.search(r"wildcards: (.*)", block) or [None, ""])[1]
        jobs.append((block.split(":")[0], requests))
    return jobs


def fits(jobs):
    """Return the requests of the run of each method with seed 0."""
    pattern = r"dataset=planted, method=(\w+), seed=0"
    found = {re.fullmatch(pattern, requests["wildcards"]): requests for rule, requests in jobs if rule == "rule fit"}
    return {match[1]: requests for match, requests in found.items() if match}


@pytest.fixture(scope="module")
def planned(bench):
    return plan(bench)


def test_only_timed_runs_take_a_node_of_their_own(planned):
    for rule, requests in planned:
        assert (requests.get("slurm_extra") == "--exclusive") is (rule == "rule fit")
    assert all("mem_mb" in requests and "runtime" in requests for _, requests in planned)


def test_time_is_that_of_the_time_out_or_the_budget_or_a_day(planned):
    minutes = {method: int(requests["runtime"]) for method, requests in fits(planned).items()}
    assert minutes == {
        "ae": 15 + 24 * 60,
        "gene_set_mean": 15 + 24 * 60,
        "pca": 15 + 24 * 60,
        "patient": 15 + 24 * 60,
        "strict": 15 + 120,
        "fsclvm": 16,
        "impatient": 16,
    }


def test_memory_follows_from_method_and_size(planned):
    """Measured on data of this size: f-scLVM 2,870 MiB, the autoencoder 500, PCA 240."""
    memory = {method: int(requests["mem_mb"]) for method, requests in fits(planned).items()}
    assert memory["fsclvm"] == pytest.approx(2000 + 1.25 * 8 * CELLS * (8 * GENES + SETS**2) / 2**20, abs=1)
    assert memory["patient"] > memory["fsclvm"] > 2870 * 1.5
    assert 1000 < memory["pca"] == memory["ae"] < 3000


def test_threads_are_those_of_the_method(planned):
    """A method that can use all cores gets 16, the most that the profile allows."""
    threads = {method: int(requests["threads"]) for method, requests in fits(planned).items()}
    assert threads == {
        "ae": 4,
        "strict": 4,
        "fsclvm": 1,
        "impatient": 1,
        "patient": 1,
        "gene_set_mean": 1,
        "pca": 16,
    }


@pytest.mark.parametrize("device", ["cpu", "auto", "cuda"])
def test_methods_that_can_use_a_gpu_request_one_unless_the_device_is_cpu(bench, device):
    with_gpu = {method for method, requests in fits(plan(bench, device=device)).items() if "gpu" in requests}
    assert with_gpu == (set() if device == "cpu" else {"ae", "strict"})


def test_a_run_takes_the_memory_that_its_method_predicts(tmp_path):
    """f-scLVM on small and larger data: the difference is as predicted, within a quarter."""
    method, peaks, predicted = registry.load("method", "fsclvm"), [], []
    params = registry.resolve(method.SPEC, {"max_iterations": 1}, "fsclvm")
    for n_cells, n_genes, n_sets in ((100, 200, 10), (3000, 500, 70)):
        folder = tmp_path / str(n_cells)
        folder.mkdir()
        data = planted(n_cells, n_genes, n_sets)
        write_prepared(folder / "prepared.h5ad", data)
        paths = {"prepared": "prepared.h5ad", "factors": "factors.h5ad", "run": "run.json", "model": "model"}
        job = dict.fromkeys(JOB_KEYS) | {key: str(folder / name) for key, name in paths.items()}
        job |= {"dataset": "planted", "method": "fsclvm", "use": "fsclvm", "params": params, "seed": 0}
        job |= {"device": "cpu", "threads": 1}
        write_json(folder / "job.json", job)
        peaks.append(supervise(folder / "job.json", lambda chunk: None)["peak_memory_mb"])
        predicted.append(method.memory(n_cells, *data.varm["mask"].shape, params) / 2**20)
    assert peaks[1] - peaks[0] == pytest.approx(predicted[1] - predicted[0], rel=0.25)


@pytest.mark.parametrize("preset", ["config.yaml", "workflow/presets/paper.yaml"])
def test_presets_can_be_planned(preset, tmp_path):
    bench = ClusterBench(tmp_path)
    with bench.started("-n", *PROFILE, "--configfile", "config.yaml", preset) as process:
        printed = bench.finish(process, 100)
    assert bench.code == 0, printed[-3000:]
    assert re.search(r"^fit +\d", printed, re.M)


def test_every_line_of_the_profile_is_explained():
    """By a comment beside it, on the line above it, or above the block that it begins."""
    lines = (ROOT / "profiles/slurm/profile.yaml").read_text(encoding="utf-8").splitlines()
    for before, line in itertools.pairwise(["", *lines]):
        explained = "#" in line or not line.strip() or before.lstrip().startswith("#")
        assert explained, line
    rules = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "workflow/rules").glob("*.smk"))
    assert set(yaml.safe_load("\n".join(lines))["set-resources"]) <= {*re.findall(r"^rule (\w+):", rules, re.M)}
