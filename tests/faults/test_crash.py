"""Killed, interrupted, cancelled, started twice: the same command gives what an undisturbed run gives."""

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
    """The run that was disturbed is the one that was not."""
    bench.nothing_is_half_written()
    assert bench.results(f"{RUN}/*") == undisturbed.results(f"{RUN}/*")


def test_snakemake_is_killed_in_the_middle_of_training(undisturbed, bench):
    """To the last table: nothing trains on, the lock is nobody's, the same command ends as if nothing had been."""
    with bench.halted() as process:
        process.kill()
        process.wait()
        bench.nothing_is_left_running()
    assert bench.errors() == [f"error: fit planted/slow/0: stopped (SIGTERM) before its end; {AGAIN}"]
    bench.nothing_is_half_written()
    assert not (bench.folder / RUN / "run.json").exists()
    bench.finish()
    assert bench.printed().count("note: removed the lock of a run that was killed") == 1
    assert bench.results() == undisturbed.results()
    assert "Nothing to be done" in bench.snakemake()


def test_the_training_is_killed_once(undisturbed, bench):
    """An accident: it is told, and the very same command ends well."""
    with bench.halted(FACTORS) as process:
        (training,) = bench.processes("-m factorbench.run")
        (bench.folder / "halt").unlink()
        training.kill()
        assert process.wait(120) == 0, bench.printed()
    line = "slow on planted, seed 0: killed from outside (signal 9; out of memory, most often), tried once more"
    assert bench.printed().splitlines().count(line) == 1
    same_as(undisturbed, bench)


def test_the_training_is_killed_whenever_it_runs(undisturbed, bench):
    """Too large for the machine: a result that says so, the others go on to the last table, and the remedy helps."""
    with bench.halted() as process:
        for _ in range(2):
            wait_for((bench.folder / "halted").exists)
            (training,) = bench.processes("-m factorbench.run")
            (bench.folder / "halted").unlink()
            training.kill()
        assert process.wait(120) == 0, bench.printed()
    run = read_json(bench.folder / RUN / "run.json")
    assert run["status"] == "killed"
    again = f"--forcerun {RUN}/run.json"
    assert f"{again} has it run again" in run["reason"]
    assert bench.result("report.html").exists()
    bench.finish(*again.split())
    assert bench.results() == undisturbed.results()


KILLED = """
import os, signal, sys
from factorbench.contracts import atomic
with atomic(sys.argv[1]) as part, atomic(part) as inner:
    inner.write_text("half of")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_is_no_file_and_goes_when_it_is_written_again(tmp_path):
    path, other = tmp_path / "runs.tsv", tmp_path / ".my_runs.tsv.abcdefgh.part.tsv"
    other.touch()
    code = Path(files.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", KILLED, path], cwd=code).returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 3
    assert not path.exists()
    with atomic(path) as part:
        part.write_text("all of it")
    assert {*tmp_path.iterdir()} == {path, other}, "what another one is writing stays"
    assert path.read_text() == "all of it"


def test_what_stands_between_snakemake_and_the_training_is_killed(undisturbed, bench):
    """The training ends with it, and is not taken for finished."""
    with bench.halted(FACTORS) as process:
        (script,) = bench.processes(".fit.py")
        script.kill()
        assert process.wait(60) != 0
        bench.nothing_is_left_running()
    assert not (bench.folder / FACTORS).exists()
    bench.finish(FACTORS)
    same_as(undisturbed, bench)


def test_told_to_end(undisturbed, bench):
    """SIGINT to all, as a terminal does on Ctrl-C; SIGTERM to all, as a service manager does; and to the training."""
    for number, told in ((signal.SIGINT, "interrupted (SIGINT)"), (signal.SIGTERM, "stopped (SIGTERM)")):
        with bench.halted(FACTORS) as process:
            os.killpg(process.pid, number)
            assert process.wait(60) != 0
            bench.nothing_is_left_running()
        assert bench.errors() == [f"error: fit planted/slow/0: {told} before its end; {AGAIN}"]
        bench.nothing_is_half_written()
    with bench.halted(FACTORS) as process:
        (training,) = bench.processes("-m factorbench.run")
        training.terminate()
        assert process.wait(60) != 0
    assert bench.errors() == [f"error: slow on planted, seed 0: its process was ended by SIGTERM; {AGAIN}"]
    bench.finish(FACTORS)
    assert "note:" not in bench.printed()
    same_as(undisturbed, bench)


@pytest.mark.parametrize(("number", "kept"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_snakemake_alone_is_told_to_end(undisturbed, bench, number, kept):
    """It waits for the run at work, and begins no other job; on SIGTERM it believes that the run ended well."""
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
    """The second refuses and says why; a dry run may look; the first goes on unharmed."""
    why = "note: another Snakemake is at work in this folder: wait for it, or stop it; leave its lock alone"
    with bench.halted(FACTORS) as process:
        with bench.running(FACTORS, to="second") as second:
            assert second.wait(60) != 0
        printed = (bench.folder / "second").read_text()
        assert printed.splitlines().count(why) == 1
        assert "LockException" in printed
        assert "Traceback" not in printed
        bench.snakemake("-n", FACTORS)
        (bench.folder / "halt").unlink()
        assert process.wait(60) == 0, bench.printed()
    same_as(undisturbed, bench)
