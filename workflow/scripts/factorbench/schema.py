"""YAML against a JSON schema of ``workflow/schemas/``: mistakes in one line, defaults filled in."""

from __future__ import annotations

import copy
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from . import registry
from .contracts import UserError

FOLDER = Path(__file__).parents[2] / "schemas"
MISSING = object()


@cache
def read(name: str) -> dict[str, Any]:
    """The schema ``workflow/schemas/<name>.schema.yaml``."""
    return yaml.safe_load((FOLDER / f"{name}.schema.yaml").read_text())


def check(value: Any, rules: dict[str, Any], where: str) -> None:
    """Raise a `UserError` of one line for the first thing in ``value`` that breaks the schema ``rules``."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(rules).iter_errors(value))
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
