"""Readers on files shaped like the real ones, whole and broken."""

import gzip
import json

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from factorbench import genesets, registry
from factorbench.contracts import UserError
from scipy import io, sparse


def read(reader, files, options=None):
    module = registry.load("reader", reader)
    return module.read(files, registry.resolve(module.SPEC, options or {}, "options"))


def dense(matrix):
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)


# ---------------------------------------------------------------------------------------------------------------- h5ad


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({"stim": pd.Categorical(list("ab") * 25), "n": range(50)}, index=[f"c{i}" for i in range(50)])
    data = anndata.AnnData(rng.poisson(0.5, (50, 8)).astype(np.float32), obs=obs)
    data.var_names = [f"G{i}" for i in range(8)]
    return data


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_h5ad_counts_and_labels(tmp_path, data, form, monkeypatch):
    monkeypatch.setattr(registry.load("reader", "h5ad"), "CHUNK", 7)
    expected = data.X.copy()
    data.X = form(data.X)
    data.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    found = read("h5ad", {"counts": tmp_path / "a.h5ad"})
    assert sparse.issparse(found.X)
    assert found.X.format == "csr"
    assert found.X.dtype == np.float32
    np.testing.assert_array_equal(dense(found.X), expected)
    pd.testing.assert_frame_equal(found.obs, data.obs)
    assert list(found.var_names) == list(data.var_names)


def test_h5ad_layers_and_raw(tmp_path, data):
    wide = data.copy()
    narrow = data[:, :5].copy()
    narrow.layers["counts"] = sparse.csr_matrix(narrow.X * 2)
    narrow.raw = wide
    narrow.write_h5ad(tmp_path / "a.h5ad")
    files = {"counts": tmp_path / "a.h5ad"}
    np.testing.assert_array_equal(dense(read("h5ad", files, {"layer": "counts"}).X), narrow.X * 2)
    raw = read("h5ad", files, {"layer": "raw"})
    np.testing.assert_array_equal(dense(raw.X), wide.X)
    assert list(raw.var_names) == list(wide.var_names)
    with pytest.raises(UserError, match=r"options.layer: there is no 'count' \(did you mean counts\?\)"):
        read("h5ad", files, {"layer": "count"})


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def text(path):
    path.write_text("<html>")


def other_hdf5(path):
    path.unlink()
    with h5py.File(path, "w") as file:
        file["matrix"] = [1]


@pytest.mark.parametrize("damage", [truncated, text, other_hdf5, lambda path: path.unlink()])
def test_h5ad_that_is_not_whole(tmp_path, data, damage):
    path = tmp_path / "a.h5ad"
    data.write_h5ad(path)
    damage(path)
    with pytest.raises(UserError, match=r"a\.h5ad") as error:
        read("h5ad", {"counts": path})
    assert "\n" not in str(error.value)


def test_h5ad_takes_one_file():
    with pytest.raises(UserError, match="exactly one file, not 0"):
        read("h5ad", {})


# ---------------------------------------------------------------------------------------------------------------- tenx

SAMPLES = {"ctrl": ["AAAC-1", "CCCG-1", "GGGT-1"], "stim": ["AAAC-1", "TTTA-1"]}
OPTIONS = {
    "samples": {name: {"matrix": f"{name}_matrix", "barcodes": f"{name}_barcodes"} for name in SAMPLES},
    "sample_label": "stim",
    "cells": "cells",
    "barcode": "[ACGT]+",
}


def packed(path, lines):
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return path


