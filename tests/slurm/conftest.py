"""A small benchmark with faults in it, run through a real Slurm as a user would, once for all tests."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, NoCluster, ask, install
from tests.workflow.conftest import Bench, interruptible, planted_config

TABLES = ["results/tables/scores.tsv"]
"""What is asked for: all tables are made by one job."""

PROFILE = ["--workflow-profile", "profiles/slurm"]
HERE = ["--max-threads", "4", "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "3"]
"""What a user sets for this cluster: cores of a node, no accounting database; and no patience."""

METHOD = '''
"""The mean of the gene set, after the fault that a file in faults/ asks for."""

import time
from pathlib import Path

from ..registry import MethodSpec, Param
from . import gene_set_mean

SPEC = MethodSpec(
    name="faulty", title="Faulty", params={"fault": Param("", "a file in faults/")},
    imports=("factorbench.methods.gene_set_mean",),
)


def fit(data, params, seed, device, budget):
    flag = Path("faults") / params["fault"]
    if flag.exists():
        what = flag.read_text()
        if what != "always":
            flag.unlink()
        if what == "hang":
            time.sleep(600)
        raise RuntimeError(f"{params['fault']}, as it was asked to")
    return gene_set_mean.fit(data, {}, seed, device, budget)
'''

FAULTS = {"over_time": "hang", "cancelled": "hang", "stumbles": "once", "breaks": "always"}
"""Methods by name, and what becomes of their runs: they hang or fail at the first attempt, or always fail."""


class ClusterBench(Bench):
    """A copy of the project that is run on a cluster, with the profile as it is."""

    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        path = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
        # The card is none: whoever has a real one must not train on it here.
        return {**kept, "PATH": path, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}

    @contextlib.contextmanager
    def started(self, *arguments: str):
        """Run Snakemake, in the background; its process, whose output is in ``printed.log``."""
        with open(self.folder / "printed.log", "wb") as log:
            command = [sys.executable, "-m", "snakemake", *arguments]
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=interruptible,
            )
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
                    process.wait(60)

    def finish(self, process: subprocess.Popen, seconds: float) -> str:
        """Wait for its end; all that it printed. Its exit status is in ``code``."""
        self.code = process.wait(seconds)
        return (self.folder / "printed.log").read_text()


def faulty_bench(folder: Path) -> ClusterBench:
    bench = ClusterBench(folder)
    (folder / "workflow/scripts/factorbench/methods/faulty.py").write_text(METHOD)
    config = planted_config(folder)
    ae = config["methods"]["ae"]
    ae["params"]["epochs"] = 5
    config["methods"] = {
        **{name: {"use": "faulty", "title": name, "params": {"fault": name}, "timeout": "10m"} for name in FAULTS},
        "ae": {**ae, "threads": 1, "timeout": "10m"},  # the same threads everywhere: the same sums
        "gene_set_mean": {"use": "gene_set_mean"},
    }
    config["methods"]["over_time"]["threads"] = 2  # runs of several threads come first
    config["runs"] = [{"datasets": ["planted"], "methods": [*config["methods"]]}]
    config["report"] = {"reference": "ae"}
    config["figures"], config["claims"], config["device"] = {}, "", "auto"
    bench.config = config
    bench.write_config(config)
    (folder / "faults").mkdir()
    return bench


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    """The same benchmark on this host without a cluster and without a fault, begun in the background."""
    bench = faulty_bench(tmp_path_factory.mktemp("reference"))
    with bench.started("--cores", "2", *TABLES) as bench.process:
        yield bench


@pytest.fixture(scope="session")
def cluster():
    try:
        install()
        with Cluster() as up:
            yield up
    except NoCluster as error:
        pytest.exit(f"error: no Slurm to test with: {error}", returncode=4)


class Run:
    """What one command did: all it printed, its exit status, and what Slurm knows of each job it submitted."""

    def __init__(self, printed: str, code: int, cluster: Cluster):
        self.printed, self.code = printed, code
        pattern = r"submitted with SLURM jobid (\d+) \(log: \S+/rule_(\w+)/(?:(\S+)/)?\d+\.log\)"
        self.jobs = {number: (rule, wildcards) for number, rule, wildcards in re.findall(pattern, printed)}
        ended = cluster.jobs()
        self.ended = {number: ended[number] for number in self.jobs if number in ended}
        self.shown = {number: " ".join(ask("scontrol", "show", "job", number)) for number in self.jobs}

    def of(self, rule: str, wildcards: str | None = None) -> list[str]:
        """Ids of the jobs of a rule, in the order of their submission."""
        found = [n for n, job in self.jobs.items() if job[0] == rule and wildcards in (None, job[1])]
        return sorted(found, key=int)

    def fits(self, method: str) -> list[dict[str, str]]:
        """What Slurm wrote of the jobs that were runs of a method."""
        return [self.ended[number] for number in self.of("fit", f"planted_{method}_0")]


def running(bench: ClusterBench, method: str) -> str | None:
    """Id of the job that is in the middle of a run of ``method``."""
    if (bench.folder / "faults" / method).exists():
        return None
    lines = ask("squeue", "--noheader", "--states=running", "--format=%i %k")
    return next((line.split()[0] for line in lines if line.endswith(f"_planted_{method}_0")), None)


@pytest.fixture(scope="session")
def bench(tmp_path_factory, cluster, reference):
    bench = faulty_bench(tmp_path_factory.mktemp("cluster"))
    for name, fault in FAULTS.items():
        (bench.folder / "faults" / name).write_text(fault)
    return bench


@pytest.fixture(scope="session")
def first(bench, cluster):
    """The command, while one job is cancelled and the time of another is cut to Slurm's least, a minute."""
    todo = {
        "cancelled": lambda number: ["scancel", number],
        "over_time": lambda number: ["scontrol", "update", f"JobId={number}", "TimeLimit=1"],
    }
    with bench.started(*PROFILE, *HERE, *TABLES) as process:
        end = time.monotonic() + 180
        while todo and process.poll() is None and time.monotonic() < end:
            for method in [*todo]:
                if number := running(bench, method):
                    subprocess.run(todo.pop(method)(number), check=True)
            time.sleep(0.5)
        printed = bench.finish(process, 240)
    return Run(printed, bench.code, cluster)


@pytest.fixture(scope="session")
def again(bench, first, cluster):
    """The same command, after what always failed was mended."""
    (bench.folder / "faults/breaks").unlink()
    with bench.started(*PROFILE, *HERE, *TABLES) as process:
        printed = bench.finish(process, 180)
    return Run(printed, bench.code, cluster)
