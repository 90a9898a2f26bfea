"""A run from the outside: started in a process of its own, killed after its time-out, recorded however it ends."""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from .. import registry
from ..contracts.errors import UserError
from ..contracts.factors import no_factors
from ..contracts.files import read_json
from ..contracts.prepared import read_prepared
from .execute import run_record, write_results
from .machine import choose_device

# Threads that spin while they wait make a run several times slower as soon as another process wants a core. Threads
# that go to sleep soon cost about an eighth of the time on an idle machine; repeatable times are worth that.
DEFAULT_ENVIRONMENT = {"GOMP_SPINCOUNT": "1000"}

SUPERVISOR = "FACTORBENCH_SUPERVISOR"
"""Environment variable: the process that started a run. The run stops when it ends. Unset in a run by hand."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""Environment variables that libraries read their number of threads from when they are imported."""

EXIT_USER_ERROR = 3
"""Exit status of a run that reported a `UserError` in one line."""

USUAL_CAUSE = "signal 9; usually out of memory"


def supervise(job_path: str | Path, echo: Callable[[bytes], None]) -> dict[str, Any]:
    """Run a job in a process of its own and return its record (run.json), however it ends.

    Parameters
    ----------
    job_path
        A job as json (`contracts.run.JOB_KEYS`).
    echo
        Called with the output of the process as it comes.

    Returns
    -------
    dict
        run.json. A process that exceeds ``timeout_seconds`` is killed with all its children; this, or being killed
        from outside twice (out of memory, for example), is recorded with an empty but valid result.

    Raises
    ------
    UserError
        If the process reported a mistake or a lack of disk, memory or locks, or was ended by a signal.
    RuntimeError
        If the process failed in any other way: a bug must not look like a result.
    """
    job = read_json(job_path)
    name = f"{job['method']} on {job['dataset']}, seed {job['seed']}"
    started, began = datetime.datetime.now(datetime.UTC), time.monotonic()
    code, timed_out = _process(job_path, job, echo)
    if code == -signal.SIGKILL and not timed_out:
        # One kill may be an accident and must not become a result. A run that needs too much memory is killed again.
        echo(f"{name}: killed from outside ({USUAL_CAUSE}); trying once more\n".encode())
        started, began = datetime.datetime.now(datetime.UTC), time.monotonic()
        code, timed_out = _process(job_path, job, echo)
    if code == 0:
        return read_json(job["run"])
    if code == EXIT_USER_ERROR:
        raise UserError(f"{name}: see the line above")
    if timed_out:
        status, reason = "timeout", f"killed after its time-out of {job['timeout_seconds']:g} s"
    elif code == -signal.SIGKILL:
        remedy = f"snakemake --forcerun {job['run']} runs it again"
        status, reason = "killed", f"killed from outside twice ({USUAL_CAUSE}); {remedy}"
    elif code < 0:
        raise UserError(f"{name}: its process was ended by {signal.Signals(-code).name}; run the same command again")
    else:
        raise RuntimeError(f"the run ended with exit status {code}; its log says why")
    data = read_prepared(job["prepared"])
    factors = no_factors(data.n_obs, data.n_vars, status, reason)
    device = choose_device(job["device"], registry.load("method", job["use"]).SPEC.gpu)
    record = run_record(job, factors, data, device, started)
    record["fit_seconds"] = time.monotonic() - began
    write_results(job, factors, data, record)
    return record


def both(terminal: BinaryIO, log: TextIO) -> Callable[[bytes], None]:
    """Return an ``echo`` for `supervise` that writes to a terminal, as bytes, and to a log, as text."""

    def echo(chunk: bytes) -> None:
        terminal.write(chunk)
        terminal.flush()
        log.write(chunk.decode(errors="replace"))

    return echo


def _process(job_path: str | Path, job: dict[str, Any], echo: Callable[[bytes], None]) -> tuple[int, bool]:
    """Do a job in a process of its own; return its exit status and whether it was killed by its time-out."""
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    mode = "live" if sys.__stderr__.isatty() else "lines"
    threads = dict.fromkeys(THREADS, str(job["threads"]))
    ours = {"PYTHONPATH": path, SUPERVISOR: str(os.getpid())}
    process = subprocess.Popen(
        [sys.executable, "-m", "factorbench.runs", str(job_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env={**DEFAULT_ENVIRONMENT, "FACTORBENCH_PROGRESS": mode, **os.environ, **threads, **ours},
    )
    timed_out = threading.Event()

    def kill_late() -> None:
        if process.poll() is None:
            timed_out.set()
            kill_group(process)

    timer = threading.Timer(job["timeout_seconds"] or threading.TIMEOUT_MAX, kill_late)
    timer.daemon = True
    timer.start()
    try:
        for chunk in iter(lambda: process.stdout.read1(65536), b""):
            echo(chunk)
        return process.wait(), timed_out.is_set()
    finally:
        timer.cancel()
        kill_group(process)


def kill_group(process: subprocess.Popen) -> None:
    """Kill ``process`` and all its children, if they still run."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
