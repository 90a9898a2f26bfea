"""Which code a result follows from: the modules that a script imports, each with a hash of what it does.

Snakemake watches a rule's script but not the modules it imports. So rules pass `code` as a parameter, and a job runs
again when it changes. Comments, docstrings and layout do not count.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The folder of the rules' scripts, which holds the package."""


def code(*paths: str) -> dict[str, str]:
    """Return the path and hash of every module that the files ``paths`` import, directly or not, themselves included.

    Paths are relative to the scripts' folder. Imports inside functions count, modules outside the project do not.
    """
    modules: dict[Path, str] = {}
    queue = [ROOT / path for path in paths]
    while queue:
        path = queue.pop()
        if path not in modules:
            modules[path], imports = _read(path)
            queue += imports
    return {path.relative_to(ROOT).as_posix(): digest for path, digest in sorted(modules.items())}


@cache
def _read(path: Path) -> tuple[str, tuple[Path, ...]]:
    """Return the hash of a module's syntax tree without docstrings, and the files that it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = tuple(_imports(tree, path))
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            node.value.value = ""
    return sha256(ast.dump(tree).encode()).hexdigest()[:16], imports


def _imports(tree: ast.Module, path: Path) -> Iterator[Path]:
    """Yield the files of the project that a module imports, with the ``__init__.py`` of every package above them."""
    folder = path.relative_to(ROOT).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = folder[: len(folder) - node.level + 1] if node.level else ()
            modules = [".".join([*above, *filter(None, [node.module]), alias.name]) for alias in node.names]
        else:
            continue
        for parts in (module.split(".") for module in modules):
            for depth in range(1, len(parts) + 1):
                target = ROOT.joinpath(*parts[:depth])
                if target.with_suffix(".py").is_file():
                    yield target.with_suffix(".py")
                elif (target / "__init__.py").is_file():
                    yield target / "__init__.py"
