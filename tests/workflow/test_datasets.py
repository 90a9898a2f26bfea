"""A dataset of one's own: looked at before anything is run, and run on what there is of it."""

import h5py
import numpy as np
import pytest
from factorbench.contracts.files import read_table

from tests.workflow.conftest import local, planted_counts


def entry(bench):
    """Data that no preset names: other names of cells and labels, one donor more, on disk."""
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


def look(bench, name, check=True):
    return bench.snakemake("check_dataset", "--config", f"check={name}", check=check)


def test_an_entry_can_be_looked_at_before_anything_is_run(bench):
    bench.config["datasets"]["mine"] = entry(bench)
    bench.write_config(bench.config)
    printed = look(bench, "mine")
    for said in ("My cells", "180", "stimulated", "control", "120 of 120", "6 of 6", "no run of the config uses it"):
        assert said in printed, said
    assert not any("runs/" in path or "planted/" in path for path in bench.files())
    bench.config["runs"].append({"datasets": ["mine"], "methods": ["ae", "pca"], "seeds": [0, 1]})
    bench.write_config(bench.config)
    printed = look(bench, "mine")
    assert "no run of the config uses it" not in printed
    assert "ae" in printed
    assert not any("runs/" in path for path in bench.files())


MISTAKES = {
    "label": ({"labels": {"condition": "treatmnt"}}, ["mine.labels.condition", "treatmnt", "treatment"]),
    "class": ({"contrast": {"label": "condition", "positive": "stim"}}, ["mine.contrast", "stim", "stimulated"]),
    "donor": ({"donor": "person"}, ["mine.donor", "person", "condition"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_wrong_entry_is_told_in_one_line(bench, name):
    change, words = MISTAKES[name]
    bench.config["datasets"]["mine"] = entry(bench) | change
    bench.write_config(bench.config)
    printed = look(bench, "mine", check=False)
    (line,) = {line for line in printed.splitlines() if line.startswith("error: ")}
    for word in words:
        assert word in line
    assert "Traceback" not in printed


def test_a_name_that_is_none_is_told_with_the_nearest(bench):
    printed = look(bench, "plantd", check=False)
    (line,) = {line for line in printed.splitlines() if line.startswith("error: ")}
    assert "plantd" in line
    assert "planted" in line
    assert "Traceback" not in printed


def write_10x(path, data):
    """A sample as Cell Ranger writes it."""
    counts = data.X.tocsc().T.tocsc()  # genes x cells, compressed by cells
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["barcodes"] = np.array([f"{name}-1" for name in data.obs_names], "S")
        for key in ("data", "indices", "indptr"):
            group[key] = getattr(counts, key).astype(np.int64)
        group["shape"] = np.array(counts.shape, np.int32)
        features = group.create_group("features")
        for key, values in (("id", data.var_names), ("name", data.var_names)):
            features[key] = np.array(values, "S")
        features["feature_type"] = np.array(["Gene Expression"] * data.n_vars, "S")
        features["genome"] = np.array(["G"] * data.n_vars, "S")


def test_samples_that_cannot_be_had_are_left_out_and_named_everywhere(bench):
    data, _ = planted_counts()
    table = data.obs.assign(sample="S1").rename_axis("cell")
    table.to_csv(bench.folder / "cells.tsv", sep="\t")
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
    bench.config["claims"] = ""
    bench.write_config(bench.config)
    printed = bench.snakemake(check=False)
    (line,) = {line for line in printed.splitlines() if line.startswith("error: ")}
    assert "S2.h5" in line
    bench.config["datasets"]["two"]["without"] = ["S2"]
    bench.write_config(bench.config)
    bench.snakemake()
    for path in sorted(bench.result("tables").glob("*.tsv")):
        table = read_table(path)
        if path.stem in ("scaling", "full_time"):  # of data in several sizes; these have one
            assert table.empty
            continue
        assert set(table.loc[table["dataset"] == "two", "missing"]) == {"S2"}, path.name
    figures = list(bench.result("figures").glob("*.svg"))
    assert len(figures) == 6
    for path in figures:
        assert "without sample S2" in " ".join(path.read_text().split()), path.name
    assert "Samples S2 were not available" in bench.result("report.html").read_text()