@pytest.fixture
def geo(tmp_path):
    """The layout of GSE96583, batch 2: R's row names, one header less than columns, a barcode met twice gets a 1."""
    rng = np.random.default_rng(0)
    files = {"genes": packed(tmp_path / "genes.tsv.gz", ["ENSG1\tISG15", "ENSG2\tRGS5", "ENSG3\tRGS5", "ENSG4\tNA"])}
    counts = {}
    for name, barcodes in SAMPLES.items():
        counts[name] = rng.poisson(1.0, (4, len(barcodes)))
        io.mmwrite(tmp_path / f"{name}.mtx", sparse.coo_matrix(counts[name]), field="integer")
        files[f"{name}_matrix"] = tmp_path / f"{name}.mtx.gz"
        files[f"{name}_matrix"].write_bytes(gzip.compress((tmp_path / f"{name}.mtx").read_bytes()))
        files[f"{name}_barcodes"] = packed(tmp_path / f"{name}_barcodes.tsv.gz", barcodes)
    rows = [
        "AAAC-1\t0.1\t0.2\t107\tctrl\t3\tB cells\tsinglet",
        "CCCG-1\t0.3\t0.4\t1015\tctrl\t3\tNA\tdoublet",
        "GGGT-1\t0.3\t0.4\t1015\tctrl\t3\tNK cells\tsinglet",
        "AAAC-11\t0.5\t0.6\t101\tstim\t7\tCD4 T cells\tsinglet",
    ]
    header = "tsne1\ttsne2\tind\tstim\tcluster\tcell\tmultiplets"
    files["cells"] = packed(tmp_path / "cells.tsv.gz", [header, *rows])
    return files, counts


def test_geo_layout(geo, tmp_path):
    files, counts = geo
    found = read("tenx", files, OPTIONS)
    assert list(found.obs_names) == ["ctrl_AAAC-1", "ctrl_CCCG-1", "ctrl_GGGT-1", "stim_AAAC-1", "stim_TTTA-1"]
    np.testing.assert_array_equal(dense(found.X), np.hstack([counts["ctrl"], counts["stim"]]).T)
    assert found.X.format == "csr"
    assert list(found.obs["stim"]) == ["ctrl"] * 3 + ["stim"] * 2
    assert found.obs["cell"].where(found.obs["cell"].notna(), None).tolist() == [
        *("B cells", None, "NK cells", "CD4 T cells", None)
    ]
    assert found.obs["ind"].tolist()[:4] == ["107", "1015", "1015", "101"]
    assert list(found.var_names) == ["ISG15", "RGS5", "RGS5-1", "NA"]
    assert list(found.var["id"]) == ["ENSG1", "ENSG2", "ENSG3", "ENSG4"]
    assert json.loads(found.uns["reader"]) == {
        "features of another type": 0,
        "genes not in every sample": 0,
        "gene names made unique": 1,
        "cells not in the table": 1,
        "rows of the table without a cell": 0,
        "cells that share a row of the table": 0,
        "cells left out": 0,
    }
    found.write_h5ad(tmp_path / "raw.h5ad")  # what it returns can be stored
    assert anndata.read_h5ad(tmp_path / "raw.h5ad").obs["cell"].isna().sum() == 2


def test_geo_singlets(geo):
    files, _ = geo
    found = read("tenx", files, {**OPTIONS, "keep": {"multiplets": "singlet", "cell": ["B cells", "NK cells"]}})
    assert list(found.obs_names) == ["ctrl_AAAC-1", "ctrl_GGGT-1"]
    assert json.loads(found.uns["reader"])["cells left out"] == 3


def test_table_without_samples(geo):
    files, _ = geo
    packed(files["cells"], ["barcode\tcell", "AAAC-1\tB cells", "CCCG-1\tNK cells"])
    found = read("tenx", files, {**OPTIONS, "barcode": ""})
    assert found.obs["cell"].dropna().to_dict() == {
        "ctrl_AAAC-1": "B cells",
        "ctrl_CCCG-1": "NK cells",
        "stim_AAAC-1": "B cells",
    }


