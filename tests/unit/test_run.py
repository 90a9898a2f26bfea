"""One run: what is recorded, and that every way to end has a name."""

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
from factorbench import registry
from factorbench.contracts.errors import UserError
from factorbench.contracts.factors import no_factors, read_factors
from factorbench.contracts.files import read_json, sha256, write_json
from factorbench.contracts.prepared import without_held_out, write_prepared
from factorbench.contracts.run import check_run
from factorbench.methods import gene_set_mean
from factorbench.runs.__main__ import main
from factorbench.runs.execute import execute
from factorbench.runs.machine import choose_device
from factorbench.runs.supervise import EXIT_USER_ERROR

from tests.planted import ROOT, planted

AE = registry.load("method", "interpretable_ae").SPEC
METHODS = {
    "sleeper": """
        import subprocess, time
        def fit(data, params, seed, device, budget):
            subprocess.Popen(["sleep", "300"])
            print("asleep", flush=True)
            time.sleep(300)
        """,
    "crash": """
        def fit(data, params, seed, device, budget):
            raise ZeroDivisionError("by design")
        """,
    "mistake": """
        from ..contracts import UserError
        def fit(data, params, seed, device, budget):
            raise UserError("params.x: too small; make it larger")
        """,
    "teller": """
        import os, threadpoolctl
        from ..contracts import no_factors
        import numpy
        def fit(data, params, seed, device, budget):
            told = {value for name, value in os.environ.items() if name.endswith("_THREADS")}
            used = {pool["num_threads"] for pool in threadpoolctl.threadpool_info()}
            return no_factors(data.n_obs, data.n_vars, "diverged", f"told {told}, used {used}")
        """,
    "suicide": """
        import os, signal
        def fit(data, params, seed, device, budget):
            os.kill(os.getpid(), signal.SIGKILL)
        """,
}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package with methods that end in ways that ours do not."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(ROOT / "workflow/scripts/factorbench", folder / "factorbench")
    for name, text in METHODS.items():
        spec = f"from ..registry import MethodSpec\nSPEC = MethodSpec(name={name!r}, title={name!r})\n"
        (folder / f"factorbench/methods/{name}.py").write_text(spec + textwrap.dedent(text))
    return folder


@pytest.fixture
def job(tmp_path):
    write_prepared(tmp_path / "prepared.h5ad", planted())
    return {
        "dataset": "planted",
        "method": "mine",
        "use": "gene_set_mean",
        "params": {},
        "seed": 3,
        "device": "cpu",
        "threads": 1,
        "budget_seconds": None,
        "timeout_seconds": None,
        "prepared": str(tmp_path / "prepared.h5ad"),
        **{key: str(tmp_path / "out" / name) for key, name in zip(*OUTPUTS, strict=True)},
    }


OUTPUTS = (("factors", "run", "model"), ("factors.h5ad", "run.json", "model"))


def supervise(package, job, tmp_path, **popen):
    """`run.supervise` of the copied package, in a Python of its own."""
    write_json(tmp_path / "job.json", job)
    text = "import sys; from factorbench.runs.supervise import supervise; supervise(sys.argv[1], lambda b: sys.stderr.buffer.write(b))"
    command = [sys.executable, "-c", text, str(tmp_path / "job.json")]
    environment = {**os.environ, "PYTHONPATH": str(package)}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # where a shell in the background had it ignored
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, **popen)


def test_the_peak_of_memory_is_that_of_the_process_itself():
    """A child of a process that once held 400 MB has not held them, whatever getrusage says."""
    code = (
        "import subprocess, sys; big = bytearray(400 << 20); big[::4096] = b'x' * len(big[::4096]);"
        "child = 'from factorbench.runs.machine import peak_memory_mb; print(peak_memory_mb(str()))';"
        "print(subprocess.run([sys.executable, '-c', child], capture_output=True, text=True).stdout)"
    )
    path = {"PYTHONPATH": str(Path(execute.__file__).parents[2])}
    found = subprocess.run([sys.executable, "-c", code], env=path, capture_output=True, text=True, check=True)
    assert 5 < float(found.stdout) < 300


def test_a_run_is_recorded_whole(job):
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


@pytest.fixture
def held_out():
    return planted(held_out=True)


def test_held_out_cells_are_projected_by_what_the_others_taught(job, held_out):
    """PCA of the seen cells by their singular values, and all cells on its axes."""
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
    assert record["n_cells"] == seen.sum()
    assert record["status"] == "ok"


def test_the_autoencoder_learns_nothing_from_held_out_cells(job, held_out):
    """Held-out cells of other expression change their own scores only."""
    job |= {"use": "interpretable_ae", "params": registry.resolve(AE, {"epochs": 2, "covariates": ["cell_type"]}, "")}
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


