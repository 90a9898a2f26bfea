"""YAML against a JSON schema of ``workflow/schemas/``: mistakes in one line, defaults filled in."""

from __future__ import annotations

import copy
import math
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from . import registry
from .contracts import UserError

FOLDER = Path(__file__).parents[2] / "schemas"
MISSING = object()
MOST, DEEPEST, LONGEST = 100_000, 30, 2_000
"""Entries (those of an alias wherever it stands), levels and characters of a text that a file may have."""
LARGEST = 2**53
"""Up to which whole numbers and floating-point numbers are the same."""
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
"""What text cannot hold if it is to be written to files and terminals."""


@cache
def read(name: str) -> dict[str, Any]:
    """The schema ``workflow/schemas/<name>.schema.yaml``."""
    return yaml.safe_load((FOLDER / f"{name}.schema.yaml").read_text())


def plain(value: Any, where: str) -> Any:
    """A copy of what YAML gave without any shared part: an alias becomes one more copy, a key that is a number text.

    Raises
    ------
    UserError
        For anything but text, finite numbers, true, false, null, and lists and mappings of them (a date, say), for
        text that cannot be printed, and for aliases that go round in a circle or multiply.
    """
    n_entries = 0

    def copied(part: Any, path: tuple[str, ...]) -> Any:
        nonlocal n_entries
        n_entries += 1
        if n_entries > MOST or len(path) > DEEPEST:
            raise UserError(
                f"{where}: has more than {MOST:,} entries or {DEEPEST} levels; is an alias (*name) in what it names?"
            )
        at = f"{where}: {'.'.join(path)}"
        if isinstance(part, dict):
            found = {}
            for key, inner in part.items():
                name = str(key) if type(key) is int else key
                if not isinstance(name, str) or not name.isprintable() or len(name) > LONGEST:
                    raise UserError(f"{at}: the key {str(key)[:40]!r} should be a line of text; put it in quotes")
                if name in found:
                    raise UserError(f"{at}: the key {name} is there twice; rename or remove one of them")
                found[name] = copied(inner, (*path, name))
            return found
        if isinstance(part, list):
            return [copied(item, (*path, str(i))) for i, item in enumerate(part)]
        if isinstance(part, str):
            if len(part) > LONGEST or CONTROL.search(part):
                raise UserError(f"{at}: {part[:40]!r} has over {LONGEST} characters or one that cannot be printed")
        elif isinstance(part, int | float):
            if abs(part) > LARGEST if isinstance(part, int) else not math.isfinite(part):
                raise UserError(f"{at}: is not finite, or a whole number above 2^53; give one to calculate with")
        elif part is not None:
            raise UserError(f"{at}: {str(part)[:40]!r} is taken for a {type(part).__name__}; put it in quotes")
        return part

    return copied(value, ())


def check(value: Any, rules: dict[str, Any], where: str) -> None:
    """Raise a `UserError` of one line for the first thing in ``value`` that breaks the schema ``rules``."""
    from jsonschema import Draft202012Validator, validators
    from jsonschema.exceptions import best_match

    # JSON takes 5.0 for a whole number, which cannot be a length or part of a path.
    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    validator = validators.extend(Draft202012Validator, type_checker=types)
    error = best_match(validator(rules).iter_errors(value))
    if error is not None:
        raise UserError(f"{where}: {explain(error)}")


def explain(error: Any) -> str:
    """One line for an error of jsonschema: the key, what is wrong, what it should be."""
    key = re.sub(r"\.\[", "[", ".".join(f"[{p}]" if isinstance(p, int) else str(p) for p in error.absolute_path))
    at = f"{key}: " if key else ""
    meaning = error.schema.get("description", "") if isinstance(error.schema, dict) else ""
    meaning = f" ({' '.join(meaning.split()).rstrip('.')})" if meaning else ""
    value = repr(error.instance)
    value = value if len(value) < 80 else value[:77] + "..."
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        unknown = next(k for k in error.instance if k not in known)
        return f"{key + '.' if key else ''}{unknown}: unknown key{registry.nearest(str(unknown), known)}"
    if error.validator == "required":
        missing = next(k for k in error.validator_value if k not in error.instance)
        return f"{at}the key '{missing}' is missing"
    if error.validator == "pattern" and "propertyNames" in error.absolute_schema_path:
        return f"{at}the name {value} may hold letters, digits, dashes and underscores only"
    if error.validator == "type":
        kinds = error.validator_value if isinstance(error.validator_value, str) else " or ".join(error.validator_value)
        return f"{at}{value} should be of type {kinds}{meaning}"
    if error.validator == "enum":
        return f"{at}{value} should be one of {', '.join(map(str, error.validator_value))}"
    if error.validator in ("minItems", "minProperties"):
        return f"{at}is empty, it needs at least one entry{meaning}"
    return f"{at}{value} is not accepted: {error.validator} {error.validator_value}{meaning}"[:400]


def fill(value: Any, rules: dict[str, Any], root: dict[str, Any] | None = None) -> Any:
    """Fill in the defaults of the schema ``rules`` wherever ``value`` says nothing (references are to its ``root``)."""
    from jsonschema import Draft202012Validator

    root = rules if root is None else root
    rules = _target(rules, root)
    for choice in rules.get("allOf", ()):
        if Draft202012Validator(choice["if"]).is_valid(value):
            value = fill(value, choice["then"], root)
    if isinstance(value, dict):
        properties = rules.get("properties", {})
        for key, rule in properties.items():
            default = _target(rule, root).get("default", MISSING)
            if key not in value and default is not MISSING:
                value[key] = copy.deepcopy(default)
        others = rules.get("additionalProperties")
        for key in value:
            rule = properties.get(key, others if isinstance(others, dict) else None)
            if rule:
                value[key] = fill(value[key], rule, root)
    elif isinstance(value, list) and "items" in rules:
        value = [fill(item, rules["items"], root) for item in value]
    return value


def _target(rule: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """A rule with what it refers to; its own words go before those of the target."""
    if "$ref" not in rule:
        return rule
    own = {key: value for key, value in rule.items() if key != "$ref"}
    return {**root["$defs"][rule["$ref"].rsplit("/", 1)[1]], **own}
