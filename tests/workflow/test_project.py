"""The project as a whole: pins in step, every preset plans, the documents say what is true."""

import re
import subprocess
import sys

import pytest
import yaml
from factorbench import config as settings
from factorbench import registry, schema

from tests.planted import ROOT
from tests.workflow.conftest import jobs_of

PRESETS = ["config.yaml", *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "workflow/presets").glob("*.yaml")))]


def pins(name):
    """``package==version`` -> hashes, of one file of pins."""
    text = (ROOT / "envs" / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {line.split()[0]: set(re.findall(r"sha256:[0-9a-f]{64}", line)) for line in lines}


def test_every_package_is_exact_and_hashed():
    for name in ("factorbench.txt", "torch.txt", "torch-cuda.txt", "test.txt", "build.txt"):
        assert pins(name)
        for pin, hashes in pins(name).items():
            assert re.fullmatch(r"[\w.-]+==[\w.!+]+", pin)
            assert hashes, pin


def test_conda_has_the_same_pins():
    environment = yaml.safe_load((ROOT / "envs/factorbench.yaml").read_text())
    (packages,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    conda = {line.split()[0]: set(re.findall(r"sha256:[0-9a-f]{64}", line)) for line in packages}
    assert conda == pins("factorbench.txt") | pins("torch.txt") | pins("torch-cuda.txt")
    assert "python=3.11" in environment["dependencies"]


def test_what_is_asked_for_is_pinned():
    pinned = pins("factorbench.txt") | pins("torch.txt") | pins("test.txt")
    names = {pin.split("==")[0] for pin in pinned}
    for name in ("factorbench.in", "test.in"):
        for line in (ROOT / "envs" / name).read_text().splitlines():
            wanted = re.match(r"[\w.-]+", line.split("#")[0])
            if wanted:
                assert wanted.group().lower() in names
            if "==" in line.split("#")[0]:
                assert line.split("#")[0].strip() in pinned


def snakemake(*arguments):
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_be_planned_from_nothing(preset, tmp_path):
    done = snakemake("-n", "--directory", str(tmp_path), "--configfile", "config.yaml", preset)
    assert done.returncode == 0, done.stderr
    assert jobs_of(done.stdout)["fit"] > 0


def test_documents_name_only_what_exists():
    """Paths and make targets in the documents, and every registered part in the README."""
    makefile = (ROOT / "Makefile").read_text()
    for name in ("README.md", "CONTRIBUTING.md", "docs/datasets.md"):
        text = (ROOT / name).read_text()
        for target in re.findall(r"`make ([a-z-]+)", text):
            assert re.search(rf"^{target}:", makefile, re.M), f"{name}: make {target}"
        for path in re.findall(r"`((?:workflow|envs|profiles|tests|docs)/[\w./-]+)`", text):
            assert {"NAME", "mine"} & {*re.split(r"[/.]", path)} or (ROOT / path).exists(), f"{name}: {path}"
    readme = (ROOT / "README.md").read_text()
    for kind in ("method", "metric"):
        for part in registry.names(kind):
            assert f"`{part}`" in readme, f"README.md: {kind} {part}"
    guide = (ROOT / "docs/datasets.md").read_text()
    for part in registry.names("reader"):
        assert f"`{part}`" in guide, f"docs/datasets.md: reader {part}"


def test_the_guide_to_datasets_says_what_the_config_takes():
    """Its entry and its runs and figures, as they stand there, are accepted."""
    guide = (ROOT / "docs/datasets.md").read_text().replace("<sha256sum mine.h5ad>", "a" * 64)
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", guide, re.S)]
    assert [list(block) for block in blocks] == [["datasets"], ["runs", "figures"]]
    config["datasets"] |= blocks[0]["datasets"]
    resolved = settings.resolve(config | blocks[1])
    assert "mine_condition_by_cell_type" in resolved["figures"]
    examples = re.findall(r"`([{a-z_]\w*:? .*?)`", guide)
    assert examples
    for example in examples:
        keys = yaml.safe_load(example)
        known = schema.read("config")["$defs"]["dataset"]["properties"]
        if isinstance(keys, dict) and "kind" not in keys:
            assert set(keys) <= set(known), example
