"""The errors that a user sees as one line, and how lack of disk, memory or locks is recognised."""

from __future__ import annotations

import errno
import sys


class UserError(Exception):
    """A mistake that the user can correct. Its text is one line: the file, the key, the remedy.

    Names in files can be of any length, so the middle of a text of more than `LONGEST` characters is left out.
    """

    LONGEST = 1_000

    def __init__(self, text: str):
        if len(text) > self.LONGEST:
            text = f"{text[: self.LONGEST * 2 // 3]} ... {text[-self.LONGEST // 4 :]}"
        super().__init__(text)


class ContractError(Exception):
    """A file between two rules breaks its contract: a bug of factorbench or of a method, not of the user."""


class OutOfResources(Exception):
    """The machine has no disk space or memory left, or cannot lock files. Its text is one line: file or job, remedy."""


REMEDIES = {
    "no space left on the disk: free some": ((errno.ENOSPC, errno.EDQUOT), ("No space left on device", "Disk quota")),
    "out of memory: give it more, or less to do": ((errno.ENOMEM,), ("allocate memory", "out of memory", "bad_alloc")),
    "HDF5 cannot lock a file; if no other program writes it, its disk has no locks: set HDF5_USE_FILE_LOCKING=FALSE": (
        (),
        ("unable to lock file",),
    ),
    "the disk has no file locks: work on another one": ((errno.ENOLCK,), ()),
}
"""Remedy -> the error numbers and the phrases by which libraries report that disk, memory or locks are missing."""


def out_of_resources(error: BaseException, what: str) -> OutOfResources | None:
    """Return the one-line error if ``error``, or an error that caused it, is a lack of disk, memory or locks.

    Parameters
    ----------
    error
        Any exception.
    what
        The file or job it happened to.

    Returns
    -------
    OutOfResources or None
        ``None``: the error is of another kind.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OutOfResources):
            return cause
        for remedy, (numbers, phrases) in REMEDIES.items():
            number = errno.ENOMEM if isinstance(cause, MemoryError) else getattr(cause, "errno", None)
            if number in numbers or any(phrase in str(cause) for phrase in phrases):
                return OutOfResources(f"{what}: {remedy}, and run the same command again")
        cause = cause.__cause__ or cause.__context__
    return None


def report_once() -> None:
    """Suppress further reports of a lack of disk, memory or locks, which was already reported in one line.

    HDF5 raises the error again, with a traceback, for every object it has open in the file.
    """
    sys.excepthook = lambda kind, error, trace: out_of_resources(error, "") or sys.__excepthook__(kind, error, trace)
    sys.unraisablehook = lambda event: out_of_resources(event.exc_value, "") or sys.__unraisablehook__(event)
