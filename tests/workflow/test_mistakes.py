"""A mistake is reported in one line before any training, and leaves no incomplete file."""

import subprocess

import numpy as np
import pytest
from factorbench.contracts.files import read_json

from tests.planted import ROOT
from tests.workflow.conftest import local, planted_counts


def rewrite(bench, change):
    data, _ = planted_counts()
    changed = change(data)
    (data if changed is None else changed).write_h5ad(bench.folder / "planted.h5ad")
    bench.config["datasets"]["planted"]["files"]["counts"] = local(bench.folder / "planted.h5ad")


def set_value(value):
    def change(bench):
        def write(data):
            data.X.data[5] = value

        rewrite(bench, write)

    return change


def duplicate(axis):
    def change(bench):
        def write(data):
            names = list(getattr(data, axis))
            setattr(data, axis, [names[1], *names[1:]])

        rewrite(bench, write)

    return change


def entry(*path, to):
    def change(bench):
        target = bench.config
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = to

    return change


def truncate(bench):
    """Cut the file after its hash was noted, as a broken download would."""
    path = bench.folder / "planted.h5ad"
    path.write_bytes(path.read_bytes()[:-1000])


def other_species(bench):
    path = bench.folder / "planted.gmt"
    path.write_text(path.read_text(encoding="utf-8").replace("GENE", "Gene"), encoding="utf-8")
    bench.config["gene_sets"]["sets"]["file"] = local(path)


PLANTED = ("datasets", "planted")
MISTAKES = {
    "unknown key": (entry(*PLANTED, "lables", to={}), ["config.yaml: datasets.planted.lables", "labels"]),
    "missing label": (entry(*PLANTED, "labels", "cell_type", to="typ"), ["planted", "labels.cell_type", "typ", "type"]),
    "one class": (
        lambda bench: rewrite(bench, lambda data: data[data.obs["stim"] == "stimulated"].copy()),
        ["planted", "contrast.negative", "stimulated"],
    ),
    "unknown class": (entry(*PLANTED, "contrast", "positive", to="stim"), ["planted", "contrast", "stimulated"]),
    "NaN": (set_value(np.nan), ["planted", "nan in cell CELL0, gene GENE6"]),
    "infinite": (set_value(np.inf), ["planted", "inf"]),
    "negative": (set_value(-1), ["planted", "-1.0 in cell CELL0, gene GENE6"]),
    "duplicate cells": (duplicate("obs_names"), ["planted", "cell", "CELL1"]),
    "duplicate genes": (duplicate("var_names"), ["planted", "gene", "GENE1"]),
    "gene sets match nothing": (other_species, ["Gene", "GENE"]),
    "more components than genes": (
        entry("methods", "pca", "params", "n_factors", to=5000),
        ["methods.pca", "n_factors"],
    ),
    "truncated file": (truncate, ["planted.h5ad", "sha256"]),
    "not there": (
        entry(*PLANTED, "files", "counts", "sources", to=["/nowhere/planted.h5ad"]),
        ["planted.h5ad", "/nowhere/planted.h5ad", "mirrors"],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_reported_before_any_training(bench, name):
    change, words = MISTAKES[name]
    change(bench)
    bench.write_config(bench.config)
    printed = bench.snakemake("ready", check=False)
    # planted_permuted is made from planted, and has the same mistake.
    lines = [line.replace("planted_permuted", "planted") for line in printed.splitlines() if line.startswith("error: ")]
    assert lines, printed[-3000:]
    assert len(set(lines)) == 1, lines
    for word in words:
        assert word in lines[0], lines[0]
    assert "Traceback" not in printed
    assert not any("runs/" in path for path in bench.files())
    assert not any(path.endswith(".part") or "/." in path for path in bench.files())


def test_one_bad_dataset_stops_make_run_before_any_training(bench):
    bench.config["datasets"]["bad"] = {"from": "planted", "labels": {"condition": "nowhere"}}
    bench.config["runs"].append({"datasets": ["bad"], "methods": ["gene_set_mean"]})
    bench.write_config(bench.config)
    printed = bench.snakemake("ready", check=False)
    assert printed.count("error: ") >= 1
    # `make run` begins with this command and stops if it fails.
    run = subprocess.run(
        ["make", "-n", "run"], cwd=ROOT, capture_output=True, text=True, check=True, encoding="utf-8"
    ).stdout
    first, second = (line for line in run.splitlines() if "/snakemake " in line)
    assert " ready" in first
    assert " all" in second


CRASH = """
from ..registry import MethodSpec
SPEC = MethodSpec(name="crash", title="Crash")
def fit(data, params, seed, device, budget):
    raise ZeroDivisionError("by design")
"""


def test_a_failing_method_fails_loudly_and_the_others_go_on(bench):
    (bench.folder / "workflow/scripts/factorbench/methods/crash.py").write_text(CRASH, encoding="utf-8")
    bench.config["methods"]["crash"] = {"use": "crash"}
    bench.config["runs"] = [{"datasets": ["planted"], "methods": ["crash", "gene_set_mean", "pca"]}]
    bench.config["figures"] = {}
    bench.write_config(bench.config)
    printed = bench.snakemake(check=False)
    assert "ZeroDivisionError: by design" in printed
    for method in ("gene_set_mean", "pca"):
        assert read_json(bench.result(f"runs/planted/{method}/0/run.json"))["status"] == "ok"
    assert not bench.result("runs/planted/crash/0/run.json").exists()
