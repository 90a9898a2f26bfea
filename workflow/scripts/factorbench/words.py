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


def interval(row: dict[str, Any]) -> str:
    if row["lower"] is None:
        return ""
    return f", mean of {row['seeds']} seeds (95 % interval {100 * row['lower']:.1f} to {percent(row['upper'])})"


def plural(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"
