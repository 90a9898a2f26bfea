"""One process at a time: several jobs may want the same archive, or add to the same table, at once."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time work on ``path``; others wait. The lock lies beside it, hidden, while it is held."""
    lock = path.with_name(f".{path.name}.lock")
    while True:
        with open(lock, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink == 0:
                continue  # its last holder removed it while we waited: ours locks nothing any more
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return
