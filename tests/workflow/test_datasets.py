"""A user's own dataset: described before anything is run, and run without the samples that are missing."""

import h5py
import numpy as np
import pytest
from factorbench.contracts.files import read_table

from tests.workflow.conftest import local, planted_counts


def entry(bench):
    """Return an entry for data on disk with other names of labels than those of the presets."""
    data, _ = planted_counts(n_cells=180, seed=5)
    data.obs = data.obs.rename(columns={"stim": "treatment", "type": "annotation"})
    data.write_h5ad(bench.folder / "mine.h5ad")
    return {
        "title": "My cells",
        "files": {"counts": local(bench.folder / "mine.h5ad")},
        "labels": {"condition": "treatment", "cell_type": "annotation"},
        "contrast": {"label": "condition", "positive": "stimulated"},
        "n_top_genes": 200,
    }


def describe(bench, name, check=True):
    return bench.snakemake("check_dataset", "--config", f"describe={name}", check=check)


def error_line(printed):
    assert "Traceback" not in printed
    (line,) = {line for line in printed.splitlines() if line.startswith("error: ")}
    return line


def test_a_dataset_is_described_before_anything_is_run(bench):
    bench.config["datasets"]["mine"] = entry(bench)
    bench.write_config(bench.config)
    printed = describe(bench, "mine")
    for part in ("My cells", "180", "stimulated", "control", "120 of 120", "6 of 6", "no run of the config uses it"):
        assert part in printed, part
    assert not any("runs/" in path or "planted/" in path for path in bench.files())
    bench.config["runs"].append({"datasets": ["mine"], "methods": ["ae", "pca"], "seeds": [0, 1]})
    bench.write_config(bench.config)
    assert "4: ae, seeds 0, 1; pca, seeds 0, 1" in describe(bench, "mine")
    assert not any("runs/" in path for path in bench.files())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": {"condition": "treatmnt"}}, ["mine.labels.condition", "treatmnt", "treatment"]),
        ({"contrast": {"label": "condition", "positive": "stim"}}, ["mine.contrast", "stim", "stimulated"]),
    ],
    ids=["label", "class"],
)
def test_a_wrong_entry_is_reported_in_one_line(bench, change, words):
    bench.config["datasets"]["mine"] = entry(bench) | change
    bench.write_config(bench.config)
    line = error_line(describe(bench, "mine", check=False))
    assert all(word in line for word in words)


def test_an_unknown_dataset_is_reported_with_the_nearest_name(bench):
    line = error_line(describe(bench, "plantd", check=False))
    assert "plantd" in line
    assert "planted" in line


def write_10x(path, data):
    """Write a sample in the format of Cell Ranger."""
    counts = data.X.tocsc().T.tocsc()  # genes x cells, compressed by cells
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["barcodes"] = np.array([f"{name}-1" for name in data.obs_names], "S")
        for key in ("data", "indices", "indptr"):
            group[key] = getattr(counts, key).astype(np.int64)
        group["shape"] = np.array(counts.shape, np.int32)
        features = group.create_group("features")
        for key in ("id", "name"):
            features[key] = np.array(data.var_names, "S")
        features["feature_type"] = np.array(["Gene Expression"] * data.n_vars, "S")


def test_missing_samples_are_left_out_and_named_in_all_results(bench):
    data, _ = planted_counts()
    data.obs.assign(sample="S1").rename_axis("cell").to_csv(bench.folder / "cells.tsv", sep="\t")
    write_10x(bench.folder / "S1.h5", data)
    gone = {"name": "S2.h5", "sha256": "0" * 64, "sources": ["/nowhere/S2.h5"]}
    bench.config["datasets"] = {
        "two": {
            "title": "Two samples",
            "files": {"S1": local(bench.folder / "S1.h5"), "S2": gone, "cells": local(bench.folder / "cells.tsv")},
            "reader": "tenx",
            "options": {"samples": {"S1": {"h5": "S1"}, "S2": {"h5": "S2"}}, "cells": "cells", "barcode": "CELL[0-9]+"},
            "labels": {"condition": "stim", "cell_type": "type"},
            "contrast": {"label": "condition", "positive": "stimulated"},
            "n_top_genes": 200,
        }
    }
    bench.config["methods"]["again"] = {"use": "gene_set_mean"}
    bench.config["runs"] = [{"datasets": ["two"], "methods": ["gene_set_mean", "again"], "seeds": [0, 1]}]
    bench.config["figures"] = {"all": {"kind": "standard", "dataset": "two", "method": "gene_set_mean"}}
    bench.config["claims"], bench.config["nulls"] = "", []
    bench.write_config(bench.config)
    assert "S2.h5" in error_line(bench.snakemake(check=False))
    bench.config["datasets"]["two"]["without"] = ["S2"]
    bench.write_config(bench.config)
    bench.snakemake()
    for path in sorted(bench.result("tables").glob("*.tsv")):
        table = read_table(path)
        if path.stem in ("scaling", "full_time"):  # they need data of several sizes
            assert table.empty
            continue
        assert set(table.loc[table["dataset"] == "two", "missing"]) == {"S2"}, path.name
    figures = list(bench.result("figures").glob("*.svg"))
    assert len(figures) == 6
    for path in figures:
        assert "without sample S2" in " ".join(path.read_text(encoding="utf-8").split()), path.name
    assert "Samples S2 were not available" in bench.result("report.html").read_text(encoding="utf-8")
