"""The project as a whole: pins agree, and documents name only what exists."""

import ast
import importlib.metadata
import re
import subprocess
import sys

import pytest
import yaml
from factorbench import registry
from factorbench.config import schema
from factorbench.config.resolve import resolve

from tests.planted import ROOT


def pins(name):
    """``package==version`` -> hashes, of one file of pins."""
    text = (ROOT / "envs" / name).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {line.split()[0]: set(re.findall(r"sha256:[0-9a-f]{64}", line)) for line in lines}


SETS = sorted(path.stem for path in (ROOT / "envs").glob("*.in"))
WORKFLOW = ("factorbench", "torch", "torch-cuda", "build")


def test_every_package_is_exact_and_hashed():
    for path in (ROOT / "envs").glob("*.txt"):
        assert pins(path.name)
        assert "://" not in path.read_text(encoding="utf-8"), f"{path.name}: an address of a registry"
        for pin, hashes in pins(path.name).items():
            assert re.fullmatch(r"[\w.-]+==[\w.!+]+", pin)
            assert hashes, pin


def test_conda_has_the_same_pins():
    environment = yaml.safe_load((ROOT / "envs/factorbench.yaml").read_text(encoding="utf-8"))
    (packages,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    conda = {line.split()[0]: set(re.findall(r"sha256:[0-9a-f]{64}", line)) for line in packages}
    assert conda == pins("factorbench.txt") | pins("torch.txt") | pins("torch-cuda.txt")


@pytest.mark.parametrize("name", SETS)
def test_every_requirement_is_pinned_once(name):
    """Every requirement of each ``.in``, and nothing that the workflow pins to another version."""
    own = {} if name == "factorbench" else pins(f"{name}.txt")
    workflow = {pin: hashes for part in WORKFLOW for pin, hashes in pins(f"{part}.txt").items()}
    names = {pin.split("==")[0] for pin in workflow | own}
    for line in (ROOT / "envs" / f"{name}.in").read_text(encoding="utf-8").splitlines():
        wanted = re.match(r"[\w.-]+", line.split("#")[0])
        if wanted:
            assert wanted.group().lower() in names
        if "==" in line.split("#")[0]:
            assert line.split("#")[0].strip() in workflow | own
    assert not {pin.split("==")[0] for pin in own} & {pin.split("==")[0] for pin in workflow}


def test_every_imported_package_is_a_requirement():
    """Otherwise `make lock` could lose a package that the code imports."""
    asked = {
        re.match(r"[\w.-]+", line).group().lower()
        for line in (ROOT / "envs/factorbench.in").read_text(encoding="utf-8").splitlines()
        if re.match(r"[\w.-]+", line)
    }
    packages = importlib.metadata.packages_distributions()
    for path in sorted((ROOT / "workflow").rglob("*.py")):
        for found in re.findall(r"^\s*(?:import|from) (\w+)", path.read_text(encoding="utf-8"), re.M):
            owners = {owner.lower() for owner in packages.get(found, ())} - {"factorbench"}
            assert not owners or owners & asked or found in sys.stdlib_module_names, f"{path.name}: {found}"


def test_documents_name_only_what_exists():
    """Paths and make targets in the documents, and every registered part in the README."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name in ("README.md", "CONTRIBUTING.md", "docs/datasets.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for target in re.findall(r"`make ([a-z-]+)", text):
            assert re.search(rf"^{target}:", makefile, re.M), f"{name}: make {target}"
        for path in re.findall(r"`((?:workflow|envs|profiles|tests|docs)/[\w./-]+)`", text):
            assert {"NAME", "mine"} & {*re.split(r"[/.]", path)} or (ROOT / path).exists(), f"{name}: {path}"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for kind in ("method", "metric"):
        for part in registry.names(kind):
            assert f"`{part}`" in readme, f"README.md: {kind} {part}"
    guide = (ROOT / "docs/datasets.md").read_text(encoding="utf-8")
    for part in registry.names("reader"):
        assert f"`{part}`" in guide, f"docs/datasets.md: reader {part}"


def test_the_guide_to_datasets_is_accepted_by_the_config():
    """Its dataset, runs and figures, as written there."""
    guide = (ROOT / "docs/datasets.md").read_text(encoding="utf-8").replace("<sha256sum mine.h5ad>", "a" * 64)
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", guide, re.S)]
    assert [list(block) for block in blocks] == [["datasets"], ["runs", "figures"]]
    config["datasets"] |= blocks[0]["datasets"]
    resolved = resolve(config | blocks[1])
    assert "mine_condition_by_cell_type" in resolved["figures"]
    examples = re.findall(r"`([{a-z_]\w*:? .*?)`", guide)
    assert examples
    for example in examples:
        keys = yaml.safe_load(example)
        known = schema.read("config")["$defs"]["dataset"]["properties"]
        if isinstance(keys, dict) and "kind" not in keys:
            assert set(keys) <= set(known), example


def test_tests_that_documents_name_exist():
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    known = {name for path in files for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.M)}
    for name in ("docs/faults.md", "SECURITY.md"):
        named = set(re.findall(r"\btest_\w+", (ROOT / name).read_text(encoding="utf-8")))
        assert named
        assert named <= known | {path.stem for path in files}, name


def is_text_file(call):
    """Return whether a call reads or writes a file, or the output of a process, as text."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name == "open" and isinstance(call.func, ast.Name):
        return "b" not in "".join(map(ast.unparse, call.args[1:2]))
    as_text = any(keyword.arg == "text" for keyword in call.keywords)
    is_method = isinstance(call.func, ast.Attribute)
    return (is_method and name in ("read_text", "write_text")) or (as_text and name in ("run", "Popen", "check_output"))


def test_every_text_file_is_read_and_written_with_its_encoding():
    """Also where ruff's PLW1514 does not know that a variable is a path. Otherwise the locale of the user decides."""
    calls = 0
    for path in sorted(path for part in ("workflow", "bench", "envs", "tests") for path in (ROOT / part).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and is_text_file(node):
                calls += 1
                assert any(keyword.arg == "encoding" for keyword in node.keywords), f"{path}: line {node.lineno}"
    assert calls > 100


def test_lint_reports_undefined_names_in_the_package():
    """The name that Snakemake defines in scripts is known, and no other."""
    ruff = [sys.executable, "-m", "ruff", "check", "--select", "F821", "--output-format", "concise"]
    ruff += ["--stdin-filename", "workflow/scripts/factorbench/reporting/plots/example.py", "-"]
    done = subprocess.run(
        ruff,
        input="wildcards = snakemake.wildcards\nvalue = Any\n",
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert re.findall(r"Undefined name `(\w+)`", done.stdout) == ["Any"]
