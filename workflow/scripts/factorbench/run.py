"""One run: seed, stopwatch, budget, time-out, status, provenance.

``python -m factorbench.run <job.json>`` replays any run by hand; the workflow uses the same line (`supervise`), so that
what is timed is a fresh process with the threads it was given and nothing else in it.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import importlib
import importlib.metadata
import json
import os
import platform
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import contracts, lifeline, registry
from .clock import Budget
from .contracts import Factors, UserError
from .shortage import shortage, tell_once

if TYPE_CHECKING:
    import numpy as np

PACKAGES = ("numpy", "scipy", "pandas", "anndata", "scanpy", "scikit-learn", "torch", "slalom", "snakemake")

# Threads that spin while they wait make a run several times slower once anything else wants a core; threads that soon
# go to sleep cost about an eighth of the time where nothing does. A time that repeats is worth that.
DEFAULT_ENVIRONMENT = {"GOMP_SPINCOUNT": "1000"}

SUPERVISOR = "FACTORBENCH_SUPERVISOR"
"""Holds the process that started a run and that it does not outlive; not set where a run is replayed by hand."""

OFTEN = "signal 9; out of memory, most often"

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""What libraries are told the threads of a run by, when they are imported."""

CANNOT_PROJECT = "cells are held out, and the method has no scores for new cells without a new fit"

JOB_KEYS = (
    *("dataset", "method", "use", "params", "seed", "device", "threads", "budget_seconds", "timeout_seconds"),
    *("prepared", "factors", "run", "model"),
)
"""A job: what to fit on what, and the paths of what it reads (``prepared``) and writes (the last three)."""


# ------------------------------------------------------------------------------------------------ in the process itself


def execute(job: dict[str, Any]) -> dict[str, Any]:
    """Do the run that ``job`` describes, in this process, and return its record (run.json).

    The clock covers the method's ``fit`` (initialisation, training, scores), not imports, reading and writing. Cells
    that are held out are projected after the clock has stopped; a method that cannot is not fitted.
    """
    from threadpoolctl import threadpool_limits

    method = registry.load("method", job["use"])
    started = datetime.datetime.now(datetime.UTC)
    data = contracts.read_prepared(job["prepared"])
    check(job["use"], job["params"], data)
    device = choose_device(job["device"], method.SPEC.gpu)
    budget = Budget(job["budget_seconds"])
    seen = contracts.seen_cells(data)
    if not seen.all() and not method.SPEC.projects:
        factors, seconds = contracts.no_factors(data.n_obs, data.n_vars, "not_applicable", CANNOT_PROJECT), 0.0
    else:
        cells = contracts.without_held_out(data)
        for module in method.SPEC.imports:
            importlib.import_module(module)
        with threadpool_limits(job["threads"]):
            seed_everything(job["seed"], job["threads"])
            budget.start()
            factors = method.fit(cells, dict(job["params"]), job["seed"], device, budget)
            synchronise(device)
            seconds = budget.elapsed()
            if not seen.all():
                factors = project(factors, data, seen)
    record = describe(job, factors, data, device, started)
    record["fit_seconds"] = seconds
    record["peak_memory_mb"] = peak_memory_mb(device)
    publish(job, factors, data, record)
    return record


def check(use: str, params: dict[str, Any], data: Any) -> None:
    """Raise `UserError` if a method says that it cannot be fitted to the seen cells of prepared ``data``."""
    method, seen = registry.load("method", use), contracts.seen_cells(data)
    if hasattr(method, "check") and (method.SPEC.projects or seen.all()):
        method.check(int(seen.sum()), *data.varm["mask"].shape, params)


def project(factors: Factors, data: Any, seen: np.ndarray) -> Factors:
    """Factors of all cells of ``data``, from those found on the ``seen`` ones (bool, shape (n_cells,))."""
    if factors.table.empty:
        return contracts.no_factors(data.n_obs, data.n_vars, factors.status, factors.reason)
    return contracts.spread(factors, seen, factors.project(data[~seen]))


