"""Numbers as people write them."""

from __future__ import annotations

from typing import Any

import numpy as np


def count(n: float) -> str:
    return f"{n:,.0f}"


def percent(share: float | None) -> str:
    """``94.0 %``; a dash for what is missing."""
    return "–" if share is None or not np.isfinite(share) else f"{100 * share:.1f} %"


def number(value: float | None, digits: int = 3) -> str:
    """``digits`` significant ones; a dash for what is missing."""
    return "–" if value is None or not np.isfinite(value) else f"{value:,.{digits}g}"


def minutes(value: float) -> str:
    return f"{value:,.2f}" if value >= 0.01 else "< 0.01"


def duration(seconds: float) -> str:
    """``0.42 s``, ``7.2 s``, ``4.1 min``, ``3.4 h``, ``1.5 d``: seconds as people say them."""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:.0f} s"
    for limit, unit, name in ((3600, 60, "min"), (86400, 3600, "h"), (float("inf"), 86400, "d")):
        if seconds < limit:
            return f"{seconds / unit:.1f} {name}"
    raise ValueError(f"not a duration: {seconds}")


def times(ratio: float) -> str:
    """``< 0.001×``, ``0.017×``, ``1.2×``, ``41×``: a ratio with two digits, and all of those before the point."""
    if ratio < 0.001:
        return "< 0.001×"
    return f"{ratio:,.0f}×" if ratio >= 9.95 else f"{ratio:.2g}×"


def interval(row: dict[str, Any]) -> str:
    if row["lower"] is None:
        return ""
    return f", mean of {row['seeds']} seeds (95 % interval {100 * row['lower']:.1f} to {percent(row['upper'])})"


def plural(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"
