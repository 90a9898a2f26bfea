"""The workflow used from elsewhere: as a Snakemake module, from another folder, and as an installed package."""

import json
import shutil
import subprocess
import sys
import zipfile

import pytest
import yaml
from factorbench.contracts.files import read_table

from tests.planted import ROOT
from tests.workflow.conftest import clean_environment, planted_config

OUTER = """
configfile: "outer.yaml"

rule all:
    input: "best.txt"

module factorbench:
    snakefile: "{snakefile}"
    config: config["factorbench"]

use rule * from factorbench as fb_*

use rule fit from factorbench as fb_fit with:
    threads: 1

rule best:
    input: "results/tables/separation.tsv"
    output: "best.txt"
    run:
        with open(input[0]) as table, open(output[0], "w") as file:
            file.write(table.read())
"""


@pytest.fixture
def small(tmp_path):
    """A folder with planted data, and a config of two fast methods on them."""
    config = planted_config(tmp_path)
    config["methods"] = {"gene_set_mean": {"use": "gene_set_mean"}, "pca": {"use": "pca", "params": {"n_factors": 3}}}
    config["runs"] = [{"datasets": ["planted"], "methods": ["gene_set_mean", "pca"]}]
    config["figures"] = {}
    del config["claims"]
    return tmp_path, config


def snakemake(folder, *arguments):
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=clean_environment(), capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def test_as_a_module_of_another_workflow(small):
    """In a working directory of its own, with a rule before and after, and one of our rules changed."""
    folder, config = small
    (folder / "outer.yaml").write_text(yaml.safe_dump({"project": "mine", "factorbench": config}), encoding="utf-8")
    (folder / "Snakefile").write_text(OUTER.format(snakefile=ROOT / "Snakefile"), encoding="utf-8")
    snakemake(folder)
    table = read_table(folder / "best.txt")
    best = table[(table["label"] == "condition=stimulated") & (table["method"] == "gene_set_mean")]
    assert best["factor"].tolist() == ["SET_0"]
    assert "Nothing to be done" in snakemake(folder, "-n")
    snakemake(folder, "fb_all")
    assert (folder / "results/report.html").exists()
    run = json.loads((folder / "results/runs/planted/pca/0/run.json").read_text(encoding="utf-8"))
    assert run["threads"] == 1


def test_with_a_config_in_another_folder(small):
    folder, config = small
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    printed = snakemake(ROOT, "-s", str(ROOT / "Snakefile"), "--directory", str(folder), "results/report.html")
    assert "run 2 of 2" in printed
    assert (folder / "results/report.html").exists()
    assert (folder / "resources/planted/planted.h5ad").exists()


def test_as_an_installed_package(tmp_path):
    """The wheel holds every module and template, and works without the project."""
    copy = tmp_path / "project"
    for part in ("workflow", "envs"):
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for part in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / part, copy)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, copy]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("factorbench-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if name.startswith("factorbench/")}
        archive.extractall(tmp_path / "installed")
    source = ROOT / "workflow/scripts"
    parts = {p for p in (source / "factorbench").rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    assert files == {str(path.relative_to(source)) for path in parts}
    code = "from factorbench.model import InterpretableAutoencoder as AE; print(AE(seed=1))"
    environment = clean_environment() | {"PYTHONPATH": str(tmp_path / "installed")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.stdout == "InterpretableAutoencoder(seed=1)\n", done.stderr


def test_claims_of_the_paper_are_not_mentioned_for_data_of_ones_own(small):
    """The default config's list of claims is about other data."""
    folder, config = small
    config["claims"] = "workflow/claims.yaml"
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    printed = snakemake(ROOT, "-s", str(ROOT / "Snakefile"), "--directory", str(folder), "results/report.html")
    page = (folder / "results/report.html").read_text(encoding="utf-8")
    assert 'id="claims"' not in page
    assert "not tested" not in page
    summary = subprocess.run(
        [sys.executable, "-m", "factorbench.reporting.terminal", str(folder / "results")],
        env={"PYTHONPATH": str(ROOT / "workflow/scripts")},
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
    ).stdout
    assert "\nclaims " not in summary
    assert "claims: " not in printed
