"""What every script of a rule shares: its log, and how a mistake is told."""

from __future__ import annotations

import contextlib
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from .contracts import UserError


@contextlib.contextmanager
def reporting(snakemake: Any) -> Iterator[Callable[[str], None]]:
    """Send what a script prints to its log; yield ``say``, which prints a line on the terminal as well.

    A `UserError` ends the script with one line, in the log and on the terminal; any other error with its traceback.
    SIGTERM (a cluster's or Snakemake's way to cancel) unwinds the script like any exception, so that it can clean up.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    terminal = sys.stderr
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(str(snakemake.log), "w", buffering=1))
        stack.enter_context(contextlib.redirect_stdout(log))
        stack.enter_context(contextlib.redirect_stderr(log))

        def say(line: str) -> None:
            print(line, file=log)
            print(line, file=terminal, flush=True)

        try:
            yield say
        except UserError as error:
            say(f"error: {error}")
            sys.exit(1)
        except Exception:
            traceback.print_exc(file=log)
            raise
