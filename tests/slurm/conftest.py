"""A small benchmark with faults, run once through a real Slurm for all tests, as a user would run it."""

import contextlib
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, NoCluster, install, lines_of
from tests.workflow.conftest import Bench, clean_environment, interruptible, planted_config

TABLES = ["results/tables/scores.tsv"]
"""The target. One job makes all tables."""

PROFILE = ["--workflow-profile", "profiles/slurm"]
SITE = ["--max-threads", "4", "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "3"]
"""What a user sets for this cluster: cores of a node, no accounting database; and shorter waits."""

METHOD = '''
"""The mean of the gene set, after a fault that a file in faults/ names."""

import time
from pathlib import Path

from ..registry import MethodSpec, Param
from . import gene_set_mean

SPEC = MethodSpec(name="faulty", title="Faulty", params={"fault": Param("", "a file in faults/")})


def fit(data, params, seed, device, budget):
    flag = Path("faults") / params["fault"]
    if flag.exists():
        fault = flag.read_text()
        if fault != "always":
            flag.unlink()
        if fault == "hang":
            time.sleep(600)
        raise RuntimeError(f"{params['fault']} by design")
    return gene_set_mean.fit(data, {}, seed, device, budget)
'''

FAULTS = {"over_time": "hang", "cancelled": "hang", "stumbles": "once", "breaks": "always"}
"""Method -> its fault: the first attempt hangs or fails, or all attempts fail."""


class ClusterBench(Bench):
    """A copy of the project that is run on a cluster, with the profile as it is."""

    @contextlib.contextmanager
    def started(self, *arguments: str):
        """Run Snakemake in the background; yield its process. Its output goes to ``printed.log``."""
        # CUDA_VISIBLE_DEVICES: the tests must not train on a real GPU of this machine.
        environment = clean_environment() | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "snakemake", *arguments]
        with open(self.folder / "printed.log", "wb") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, preexec_fn=interruptible
            )
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
                    process.wait(60)

    def finish(self, process: subprocess.Popen, seconds: float) -> str:
        """Wait for the end of a process and return its output. Its exit status is in ``code``."""
        self.code = process.wait(seconds)
        return (self.folder / "printed.log").read_text(encoding="utf-8")


def faulty_bench(folder: Path) -> ClusterBench:
    bench = ClusterBench(folder)
    (folder / "workflow/scripts/factorbench/methods/faulty.py").write_text(METHOD, encoding="utf-8")
    config = planted_config(folder)
    ae = config["methods"]["ae"]
    ae["params"]["epochs"] = 5
    config["methods"] = {
        **{name: {"use": "faulty", "title": name, "params": {"fault": name}, "timeout": "10m"} for name in FAULTS},
        "ae": {**ae, "threads": 1, "timeout": "10m"},  # the same threads everywhere: the same sums
        "gene_set_mean": {"use": "gene_set_mean"},
    }
    config["methods"]["over_time"]["threads"] = 2  # runs with several threads come first
    config["runs"] = [{"datasets": ["planted"], "methods": [*config["methods"]]}]
    config["report"] = {"reference": "ae"}
    config["figures"], config["claims"], config["device"] = {}, "", "auto"
    bench.config = config
    bench.write_config(config)
    (folder / "faults").mkdir()
    return bench


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    """The same benchmark on this machine without a cluster and without faults, started in the background."""
    bench = faulty_bench(tmp_path_factory.mktemp("reference"))
    with bench.started("--cores", "2", *TABLES) as bench.process:
        yield bench


@pytest.fixture(scope="session")
def cluster():
    try:
        install()
        with Cluster() as running:
            yield running
    except NoCluster as error:
        pytest.exit(f"error: no Slurm to test with: {error}", returncode=4)


class Run:
    """What one command did: its output, its exit status, and Slurm's records of the jobs that it submitted."""

    def __init__(self, printed: str, code: int, cluster: Cluster):
        self.printed, self.code = printed, code
        pattern = r"submitted with SLURM jobid (\d+) \(log: \S+/rule_(\w+)/(?:(\S+)/)?\d+\.log\)"
        self.jobs = {number: (rule, wildcards) for number, rule, wildcards in re.findall(pattern, printed)}
        ended = cluster.jobs()
        self.ended = {number: ended[number] for number in self.jobs if number in ended}
        self.shown = {number: " ".join(lines_of("scontrol", "show", "job", number)) for number in self.jobs}

    def of(self, rule: str, wildcards: str | None = None) -> list[str]:
        """Return the ids of the jobs of a rule, in the order of their submission."""
        return sorted((n for n, job in self.jobs.items() if job[0] == rule and wildcards in (None, job[1])), key=int)

    def fits(self, method: str) -> list[dict[str, str]]:
        """Return Slurm's records of the attempts to run a method."""
        return [self.ended[number] for number in self.of("fit", f"planted_{method}_0")]


def running_job(bench: ClusterBench, method: str) -> str | None:
    """Return the id of the job that hangs in a run of ``method``, if there is one."""
    if (bench.folder / "faults" / method).exists():
        return None
    lines = lines_of("squeue", "--noheader", "--states=running", "--format=%i %k")
    return next((line.split()[0] for line in lines if line.endswith(f"_planted_{method}_0")), None)


@pytest.fixture(scope="session")
def bench(tmp_path_factory, cluster, reference):
    bench = faulty_bench(tmp_path_factory.mktemp("cluster"))
    for name, fault in FAULTS.items():
        (bench.folder / "faults" / name).write_text(fault, encoding="utf-8")
    return bench


@pytest.fixture(scope="session")
def first(bench, cluster):
    """The command, while one job is cancelled and the time of another is cut to one minute, Slurm's minimum."""
    disturb = {
        "cancelled": lambda number: ["scancel", number],
        "over_time": lambda number: ["scontrol", "update", f"JobId={number}", "TimeLimit=1"],
    }
    with bench.started(*PROFILE, *SITE, *TABLES) as process:
        end = time.monotonic() + 180
        while disturb and process.poll() is None and time.monotonic() < end:
            for method in [*disturb]:
                if number := running_job(bench, method):
                    subprocess.run(disturb.pop(method)(number), check=True)
            time.sleep(0.5)
        printed = bench.finish(process, 240)
    return Run(printed, bench.code, cluster)


@pytest.fixture(scope="session")
def again(bench, first, cluster):
    """The same command, after the fault of the method that always fails was removed."""
    (bench.folder / "faults/breaks").unlink()
    with bench.started(*PROFILE, *SITE, *TABLES) as process:
        printed = bench.finish(process, 180)
    return Run(printed, bench.code, cluster)
