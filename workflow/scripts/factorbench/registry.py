"""Finds methods, metrics and readers by file name; imports only the one asked for; reads its ``SPEC``.

A method is a file ``methods/<name>.py`` with a `MethodSpec` called ``SPEC`` and a function ``fit``; likewise metrics
(``score``) and readers (``read``). Files whose names start with an underscore are helpers. Such a module imports
nothing heavy at its top, so that a workflow can be planned without torch.
"""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from .contracts import UserError

PARTS = {"method": ("methods", "fit"), "metric": ("metrics", "score"), "reader": ("readers", "read")}


@dataclass(frozen=True)
class Param:
    """One setting of a method, metric or reader: its default, what it means (with units), what it may be.

    ``minimum`` and ``maximum`` are inclusive. A default of ``None`` says nothing of the type: give ``types``.
    """

    default: Any
    doc: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Any, ...] | None = None
    types: tuple[type, ...] | None = None

    def check(self, where: str, value: Any) -> Any:
        """Return ``value``, an int made float where the default is one; `UserError` if it cannot be."""
        types = self.types or (type(self.default),)
        if isinstance(value, int) and not isinstance(value, bool) and float in types and int not in types:
            value = float(value)
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            names = " or ".join("null" if t is type(None) else t.__name__ for t in types)
            raise UserError(f"{where}: {value!r} should be {names} ({self.doc})")
        if self.choices is not None and value not in self.choices:
            raise UserError(f"{where}: {value!r} should be one of {', '.join(map(str, self.choices))}")
        if value is not None and self.minimum is not None and value < self.minimum:
            raise UserError(f"{where}: {value!r} should be at least {self.minimum} ({self.doc})")
        if value is not None and self.maximum is not None and value > self.maximum:
            raise UserError(f"{where}: {value!r} should be at most {self.maximum} ({self.doc})")
        return value


@dataclass(frozen=True)
class Spec:
    """What is known of a method, metric or reader without running it."""

    name: str
    title: str
    doi: str = ""
    url: str = ""
    params: dict[str, Param] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodSpec(Spec):
    """``needs``: ``"lognorm"`` or ``"counts"``. ``threads``: how many it can use (0: as many as there are).

    ``gpu``: ``"none"``, ``"optional"`` or ``"required"``. ``control``: whether it is there to be beaten.
    ``imports``: modules loaded before the clock starts, so that it times the method alone. ``projects``: whether new
    cells can be scored without a new fit (`contracts.Factors.project`).
    """

    needs: str = "lognorm"
    threads: int = 1
    gpu: str = "none"
    control: bool = False
    imports: tuple[str, ...] = ()
    projects: bool = False


@dataclass(frozen=True)
class MetricSpec(Spec):
    """``measures``: range and direction of each measure: name -> (lowest, highest, "up", "down" or "").

    ``over``: what one call of ``score(data, factors, params)`` is about. ``"run"``: ``factors`` are those of one run.
    ``"seeds"``: they are a list, one a seed of the same method on the same data.

    ``held_out``: whether it looks at cells that were held out of the fit; all others are given the seen cells only.
    Such a metric takes one more argument, ``seen``: factors of the same method and seed, fitted on these cells too
    (``None``: there are none).
    """

    measures: dict[str, tuple[float, float, str]] = field(default_factory=dict)
    over: str = "run"
    held_out: bool = False


def names(kind: str) -> list[str]:
    """Names of all methods, metrics or readers (``kind`` in the singular) that there are."""
    folder = Path(__file__).parent / PARTS[kind][0]
    return sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_"))


@cache
def load(kind: str, name: str) -> ModuleType:
    """The module of one method, metric or reader.

    Raises
    ------
    UserError
        If there is none of that name; the nearest names are given.
    """
    folder, function = PARTS[kind]
    if name not in names(kind):
        raise UserError(f"no {kind} is called {name!r}{nearest(name, names(kind))}")
    module = importlib.import_module(f"{__package__}.{folder}.{name}")
    if not hasattr(module, "SPEC") or not callable(getattr(module, function, None)):
        raise UserError(f"{folder}/{name}.py must define SPEC and {function}()")
    if module.SPEC.name != name:
        raise UserError(f"{folder}/{name}.py: SPEC.name is {module.SPEC.name!r}, it should be {name!r}")
    return module


def nearest(name: str, known: list[str]) -> str:
    """End of an error message: what the user may have meant, or all there is."""
    near = difflib.get_close_matches(name, known, n=3)
    return f" (did you mean {' or '.join(near)}?)" if near else f" (there are: {', '.join(sorted(known))})"


def resolve(spec: Spec, given: dict[str, Any], where: str) -> dict[str, Any]:
    """All parameters of ``spec``: the ``given`` ones checked, the others at their defaults.

    Raises
    ------
    UserError
        Naming ``where`` and the key, if a parameter is unknown or of the wrong type or size.
    """
    for key in given:
        if key not in spec.params:
            raise UserError(f"{where}.{key}: {spec.name} has no such parameter{nearest(key, list(spec.params))}")
    return {
        key: param.check(f"{where}.{key}", given[key]) if key in given else param.default
        for key, param in spec.params.items()
    }


def refer(name: str, known: Any, where: str) -> None:
    """Raise a `UserError` that says ``where`` unless ``name`` is one of the ``known`` names."""
    if name not in known:
        raise UserError(f"{where}: {name!r} is not defined{nearest(str(name), list(known))}")
