"""Killed, interrupted, cancelled or started twice, the same command gives the results of an undisturbed run."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from factorbench.contracts import files
from factorbench.contracts.files import atomic, read_json

from tests.faults.conftest import FACTORS, SCORES, wait_for

RUN = "results/runs/planted/slow/0"
AGAIN = "run the same command again"


def same_as(undisturbed, bench):
    """Check that the disturbed run has the numbers of the undisturbed one."""
    bench.nothing_is_half_written()
    assert bench.results(f"{RUN}/*") == undisturbed.results(f"{RUN}/*")


def test_snakemake_is_killed_in_the_middle_of_training(undisturbed, bench):
    """Nothing trains on; Snakemake names the remedy for its lock; then all tables are as if nothing had happened."""
    with bench.halted() as process:
        process.kill()
        process.wait()
        bench.nothing_is_left_running()
    assert bench.errors() == [f"error: fit planted/slow/0: stopped (SIGTERM) before it was done; {AGAIN}"]
    bench.nothing_is_half_written()
    assert not (bench.folder / RUN / "run.json").exists()
    refused = bench.snakemake(check=False)
    assert "--unlock" in refused
    assert "Traceback" not in refused
    bench.snakemake("--unlock")
    bench.finish()
    assert bench.results() == undisturbed.results()
    assert "Nothing to be done" in bench.snakemake()


def test_the_training_is_killed_once(undisturbed, bench):
    """An accident: one line reports it, and the same command still succeeds."""
    with bench.halted(FACTORS) as process:
        (training,) = bench.processes("-m factorbench.runs")
        (bench.folder / "halt").unlink()
        training.kill()
        assert process.wait(120) == 0, bench.printed()
    line = "slow on planted, seed 0: killed from outside (signal 9; usually out of memory); trying once more"
    assert bench.printed().splitlines().count(line) == 1
    same_as(undisturbed, bench)


def test_the_training_is_killed_every_time(undisturbed, bench):
    """Too large for the machine: the run is a result with that status, the others go on, and the remedy works."""
    with bench.halted() as process:
        for _ in range(2):
            wait_for((bench.folder / "halted").exists)
            (training,) = bench.processes("-m factorbench.runs")
            (bench.folder / "halted").unlink()
            training.kill()
        assert process.wait(120) == 0, bench.printed()
    run = read_json(bench.folder / RUN / "run.json")
    assert run["status"] == "killed"
    again = f"--forcerun {RUN}/run.json"
    assert again in run["reason"]
    assert bench.result("report.html").exists()
    bench.finish(*again.split())
    assert bench.results() == undisturbed.results()


KILLED = """
import os, signal, sys
from factorbench.contracts.files import atomic
with atomic(sys.argv[1]) as part, atomic(part) as inner:
    inner.write_text("half of")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_temporary_files_of_a_killed_writer_are_removed_by_the_next(tmp_path):
    path, other = tmp_path / "runs.tsv", tmp_path / ".my_runs.tsv.abcdefgh.part.tsv"
    other.touch()
    code = Path(files.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", KILLED, path], cwd=code).returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 3
    assert not path.exists()
    with atomic(path) as part:
        part.write_text("all of it", encoding="utf-8")
    assert {*tmp_path.iterdir()} == {path, other}, "temporary files of other files stay"
    assert path.read_text(encoding="utf-8") == "all of it"


def test_the_script_between_snakemake_and_the_training_is_killed(undisturbed, bench):
    """The training stops with it and does not count as finished."""
    with bench.halted(FACTORS) as process:
        (script,) = bench.processes(".fit.py")
        script.kill()
        assert process.wait(60) != 0
        bench.nothing_is_left_running()
    assert not (bench.folder / FACTORS).exists()
    bench.finish(FACTORS)
    same_as(undisturbed, bench)


def test_everything_is_told_to_stop(undisturbed, bench):
    """SIGINT to all, as a terminal does on Ctrl-C; SIGTERM to all, as a service manager does; SIGTERM to a training."""
    for number, words in ((signal.SIGINT, "interrupted (SIGINT)"), (signal.SIGTERM, "stopped (SIGTERM)")):
        with bench.halted(FACTORS) as process:
            os.killpg(process.pid, number)
            assert process.wait(60) != 0
            bench.nothing_is_left_running()
        assert bench.errors() == [f"error: fit planted/slow/0: {words} before it was done; {AGAIN}"]
        bench.nothing_is_half_written()
    with bench.halted(FACTORS) as process:
        (training,) = bench.processes("-m factorbench.runs")
        training.terminate()
        assert process.wait(60) != 0
    assert bench.errors() == [f"error: slow on planted, seed 0: its process was ended by SIGTERM; {AGAIN}"]
    bench.finish(FACTORS)
    same_as(undisturbed, bench)


@pytest.mark.parametrize(("number", "kept"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_snakemake_alone_is_told_to_stop(undisturbed, bench, number, kept):
    """It waits for the current run and starts no other job; after SIGTERM it counts the run as finished."""
    with bench.halted(SCORES) as process:
        process.send_signal(number)
        with pytest.raises(TimeoutError):
            wait_for(lambda: process.poll() is not None, 1)
        (bench.folder / "halt").unlink()
        assert process.wait(60) != 0
    assert not (bench.folder / SCORES).exists()
    before = (bench.folder / FACTORS).stat().st_mtime_ns
    bench.finish(SCORES)
    assert ((bench.folder / FACTORS).stat().st_mtime_ns == before) == kept
    same_as(undisturbed, bench)
    assert bench.results(SCORES) == undisturbed.results(SCORES)


def test_two_at_once(undisturbed, bench):
    """The second refuses; a dry run is allowed; the first goes on unharmed."""
    with bench.halted(FACTORS) as process:
        with bench.running(FACTORS, to="second") as second:
            assert second.wait(60) != 0
        printed = (bench.folder / "second").read_text(encoding="utf-8")
        assert "LockException" in printed
        assert "Traceback" not in printed
        bench.snakemake("-n", FACTORS)
        (bench.folder / "halt").unlink()
        assert process.wait(60) == 0, bench.printed()
    same_as(undisturbed, bench)
