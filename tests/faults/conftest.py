"""Faults injected for real: a small undisturbed benchmark, and copies of it in which something goes wrong."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time

import anndata
import psutil
import pytest
from factorbench.contracts.factors import read_factors
from factorbench.contracts.files import read_json, read_table

from tests.workflow.conftest import Bench, clean_environment, interruptible, planted_config, run_once

HALTING = '''
"""The interpretable autoencoder; it pauses in the middle of training while a file called halt exists."""

import dataclasses
import time
from pathlib import Path

from ..contracts.budget import Budget
from . import interpretable_ae
from .interpretable_ae import check, complete

SPEC = dataclasses.replace(interpretable_ae.SPEC, name="halting")


class Halting(Budget):
    asked = 0

    def spent(self):
        self.asked += 1
        if self.asked == 20 and Path("halt").exists():
            Path("halted").touch()
            while Path("halt").exists():
                time.sleep(0.05)
            if Path("hungry").exists():
                bytearray(256 << 20)
        return False


def fit(data, params, seed, device, budget):
    return interpretable_ae.fit(data, params, seed, device, Halting())
'''
FACTORS = "results/runs/planted/slow/0/factors.h5ad"
SCORES = "results/scores/planted/slow/0.tsv"
"""The targets of most tests: the disturbed run and its scores."""

TIMES = ["fit_seconds", "start_seconds", "peak_memory_mb", "started"]
"""Columns that differ between two runs of the same job."""


class Breakable(Bench):
    """A benchmark that can be watched and disturbed while it runs."""

    @contextlib.contextmanager
    def running(self, *arguments: str, to: str = "printed"):
        """Run Snakemake in a process group of its own, like a terminal; kill the group in the end."""
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
        with open(self.folder / to, "w", encoding="utf-8") as printed:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=clean_environment(),
                stdout=printed,
                stderr=printed,
                process_group=0,
                preexec_fn=interruptible,
            )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @contextlib.contextmanager
    def halted(self, *arguments: str):
        """`running`, once the method pauses in the middle of training."""
        (self.folder / "halt").touch()
        (self.folder / "halted").unlink(missing_ok=True)
        with self.running(*arguments) as process:
            wait_for(lambda: (self.folder / "halted").exists() or process.poll() is not None)
            assert process.poll() is None, self.printed()
            try:
                yield process
            finally:
                (self.folder / "halt").unlink(missing_ok=True)

    def processes(self, words: str) -> list[psutil.Process]:
        """Return the processes in the folder whose command contains ``words``."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, FileNotFoundError):
                if process.cwd() == str(self.folder) and words in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def nothing_is_left_running(self) -> None:
        """Check that nothing of a killed run goes on: it would write into the files of the next."""
        wait_for(lambda: not self.processes(""), 30)

    def nothing_is_half_written(self) -> None:
        """Check that every file with a name that is read is complete."""
        for path in self.folder.glob("results/**/[!.]*.h5ad"):
            (read_factors if path.name == "factors.h5ad" else anndata.read_h5ad)(path)
        for path in self.folder.glob("results/**/[!.]*.json"):
            read_json(path)

    def errors(self) -> list[str]:
        """Return the error lines, each once: the log of a failed job is shown again."""
        assert "Traceback" not in self.printed(), self.printed()
        return list(dict.fromkeys(line for line in self.printed().splitlines() if line.startswith("error: ")))

    def remove(self, path: str) -> None:
        shutil.rmtree(self.folder / path)

    def finish(self, *arguments: str) -> None:
        """Run the same command again, undisturbed."""
        with self.running(*arguments) as process:
            assert process.wait() == 0, self.printed()
        assert not list(self.folder.glob("results/**/.*.part*")), "temporary files are removed"

    def results(self, pattern: str = "results/**/*") -> dict[str, object]:
        """Return all tables and the numbers of every run, without times."""
        found = {}
        for path in sorted(path for path in self.folder.glob(pattern) if not {"benchmarks", "logs"} & {*path.parts}):
            name = str(path.relative_to(self.folder))
            if path.suffix == ".tsv" and path.name != "runtime.tsv":
                found[name] = read_table(path).drop(columns=TIMES, errors="ignore").to_csv()
            elif path.name == "factors.h5ad":
                factors = read_factors(path)
                found[name] = factors.obsm["scores"].tobytes() + factors.varm["loadings"].tobytes()
            elif path.name == "run.json":
                found[name] = {key: value for key, value in read_json(path).items() if key not in TIMES}
        return found


def wait_for(condition, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the condition was not met in time")
        time.sleep(0.05)


def halting(bench):
    """A method that can pause, and one that is fast; no figures and no claims."""
    (bench.folder / "workflow/scripts/factorbench/methods/halting.py").write_text(HALTING, encoding="utf-8")
    config = planted_config(bench.folder)
    params = config["methods"]["ae"]["params"] | {"epochs": 20, "min_updates": 0}
    config["methods"] = {"slow": {"use": "halting", "params": params}, "gene_set_mean": {"use": "gene_set_mean"}}
    config["runs"] = [{"datasets": ["planted"], "methods": ["slow", "gene_set_mean"]}]
    config["figures"] = {}
    del config["claims"]
    bench.write_config(config)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The finished benchmark. Tests work on copies of it."""
    used = run_once("halting", halting, tmp_path_factory)
    return Breakable.copy(used, tmp_path_factory.mktemp("copy") / "undisturbed")


@pytest.fixture
def bench(undisturbed, tmp_path):
    """A copy without the slow run and everything that follows from it."""
    copy = Breakable.copy(undisturbed.folder, tmp_path / "bench")
    for path in ("runs/planted/slow", "scores/planted/slow", "comparisons", "tables"):
        shutil.rmtree(copy.result(path))
    copy.result("report.html").unlink()
    return copy


@pytest.fixture
def small(tmp_path):
    """A function that mounts a small disk on a folder and returns a function that makes it larger."""
    mounted = []

    def mount(folder, kib):
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "small", folder], capture_output=True)
        if done.returncode:
            pytest.skip(f"a small disk needs the right to mount one: {done.stderr.decode().strip()}")
        mounted.append(folder)
        return lambda: subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)
