"""Numbers as people write them, for figures, the report and the terminal."""

from __future__ import annotations

import numpy as np

DASH = "–"
"""Stands for a missing number."""


def missing(value: float | None) -> bool:
    return value is None or not np.isfinite(value)


def count(n: float | None) -> str:
    """Return ``13,576``."""
    return DASH if missing(n) else f"{n:,.0f}"


def percent(share: float | None) -> str:
    """Return ``94.0 %``."""
    return DASH if missing(share) else f"{100 * share:.1f} %"


def points(share: float | None) -> str:
    """Return a difference of accuracies in hundredths, ``+3.2``."""
    return DASH if missing(share) else f"{100 * share:+z.1f}"


def number(value: float | None, digits: int = 3) -> str:
    """Return ``value`` with ``digits`` significant digits."""
    return DASH if missing(value) else f"{value:,.{digits}g}"


def decimals(value: float | None, digits: int = 2) -> str:
    """Return ``value`` with ``digits`` decimals."""
    return DASH if missing(value) else f"{value:.{digits}f}"


def duration(seconds: float | None) -> str:
    """Return ``0.42 s``, ``7.2 s``, ``4.1 min``, ``3.4 h`` or ``1.5 d``."""
    if missing(seconds):
        return DASH
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:.0f} s"
    for limit, unit, name in ((3600, 60, "min"), (86400, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds / 86400:.1f} d"


def times(ratio: float | None) -> str:
    """Return a ratio with two digits and all of those before the point: ``< 0.001×``, ``0.017×``, ``1.2×``, ``41×``."""
    if missing(ratio):
        return DASH
    if ratio < 0.001:
        return "< 0.001×"
    return f"{ratio:,.0f}×" if ratio >= 9.95 else f"{ratio:.2g}×"


def times_range(lower: float | None, upper: float | None) -> str:
    """Return ``26×``, ``26× to 41×`` or, if the upper end is unknown, ``at least 26×``."""
    if missing(upper):
        return f"at least {times(lower)}"
    return times(lower) if times(lower) == times(upper) else f"{times(lower)} to {times(upper)}"


UNITS = {"": number, "share": percent, "points": lambda share: f"{points(share)} points", "times": times}
"""How the number of a claim is written, by its unit (`claims.tests.Evidence.unit`)."""


def with_unit(value: float | None, unit: str) -> str:
    return UNITS[unit](value)