def test_no_table_and_identifiers(geo):
    files, _ = geo
    found = read("tenx", files, {**OPTIONS, "cells": "", "gene_names": "id"})
    assert found.shape == (5, 4)
    assert list(found.var_names) == ["ENSG1", "ENSG2", "ENSG3", "ENSG4"]
    assert list(found.var["symbol"]) == ["ISG15", "RGS5", "RGS5", "NA"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"samples": {}}, "options.samples: name at least one"),
        ({"samples": {"ctrl": "ctrl_matrix"}}, "options.samples.ctrl: should be"),
        ({"genes": "gene"}, r"options.genes: files has no key 'gene' \(did you mean genes\?\)"),
        ({"keep": {"multiplet": "singlet"}}, r"keep.multiplet: .* \(did you mean multiplets\?\)"),
        ({"keep": {"multiplets": "singlets"}}, r"no cell is 'singlets' \(did you mean singlet\?\)"),
        (
            {"samples": {"ctrl": {"matrix": "ctrl_matrix", "barcodes": "stim_barcodes"}}},
            "4 genes x 3 barcodes, .* 2 bar",
        ),
        ({"samples": {"control": OPTIONS["samples"]["ctrl"]}}, "no barcode of the table is one of the data"),
    ],
)
def test_tenx_options_that_do_not_fit(geo, change, says):
    with pytest.raises(UserError, match=says) as error:
        read("tenx", geo[0], {**OPTIONS, **change})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["ctrl_matrix", "ctrl_barcodes", "genes", "cells"])
@pytest.mark.parametrize("damage", [lambda content: content[:-12], lambda content: b"<html>oops</html>"])
def test_tenx_file_that_is_broken(geo, key, damage):
    files, _ = geo
    files[key].write_bytes(damage(files[key].read_bytes()))
    with pytest.raises(UserError, match=rf"{files[key].name}|options") as error:
        read("tenx", files, OPTIONS)
    assert "\n" not in str(error.value)


def test_table_with_a_row_twice(geo):
    files, _ = geo
    packed(files["cells"], ["barcode\tcell", "AAAC-1\tB cells", "AAAC-1\tNK cells"])
    with pytest.raises(UserError, match=r"there twice \(AAAC\)"):
        read("tenx", files, OPTIONS)


# ----------------------------------------------------------------------------------------------------------- simulated


def test_simulated_is_reproducible_and_its_sets_are_planted(tmp_path):
    module = registry.load("reader", "simulated")
    options = registry.resolve(module.SPEC, {"n_cells": 600, "depth": 3000.0}, "options")
    data, again = module.read({}, options), module.read({}, options)
    assert (data.X != again.X).nnz == 0
    assert (module.read({}, {**options, "seed": 1}).X != data.X).nnz > 0
    assert data.shape == (600, 300)
    assert data.X.min() >= 0
    assert 2000 < data.X.sum(axis=1).mean() < 4500

    (tmp_path / "sets.gmt").write_text(module.gmt_text(options))
    sets = genesets.read_gmt(tmp_path / "sets.gmt")
    assert sets == module.gene_sets(options)
    assert list(sets) == list(data.uns["planted_sets"])
    mask = genesets.mask(sets, data.var_names).toarray()
    assert not data.varm["weights"][~mask].any()

    expression = np.log1p(dense(data.X) / dense(data.X).sum(axis=1, keepdims=True) * 1e4)
    score = expression @ mask / mask.sum(axis=0)
    stimulated = (data.obs["condition"] == "stimulated").to_numpy()
    for name, cells in [("CONDITION", stimulated), ("TYPE_B", (data.obs["cell_type"] == "B").to_numpy())]:
        effect = (score[cells].mean(axis=0) - score[~cells].mean(axis=0)) / score.std(axis=0)
        assert list(sets)[int(effect.argmax())] == name
        assert effect.max() > 1.2


def test_simulated_without_effect_separates_nothing():
    module = registry.load("reader", "simulated")
    data = module.read({}, registry.resolve(module.SPEC, {"effect": 0.0}, "options"))
    expression = np.log1p(dense(data.X))
    stimulated = (data.obs["condition"] == "stimulated").to_numpy()
    z = (expression[stimulated].mean(0) - expression[~stimulated].mean(0)) / (
        expression.std(0) * np.sqrt(4 / data.n_obs)
    )
    assert 0.8 < z.std() < 1.2


@pytest.mark.parametrize(("change", "says"), [({"n_sets": 3}, "options.n_sets"), ({"set_size": 500}, "set_size")])
def test_simulated_options_that_do_not_fit(change, says):
    with pytest.raises(UserError, match=says):
        read("simulated", {}, change)
