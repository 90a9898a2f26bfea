"""Stop child processes when their parent dies: otherwise a killed run would train on beside the next one."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PAUSE = 0.5
"""Seconds between two checks."""


def watch(alive: Callable[[], bool], stop: Callable[[], None]) -> None:
    """Call ``stop`` soon after ``alive()`` becomes false, from a daemon thread."""

    def check_repeatedly() -> None:
        while alive():
            time.sleep(PAUSE)
        stop()

    threading.Thread(target=check_repeatedly, daemon=True).start()


def parent_is(pid: int) -> Callable[[], bool]:
    """Return a check whether ``pid`` is still this process's parent: when a parent ends, its children get another."""
    return lambda: os.getppid() == pid


def below_snakemake() -> Callable[[], bool]:
    """Return a check whether the nearest Snakemake above this process still runs (true if there never was one).

    A shell between the two may outlive Snakemake, so the parent alone is not enough.
    """
    import psutil

    this = psutil.Process()
    above = next((process for process in this.parents() if _is_snakemake(process)), None)
    return lambda: above is None or above in this.parents()


def _is_snakemake(process: Any) -> bool:
    import psutil

    try:
        return any(Path(part).name == "snakemake" for part in process.cmdline())
    except psutil.Error:  # the process has just ended or belongs to another user
        return False
