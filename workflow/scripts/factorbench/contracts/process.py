"""What a process of factorbench sets for itself. A notebook that imports factorbench keeps its own settings."""

from __future__ import annotations

import os
import sys


def begin() -> None:
    """Prepare a process of ours, the script of a rule or ``python -m factorbench...``, for any environment of the user.

    Figures are drawn to files: without this, a backend in MPLBACKEND that is not installed (a notebook sets one) would
    end the import of matplotlib. A letter that the terminal cannot show is printed as its code (``\\u03b3``).
    """
    os.environ["MPLBACKEND"] = "agg"
    sys.stdout.reconfigure(errors="backslashreplace")
