"""``python -m factorbench.runs <job.json>``: do one run."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from ..contracts.errors import UserError, out_of_resources, report_once
from ..contracts.process import begin
from ..contracts.run import JOB_KEYS
from . import children
from .execute import execute
from .supervise import EXIT_USER_ERROR, SUPERVISOR


def main(arguments: list[str]) -> int:
    report_once()
    if len(arguments) != 1:
        print("usage: python -m factorbench.runs <job.json>", file=sys.stderr)
        return 2
    try:
        job = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        missing = [key for key in JOB_KEYS if key not in job]
        if missing:
            raise UserError(f"{arguments[0]}: the job lacks {', '.join(missing)}")
        if SUPERVISOR in os.environ:
            alive = children.parent_is(int(os.environ[SUPERVISOR]))
            children.watch(alive, lambda: os.killpg(os.getpgid(0), signal.SIGKILL))
        execute(job)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except Exception as error:
        resource_error = out_of_resources(error, f"{job['method']} on {job['dataset']}, seed {job['seed']}")
        if resource_error is None:
            raise
        print(f"error: {resource_error}", file=sys.stderr, flush=True)
        # HDF5 crashes when it closes a file on a full disk.
        os._exit(EXIT_USER_ERROR)
    return 0


if __name__ == "__main__":
    begin()
    sys.exit(main(sys.argv[1:]))
