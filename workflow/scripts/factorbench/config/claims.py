"""Lists of claims of a publication: read and checked. `reporting.claims` tests them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ..contracts.errors import UserError
from . import schema
from .plan import PROJECT

SIDES = ("above", "at_least")
"""Keys of a test's threshold: on which side of it the claimed numbers lie."""


def read(path: str | Path) -> dict[str, Any]:
    """Read a file of claims; a relative path is looked up in the project.

    Returns
    -------
    dict
        As ``workflow/schemas/claims.schema.yaml`` says, complete: ``claims``, and ``beside``, the method by which all
        claims are tested a second time (``None``: none).

    Raises
    ------
    UserError
        In one line: the file is missing or not YAML, a key or a test is unknown or incomplete, an id occurs twice.
    """
    path = PROJECT / path
    try:
        text = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError:
        raise UserError(f"claims: there is no file {path}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path.name}: not YAML ({' '.join(str(error).split())[:120]})") from None
    rules = schema.read("claims")
    schema.check(text, rules, path.name)
    content = schema.fill(text, rules)
    for claim in content["claims"]:
        ((test, params),) = claim["test"].items()
        if sum(side in params for side in SIDES) != 1:
            raise UserError(f"{path.name}: {claim['id']}.test.{test}: give either above or at_least")
    ids = [claim["id"] for claim in content["claims"]]
    if len(set(ids)) < len(ids):
        raise UserError(f"{path.name}: two claims have the same id; rename one of them")
    return content
