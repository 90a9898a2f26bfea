"""How bad data may end: taken for what they are, or refused in one line. Anything else fails the test."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from factorbench.contracts.errors import UserError
from hypothesis import HealthCheck, settings

Result = TypeVar("Result")


def fuzz(n: int) -> settings:
    """``n`` examples, the same ones every time, each as long as it takes."""
    return settings(
        max_examples=n,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def tried(action: Callable[..., Result], *args: object) -> Result | None:
    """What ``action`` returns; ``None`` if it refuses in one line."""
    try:
        return action(*args)
    except UserError as error:
        one_line(error)
        return None


def one_line(error: UserError) -> str:
    """The text of an error that a user gets, which is one line of bearable length."""
    text = str(error)
    assert text
    assert "\n" not in text
    assert "\r" not in text
    assert len(text) < 3_000
    return text
