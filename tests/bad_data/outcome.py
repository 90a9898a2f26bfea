"""Bad data may end in two ways: they are read correctly, or refused in one line. Anything else fails the test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from factorbench.contracts.errors import UserError
from hypothesis import HealthCheck, settings

Result = TypeVar("Result")


def fuzz(n: int) -> settings:
    """Run ``n`` examples, the same ones every time, without a time limit."""
    return settings(
        max_examples=n,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def tried(action: Callable[..., Result], *args: object) -> Result | None:
    """Return the result of ``action``, or ``None`` if it is refused in one line."""
    try:
        return action(*args)
    except UserError as error:
        one_line(error)
        return None


@contextlib.contextmanager
def refused(pattern: str, start: object = "") -> Iterator[None]:
    """Check that a `UserError` of one line is raised that matches ``pattern`` and begins with ``start``."""
    with pytest.raises(UserError, match=pattern) as error:
        yield
    assert one_line(error.value).startswith(str(start))


def one_line(error: UserError) -> str:
    """Return the text of an error, after checking that it is one line of a reasonable length."""
    text = str(error)
    assert text
    assert "\n" not in text
    assert "\r" not in text
    assert len(text) <= UserError.LONGEST
    return text
