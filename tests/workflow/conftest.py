"""A small benchmark on planted data, in a copy of the project, run by Snakemake as a user would."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self

import numpy as np
import pytest
import yaml
from factorbench.contracts.files import sha256
from filelock import FileLock

from tests.planted import ROOT

PARTS = ["Snakefile", "config.yaml", "checksums.tsv", "workflow", "envs", "profiles"]


def interruptible() -> None:
    """Let a new process react to Ctrl-C: processes that a shell starts in the background ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def clean_environment() -> dict[str, str]:
    """Return an environment in which this Python's programs come first and no path to the package is set."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return environment | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])}


class Bench:
    """A copy of the project in ``folder`` with a config of its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        for part in PARTS:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, folder / part)

    @classmethod
    def copy(cls, used: Path, folder: Path) -> Self:
        """Return a copy of a ``used`` folder: project, config, and all results with Snakemake's records of them."""
        new = cls.__new__(cls)
        new.folder, new.config = folder, yaml.safe_load((used / "config.yaml").read_text(encoding="utf-8"))
        shutil.copytree(used, folder, symlinks=True)
        return new

    def printed(self) -> str:
        """Return what the last run that was kept printed."""
        return (self.folder / "printed").read_text(encoding="utf-8")

    def write_config(self, config: dict) -> None:
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")

    def snakemake(self, *arguments: str, check: bool = True) -> str:
        """Run Snakemake here; return all it printed."""
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        if check:
            assert done.returncode == 0, done.stdout[-5000:]
        else:
            assert done.returncode != 0, done.stdout[-5000:]
        return done.stdout

    def result(self, path: str) -> Path:
        return self.folder / "results" / path

    def files(self) -> set[str]:
        """Every file under results/ and resources/ but for logs and Snakemake's own."""
        found = (p for top in ("results", "resources") for p in (self.folder / top).rglob("*") if p.is_file())
        return {str(p.relative_to(self.folder)) for p in found if "/logs/" not in str(p)}