def publish(job: dict[str, Any], factors: Factors, data: Any, record: dict[str, Any]) -> None:
    """Write factors.h5ad, the model if there is one, and last run.json, which says that the others are whole."""
    contracts.check_run(record)
    contracts.write_factors(job["factors"], factors, data)
    model = Path(job["model"])
    model.mkdir(parents=True, exist_ok=True)
    if factors.model is not None:
        factors.model.save(model)
    contracts.write_json(job["run"], record)


def describe(job: dict[str, Any], factors: Factors, data: Any, device: str, started: Any) -> dict[str, Any]:
    """The record of a run, but for what was measured while it ran."""
    commit, dirty = git_state()
    return {
        "dataset": job["dataset"],
        "method": job["method"],
        "use": job["use"],
        "seed": job["seed"],
        "params": job["params"],
        "status": factors.status,
        "reason": factors.reason,
        "converged": factors.converged,
        "iterations": factors.iterations,
        "fit_seconds": None,
        "start_seconds": factors.start_seconds,
        "budget_seconds": job["budget_seconds"],
        "timeout_seconds": job["timeout_seconds"],
        "n_cells": int(contracts.seen_cells(data).sum()),
        "n_genes": data.n_vars,
        "n_factors": len(factors.table),
        "n_active": int(factors.table["active"].sum()),
        "device": device,
        "threads": job["threads"],
        "peak_memory_mb": None,
        "host": platform.node(),
        "processor": processor(),
        "started": started.isoformat(timespec="seconds"),
        "git_commit": commit,
        "git_dirty": dirty,
        "versions": versions(),
        "inputs": {"prepared": sha256(job["prepared"])},
    }


def seed_everything(seed: int, threads: int) -> None:
    """Seed every generator a method may draw from and hold torch to ``threads`` and to deterministic kernels."""
    import numpy as np

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - slalom draws from the global generator
    if "torch" in sys.modules:
        import torch

        torch.manual_seed(seed)
        torch.set_num_threads(threads)


def choose_device(wanted: str, gpu: str) -> str:
    """``cpu`` or ``cuda`` for a method whose SPEC says ``gpu`` (none, optional, required)."""
    if gpu == "none" or (wanted == "cpu" and gpu == "optional"):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda" or gpu == "required":
        raise UserError("device: cuda was asked for and there is none here; say `device: cpu` or `device: auto`")
    return "cpu"


def synchronise(device: str) -> None:
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def peak_memory_mb(device: str) -> float:
    """Peak memory of this process in MiB (of the card, where the run was on one)."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    with contextlib.suppress(OSError):
        # What getrusage calls the peak is on Linux at least that of the process which started this one.
        (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def git_state() -> tuple[str | None, bool | None]:
    """Commit of this checkout and whether tracked files differ from it; (None, None) outside a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None, None


