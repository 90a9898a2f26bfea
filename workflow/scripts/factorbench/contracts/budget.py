"""The time a method may use."""

from __future__ import annotations

import time


class Budget:
    """Seconds a method may use before it stops itself and keeps its results so far (``None``: no limit).

    `start` starts the clock: the run calls it after all imports. Methods call `spent` between two steps.
    """

    def __init__(self, seconds: float | None = None):
        self.seconds = seconds
        self.start()

    def start(self) -> None:
        self._began = time.perf_counter()

    def elapsed(self) -> float:
        """Return the seconds since `start`."""
        return time.perf_counter() - self._began

    def spent(self) -> bool:
        return self.seconds is not None and self.elapsed() >= self.seconds
