"""The Slurm that the tests start: an error of one line if there can be none, and no process left in the end."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.planted import ROOT
from tests.slurm import cluster
from tests.slurm.cluster import Cluster, NoCluster, install, lines_of, wait_for

HOLD = (
    "from tests.slurm.cluster import *; install(); c = Cluster(); c.__enter__(); print(c.folder, flush=True); input()"
)
"""A process that starts a Slurm, prints its folder and waits."""


def test_only_root_may_install(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NoCluster, match=r"^Slurm's daemons are started as root; .+$"):
        install()


def test_without_slurm_the_tests_end_with_an_error():
    environment = {**os.environ, "PATH": "/nowhere", "PYTEST_ADDOPTS": "-p no:cacheprovider"}
    command = [sys.executable, "-m", "pytest", "tests/slurm/test_slurm.py", "-q"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 4
    (line,) = [line for line in (done.stdout + done.stderr).splitlines() if "error: no Slurm to test with" in line]
    assert "slurmctld" in line
    assert "apt-get" in line


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The path of a configuration in a temporary folder."""
    monkeypatch.setattr(cluster, "CONFIG", tmp_path / "slurm.conf")
    monkeypatch.setattr(cluster, "GPUS", tmp_path / "gres.conf")
    return cluster.CONFIG


@pytest.mark.parametrize(
    ("first_line", "reason"),
    [
        ("ClusterName=real", "this machine has another Slurm"),
        (cluster.HEADING.format(os.getpid()).strip(), f"process {os.getpid()} is using Slurm"),
    ],
)
@pytest.mark.parametrize("name", ["CONFIG", "GPUS"])
def test_another_slurm_is_left_alone(config, name, first_line, reason):
    path = getattr(cluster, name)
    path.write_text(first_line + "\nrest\n", encoding="utf-8")
    with pytest.raises(NoCluster, match=reason), Cluster():
        pass
    assert path.read_text(encoding="utf-8") == first_line + "\nrest\n"


def test_the_configuration_of_a_dead_process_is_replaced(config):
    dead = subprocess.Popen(["true"])
    dead.wait()
    config.write_text(cluster.HEADING.format(dead.pid), encoding="utf-8")
    ours = Cluster()
    ours.configure()
    assert cluster.writer(config.read_text(encoding="utf-8")) == str(os.getpid())
    ours.stop()
    assert not config.exists()
    assert not ours.folder.exists()


def running_daemons():
    """Return the command lines of all daemons of Slurm on this machine."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        words = (process / "cmdline").read_bytes().split(b"\0") if process.exists() else [b""]
        if Path(words[0].decode()).name in ("munged", "slurmctld", "slurmd"):
            lines.append(words)
    return lines


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_daemons_stop_with_the_process_that_started_them(number):
    install()
    holder = subprocess.Popen([sys.executable, "-c", HOLD], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        folder = holder.stdout.readline().decode().strip()
        assert lines_of("sinfo", "--noheader", "--format=%D") == ["2"]
        assert len(running_daemons()) == 4
    finally:
        holder.send_signal(number)
        holder.wait()
    wait_for(lambda: not running_daemons(), 15, lambda: "daemons still run")
    shutil.rmtree(folder)
    with Cluster() as replaced:  # although the configuration of the dead process is there
        assert replaced.configured
