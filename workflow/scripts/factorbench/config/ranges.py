"""Datasets whose seed is a range (``0-4``): one dataset for each seed."""

from __future__ import annotations

import json
from typing import Any

from ..contracts.errors import UserError

SEEDS = (("permute_sets",), ("corrupt", "seed"), ("options", "seed"))
"""Keys of a dataset whose value may be a range."""

OWN = ("from", "group", "raw", "title")
"""Keys of a resolved dataset in which repetitions with other seeds differ."""

LONGEST = 10_000
"""Datasets that one range may make."""


def expand(config: dict[str, Any], where: str) -> None:
    """Replace datasets with a range by NAME_0, NAME_1 and so on, in place, wherever a list names them.

    Several ranges of one dataset go together, first with first. A dataset ``from`` one with a range is repeated with
    it.

    Raises
    ------
    UserError
        If a range has no member or too many, ranges of one dataset differ in length, or a name is taken.
    """
    datasets, repeated = config["datasets"], {}
    names = {name: _seeds(name, datasets, where, ()) for name in datasets}
    expanded: dict[str, Any] = {}
    for name, entry in datasets.items():
        if not names[name]:
            expanded[name] = entry
            continue
        repeated[name] = [f"{name}_{i}" for i in range(len(names[name]))]
        for i, copy in enumerate(repeated[name]):
            if copy in datasets:
                raise UserError(f"{where}: datasets.{name} makes a dataset {copy}, and there is one; rename it")
            parent = entry.get("from")
            expanded[copy] = {**entry, **_numbered(entry, i)}
            if entry.get("title"):
                expanded[copy]["title"] = f"{entry['title']} ({i + 1} of {len(names[name])})"
            if names.get(parent):
                expanded[copy]["from"] = f"{parent}_{i}"
    config["datasets"] = expanded
    entries = [*config["runs"], *config.get("nulls", []), *config.get("figures", {}).values()]
    for entry in entries:
        if isinstance(entry.get("datasets"), list):
            entry["datasets"] = [copy for name in entry["datasets"] for copy in repeated.get(name, [name])]


def draws(datasets: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """Return the datasets of a resolved config that differ in seeds only (`SEEDS`), by the first of them."""
    groups: dict[str, list[str]] = {}
    for name, entry in datasets.items():
        same = json.dumps({key: _without_seed(key, value) for key, value in entry.items() if key not in OWN})
        groups.setdefault(same, []).append(name)
    return {names[0]: names for names in groups.values()}


def _without_seed(key: str, value: Any) -> Any:
    for first, *rest in SEEDS:
        if key == first and not rest:
            return value is not None
        if key == first and isinstance(value, dict):
            return {k: v for k, v in value.items() if k != rest[0]}
    return value


def _seeds(name: str, datasets: dict[str, Any], where: str, chain: tuple[str, ...]) -> range | None:
    """Return the members of a dataset's range, or of that of the dataset it is made ``from``."""
    entry, found = datasets[name], {}
    parent = entry.get("from")
    if parent in datasets and parent not in chain:
        inherited = _seeds(parent, datasets, where, (*chain, name))
        if inherited:
            found[f"from {parent}"] = inherited
    for path in SEEDS:
        value = _value(entry, path)
        if isinstance(value, str):
            first, last = map(int, value.split("-"))
            members = range(first, last + 1)
            if not 0 < len(members) <= LONGEST:
                raise UserError(
                    f"{where}: datasets.{name}.{'.'.join(path)}: {value} should be first-last, up to 9,999 apart"
                )
            found[".".join(path)] = members
    if len({len(members) for members in found.values()}) > 1:
        raise UserError(
            f"{where}: datasets.{name}: the ranges of {' and '.join(found)} differ in length; make them equal"
        )
    return next(iter(found.values()), None)


def _value(entry: dict[str, Any], path: tuple[str, ...]) -> Any:
    for key in path:
        entry = entry.get(key) if isinstance(entry, dict) else None
    return entry


def _numbered(entry: dict[str, Any], i: int) -> dict[str, Any]:
    """Return the keys of ``entry`` that have a range, with its member number ``i``."""
    changed: dict[str, Any] = {}
    for first, *rest in SEEDS:
        value = _value(entry, (first, *rest))
        if isinstance(value, str):
            seed = int(value.split("-")[0]) + i
            changed[first] = {**entry[first], rest[0]: seed} if rest else seed
    return changed
