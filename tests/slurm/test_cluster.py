"""The Slurm that is tested with: refused in one line where it cannot be, gone when it is no longer wanted."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.planted import ROOT
from tests.slurm import cluster
from tests.slurm.cluster import Cluster, NoCluster, ask, install, wait

HOLD = (
    "from tests.slurm.cluster import *; install(); c = Cluster(); c.__enter__(); print(c.folder, flush=True); input()"
)


def test_who_may_not_install_is_told(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NoCluster, match=r"^Slurm's daemons are started as root; .+$"):
        install()


def test_no_slurm_is_an_error_and_no_pass():
    environment = {**os.environ, "PATH": "/nowhere", "PYTEST_ADDOPTS": "-p no:cacheprovider"}
    command = [sys.executable, "-m", "pytest", "tests/slurm/test_slurm.py", "-q"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 4
    (line,) = [line for line in (done.stdout + done.stderr).splitlines() if "error: no Slurm to test with" in line]
    assert "slurmctld" in line
    assert "apt-get" in line


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "CONFIG", tmp_path / "slurm.conf")
    monkeypatch.setattr(cluster, "CARDS", tmp_path / "gres.conf")
    return cluster.CONFIG


@pytest.mark.parametrize(
    ("first_line", "reason"),
    [
        ("ClusterName=real", "this machine has a Slurm of its own"),
        (cluster.HEADING.format(os.getpid()).strip(), f"process {os.getpid()} is using Slurm"),
    ],
)
@pytest.mark.parametrize("name", ["CONFIG", "CARDS"])
def test_another_slurm_is_left_alone(config, name, first_line, reason):
    path = getattr(cluster, name)
    path.write_text(first_line + "\nrest\n")
    with pytest.raises(NoCluster, match=reason), Cluster():
        pass
    assert path.read_text() == first_line + "\nrest\n"


def test_what_a_dead_process_left_is_replaced(config):
    gone = subprocess.Popen(["true"])
    gone.wait()
    config.write_text(cluster.HEADING.format(gone.pid))
    left = Cluster()
    left.configure()
    assert cluster.maker(config.read_text()) == str(os.getpid())
    left.stop()
    assert not config.exists()
    assert not left.folder.exists()


def alive():
    """Command lines of all daemons of a Slurm on this machine."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        words = (process / "cmdline").read_bytes().split(b"\0") if process.exists() else [b""]
        if Path(words[0].decode()).name in ("munged", "slurmctld", "slurmd"):
            found.append(words)
    return found


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_daemons_die_with_the_process_that_started_them(how):
    install()
    holder = subprocess.Popen([sys.executable, "-c", HOLD], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        folder = holder.stdout.readline().decode().strip()
        assert ask("sinfo", "--noheader", "--format=%D") == ["2"]
        assert len(alive()) == 4
    finally:
        holder.send_signal(how)
        holder.wait()
    wait(lambda: not alive(), 15, lambda: "still there")
    shutil.rmtree(folder)
    with Cluster() as up:  # over what was left
        assert up.ours
