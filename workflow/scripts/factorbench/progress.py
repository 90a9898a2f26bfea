"""Progress bars for anything that takes longer than a few seconds."""

from __future__ import annotations

import os
import sys
from typing import Any


def bar(total: int | None, what: str, unit: str = "iterations", shown: bool = True) -> Any:
    """Return a tqdm progress bar on stderr: live in a terminal, a line every ten seconds elsewhere (logs, clusters).

    The environment variable ``FACTORBENCH_PROGRESS`` (live, lines or off) overrides the choice: a run's stderr is a
    pipe even if a person is watching. A bar that is not ``shown`` does nothing.
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
        disable=mode == "off" or not shown,
        mininterval=0.3 if live else 10.0,
        miniters=1,
        dynamic_ncols=live,
        bar_format=None if live else "{desc}: " + count + " {unit} in {elapsed}{postfix}",
        leave=not live,
    )


class _Lines:
    """stderr for a bar in a log file: each state of the bar on a line of its own."""

    def write(self, text: str) -> None:
        text = text.strip("\r\n ")
        if text:
            print(text, file=sys.stderr)

    def flush(self) -> None:
        sys.stderr.flush()
