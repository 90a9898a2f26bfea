"""The disk is full, memory is limited: one line, and once there is more the same command ends well."""

import os
import resource
import subprocess

import numpy as np
import pytest
from factorbench.contracts.errors import Shortage, shortage

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
        (training,) = bench.processes("-m factorbench.run")
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
    ("lack", "of"),
    [(by_numpy, "memory"), (by_torch, "memory"), (by_the_system, "disk")],
)
def test_every_library_says_it_in_its_own_words(lack, of):
    with pytest.raises((MemoryError, RuntimeError, OSError)) as error:
        lack()
    for raised in (error.value, wrapped(error.value)):
        told = shortage(raised, "a job")
        assert isinstance(told, Shortage)
        assert of in str(told)
        assert str(told).startswith("a job: ")
        assert "\n" not in str(told)


def wrapped(error):
    """What libraries make of an error of another."""
    try:
        raise RuntimeError("while writing") from error
    except RuntimeError as outer:
        return outer


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file"), ValueError("x"), KeyError("disk")])
def test_other_errors_are_none_of_it(error):
    assert shortage(error, "a job") is None
