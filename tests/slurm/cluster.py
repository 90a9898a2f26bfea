"""A Slurm of two small nodes on the loopback of this machine, for as long as it is wanted: no cgroups, no database,
and a card on the second node that is none.

Every daemon is a child of this process, which ends it by its id; the kernel ends it if this process dies first.
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
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
PACKAGES = ("munge", "slurmctld", "slurmd", "slurm-client")
CONFIG = Path("/etc/slurm/slurm.conf")
"""Where Slurm looks: the executor plugin takes SLURM_CONF, like all SLURM_*, from what jobs start."""

CARDS = CONFIG.with_name("gres.conf")

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
    """Why there can be no Slurm here, in one line."""


def install() -> None:
    """Have what Slurm needs, from Debian's packages where it is missing.

    Raises
    ------
    NoCluster
        If this process may not install them, or cannot.
    """
    if os.geteuid() != 0:
        raise NoCluster("Slurm's daemons are started as root; run it as root, in a container say")
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise NoCluster(f"{', '.join(missing)} not found, and no apt-get to install {' '.join(PACKAGES)} with")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(["apt-get", "-qq", *command], env=quiet, capture_output=True, text=True)
        if done.returncode != 0:
            last = (done.stderr.strip() or "no reason given").splitlines()[-1]
            raise NoCluster(f"apt-get {command[0]} failed: {last}")


class Cluster:
    """Two nodes of four CPUs each, whatever the machine has; ``with Cluster() as cluster`` has them up and down."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # a socket's path must be short
        self.daemons: list[subprocess.Popen] = []
        self.ours = False

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
        """Write Slurm's configuration, unless another Slurm has one here."""
        for path in filter(Path.exists, (CONFIG, CARDS)):
            process = maker(path.read_text())
            if process is None:
                raise NoCluster(f"{path} is there: this machine has a Slurm of its own; run it elsewhere")
            if Path(f"/proc/{process}").exists():
                raise NoCluster(f"process {process} is using Slurm for such a test already; wait for its end")
        (self.folder / "state").mkdir()
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 * 9 // 10
        text = TEMPLATE.format(host=socket.gethostname(), folder=self.folder, ports=free_ports(3), memory=memory)
        CONFIG.parent.mkdir(exist_ok=True)
        CONFIG.write_text(HEADING.format(os.getpid()) + text)
        CARDS.write_text(HEADING.format(os.getpid()) + "NodeName=node2 Name=gpu File=/dev/null\n")
        self.ours = True

    def start(self) -> None:
        munge = [f"--{name}-file={self.folder}/munge.{name}" for name in ("key", "pid", "seed", "log")]
        self.daemon("munged", "--foreground", "--force", f"--socket={self.folder}/munge.socket", *munge)
        wait(lambda: (self.folder / "munge.socket").exists(), 10, self.complaint)
        self.daemon("slurmctld", "-D", "-i")
        self.daemon("slurmd", "-D", "-N", "node1")
        self.daemon("slurmd", "-D", "-N", "node2")
        wait(lambda: ask("sinfo", "--noheader", "--format=%t %D") == ["idle 2"], 30, self.complaint)

    def daemon(self, *command: str) -> None:
        log = open(self.folder / "output.log", "ab")  # noqa: SIM115 - the daemon's, as long as it lives
        self.daemons.append(subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_parent))
        log.close()

    def complaint(self) -> str:
        """The last errors of the daemons."""
        lines = [line for path in self.folder.glob("*.log") for line in path.read_text(errors="replace").splitlines()]
        return (
            "; ".join([line for line in lines if "error" in line or "fatal" in line][-3:]) or "no error in their logs"
        )

    def stop(self) -> None:
        """End all jobs, then the daemons, by their ids; take the configuration away."""
        try:
            if len(self.daemons) > 1 and self.daemons[1].poll() is None:
                subprocess.run(["scancel", "--quiet", "--user=root"], timeout=20)
                wait(lambda: not ask("squeue", "--noheader"), 20, self.complaint)
        finally:
            for daemon in reversed(self.daemons):
                daemon.terminate()
            for daemon in reversed(self.daemons):
                try:
                    daemon.wait(10)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait()
            if self.ours:
                CONFIG.unlink(missing_ok=True)
                CARDS.unlink(missing_ok=True)
            shutil.rmtree(self.folder, ignore_errors=True)

    def jobs(self) -> dict[str, dict[str, str]]:
        """What the controller wrote of each job that ended, by its id: JobState, TimeLimit, NodeList, EndTime, ..."""
        log = self.folder / "jobs.log"
        lines = log.read_text().splitlines() if log.exists() else []
        rows = [dict(part.split("=", 1) for part in line.split() if "=" in part) for line in lines]
        return {row["JobId"]: row for row in rows}

    def submitted(self) -> set[str]:
        """Ids of all jobs that the controller was given, by its own log."""
        lines = (self.folder / "slurmctld.log").read_text().splitlines()
        words = [word for line in lines if "_slurm_rpc_submit_batch_job" in line for word in line.split()]
        return {word.removeprefix("JobId=") for word in words if word.startswith("JobId=")}


def maker(text: str) -> str | None:
    """Id of the process that wrote this configuration; ``None`` if it is none of ours."""
    before, _, after = HEADING.partition("{}")
    line = text.partition("\n")[0] + "\n"
    return line.removeprefix(before).removesuffix(after) if line.startswith(before) and line.endswith(after) else None


def die_with_parent() -> None:
    """Have the kernel end this process when its parent does, however that ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def free_ports(n: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def ask(*command: str) -> list[str]:
    """Lines that a command of Slurm prints; none while nobody answers."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    return done.stdout.split("\n")[:-1] if done.returncode == 0 else []


def wait(done, seconds: float, complaint) -> None:
    """Until ``done()``; `NoCluster` with the daemons' last words if that takes longer than ``seconds``."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise NoCluster(f"Slurm did not get ready or empty within {seconds:g} s: {complaint()}")
        time.sleep(0.2)
