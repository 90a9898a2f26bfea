"""What every script of a rule shares: its log, and how a mistake is told."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from . import lifeline
from .contracts import UserError
from .shortage import shortage, tell_once

STOPPED = {130: "interrupted (SIGINT)", 143: "stopped (SIGTERM)"}
"""Exit statuses of a script that was told to end."""


@contextlib.contextmanager
def reporting(snakemake: Any) -> Iterator[Callable[[str], None]]:
    """Send what a script prints to its log; yield ``say``, which prints a line on the terminal as well.

    A `UserError` ends the script with one line, in the log and on the terminal, and so does a lack of disk or memory;
    any other error with its traceback. SIGTERM (a cluster's or Snakemake's way to cancel) and SIGINT unwind the script
    like any exception, so that it can clean up. A Snakemake that is killed takes its scripts along.
    """
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        signal.signal(number, lambda *_, status=status: sys.exit(status))
    tell_once()
    lifeline.watch(lifeline.below_snakemake(), lambda: os.kill(os.getpid(), signal.SIGTERM))
    terminal, job = sys.stderr, " ".join([snakemake.rule, "/".join(snakemake.wildcards)]).strip()
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(str(snakemake.log), "w", buffering=1))
        stack.enter_context(contextlib.redirect_stdout(log))
        stack.enter_context(contextlib.redirect_stderr(log))

        def say(line: str) -> None:
            print(line, file=terminal, flush=True)
            print(line, file=log)

        def end(line: str, status: int) -> NoReturn:
            """End here and now: closing a log or (it crashes) HDF5 on a full disk would hide the line behind others."""
            with contextlib.suppress(OSError):
                say(f"error: {line}")
            os._exit(status)

        try:
            yield say
        except UserError as error:
            end(str(error), 1)
        except SystemExit as error:
            if error.code in STOPPED:
                end(f"{job}: {STOPPED[error.code]} before its end; run the same command again", error.code)
            raise
        except Exception as error:
            lack = shortage(error, job)
            if lack is not None:
                end(str(lack), 1)
            traceback.print_exc(file=log)
            raise
