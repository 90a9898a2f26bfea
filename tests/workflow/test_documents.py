"""Documents stay true: the commands and the code of the README run, and every key of the config is documented."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from factorbench import registry
from factorbench.config import schema

from tests.planted import ROOT
from tests.workflow.conftest import Bench

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TOO_LONG = re.compile(
    r"make (test|test-fast|lint|bench|million|verify|slurm-test|lock|pin|unlock)\b|PROFILE=slurm|=mine\b"
)
"""Commands that are only shown by `make -n`: they need minutes, a cluster, or a reader's data. Others are dry runs."""


def commands(text):
    """Commands of the ``sh`` blocks, without their comments."""
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.S) for line in block.splitlines()]
    return [stripped for line in lines if (stripped := re.sub(r"\s+#.*", "", line).strip())]


def environment(folder: Path) -> dict[str, str]:
    """Link ``.venv`` in ``folder`` to the environment that the tests run in; return variables for a command."""
    (folder / ".venv").mkdir(exist_ok=True)
    for part in ("bin", "lib", "pyvenv.cfg"):
        (folder / ".venv" / part).symlink_to(Path(sys.prefix) / part)
    for made in ("factorbench", "test", "bench", "slurm", "lock"):
        (folder / ".venv" / f".{made}").touch()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MAKEFLAGS")} | {"PATH": path}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """The project as it is given to a user."""
    folder = Bench(tmp_path_factory.mktemp("fresh")).folder
    for part in ("Makefile", "bench", "tests", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, folder / part)
    return folder, environment(folder)


@pytest.fixture(scope="module")
def used(finished):
    """The project as it is after a run."""
    shutil.copy(ROOT / "Makefile", finished.folder)
    return finished.folder, environment(finished.folder)


@pytest.mark.parametrize(
    "command", [c for text in DOCUMENTS for c in commands(text.read_text(encoding="utf-8")) if c.startswith("make")]
)
def test_make_commands_of_the_documents_work(fresh, command):
    folder, env = fresh
    call = shlex.split(command)
    if TOO_LONG.search(command):
        call.insert(1, "-n")
    else:
        given = [i for i, word in enumerate(call) if word.startswith("ARGS=")]
        call = [f"{word} -n" if i in given else word for i, word in enumerate(call)]
        call += [] if given else ["ARGS=-n"]
    done = subprocess.run(call, cwd=folder, env=env, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert done.stdout


@pytest.mark.parametrize(
    "command",
    [
        c
        for text in DOCUMENTS
        for c in commands(text.read_text(encoding="utf-8"))
        if re.search(r"(^|=\S+ )\.venv/bin/", c)
    ],
)
def test_other_commands_of_the_documents_work(used, command):
    folder, env = used
    done = subprocess.run(command, shell=True, cwd=folder, env=env, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_every_command_of_the_documents_is_tested():
    found = [c for text in DOCUMENTS for c in commands(text.read_text(encoding="utf-8"))]
    assert len(found) > 8
    known = ("make ", ".venv/bin/", "sbatch ", "curl ")
    assert not [c for c in found if not c.startswith(known)]


def test_a_run_is_replayed_as_the_readme_says(used):
    folder, env = used
    (command,) = re.findall(r"`(PYTHONPATH=\S+ \S+ -m factorbench\.runs \S+)`", README)
    command = command.replace("/kang/", "/planted/")
    done = subprocess.run(command, shell=True, cwd=folder, env=env, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr


def test_the_code_of_the_readme_works(used):
    """The model is trained on planted data and saved; the example of a method is a method."""
    folder, env = used
    method, script = re.findall(r"```python\n(.*?)```", README, re.S)
    script = script.replace("/kang/", "/planted/").replace("INTERFERON_SIGNALING", "SET_0")
    env |= {"PYTHONPATH": "workflow/scripts"}  # in place of `pip install .`
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=env, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "my_model/model.safetensors").exists()
    (folder / "workflow/scripts/factorbench/methods/mine.py").write_text(method, encoding="utf-8")
    code = "from factorbench import registry; print(registry.load('method', 'mine').SPEC.params['alpha'].default)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.stdout == "1.0\n", done.stderr


def properties(rules, at="config"):
    """Every key that the schema takes, with its own rules."""
    for key in ("properties", "$defs"):
        for name, entry in rules.get(key, {}).items():
            if key == "properties":
                yield f"{at}.{name}", entry
            yield from properties(entry, f"{at}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(rules.get(key), dict):
            yield from properties(rules[key], at)
    for key in ("oneOf", "anyOf", "allOf"):
        for entry in rules.get(key, []):
            yield from properties(entry, at)


def described(rules, entry):
    """Whether an entry of the schema says what it is, or refers to one that does."""
    reference = entry.get("$ref", "").rpartition("/")[2]
    explained = entry.get("description") or rules.get("$defs", {}).get(reference, {}).get("description")
    return bool(explained) or "const" in entry  # a constant chooses between alternatives that are described


@pytest.mark.parametrize("name", ["config", "claims"])
def test_every_key_is_documented_where_it_is_declared(name):
    rules = schema.read(name)
    found = dict(properties(rules, name))
    assert len(found) > 10
    assert not [key for key, entry in found.items() if not described(rules, entry)]


def test_every_parameter_is_documented():
    for kind in registry.PARTS:
        for name in registry.names(kind):
            for key, param in registry.load(kind, name).SPEC.params.items():
                assert len(param.doc.split()) > 1, f"{kind} {name}: {key}"


def test_presets_set_only_keys_of_the_schema():
    known = set(schema.read("config")["properties"])
    for path in [ROOT / "config.yaml", *(ROOT / "workflow/presets").glob("*.yaml")]:
        assert set(yaml.safe_load(path.read_text(encoding="utf-8"))) <= known, path


def test_links_between_documents_work():
    for path in (*DOCUMENTS, ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"):
        for link in re.findall(r"\]\(([^)#]+)(?:#[\w-]+)?\)", path.read_text(encoding="utf-8")):
            if "://" not in link:
                assert (path.parent / link).exists(), f"{path.name}: {link}"
