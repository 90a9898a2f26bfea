"""The code that a result follows from: which modules, and which changes of them count."""

import subprocess
import sys

import pytest
from factorbench import fingerprint

from tests.planted import ROOT

FILES = {
    "fit.py": "from package.run import go\n",
    "package/__init__.py": '"""A package."""\n',
    "package/run.py": "from . import helper\n\ndef go():\n    from .late import slow\n    return slow\n",
    "package/helper.py": "import numpy\n\n# a comment\ndef double(x):\n    '''Return twice x.'''\n    return 2 * x\n",
    "package/late/__init__.py": "",
    "package/late/slow.py": "from ..deep.other import thing as renamed\n",
    "package/deep/other.py": "thing = 1\n",
    "package/unused.py": "x = 1\n",
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
    fingerprint._read.cache_clear()
    yield tmp_path
    fingerprint._read.cache_clear()


def code(project, path="fit.py"):
    fingerprint._read.cache_clear()
    return fingerprint.code(path)


def test_everything_that_is_imported_counts_however_late_and_nothing_else(project):
    assert set(code(project)) == set(FILES) - {"package/unused.py"}


@pytest.mark.parametrize(
    ("path", "old", "new", "counts"),
    [
        ("package/helper.py", "2 * x", "3 * x", True),
        ("package/deep/other.py", "1", "2", True),
        ("package/helper.py", "# a comment\n", "", False),
        ("package/helper.py", "twice x", "x plus x", False),
        ("package/__init__.py", "A package", "The package", False),
        ("package/helper.py", "return 2 * x", "return (2 * x)", False),
        ("package/unused.py", "1", "2", False),
    ],
)
def test_a_change_counts_if_it_changes_what_the_code_does(project, path, old, new, counts):
    before = code(project)
    text = (project / path).read_text(encoding="utf-8")
    assert old in text
    (project / path).write_text(text.replace(old, new), encoding="utf-8")
    changed = [name for name, digest in code(project).items() if digest != before[name]]
    assert changed == ([path] if counts else [])


def test_a_fit_follows_from_its_method_the_contracts_and_the_runner_only():
    modules = set(fingerprint.code("fit.py", "factorbench/methods/fsclvm.py"))
    for name in ("contracts/factors", "runs/execute", "runs/supervise", "methods/_slalom", "contracts/budget"):
        assert f"factorbench/{name}.py" in modules
    for part in ("reporting", "results", "metrics", "data", "config", "model"):
        assert not [name for name in modules if name.startswith(f"factorbench/{part}/")], part


@pytest.mark.slow
def test_modules_that_python_imports_are_among_those_found():
    """An independent oracle: what importing the method really loads."""
    text = "import sys; import factorbench.methods.interpretable_ae, factorbench.model.autoencoder; print(*sys.modules)"
    environment = {"PYTHONPATH": str(ROOT / "workflow/scripts")}
    done = subprocess.run(
        [sys.executable, "-c", text], env=environment, capture_output=True, text=True, check=True, encoding="utf-8"
    )
    loaded = {name for name in done.stdout.split() if name.startswith("factorbench")}
    paths = {path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in
             fingerprint.code("factorbench/methods/interpretable_ae.py")}  # fmt: skip
    assert loaded - {"factorbench.methods"} <= paths
