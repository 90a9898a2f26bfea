"""Time: the budget of a run, and progress a person can see."""

from __future__ import annotations

import os
import sys
import time
from typing import Any


class Budget:
    """Seconds a method may use before it stops itself and keeps what it has (``None``: no limit).

    The clock starts with `start` (called by the run, after imports); methods ask `spent` between steps.
    """

    def __init__(self, seconds: float | None = None):
        self.seconds = seconds
        self.start()

    def start(self) -> None:
        self._began = time.perf_counter()

    def elapsed(self) -> float:
        """Seconds since `start`."""
        return time.perf_counter() - self._began

    def spent(self) -> bool:
        return self.seconds is not None and self.elapsed() >= self.seconds


def bar(total: int | None, what: str, unit: str = "iterations") -> Any:
    """A tqdm progress bar on stderr: live in a terminal, a line every few seconds elsewhere (logs, clusters).

    ``FACTORBENCH_PROGRESS=live|lines|off`` overrides what the stream looks like (a run's stderr is a pipe).
    """
    from tqdm import tqdm

    mode = os.environ.get("FACTORBENCH_PROGRESS") or ("live" if sys.stderr.isatty() else "lines")
    live = mode == "live"
    count = "{n_fmt}" if total is None else "{n_fmt}/{total_fmt}"
    return tqdm(
        total=total,
        desc=what,
        unit=unit,
        file=sys.stderr if live else _Lines(),
        disable=mode == "off",
        mininterval=0.3 if live else 10.0,
        miniters=1,
        dynamic_ncols=live,
        bar_format=None if live else "{desc}: " + count + " {unit} in {elapsed}{postfix}",
        leave=not live,
    )


class _Lines:
    """stderr for a progress bar where nobody can see it move: every state on a line of its own."""

    def write(self, text: str) -> None:
        text = text.strip("\r\n ")
        if text:
            print(text, file=sys.stderr)

    def flush(self) -> None:
        sys.stderr.flush()
