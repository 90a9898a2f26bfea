"""YAML against a JSON schema of ``workflow/schemas/``: mistakes in one line, defaults filled in."""

from __future__ import annotations

import copy
import math
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ..contracts.errors import UserError
from ..registry import nearest

FOLDER = Path(__file__).parents[3] / "schemas"
MISSING = object()
MOST, DEEPEST, LONGEST = 100_000, 30, 2_000
"""Limits of a file: entries (an alias counts wherever it is used), levels, characters of a text."""
LARGEST = 2**53
"""Above it, whole numbers and floating-point numbers differ."""
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
"""Characters that cannot be written to files and terminals."""


@cache
def read(name: str) -> dict[str, Any]:
    """Read the schema ``workflow/schemas/<name>.schema.yaml``."""
    return yaml.safe_load((FOLDER / f"{name}.schema.yaml").read_text(encoding="utf-8"))


def check_keys(path: Path) -> None:
    """Raise a `UserError` if a mapping in a YAML file has a key twice: readers of YAML take the last without a word."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    seen: set[int] = set()

    def check_node(node: yaml.Node) -> None:
        if id(node) in seen:  # an alias
            return
        seen.add(id(node))
        first: dict[str, int] = {}
        for part in node.value if isinstance(node, yaml.CollectionNode) else ():
            if isinstance(node, yaml.MappingNode):
                key, part = part
                line = key.start_mark.line + 1
                if isinstance(key, yaml.ScalarNode) and first.setdefault(key.value, line) != line:
                    where = f"lines {first[key.value]} and {line}"
                    raise UserError(f"{path.name}: the key {key.value} occurs twice ({where}); remove one of them")
            check_node(part)

    with open(path, encoding="utf-8") as file:
        root = yaml.compose(file, loader)
    if root is not None:
        check_node(root)


def plain(value: Any, where: str) -> Any:
    """Return a copy of ``value`` (as read from YAML) without shared parts; keys that are whole numbers become text.

    Raises
    ------
    UserError
        For anything but text, finite numbers, true, false, null, and lists and mappings of these (a date, for
        example); for text that cannot be printed; for aliases that refer to themselves or multiply without limit.
    """
    n_entries = 0

    def copied(part: Any, path: tuple[str, ...]) -> Any:
        nonlocal n_entries
        n_entries += 1
        if n_entries > MOST or len(path) > DEEPEST:
            raise UserError(
                f"{where}: more than {MOST:,} entries or {DEEPEST} levels; does an alias (*name) contain itself?"
            )
        at = f"{where}: {'.'.join(path)}"
        if isinstance(part, dict):
            entries = {}
            for key, inner in part.items():
                name = str(key) if type(key) is int else key
                if not isinstance(name, str) or not name.isprintable() or len(name) > LONGEST:
                    raise UserError(f"{at}: the key {str(key)[:40]!r} should be a line of text; put it in quotes")
                if name in entries:
                    raise UserError(f"{at}: the key {name} occurs twice; rename or remove one of them")
                entries[name] = copied(inner, (*path, name))
            return entries
        if isinstance(part, list):
            return [copied(item, (*path, str(i))) for i, item in enumerate(part)]
        if isinstance(part, str):
            if len(part) > LONGEST or CONTROL.search(part):
                raise UserError(f"{at}: {part[:40]!r} has over {LONGEST} characters or one that cannot be printed")
        elif isinstance(part, int | float):
            if abs(part) > LARGEST if isinstance(part, int) else not math.isfinite(part):
                raise UserError(f"{at}: the number is not finite, or a whole number above 2^53; give a smaller one")
        elif part is not None:
            raise UserError(f"{at}: {str(part)[:40]!r} was read as a {type(part).__name__}; put it in quotes")
        return part

    return copied(value, ())


def check(value: Any, schema: dict[str, Any], where: str) -> None:
    """Raise a `UserError` of one line for the first thing in ``value`` that breaks the ``schema``."""
    from jsonschema import Draft202012Validator, validators
    from jsonschema.exceptions import best_match

    # For JSON 5.0 is a whole number, but it cannot be a length or part of a path.
    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    validator = validators.extend(Draft202012Validator, type_checker=types)
    error = best_match(validator(schema).iter_errors(value))
    if error is not None:
        raise UserError(f"{where}: {explain(error)}")


def explain(error: Any) -> str:
    """Return one line for an error of jsonschema: the key, what is wrong, what is expected."""
    key = re.sub(r"\.\[", "[", ".".join(f"[{p}]" if isinstance(p, int) else str(p) for p in error.absolute_path))
    at = f"{key}: " if key else ""
    meaning = error.schema.get("description", "") if isinstance(error.schema, dict) else ""
    meaning = f" ({' '.join(meaning.split()).rstrip('.')})" if meaning else ""
    value = repr(error.instance)
    value = value if len(value) < 80 else value[:77] + "..."
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        unknown = next(k for k in error.instance if k not in known)
        return f"{key + '.' if key else ''}{unknown}: unknown key{nearest(str(unknown), known)}"
    if error.validator == "required":
        missing = next(k for k in error.validator_value if k not in error.instance)
        return f"{at}the key '{missing}' is missing"
    if error.validator == "pattern" and "propertyNames" in error.absolute_schema_path:
        return f"{at}the name {value} may contain only letters, digits, dashes and underscores"
    if error.validator == "type":
        kinds = error.validator_value if isinstance(error.validator_value, str) else " or ".join(error.validator_value)
        remedy = "; put it in quotes" if "string" in kinds and not isinstance(error.instance, dict | list) else ""
        return f"{at}{value} should be of type {kinds}{meaning}{remedy}"
    if error.validator == "enum":
        return f"{at}{value} should be one of {', '.join(map(str, error.validator_value))}"
    if error.validator in ("minItems", "minProperties"):
        return f"{at}is empty; at least one entry is needed{meaning}"
    return f"{at}{value} is not accepted: {error.validator} {error.validator_value}{meaning}"[:400]


def fill(value: Any, schema: dict[str, Any], root: dict[str, Any] | None = None) -> Any:
    """Fill in the defaults of ``schema`` wherever ``value`` has no entry (references point into ``root``)."""
    root = schema if root is None else root
    schema = _target(schema, root)
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        for key, rule in properties.items():
            default = _target(rule, root).get("default", MISSING)
            if key not in value and default is not MISSING:
                value[key] = copy.deepcopy(default)
        others = schema.get("additionalProperties")
        for key in value:
            rule = properties.get(key, others if isinstance(others, dict) else None)
            if rule:
                value[key] = fill(value[key], rule, root)
    elif isinstance(value, list) and "items" in schema:
        value = [fill(item, schema["items"], root) for item in value]
    return value


def _target(rule: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """Return a rule merged with the one it refers to; its own keys take precedence."""
    if "$ref" not in rule:
        return rule
    return {**root["$defs"][rule["$ref"].rsplit("/", 1)[1]], **rule}
