"""One run: what it records, and every way it can end."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from factorbench import registry
from factorbench.contracts.errors import UserError
from factorbench.contracts.factors import no_factors, read_factors
from factorbench.contracts.files import read_json, sha256, write_json
from factorbench.contracts.prepared import without_held_out, write_prepared
from factorbench.contracts.run import check_run
from factorbench.methods import fsclvm, gene_set_mean
from factorbench.model.params import RECIPES
from factorbench.runs.__main__ import main
from factorbench.runs.execute import execute, outcome_line
from factorbench.runs.machine import choose_device
from factorbench.runs.supervise import EXIT_USER_ERROR

from tests.planted import ROOT, planted

SCRIPTS = ROOT / "workflow/scripts"
METHODS = {
    "sleeper": """
        import subprocess, sys, time
        def fit(data, params, seed, device, budget):
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)", sys.argv[1]])
            print("asleep", flush=True)
            time.sleep(300)
        """,
    "crash": """
        def fit(data, params, seed, device, budget):
            raise ZeroDivisionError("by design")
        """,
    "mistake": """
        from ..contracts.errors import UserError
        def fit(data, params, seed, device, budget):
            raise UserError("params.x: too small; make it larger")
        """,
    "threads": """
        import os, threadpoolctl
        import numpy
        from ..contracts.factors import no_factors
        def fit(data, params, seed, device, budget):
            allowed = {value for name, value in os.environ.items() if name.endswith("_THREADS")}
            used = {pool["num_threads"] for pool in threadpoolctl.threadpool_info()}
            return no_factors(data.n_obs, data.n_vars, "diverged", f"allowed {allowed}, used {used}")
        """,
    "suicide": """
        import os, signal
        def fit(data, params, seed, device, budget):
            os.kill(os.getpid(), signal.SIGKILL)
        """,
}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package with methods that end as no method of ours does."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(SCRIPTS / "factorbench", folder / "factorbench")
    for name, text in METHODS.items():
        spec = "from ..registry import MethodSpec\n"
        spec += f"SPEC = MethodSpec(name={name!r}, title={name!r}, gpu='optional')\n"
        (folder / f"factorbench/methods/{name}.py").write_text(spec + textwrap.dedent(text), encoding="utf-8")
    return folder


@pytest.fixture
def job(tmp_path):
    write_prepared(tmp_path / "prepared.h5ad", planted())
    return {
        **{"dataset": "planted", "method": "mine", "use": "gene_set_mean", "params": {}, "seed": 3, "device": "cpu"},
        **{"threads": 1, "budget_seconds": None, "timeout_seconds": None},
        "prepared": str(tmp_path / "prepared.h5ad"),
        "factors": str(tmp_path / "out/factors.h5ad"),
        "run": str(tmp_path / "out/run.json"),
        "model": str(tmp_path / "out/model"),
    }


@pytest.fixture
def held_out():
    return planted(held_out=True)


def supervise(package, job, tmp_path):
    """Start `supervise` of the copied package in a Python of its own."""
    write_json(tmp_path / "job.json", job)
    code = "import sys; from factorbench.runs import supervise as s; s.supervise(sys.argv[1], sys.stderr.buffer.write)"
    environment = {**os.environ, "PYTHONPATH": str(package)}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore SIGINT
    command = [sys.executable, "-c", code, str(tmp_path / "job.json")]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, encoding="utf-8")


def supervised(package, job, tmp_path):
    """Run a job with `supervise` and return its run.json."""
    process = supervise(package, job, tmp_path)
    assert process.wait(60) == 0, process.stderr.read()
    record = read_json(job["run"])
    check_run(record)
    return record


# ------------------------------------------------------------------------------------------------------------- records


def test_a_run_is_recorded_completely(job):
    record = execute(job)
    check_run(record)
    assert read_json(job["run"]) == json.loads(json.dumps(record))
    assert record["status"] == "ok"
    assert 0 < record["fit_seconds"] < 60
    assert record["peak_memory_mb"] > 10
    assert record["inputs"]["prepared"] == sha256(job["prepared"])
    assert record["versions"]["numpy"] == np.__version__
    factors = read_factors(job["factors"])
    assert record["n_factors"] == factors.obsm["scores"].shape[1] > 0
    assert outcome_line(record).startswith("ok: ")


@pytest.mark.parametrize("recipe", RECIPES)
def test_run_json_says_how_the_autoencoder_was_trained(job, recipe):
    given = {"recipe": recipe, "hidden": [4], "epochs": 1, "min_updates": 0}
    record = execute(
        job | {"use": "interpretable_ae", "params": registry.method_params("interpretable_ae", given, "params")}
    )
    assert record["params"] == read_json(job["run"])["params"] == read_json(Path(job["model"], "model.json"))["params"]
    assert {key: record["params"][key] for key in RECIPES[recipe]} == RECIPES[recipe] | {"epochs": 1, "min_updates": 0}


def test_peak_memory_is_that_of_the_process_itself():
    """getrusage reports for a child at least the memory that its parent once had, for example 400 MB."""
    code = (
        "import subprocess, sys; big = bytearray(400 << 20); big[::4096] = b'x' * len(big[::4096]);"
        "child = 'from factorbench.runs.machine import peak_memory_mb; print(peak_memory_mb(str()))';"
        "print(subprocess.run([sys.executable, '-c', child], capture_output=True, text=True).stdout)"
    )
    path = {"PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=path, capture_output=True, text=True, check=True, encoding="utf-8"
    )
    assert 5 < float(done.stdout) < 300


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_has_the_threads_of_its_job_in_any_environment(package, job, tmp_path, monkeypatch, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    record = supervised(package, job | {"use": "threads", "threads": threads}, tmp_path)
    assert record["reason"] == f"allowed {{'{threads}'}}, used {{{threads}}}"


@pytest.mark.slow
def test_a_run_can_be_repeated_by_hand(job, tmp_path):
    write_json(tmp_path / "job.json", job)
    command = [sys.executable, "-m", "factorbench.runs", str(tmp_path / "job.json")]
    scores = []
    for _ in range(2):
        subprocess.run(command, env={**os.environ, "PYTHONPATH": str(SCRIPTS)}, check=True)
        assert read_json(job["run"])["status"] == "ok"
        scores.append(read_factors(job["factors"]).obsm["scores"])
    np.testing.assert_array_equal(*scores)


def test_a_missing_key_of_a_job_is_named(tmp_path, capsys):
    write_json(tmp_path / "job.json", {"dataset": "x"})
    assert main([str(tmp_path / "job.json")]) == EXIT_USER_ERROR
    assert "the job lacks method" in capsys.readouterr().err


def test_a_gpu_is_used_only_if_there_is_one():
    assert choose_device("cpu", "optional") == "cpu"
    assert choose_device("cuda", "none") == "cpu"
    if not torch.cuda.is_available():
        assert choose_device("auto", "optional") == "cpu"
        with pytest.raises(UserError, match="device"):
            choose_device("cuda", "optional")


# ------------------------------------------------------------------------------------------------------ held-out cells


def test_held_out_cells_are_projected_on_the_axes_of_the_seen_cells(job, held_out):
    """PCA of the seen cells by singular values, and all cells on its axes."""
    write_prepared(job["prepared"], held_out)
    record = execute(job | {"use": "pca", "params": {"n_factors": 3}})
    factors = read_factors(job["factors"])
    x, seen = held_out.X.toarray().astype(float), ~held_out.obs["held_out"].to_numpy()
    mean = x[seen].mean(axis=0)
    axes = np.linalg.svd(x[seen] - mean, full_matrices=False)[2][:3].T
    axes *= np.sign(axes.sum(axis=0))
    np.testing.assert_allclose(factors.varm["offset"].ravel(), mean, atol=1e-5)
    np.testing.assert_allclose(factors.obsm["scores"], (x - mean) @ axes, atol=1e-4)
    assert list(factors.obs_names) == list(held_out.obs_names)
    assert factors.obs["held_out"].equals(held_out.obs["held_out"])
    assert (record["n_cells"], record["status"]) == (seen.sum(), "ok")


def test_the_autoencoder_learns_nothing_from_held_out_cells(job, held_out):
    """A change of the held-out cells changes only their own scores."""
    given = {"hidden": [16], "epochs": 2, "min_updates": 0, "covariates": ["cell_type"]}
    job |= {"use": "interpretable_ae", "params": registry.method_params("interpretable_ae", given, "")}
    scores = []
    for factor in (1, 3):
        held_out.X[held_out.obs["held_out"].to_numpy()] *= factor
        write_prepared(job["prepared"], held_out)
        execute(job)
        factors = read_factors(job["factors"])
        scores.append(factors.obsm["scores"])
        assert np.isfinite(without_held_out(factors).layers["covariates"]).all()
    seen = ~held_out.obs["held_out"].to_numpy()
    np.testing.assert_array_equal(scores[0][seen], scores[1][seen])
    assert not np.allclose(scores[0][~seen], scores[1][~seen])


def test_a_method_that_cannot_project_does_not_apply_to_held_out_cells(job, held_out, monkeypatch):
    """Then nothing is imported for it."""
    monkeypatch.setattr(fsclvm, "SPEC", dataclasses.replace(fsclvm.SPEC, warm_up=("no_such_module",)))
    write_prepared(job["prepared"], held_out)
    job |= {"use": "fsclvm", "params": registry.resolve(fsclvm.SPEC, {}, "")}
    record = execute(job)
    assert (record["status"], record["fit_seconds"]) == ("not_applicable", 0)
    assert "without a new fit" in record["reason"]
    assert record["versions"]["slalom"] == "1.0.0.dev11", "packages of the method are missing"
    assert read_factors(job["factors"]).obsm["scores"].shape == (held_out.n_obs, 0)
    write_prepared(job["prepared"], planted())
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        execute(job)


def test_a_run_that_diverged_has_no_scores_to_project(job, held_out, monkeypatch):
    def fit(data, *_):
        return no_factors(data.n_obs, data.n_vars, "diverged", "by design")

    monkeypatch.setattr(gene_set_mean, "fit", fit)
    write_prepared(job["prepared"], held_out)
    assert execute(job)["status"] == "diverged"
    assert read_factors(job["factors"]).n_obs == held_out.n_obs


# ------------------------------------------------------------------------------------------------ how a run can end


@pytest.mark.slow
def test_a_timeout_kills_all_processes_and_leaves_a_valid_empty_result(package, job, tmp_path):
    record = supervised(package, job | {"use": "sleeper", "device": "auto", "timeout_seconds": 4.0}, tmp_path)
    assert record["status"] == "timeout"
    assert "4 s" in record["reason"]
    assert record["device"] == choose_device("auto", "optional"), "not the device that was asked for"
    assert 4 <= record["fit_seconds"] < 30
    assert read_factors(job["factors"]).obsm["scores"].shape == (planted().n_obs, 0)
    assert not still_running(job)


@pytest.mark.slow
def test_a_process_killed_from_outside_is_recorded(package, job, tmp_path):
    record = supervised(package, job | {"use": "suicide", "device": "auto"}, tmp_path)
    assert (record["status"], record["device"]) == ("killed", choose_device("auto", "optional"))


@pytest.mark.parametrize(("use", "words"), [("crash", "ZeroDivisionError"), ("mistake", "error: params.x: too small")])
def test_a_failure_is_reported_and_leaves_no_record(package, job, tmp_path, use, words):
    process = supervise(package, job | {"use": use}, tmp_path)
    assert process.wait(60) != 0
    assert words in process.stderr.read()
    assert not Path(job["run"]).exists()


def test_a_cancelled_run_ends_its_processes(package, job, tmp_path):
    """SIGINT, as sent by a terminal or Snakemake, while the method sleeps."""
    process = supervise(package, job | {"use": "sleeper"}, tmp_path)
    for line in process.stderr:
        if "asleep" in line:
            break
    process.send_signal(signal.SIGINT)
    assert process.wait(30) != 0
    assert not Path(job["run"]).exists()
    assert not still_running(job)


def still_running(job):
    """Return the processes that name this job's folder and still run after some seconds; killing takes a moment."""
    folder = str(Path(job["prepared"]).parent)
    for _ in range(50):
        lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
        running = [line for line in lines if folder in line]
        if not running:
            break
        time.sleep(0.1)
    return running