def sha256(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ----------------------------------------------------------------------------------------------------- from the outside


def supervise(job_path: str | Path, echo: Callable[[bytes], None]) -> dict[str, Any]:
    """Run a job in a process of its own and return its record, whatever becomes of it.

    Parameters
    ----------
    job_path
        A job as json (`JOB_KEYS`).
    echo
        Is given whatever the process prints, as it comes.

    Returns
    -------
    dict
        run.json. A process that outlives ``timeout_seconds`` is killed with all it started; that, and being killed
        from outside twice (out of memory, say), is recorded, with an empty but valid result.

    Raises
    ------
    UserError
        The mistake or the lack of disk or memory that the process reported; or that a signal ended it.
    RuntimeError
        If the process failed in any other way: a fault that must not look like a result.
    """
    job = contracts.read_json(job_path)
    name = f"{job['method']} on {job['dataset']}, seed {job['seed']}"
    started, began = datetime.datetime.now(datetime.UTC), time.monotonic()
    code, late = _process(job_path, job, echo)
    if code == -signal.SIGKILL and not late:
        # One kill may be an accident, which must not become a result; what needs too much memory is killed again.
        echo(f"{name}: killed from outside ({OFTEN}), tried once more\n".encode())
        started, began = datetime.datetime.now(datetime.UTC), time.monotonic()
        code, late = _process(job_path, job, echo)
    if code == 0:
        return contracts.read_json(job["run"])
    if code == EXIT_USER_ERROR:
        raise UserError(f"{name}: see the line above")
    if late:
        status, reason = "timeout", f"killed after its time-out of {job['timeout_seconds']:g} s"
    elif code == -signal.SIGKILL:
        again = f"--forcerun {job['run']} has it run again"
        status, reason = "killed", f"killed from outside twice ({OFTEN}); {again}"
    elif code < 0:
        raise UserError(f"{name}: its process was ended by {signal.Signals(-code).name}; run the same command again")
    else:
        raise RuntimeError(f"the run ended with exit status {code}; its log says why")
    data = contracts.read_prepared(job["prepared"])
    factors = contracts.no_factors(data.n_obs, data.n_vars, status, reason)
    record = describe(job, factors, data, job["device"], started)
    record["fit_seconds"] = time.monotonic() - began
    publish(job, factors, data, record)
    return record


def _process(job_path: str | Path, job: dict[str, Any], echo: Callable[[bytes], None]) -> tuple[int, bool]:
    """Do a job in a process of its own: its exit status, and whether it was killed because its time was up."""
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    mode = "live" if sys.__stderr__.isatty() else "lines"
    threads = dict.fromkeys(THREADS, str(job["threads"]))
    ours = {"PYTHONPATH": path, SUPERVISOR: str(os.getpid())}
    process = subprocess.Popen(
        [sys.executable, "-m", "factorbench.run", str(job_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env={**DEFAULT_ENVIRONMENT, "FACTORBENCH_PROGRESS": mode, **os.environ, **threads, **ours},
    )
    limit = job["timeout_seconds"]
    timer = None if limit is None else _Alarm(limit, process)
    try:
        for chunk in iter(lambda: process.stdout.read1(65536), b""):
            echo(chunk)
        return process.wait(), timer is not None and timer.rang
    finally:
        if timer is not None:
            timer.cancel()
        kill_group(process)


class _Alarm:
    """Kill the process group of ``process`` after ``seconds``, unless cancelled."""

    def __init__(self, seconds: float, process: subprocess.Popen):
        import threading

        self.rang = False
        self._process = process
        self._timer = threading.Timer(seconds, self._ring)
        self._timer.daemon = True
        self._timer.start()

    def _ring(self) -> None:
        if self._process.poll() is None:
            self.rang = True
            kill_group(self._process)

    def cancel(self) -> None:
        self._timer.cancel()


def kill_group(process: subprocess.Popen) -> None:
    """Kill ``process`` and all that it started; nothing if they have ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


EXIT_USER_ERROR = 3


def main(arguments: list[str]) -> int:
    tell_once()
    if len(arguments) != 1:
        print("usage: python -m factorbench.run <job.json>", file=sys.stderr)
        return 2
    try:
        job = json.loads(Path(arguments[0]).read_text())
        missing = [key for key in JOB_KEYS if key not in job]
        if missing:
            raise UserError(f"{arguments[0]}: the job lacks {', '.join(missing)}")
        if SUPERVISOR in os.environ:
            alive = lifeline.started_by(int(os.environ[SUPERVISOR]))
            lifeline.watch(alive, lambda: os.killpg(os.getpgid(0), signal.SIGKILL))
        execute(job)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except Exception as error:
        lack = shortage(error, f"{job['method']} on {job['dataset']}, seed {job['seed']}")
        if lack is None:
            raise
        print(f"error: {lack}", file=sys.stderr, flush=True)
        # HDF5 crashes when it closes a file for which there is no space.
        os._exit(EXIT_USER_ERROR)
    return 0


def summary(record: dict[str, Any]) -> str:
    """One line on how a run ended."""
    line = f"{record['status']}: {record['fit_seconds']:.1f} s"
    if record["iterations"] is not None:
        line += f", {record['iterations']} iterations"
    if record["n_factors"]:
        line += f", {record['n_active']} of {record['n_factors']} factors on"
    return line + (f" ({record['reason']})" if record["reason"] and record["status"] != "ok" else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