def test_a_method_that_cannot_project_does_not_apply_to_held_out_cells(job, held_out):
    write_prepared(job["prepared"], held_out)
    record = execute(job | {"use": "fsclvm"})
    assert record["status"] == "not_applicable"
    assert "without a new fit" in record["reason"]
    assert record["fit_seconds"] == 0
    assert read_factors(job["factors"]).obsm["scores"].shape == (held_out.n_obs, 0)


def test_what_a_method_needs_is_not_imported_where_it_does_not_apply(job, held_out, monkeypatch):
    spec = registry.load("method", "fsclvm").SPEC
    monkeypatch.setattr(
        registry.load("method", "fsclvm"), "SPEC", dataclasses.replace(spec, imports=("no_such_module",))
    )
    write_prepared(job["prepared"], held_out)
    job |= {"use": "fsclvm", "params": registry.resolve(spec, {}, "")}
    assert execute(job)["status"] == "not_applicable"
    write_prepared(job["prepared"], planted())
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        execute(job)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_has_the_threads_of_its_job_whatever_it_was_started_with(package, job, tmp_path, monkeypatch, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    process = supervise(package, job | {"use": "teller", "threads": threads}, tmp_path)
    assert process.wait(60) == 0, process.stderr.read()
    assert read_json(job["run"])["reason"] == f"told {{'{threads}'}}, used {{{threads}}}"


def test_a_run_that_diverged_has_no_scores_to_project(job, held_out, monkeypatch):
    def fit(data, *_):
        return no_factors(data.n_obs, data.n_vars, "diverged", "by design")

    monkeypatch.setattr(gene_set_mean, "fit", fit)
    write_prepared(job["prepared"], held_out)
    assert execute(job)["status"] == "diverged"
    assert read_factors(job["factors"]).n_obs == held_out.n_obs


def test_a_run_can_be_replayed_by_hand(job, tmp_path):
    write_json(tmp_path / "job.json", job)
    command = [sys.executable, "-m", "factorbench.run", str(tmp_path / "job.json")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow/scripts")}
    subprocess.run(command, env=environment, check=True)
    assert read_json(job["run"])["status"] == "ok"
    first = read_factors(job["factors"]).obsm["scores"]
    subprocess.run(command, env=environment, check=True)
    assert np.array_equal(first, read_factors(job["factors"]).obsm["scores"])


def test_a_timeout_kills_all_it_started_and_leaves_a_valid_empty_result(package, job, tmp_path):
    job |= {"use": "sleeper", "timeout_seconds": 6.0}
    process = supervise(package, job, tmp_path)
    assert process.wait(60) == 0, process.stderr.read()
    record = read_json(job["run"])
    check_run(record)
    assert record["status"] == "timeout"
    assert "6 s" in record["reason"]
    assert read_factors(job["factors"]).obsm["scores"].shape == (planted().n_obs, 0)
    assert not left_running(job)


def test_a_process_killed_from_outside_is_recorded(package, job, tmp_path):
    process = supervise(package, job | {"use": "suicide"}, tmp_path)
    assert process.wait(60) == 0, process.stderr.read()
    assert read_json(job["run"])["status"] == "killed"


@pytest.mark.parametrize(("use", "words"), [("crash", "ZeroDivisionError"), ("mistake", "error: params.x: too small")])
def test_a_failure_is_loud_and_leaves_nothing(package, job, tmp_path, use, words):
    process = supervise(package, job | {"use": use}, tmp_path)
    assert process.wait(60) != 0
    assert words in process.stderr.read()
    assert not (tmp_path / "out" / "run.json").exists()


def test_a_cancelled_run_takes_its_processes_along(package, job, tmp_path):
    """SIGINT, as a terminal or Snakemake sends it, while the method sleeps."""
    process = supervise(package, job | {"use": "sleeper"}, tmp_path)
    for line in process.stderr:
        if "asleep" in line:
            break
    process.send_signal(signal.SIGINT)
    assert process.wait(30) != 0
    assert not (tmp_path / "out" / "run.json").exists()
    assert not left_running(job)


def left_running(job):
    """Processes that still run this job (looked for a few seconds, since killing takes a moment)."""
    folder = job["prepared"].rsplit("/", 1)[0]
    for _ in range(50):
        lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
        found = [line for line in lines if "factorbench.run" in line and folder in line]
        if not found:
            break
        time.sleep(0.1)
    return found


def test_a_missing_key_of_a_job_is_named(tmp_path, capsys):
    write_json(tmp_path / "job.json", {"dataset": "x"})
    assert main([str(tmp_path / "job.json")]) == EXIT_USER_ERROR
    assert "the job lacks method" in capsys.readouterr().err


def test_the_gpu_is_taken_only_where_there_is_one():
    import torch

    assert choose_device("cpu", "optional") == "cpu"
    assert choose_device("cuda", "none") == "cpu"
    if not torch.cuda.is_available():
        assert choose_device("auto", "optional") == "cpu"
        with pytest.raises(UserError, match="device"):
            choose_device("cuda", "optional")
