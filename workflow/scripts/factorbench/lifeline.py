"""Nothing outlives the one that started it: what a killed run leaves behind would train beside the next one."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PAUSE = 0.5
"""Seconds between two looks."""


def watch(alive: Callable[[], bool], end: Callable[[], None]) -> None:
    """Call ``end`` soon after ``alive`` no longer holds, from a thread that dies with this process."""

    def look() -> None:
        while alive():
            time.sleep(PAUSE)
        end()

    threading.Thread(target=look, daemon=True).start()


def started_by(pid: int) -> Callable[[], bool]:
    """Whether the process that started this one is still ``pid``: if it ends, another takes its place."""
    return lambda: os.getppid() == pid


def below_snakemake() -> Callable[[], bool]:
    """Whether the nearest Snakemake above this process is still there; true if there was none.

    A shell may stand between the two, and outlive it.
    """
    import psutil

    this = psutil.Process()
    above = next((process for process in this.parents() if _is_snakemake(process)), None)
    return lambda: above is None or above in this.parents()


def _is_snakemake(process: Any) -> bool:
    import psutil

    try:
        return any(Path(part).name == "snakemake" for part in process.cmdline())
    except psutil.Error:  # it has just ended, or is another user's
        return False
