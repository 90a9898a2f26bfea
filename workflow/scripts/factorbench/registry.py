"""Finds methods, metrics, readers and kinds of figures by file name and reads their ``SPEC``.

Each is one file, for example ``methods/<name>.py`` with a `MethodSpec` called ``SPEC`` and a function ``fit``. `PARTS`
lists the folder and the function of each kind. Files that start with an underscore are helpers. Such a file imports
nothing heavy at its top, because a workflow is planned by reading the SPECs.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from .contracts.errors import UserError

PARTS = {
    "method": ("methods", "fit"),
    "metric": ("metrics", "score"),
    "reader": ("data.readers", "read"),
    "figure": ("reporting.plots", "plot"),
}
"""Kind -> its package and the function that its files define."""

SHOWN = 30
"""Known names that an error lists."""


@dataclass(frozen=True)
class Param:
    """One parameter of a method, metric, reader or figure.

    Attributes
    ----------
    default, doc
        Its default, and its meaning with units.
    minimum, maximum
        Inclusive.
    choices
        The only accepted values.
    types
        Accepted types; by default the type of ``default``. Required if the default is ``None``.
    refers_to
        What a name must refer to: ``datasets``, ``methods``, ``labels`` (of the figure's dataset) or ``claims``. For
        figures only.
    """

    default: Any
    doc: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Any, ...] | None = None
    types: tuple[type, ...] | None = None
    refers_to: str = ""

    def check(self, where: str, value: Any) -> Any:
        """Return ``value``, an int as a float if the default is one; raise `UserError` if it is not accepted."""
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


REQUIRED = object()
"""Default of a parameter that must be given."""


@dataclass(frozen=True)
class Spec:
    """What is known of a method, metric, reader or figure without running it."""

    name: str
    title: str
    doi: str = ""
    url: str = ""
    params: dict[str, Param] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodSpec(Spec):
    """A method.

    Attributes
    ----------
    needs
        ``"lognorm"`` or ``"counts"``.
    threads
        How many threads it can use (0: all there are).
    gpu
        ``"none"``, ``"optional"`` or ``"required"``.
    control
        Whether it is a control, which a good method should beat.
    uses_gene_sets
        Whether its factors have to do with the gene sets of their names.
    sees_truth
        Whether it is given what was planted (`contracts.truth`), which is hidden from all others.
    projects
        Whether it can score new cells without a new fit (`contracts.factors.Factors.project`).
    warm_up
        Modules to import before the clock starts, so that only the method itself is timed.
    packages
        Packages whose version the run records, beyond `runs.machine.PACKAGES`.
    same_model_as, differs_by
        Another method whose model and iterations this one shares, and how its computation differs, as a noun phrase:
        only the cost of an iteration differs.
    """

    needs: str = "lognorm"
    threads: int = 1
    gpu: str = "none"
    control: bool = False
    uses_gene_sets: bool = True
    sees_truth: bool = False
    projects: bool = False
    warm_up: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    same_model_as: str = ""
    differs_by: str = ""


@dataclass(frozen=True)
class MetricSpec(Spec):
    """A metric.

    Attributes
    ----------
    measures
        Name of each measure -> (lowest, highest, "up", "down" or ""): its range, and which direction is better.
    over
        What one call of ``score(data, factors, params)`` is about. ``"run"``: ``factors`` are those of one run.
        ``"seeds"``: ``factors`` is a list, one entry per seed of the same method on the same data.
    held_out
        Whether it looks at held-out cells; all other metrics are given the seen cells only. Such a metric takes one
        more argument, ``seen``: factors of the same method and seed, fitted on these cells too (``None``: no such run).
    """

    measures: dict[str, tuple[float, float, str]] = field(default_factory=dict)
    over: str = "run"
    held_out: bool = False


@dataclass(frozen=True)
class FigureSpec(Spec):
    """A kind of figure.

    Attributes
    ----------
    tables
        Names of the tidy tables it is drawn from; ``cells`` is a table of its own, one row per cell of one run.
    needs_contrast
        Whether its datasets must have a contrast.
    reading
        How to read it: one paragraph below the figure in Snakemake's report.
    """

    tables: tuple[str, ...] = ()
    needs_contrast: bool = False
    reading: str = ""


def names(kind: str) -> list[str]:
    """Return the names of all methods, metrics, readers or figures (``kind`` in the singular)."""
    folder = Path(__file__).parent.joinpath(*PARTS[kind][0].split("."))
    return sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_"))


@cache
def load(kind: str, name: str) -> ModuleType:
    """Import the file of one method, metric, reader or figure.

    Raises
    ------
    UserError
        If there is none of that name (the nearest names are given), or the file lacks its SPEC or function.
    """
    package, function = PARTS[kind]
    if name not in names(kind):
        raise UserError(f"no {kind} is called {name!r}{nearest(name, names(kind))}")
    module = importlib.import_module(f"{__package__}.{package}.{name}")
    file = f"{package.replace('.', '/')}/{name}.py"
    if not hasattr(module, "SPEC") or not callable(getattr(module, function, None)):
        raise UserError(f"{file} must define SPEC and {function}()")
    if module.SPEC.name != name:
        raise UserError(f"{file}: SPEC.name is {module.SPEC.name!r}, it should be {name!r}")
    return module


def resolve(spec: Spec, given: dict[str, Any], where: str) -> dict[str, Any]:
    """Return all parameters of ``spec``: the ``given`` ones checked, the others at their defaults.

    Raises
    ------
    UserError
        Naming ``where`` and the key, if a parameter is unknown, missing, or of the wrong type or size.
    """
    for key in given:
        if key not in spec.params:
            raise UserError(f"{where}.{key}: {spec.name} has no such parameter{nearest(key, list(spec.params))}")
    for key, param in spec.params.items():
        if param.default is REQUIRED and key not in given:
            raise UserError(f"{where}: the key '{key}' is missing ({param.doc})")
    return {
        key: param.check(f"{where}.{key}", given[key]) if key in given else param.default
        for key, param in spec.params.items()
    }


def method_params(use: str, given: dict[str, Any], where: str) -> dict[str, Any]:
    """Return all parameters of the method ``use``, as its ``fit`` gets them.

    Beyond `resolve`, a method may define ``complete(params, where)``, which fills in parameters that depend on others.
    """
    method = load("method", use)
    params = resolve(method.SPEC, given, where)
    return method.complete(params, where) if hasattr(method, "complete") else params


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of an error message: the names that may have been meant, or else `SHOWN` known names."""
    known = sorted(map(str, known))
    near = difflib.get_close_matches(name, known, n=3)
    if near:
        return f" (did you mean {' or '.join(near)}?)"
    more = [f"... {len(known)} in all"] if len(known) > SHOWN else []
    return f" (there are: {', '.join([*known[:SHOWN], *more])})"


def refer(name: str, known: Iterable[str], where: str) -> None:
    """Raise a `UserError` that says ``where`` unless ``name`` is one of the ``known`` names."""
    if name not in known:
        raise UserError(f"{where}: {name!r} is not defined{nearest(str(name), known)}")
