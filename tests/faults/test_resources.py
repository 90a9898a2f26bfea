"""A full disk or limited memory is one line, and with more of it the same command succeeds."""

import os
import resource
import subprocess

import numpy as np
import pytest
from factorbench.contracts.errors import OutOfResources, out_of_resources

from tests.faults.conftest import FACTORS

AGAIN = "run the same command again"


@pytest.mark.parametrize("where", ["results/runs/planted/slow", "results"])
def test_the_disk_is_full_when_a_run_is_written(undisturbed, bench, small, where):
    """With its log on another disk, and on the same one."""
    aside = bench.folder / "aside"
    if where == "results":
        bench.result("").rename(aside)
    grow = small(bench.folder / where, 20_000)
    if where == "results":
        subprocess.run(["cp", "-a", f"{aside}/.", bench.folder / where], check=True)
    with bench.halted(FACTORS) as process:
        room = os.statvfs(bench.folder / where)
        filler = bench.folder / where / "filler"
        filler.write_bytes(bytes(room.f_bavail * room.f_bsize - 8192))
        (bench.folder / "halt").unlink()
        assert process.wait(60) != 0
    first, *others = bench.errors()
    assert first == f"error: {FACTORS}: no space left on the disk: free some, and {AGAIN}"
    assert others == ["error: slow on planted, seed 0: see the line above"]
    bench.nothing_is_half_written()
    assert not (bench.folder / FACTORS).exists()
    filler.unlink()
    grow()
    bench.finish(FACTORS)
    assert bench.results(f"{FACTORS[:-12]}/*") == undisturbed.results(f"{FACTORS[:-12]}/*")


def test_memory_is_limited(undisturbed, bench):
    """As by ulimit -v, met in the middle of training."""
    with bench.halted(FACTORS) as process:
        (training,) = bench.processes("-m factorbench.runs")
        limit = training.memory_info().vms + (64 << 20)
        training.rlimit(resource.RLIMIT_AS, (limit, limit))
        (bench.folder / "hungry").touch()
        (bench.folder / "halt").unlink()
        assert process.wait(60) != 0
    first, *others = bench.errors()
    assert first == f"error: slow on planted, seed 0: out of memory: give it more, or less to do, and {AGAIN}"
    assert others == ["error: slow on planted, seed 0: see the line above"]
    assert not (bench.folder / FACTORS).exists()
    bench.finish(FACTORS)
    assert bench.results(f"{FACTORS[:-12]}/*") == undisturbed.results(f"{FACTORS[:-12]}/*")


def by_numpy():
    np.ones(1 << 50)


def by_torch():
    import torch

    torch.ones(1 << 50)


def by_the_system():
    with open("/dev/full", "rb+", buffering=0) as full:  # a mode that makes no file of it
        full.write(b"x")


@pytest.mark.parametrize(
    ("exhaust", "what"),
    [(by_numpy, "memory"), (by_torch, "memory"), (by_the_system, "disk")],
)
def test_lack_of_disk_or_memory_is_recognised_from_every_library(exhaust, what):
    with pytest.raises((MemoryError, RuntimeError, OSError)) as error:
        exhaust()
    for raised in (error.value, wrapped(error.value)):
        line = out_of_resources(raised, "a job")
        assert isinstance(line, OutOfResources)
        assert what in str(line)
        assert str(line).startswith("a job: ")
        assert "\n" not in str(line)


def wrapped(error):
    """Return the error as another library raises it again."""
    try:
        raise RuntimeError("while writing") from error
    except RuntimeError as outer:
        return outer


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file"), ValueError("x"), KeyError("disk")])
def test_other_errors_are_not_taken_for_it(error):
    assert out_of_resources(error, "a job") is None
