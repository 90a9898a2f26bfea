"""What the machine ran out of, told in one line: nobody's mistake, and no traceback would help."""

from __future__ import annotations

import errno
import sys

SIGNS = {
    "no space left on the disk: free some": ((errno.ENOSPC, errno.EDQUOT), ("No space left on device", "Disk quota")),
    "out of memory: give it more, or less to do": ((errno.ENOMEM,), ("allocate memory", "out of memory", "bad_alloc")),
}
"""Remedies, with the error numbers and the words by which libraries of all kinds say that one is needed."""


class Shortage(Exception):
    """The machine ran out of disk or memory. Its text is one line: the file or the job, the remedy."""


def shortage(error: BaseException, what: str) -> Shortage | None:
    """Tell whether an error, or what it comes from, is a lack of disk or memory.

    Parameters
    ----------
    error
        Anything that was raised.
    what
        The file or the job that it happened to.

    Returns
    -------
    Shortage or None
        None: it is of another kind.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Shortage):
            return cause
        for remedy, (numbers, words) in SIGNS.items():
            number = errno.ENOMEM if isinstance(cause, MemoryError) else getattr(cause, "errno", None)
            if number in numbers or any(word in str(cause) for word in words):
                return Shortage(f"{what}: {remedy}, and run the same command again")
        cause = cause.__cause__ or cause.__context__
    return None


def tell_once() -> None:
    """Keep a lack that is told in one line from being told again, with a traceback.

    HDF5 does so for whatever it has open in a file for which there is no space.
    """
    sys.excepthook = lambda kind, error, trace: shortage(error, "") or sys.__excepthook__(kind, error, trace)
    sys.unraisablehook = lambda said: shortage(said.exc_value, "") or sys.__unraisablehook__(said)
