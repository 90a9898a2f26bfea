"""One process at a time: several jobs may want the same archive, or add to the same table, at once."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
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


def enter(folder: Path) -> str:
    """Work in the folder of a Snakemake (``.snakemake``) until this process ends, and free it of a dead one's lock.

    Snakemake's lock is files, which a kill leaves behind. Beside them every Snakemake here shares a lock of the system,
    which ends with its process; who could have it alone is the only one there, and the files are nobody's.

    Returns
    -------
    str
        What is to be told, in one line; nothing most often.
    """
    folder.mkdir(exist_ok=True)
    files = folder / "locks"
    held = os.open(folder / "factorbench.lock", os.O_RDWR | os.O_CREAT)  # and never closed
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(held, fcntl.LOCK_SH)
        busy = files.exists()
        return (
            "another Snakemake is at work in this folder: wait for it, or stop it; leave its lock alone" if busy else ""
        )
    except OSError:  # a file system without such locks: Snakemake's own is all there is, and it tells the remedy
        return ""
    left = files.exists()
    if left:
        shutil.rmtree(files)
    fcntl.flock(held, fcntl.LOCK_SH)
    return "removed the lock of a run that was killed; it goes on from where it was" if left else ""
