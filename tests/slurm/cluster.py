"""A Slurm of two small nodes on this machine for the time of a test: no cgroups, no accounting database.

The second node has a pretended GPU (/dev/null). Every daemon is a child of this process, which stops it by its id. The
kernel stops it if this process dies first.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
PACKAGES = ("munge", "slurmctld", "slurmd", "slurm-client")
CONFIG = Path("/etc/slurm/slurm.conf")
"""Slurm's default path. SLURM_CONF could not set another, because the executor removes SLURM_* from what jobs start."""

GPUS = CONFIG.with_name("gres.conf")

HEADING = "# Made by tests/slurm of factorbench, by process {}; removed when it ends.\n"

TEMPLATE = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
GresTypes=gpu
MinJobAge=600
KillWait=2
SchedulerParameters=batch_sched_delay=0,sched_interval=5,bf_interval=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs.log
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 RealMemory={memory}
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4 RealMemory={memory} Gres=gpu:1 Weight=2
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class NoCluster(Exception):
    """Slurm cannot be used. The text is one line with the reason."""


def install() -> None:
    """Install the Debian packages of Slurm if programs of it are missing.

    Raises
    ------
    NoCluster
        If this process is not root, or the packages cannot be installed.
    """
    if os.geteuid() != 0:
        raise NoCluster("Slurm's daemons are started as root; run the tests as root, for example in a container")
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise NoCluster(f"{', '.join(missing)} not found, and no apt-get to install {' '.join(PACKAGES)}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(["apt-get", "-qq", *command], env=quiet, capture_output=True, text=True, encoding="utf-8")
        if done.returncode != 0:
            last = (done.stderr.strip() or "no reason given").splitlines()[-1]
            raise NoCluster(f"apt-get {command[0]} failed: {last}")


class Cluster:
    """Two nodes of four CPUs each, however many the machine has. They run inside ``with Cluster() as cluster``."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # the path of a socket must be short
        self.daemons: list[subprocess.Popen] = []
        self.configured = False

    def __enter__(self) -> Cluster:
        try:
            self.configure()
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def configure(self) -> None:
        """Write Slurm's configuration. Raise `NoCluster` if another Slurm has one, or such a test runs already."""
        for path in filter(Path.exists, (CONFIG, GPUS)):
            process = writer(path.read_text(encoding="utf-8"))
            if process is None:
                raise NoCluster(f"{path} exists: this machine has another Slurm; run the tests elsewhere")
            if Path(f"/proc/{process}").exists():
                raise NoCluster(f"process {process} is using Slurm for these tests already; wait for its end")
        (self.folder / "state").mkdir()
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 * 9 // 10
        text = TEMPLATE.format(host=socket.gethostname(), folder=self.folder, ports=free_ports(3), memory=memory)
        CONFIG.parent.mkdir(exist_ok=True)
        CONFIG.write_text(HEADING.format(os.getpid()) + text, encoding="utf-8")
        GPUS.write_text(HEADING.format(os.getpid()) + "NodeName=node2 Name=gpu File=/dev/null\n", encoding="utf-8")
        self.configured = True

    def start(self) -> None:
        """Start all daemons; return when both nodes are idle."""
        munge = [f"--{name}-file={self.folder}/munge.{name}" for name in ("key", "pid", "seed", "log")]
        self.start_daemon("munged", "--foreground", "--force", f"--socket={self.folder}/munge.socket", *munge)
        wait_for(lambda: (self.folder / "munge.socket").exists(), 10, self.last_errors)
        self.start_daemon("slurmctld", "-D", "-i")
        self.start_daemon("slurmd", "-D", "-N", "node1")
        self.start_daemon("slurmd", "-D", "-N", "node2")
        wait_for(lambda: lines_of("sinfo", "--noheader", "--format=%t %D") == ["idle 2"], 30, self.last_errors)

    def start_daemon(self, *command: str) -> None:
        with open(self.folder / "output.log", "ab") as log:
            self.daemons.append(subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=stop_with_parent))

    def last_errors(self) -> str:
        """Return the last errors in the logs of the daemons."""
        lines = [
            line
            for path in self.folder.glob("*.log")
            for line in path.read_text(errors="replace", encoding="utf-8").splitlines()
        ]
        errors = [line for line in lines if "error" in line or "fatal" in line]
        return "; ".join(errors[-3:]) or "no error in their logs"

    def stop(self) -> None:
        """Cancel all jobs, stop the daemons by their ids, and remove the configuration."""
        try:
            if len(self.daemons) > 1 and self.daemons[1].poll() is None:
                subprocess.run(["scancel", "--quiet", "--user=root"], timeout=20)
                wait_for(lambda: not lines_of("squeue", "--noheader"), 20, self.last_errors)
        finally:
            for daemon in reversed(self.daemons):
                daemon.terminate()
            for daemon in reversed(self.daemons):
                try:
                    daemon.wait(10)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait()
            if self.configured:
                CONFIG.unlink(missing_ok=True)
                GPUS.unlink(missing_ok=True)
            shutil.rmtree(self.folder, ignore_errors=True)

    def jobs(self) -> dict[str, dict[str, str]]:
        """Return the controller's record of each finished job by its id: JobState, TimeLimit, NodeList, EndTime, ..."""
        log = self.folder / "jobs.log"
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        rows = [dict(part.split("=", 1) for part in line.split() if "=" in part) for line in lines]
        return {row["JobId"]: row for row in rows}

    def submitted(self) -> set[str]:
        """Return the ids of all jobs that were submitted, from the controller's log."""
        lines = (self.folder / "slurmctld.log").read_text(encoding="utf-8").splitlines()
        words = [word for line in lines if "_slurm_rpc_submit_batch_job" in line for word in line.split()]
        return {word.removeprefix("JobId=") for word in words if word.startswith("JobId=")}


def writer(text: str) -> str | None:
    """Return the id of the process that wrote this configuration; ``None`` if these tests did not write it."""
    before, _, after = HEADING.partition("{}")
    line = text.partition("\n")[0] + "\n"
    return line.removeprefix(before).removesuffix(after) if line.startswith(before) and line.endswith(after) else None


def stop_with_parent() -> None:
    """Tell the kernel to send SIGTERM to this process when its parent ends for any reason."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def free_ports(n: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def lines_of(*command: str) -> list[str]:
    """Return the lines that a command of Slurm prints, or none if it fails because no daemon answers."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, encoding="utf-8")
    return done.stdout.split("\n")[:-1] if done.returncode == 0 else []


def wait_for(condition: Callable[[], object], seconds: float, last_errors: Callable[[], str]) -> None:
    """Return when ``condition()`` is true; raise `NoCluster` with the daemons' last errors after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise NoCluster(f"Slurm was not ready or not empty within {seconds:g} s: {last_errors()}")
        time.sleep(0.2)