def planted_counts(n_cells: int = 300, n_sets: int = 6, size: int = 20, seed: int = 0):
    """Raw counts with a planted answer, as a lab would have them: AnnData and the lines of a GMT file.

    Genes of SET_0 are up in stimulated cells, those of SET_1 in cells of type B; genes of the other sets and as many
    genes in no set follow neither. Cells are of four persons, who do not differ.
    """
    import anndata
    import pandas as pd
    from scipy import sparse

    random = np.random.default_rng(seed)
    n_genes = 2 * n_sets * size
    condition = random.permutation(np.repeat(["control", "stimulated"], [n_cells // 2, n_cells - n_cells // 2]))
    cell_type = random.permutation(np.repeat(["A", "B"], [n_cells // 3, n_cells - n_cells // 3]))
    rate = random.gamma(2.0, 1.0, n_genes) * np.ones((n_cells, 1))
    rate[np.ix_(condition == "stimulated", np.arange(0, size))] *= 3
    rate[np.ix_(cell_type == "B", np.arange(size, 2 * size))] *= 3
    data = anndata.AnnData(sparse.csr_matrix(random.poisson(rate).astype(np.float32)))
    data.obs_names = [f"CELL{i}" for i in range(n_cells)]
    data.var_names = [f"GENE{i}" for i in range(n_genes)]
    data.obs["stim"], data.obs["type"] = pd.Categorical(condition), pd.Categorical(cell_type)
    data.obs["person"] = pd.Categorical([f"P{i % 4}" for i in range(n_cells)])
    names = data.var_names
    sets = [f"SET_{k}\thttps://example.org\t" + "\t".join(names[k * size : (k + 1) * size]) for k in range(n_sets)]
    return data, "\n".join(sets) + "\n"


def local(path: Path) -> dict:
    """A file's entry in a config, taken from where it lies."""
    return {"name": path.name, "sha256": sha256(path), "sources": [str(path)]}


CLAIMS = """
claims:
  - id: true_one
    where: Figure 1
    says: SET_0 tells stimulated from control cells.
    dataset: planted
    test: {auroc: {method: ae, term: SET_0, label: condition=stimulated, at_least: 0.9}}
    taken_as: an AUROC of 0.9 or more
    differs: Nothing differs from <what> was planted.
  - id: false_one
    where: Figure 2
    says: SET_1 tells stimulated from control cells.
    dataset: planted
    test: {auroc: {method: ae, term: SET_1, label: condition=stimulated, at_least: 0.9}}
    taken_as: an AUROC of 0.9 or more
    differs: SET_1 was planted for cells of type B.
  - id: open_one
    where: Table 1
    says: Elsewhere it is so too.
    dataset: elsewhere
    test: {auroc: {method: ae, term: SET_0, label: condition=stimulated, at_least: 0.9}}
    taken_as: an AUROC of 0.9 or more
    differs: There are no such data.
"""


def planted_config(folder: Path) -> dict:
    """A config of all methods on planted data, written to ``folder``."""
    data, gmt = planted_counts()
    data.write_h5ad(folder / "planted.h5ad")
    (folder / "planted.gmt").write_text(gmt, encoding="utf-8")
    (folder / "claims.yaml").write_text(CLAIMS, encoding="utf-8")
    # With the usual lambda1, the loadings of permuted sets leave their set and take the planted response.
    small = {"epochs": 40, "batch_size": 32, "hidden": [32], "learning_rate": 0.003, "lambda1": 3.0}
    return {
        "datasets": {
            "planted": {
                "title": "Planted & <b>true</b>",
                "files": {"counts": local(folder / "planted.h5ad")},
                "labels": {"condition": "stim", "cell_type": "type", "donor": "person"},
                "contrast": {"label": "condition", "positive": "stimulated"},
                "donor": "donor",
                "zeroed_by": "condition",
                "n_top_genes": 200,
            },
            "planted_permuted": {"from": "planted", "permute_sets": 0},
        },
        "gene_sets": {"sets": {"file": local(folder / "planted.gmt"), "min_genes": 5}},
        "methods": {
            "ae": {"use": "interpretable_ae", "params": small},
            "strict": {"use": "interpretable_ae", "params": {**small, "lambda3": 1000.0}},  # switches factors off
            "fsclvm": {"use": "fsclvm", "budget": "20s"},
            "impatient": {"use": "fsclvm", "title": "f-scLVM, impatient", "budget": 0.05},
            "gene_set_mean": {"use": "gene_set_mean"},
            "pca": {"use": "pca", "params": {"n_factors": 4}},
        },
        "runs": [
            {"datasets": ["planted"], "methods": ["ae", "strict"], "seeds": [0, 1]},
            {"datasets": ["planted"], "methods": ["fsclvm", "impatient", "gene_set_mean", "pca"]},
            {"datasets": ["planted_permuted"], "methods": ["ae"]},
        ],
        "nulls": [{"datasets": ["planted"], "methods": ["gene_set_mean"], "permutations": 19}],
        "figures": {
            "scatter": {
                "kind": "scatter",
                "dataset": "planted",
                "method": "ae",
                "x": ["SET_99", "SET_0"],
                "y": ["SET_1"],
                "colour": "condition",
            },
            "accuracy": {
                "kind": "accuracy",
                "datasets": ["planted"],
                "methods": ["ae", "strict", "fsclvm"],
                "terms": ["SET_0", "SET_1", "SET_99"],
            },
            "runtime": {"kind": "runtime", "datasets": ["planted"]},
            "all": {"kind": "standard", "dataset": "planted", "method": "ae"},
        },
        "claims": str(folder / "claims.yaml"),
    }


@pytest.fixture
def bench(tmp_path):
    """A fresh copy of the project with the planted config, not yet run."""
    fresh = Bench(tmp_path)
    fresh.config = planted_config(tmp_path)
    fresh.write_config(fresh.config)
    return fresh


def run_once(name: str, configure: Callable[[Bench], None], tmp_path_factory) -> Path:
    """Run a benchmark to its end, once for all test processes; return its folder. ``configure`` writes its config."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # the folder that the processes share
    folder = base / name
    with FileLock(base / f"{name}.lock"):
        if not (folder / "printed").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            bench = Bench(folder)
            configure(bench)
            (folder / "printed").write_text(bench.snakemake(), encoding="utf-8")
    return folder


def all_methods(bench: Bench) -> None:
    """Every method on planted data, and two of them with cells held out."""
    config = planted_config(bench.folder)
    new = {"from": "planted", "title": "Planted, a part not seen", "hold_out": {"share": 0.25}}
    config["datasets"]["planted_new"] = new
    config["runs"].append({"datasets": ["planted_new"], "methods": ["ae", "fsclvm"]})
    config["figures"]["runtime"]["datasets"].append("planted_new")
    bench.write_config(config)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The planted benchmark, run to its end: a copy for each file of tests."""
    return Bench.copy(run_once("planted", all_methods, tmp_path_factory), tmp_path_factory.mktemp("copy") / "planted")


def jobs_of(printed: str) -> dict[str, int]:
    """Jobs a dry run would do, by rule."""
    return {rule: int(count) for rule, count in re.findall(r"^(\w+)\s+(\d+)$", printed, re.M) if rule != "total"}
