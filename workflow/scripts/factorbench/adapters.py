"""What the scripts of all rules share: a log, errors in one line, and an orderly end."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from .contracts.errors import UserError, out_of_resources, report_once
from .contracts.process import begin
from .runs import children

STOPPED = {130: "interrupted (SIGINT)", 143: "stopped (SIGTERM)"}
"""Exit statuses of a script that was told to stop."""


@contextlib.contextmanager
def reporting(snakemake: Any) -> Iterator[Callable[[str], None]]:
    """Send the output of a script to its log; yield ``say``, which prints a line on the terminal as well.

    A `UserError` or a lack of disk, memory or locks ends the script with one line, in the log and on the terminal; any
    other error with a traceback. SIGTERM (sent by clusters and Snakemake to cancel a job) and SIGINT end the script
    like an exception, so that it can clean up. The script also stops when the Snakemake above it is killed.
    """
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        signal.signal(number, lambda *_, status=status: sys.exit(status))
    begin()
    report_once()
    children.watch(children.below_snakemake(), lambda: os.kill(os.getpid(), signal.SIGTERM))
    terminal, job = sys.stderr, " ".join([snakemake.rule, "/".join(snakemake.wildcards)]).strip()
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(str(snakemake.log), "w", buffering=1, encoding="utf-8"))
        stack.enter_context(contextlib.redirect_stdout(log))
        stack.enter_context(contextlib.redirect_stderr(log))

        def say(line: str) -> None:
            print(line, file=terminal, flush=True)
            print(line, file=log)

        def stop(line: str, status: int) -> NoReturn:
            """Exit at once: closing the log or an HDF5 file on a full disk would raise further errors."""
            with contextlib.suppress(OSError):
                say(f"error: {line}")
            os._exit(status)

        try:
            yield say
        except UserError as error:
            stop(str(error), 1)
        except SystemExit as error:
            if error.code in STOPPED:
                stop(f"{job}: {STOPPED[error.code]} before it was done; run the same command again", error.code)
            raise
        except Exception as error:
            resource_error = out_of_resources(error, job)
            if resource_error is not None:
                stop(str(resource_error), 1)
            traceback.print_exc(file=log)
            raise
