"""Readers on files like the real ones, intact and damaged."""

import gzip
import json
import tracemalloc

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from factorbench import registry
from factorbench.contracts import files
from factorbench.contracts.truth import read_truth
from factorbench.data import gene_sets
from scipy import io, sparse

from tests.bad_data.outcome import refused


def read(reader, files, options=None):
    module = registry.load("reader", reader)
    return module.read(files, registry.resolve(module.SPEC, options or {}, "options"))


def same_counts(data, expected):
    np.testing.assert_array_equal(data.X.toarray(), expected)


def notes(data):
    return json.loads(data.uns["reader"])


def values(label):
    """Return a label as a list, with None for missing values."""
    return label.astype(object).where(label.notna(), None).tolist()


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
    monkeypatch.setattr(files, "BLOCK", 7)
    expected = data.X.copy()
    data.X = form(data.X)
    data.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    result = read("h5ad", {"counts": tmp_path / "a.h5ad"})
    assert (result.X.format, result.X.dtype) == ("csr", np.float32)
    same_counts(result, expected)
    pd.testing.assert_frame_equal(result.obs, data.obs)
    assert list(result.var_names) == list(data.var_names)


def test_h5ad_layers_and_raw(tmp_path, data):
    narrow = data[:, :5].copy()
    narrow.layers["counts"] = sparse.csr_matrix(narrow.X * 2)
    narrow.raw = data
    narrow.write_h5ad(tmp_path / "a.h5ad")
    stored = {"counts": tmp_path / "a.h5ad"}
    same_counts(read("h5ad", stored, {"layer": "counts"}), narrow.X * 2)
    raw = read("h5ad", stored, {"layer": "raw"})
    same_counts(raw, data.X)
    assert list(raw.var_names) == list(data.var_names)
    with refused(r"options.layer: 'count'.*did you mean counts\?"):
        read("h5ad", stored, {"layer": "count"})


@pytest.mark.parametrize("content", ["html", "hdf5", None])
@pytest.mark.parametrize(("reader", "options"), [("h5ad", {}), ("tenx", {"samples": {"a": {"h5": "counts"}}})])
def test_hdf5_of_another_format_is_refused(tmp_path, reader, options, content):
    path = tmp_path / "a.h5"
    if content == "html":
        path.write_text("<html>", encoding="utf-8")
    elif content == "hdf5":
        with h5py.File(path, "w") as file:
            file["matrix"] = [1]
    right = {"html": "cannot be read: it is a web page", "hdf5": r"cannot be read .*; docs/inputs\.md"}
    with refused(right.get(content, "cannot be read .* download it again"), start=path):
        read(reader, {"counts": path}, options)


@pytest.mark.parametrize("names", [[], ["counts", "donors"]])
def test_h5ad_takes_one_file(names):
    with refused(f"exactly one file, not {len(names)}; options.cells"):
        read("h5ad", dict.fromkeys(names, "a"))


# --------------------------------------------------------------------------------------------------- a table of cells

JOIN = {"cells": "donors", "cell_name": "barcode", "sample_label": "stim", "barcode": "^[ACGT]+"}


@pytest.fixture
def donors(tmp_path):
    """Files like Kang's: both conditions have the same barcodes, with other suffixes in the table; one is unknown."""
    names = ["AAC.1", "AAG.1", "AAC.11", "TTT.1", "GGG.1"]
    obs = pd.DataFrame({"stim": pd.Categorical(list("ccsss")), "type": list("BBTTN")}, index=names)
    anndata.AnnData(sparse.csr_matrix(np.eye(5, dtype=np.float32)), obs=obs).write_h5ad(tmp_path / "a.h5ad")
    table = tmp_path / "donors.tsv"
    table.write_text(
        "cell\tbarcode\tstim\ttype\tdonor\n"
        "c_AAC\tAAC-1\tc\tX\t101\n"
        "s_AAC\tAAC-1\ts\tX\t107\n"
        "c_AAG\tAAG-1\tc\tX\t\n"
        "s_TTT\tTTT-1\ts\tX\t1015\n"
        "s_CCC\tCCC-1\ts\tX\t1015\n",
        encoding="utf-8",
    )
    return {"counts": tmp_path / "a.h5ad", "donors": table}


def test_table_adds_donors_to_an_h5ad(donors):
    result = read("h5ad", donors, JOIN)
    assert values(result.obs["donor"]) == ["101", None, "107", "1015", None]
    assert list(result.obs["type"]) == list("BBTTN")  # labels of the data are not replaced
    assert notes(result) == {
        "columns of the table that differ from labels of the data and are not used (type)": 1,
        "cells not in the table": 1,
        "rows of the table without a cell": 1,
        "cells that share a row of the table": 0,
        "cells left out": 0,
    }


def test_table_rows_without_a_barcode_match_no_cell(donors):
    donors["donors"].write_text("cell\tdonor\n(unknown)\t1\n(other)\t2\nTTT_7\t3\n", encoding="utf-8")
    result = read("h5ad", donors, {"cells": "donors", "barcode": "[ACGT]{3}"})
    assert result.obs["donor"].dropna().to_dict() == {"TTT.1": "3"}
    assert notes(result)["rows of the table without a cell"] == 2


def test_annotated_only_leaves_out_cells_that_are_not_in_the_table(donors):
    result = read("h5ad", donors, {**JOIN, "annotated_only": True})
    assert list(result.obs_names) == ["AAC.1", "AAG.1", "AAC.11", "TTT.1"]
    same_counts(result, np.eye(5)[:4])
    assert (notes(result)["cells not in the table"], notes(result)["cells left out"]) == (1, 1)


def test_names_of_numbers_and_cells_to_keep(donors):
    donors["donors"].write_text("AAC\t3\nAAG\t24\nTTT\t7\nGGG\t24\n", encoding="utf-8")
    options = {"cells": "donors", "cells_columns": ["cell", "cluster"], "barcode": "^[ACGT]+"}
    rule = {"column": "cluster", "values": {"3-7": "Amacrine", 24: "Rods", "35": "Astrocytes"}}
    result = read("h5ad", donors, {**options, "names": {"cell_type": rule}})
    assert list(result.obs["cell_type"]) == ["Amacrine", "Rods", "Amacrine", "Amacrine", "Rods"]
    assert list(result.obs["cluster"]) == ["3", "24", "3", "7", "24"]
    assert notes(result)["cells that share a row of the table"] == 2
    keep = {"cell_type": "Rods", "cluster": 24}
    result = read("h5ad", donors, {**options, "names": {"cell_type": rule}, "keep": keep})
    assert list(result.obs_names) == ["AAG.1", "GGG.1"]
    for change, pattern in [
        ({"values": {"3": "Amacrine", "24": "Rods"}}, "cell_type.values: cluster 7 .* none"),
        ({"values": {"7-3": "Amacrine", "24": "Rods"}}, "cell_type.values: cluster 3 .* none"),
        ({"values": {"3-7": "Amacrine", "7": "Cones", "24": "Rods"}}, "cluster 7 .* Amacrine and Cones"),
        ({"column": "clusters"}, r"cell_type.column: 'clusters'.*did you mean cluster\?"),
        ({"values": ["Amacrine"]}, "names.cell_type: should be"),
    ]:
        with refused(pattern):
            read("h5ad", donors, {**options, "names": {"cell_type": {**rule, **change}}})


def test_numbers_of_the_data_are_compared_as_text(tmp_path, data):
    data.obs["plate"] = np.where(np.arange(50) < 20, 7.0, 8.0)
    data.write_h5ad(tmp_path / "a.h5ad")
    rule = {"column": "plate", "values": {7: "old", 8: "new"}}
    for keep in ({"plate": 7}, {"plate": [7.0]}, {"plate": "7"}, {"age": "old"}):
        result = read("h5ad", {"counts": tmp_path / "a.h5ad"}, {"names": {"age": rule}, "keep": keep})
        assert list(result.obs_names) == list(data.obs_names[:20])


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        ({"cells": "donor"}, r"exactly one file, not 2"),
        ({"cell_name": "barcod"}, r"donors\.tsv: options.cell_name: 'barcod'.*did you mean barcode\?"),
        ({"sample_label": "stin"}, r"options.sample_label: 'stin'.*did you mean stim\?"),
        ({"sample_label": ""}, r"occur twice \(AAC\); options.sample_label"),
        ({"barcode": ""}, r"no barcode .* \(table: AAC-1, data: AAC.1, samples c, s\)"),
        ({"barcode": "[ACGT"}, "options.barcode: .* is not a regular expression"),
        ({"cells_columns": ["cell", "donor"]}, r"donors\.tsv: has 5 columns, options.cells_columns names 2"),
        ({"cells": "", "annotated_only": True, "counts": 1}, "annotated_only: needs a table"),
        ({"keep": {"stim": "c", "type": "T"}}, "options.keep: no cell is left"),
        ({"names": {"type": {"column": "donor", "values": {}}}}, "names.type: the data have a column of this name"),
    ],
)
def test_wrong_options_of_the_table_are_refused(donors, change, pattern):
    files = {"counts": donors["counts"]} if change.pop("counts", None) else donors
    with refused(pattern):
        read("h5ad", files, {**JOIN, **change})


def test_table_without_labels_is_refused(donors):
    donors["donors"].write_text("barcode\n", encoding="utf-8")
    with refused("has no cells", start=donors["donors"]):
        read("h5ad", donors, {"cells": "donors"})


# ------------------------------------------------------------------------------------------------ tenx, Matrix Market

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
    """Files like GSE96583, batch 2: R's row names have no header, and R adds a 1 to repeated barcodes."""
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


def test_matrices_with_a_table_as_at_geo(geo, tmp_path):
    files, counts = geo
    result = read("tenx", files, OPTIONS)
    assert list(result.obs_names) == ["ctrl_AAAC-1", "ctrl_CCCG-1", "ctrl_GGGT-1", "stim_AAAC-1", "stim_TTTA-1"]
    same_counts(result, np.hstack([counts["ctrl"], counts["stim"]]).T)
    assert result.X.format == "csr"
    assert list(result.obs["stim"]) == ["ctrl"] * 3 + ["stim"] * 2
    assert values(result.obs["cell"]) == ["B cells", None, "NK cells", "CD4 T cells", None]
    assert result.obs["ind"].tolist()[:4] == ["107", "1015", "1015", "101"]
    assert list(result.var_names) == ["ISG15", "RGS5", "RGS5-1", "NA"]
    assert list(result.var["id"]) == ["ENSG1", "ENSG2", "ENSG3", "ENSG4"]
    assert notes(result) == {
        "features of another type": 0,
        "genes not in every sample": 0,
        "gene names made unique": 1,
        "cells not in the table": 1,
        "rows of the table without a cell": 0,
        "cells that share a row of the table": 0,
        "cells left out": 0,
    }
    result.write_h5ad(tmp_path / "raw.h5ad")
    assert anndata.read_h5ad(tmp_path / "raw.h5ad").obs["cell"].isna().sum() == 2


def test_cells_with_accepted_values_are_kept(geo):
    keep = {"multiplets": "singlet", "cell": ["B cells", "NK cells"]}
    result = read("tenx", geo[0], {**OPTIONS, "keep": keep})
    assert list(result.obs_names) == ["ctrl_AAAC-1", "ctrl_GGGT-1"]
    assert notes(result)["cells left out"] == 3


def test_table_without_samples_matches_cells_of_every_sample(geo):
    files, _ = geo
    packed(files["cells"], ["barcode\tcell", "AAAC-1\tB cells", "CCCG-1\tNK cells"])
    result = read("tenx", files, {**OPTIONS, "barcode": ""})
    expected = {"ctrl_AAAC-1": "B cells", "ctrl_CCCG-1": "NK cells", "stim_AAAC-1": "B cells"}
    assert result.obs["cell"].dropna().to_dict() == expected


def test_genes_named_by_identifier_without_a_table(geo):
    result = read("tenx", geo[0], {**OPTIONS, "cells": "", "gene_names": "id"})
    assert result.shape == (5, 4)
    assert list(result.var_names) == ["ENSG1", "ENSG2", "ENSG3", "ENSG4"]
    assert list(result.var["symbol"]) == ["ISG15", "RGS5", "RGS5", "NA"]


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        ({"samples": {}}, "options.samples: name at least one"),
        ({"samples": {"ctrl": "ctrl_matrix"}}, "options.samples.ctrl: ctrl_matrix should be"),
        ({"samples": {"ctrl": ["h5"]}}, "options.samples.ctrl: .*h5.* should be"),
        ({"samples": {"ctrl": None}}, "options.samples.ctrl: None should be"),
        ({"genes": "gene"}, r"options.genes: 'gene'.*did you mean genes\?"),
        ({"keep": {"multiplet": "singlet"}}, r"keep.multiplet: .* \(did you mean multiplets\?\)"),
        ({"keep": {"multiplets": "singlets"}}, r"keep.multiplets: 'singlets'.*did you mean singlet\?"),
        ({"samples": {"ctrl": {"matrix": "ctrl_matrix", "barcodes": "stim_barcodes"}}}, "4 x 3 .* but 4 x 2"),
        ({"samples": {"control": OPTIONS["samples"]["ctrl"]}}, "no barcode of the table is one of the data"),
    ],
)
def test_wrong_options_of_tenx_are_refused(geo, change, pattern):
    with refused(pattern):
        read("tenx", geo[0], {**OPTIONS, **change})


@pytest.mark.parametrize("key", ["ctrl_matrix", "ctrl_barcodes", "genes", "cells"])
@pytest.mark.parametrize("damage", [lambda content: content[:-12], lambda content: b"<html>oops</html>"])
def test_damaged_files_of_tenx_are_refused(geo, key, damage):
    files, _ = geo
    files[key].write_bytes(damage(files[key].read_bytes()))
    with refused(rf"{files[key].name}|options"):
        read("tenx", files, OPTIONS)


def test_table_with_a_repeated_row_is_refused(geo):
    files, _ = geo
    packed(files["cells"], ["barcode\tcell", "AAAC-1\tB cells", "AAAC-1\tNK cells"])
    with refused(r"occur twice \(AAAC\)"):
        read("tenx", files, OPTIONS)


# ------------------------------------------------------------------------------------------------------------ tenx, h5

GENES = {"id": ["ENSG1", "ENSG2", "ENSG3", "ENSG4"], "name": ["ISG15", "RGS5", "RGS5", "NA"]}
TYPES = ["Gene Expression"] * 4
WHOLE = sparse.csc_matrix(np.array([[1, 0, 2], [0, 3, 0], [4, 0, 0], [0, 5, 6]]))
ONE = {"samples": {"a": {"h5": "a"}}}


def write_h5(path, counts, cells, genes=GENES, types=TYPES, **change):
    """Write a file of CellRanger 3, or 2 if ``types`` is None. ``change`` replaces arrays (None: removes them)."""
    matrix = sparse.csc_matrix(counts)
    arrays = {name: getattr(matrix, name) for name in ("data", "indices", "indptr")}
    arrays |= {"shape": np.array(matrix.shape, np.int32), "barcodes": np.array(cells, "S")}
    if types is None:
        arrays |= {"genes": np.array(genes["id"], "S"), "gene_names": np.array(genes["name"], "S")}
    else:
        arrays |= {f"features/{name}": np.array(values, "S") for name, values in genes.items()}
        arrays |= {"features/feature_type": np.array(types, "S"), "features/genome": np.array(["g"] * len(types), "S")}
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix" if types is not None else "GRCh38")
        for name, array in (arrays | change).items():
            if array is not None:
                group[name] = array
    return path


def whole_h5(tmp_path, **change):
    return write_h5(tmp_path / "a.h5", WHOLE, ["A-1", "C-1", "G-1"], **change)


def counted(n_genes, n_cells, seed=0):
    return np.random.default_rng(seed).poisson(1.0, (n_genes, n_cells)).astype(np.int32)


@pytest.mark.parametrize("types", [TYPES, None])
def test_h5_of_both_versions_is_what_scanpy_reads(tmp_path, types):
    counts = {"a": counted(4, 3), "b": counted(4, 2, 1)}
    files = {
        name: write_h5(tmp_path / f"{name}.h5", c, SAMPLES["ctrl"][: c.shape[1]], types=types)
        for name, c in counts.items()
    }
    result = read("tenx", files, {"samples": {name: {"h5": name} for name in files}})
    same_counts(result, np.hstack(list(counts.values())).T)
    assert (result.X.format, result.X.dtype) == ("csr", np.int32)
    assert list(result.obs_names) == ["a_AAAC-1", "a_CCCG-1", "a_GGGT-1", "b_AAAC-1", "b_CCCG-1"]
    assert list(result.var_names) == ["ISG15", "RGS5", "RGS5-1", "NA"]
    assert list(result.var["id"]) == GENES["id"]
    same_counts(result[:3], sc.read_10x_h5(files["a"]).X.toarray())


def test_samples_with_different_genes(tmp_path, geo):
    """The fourth control of Liao et al. 2020 has another format and another list of genes."""
    files, counts = geo
    other = counted(3, 2, 2)
    genes = {"id": ["ENSG9", "ENSG3", "ENSG1"], "name": ["NEW", "RGS5", "G1P2"]}
    files["h5"] = write_h5(tmp_path / "x.h5", other, ["AAAC-1", "TTTT-1"], genes, TYPES[:3])
    files["cells"].write_bytes(gzip.compress(b"ID\tstim\tcell\nAAAC_4\tx\tT\nGGGT_1\tctrl\tB\n"))
    options = {
        "samples": {"ctrl": {**OPTIONS["samples"]["ctrl"], "genes": "genes"}, "x": {"h5": "h5"}},
        **{"sample_label": "stim", "cells": "cells", "barcode": "[ACGT]+", "genes": "not there"},
    }
    inner = read("tenx", files, options)
    assert list(inner.var["id"]) == ["ENSG1", "ENSG3"]
    assert list(inner.var_names) == ["ISG15", "RGS5"]
    same_counts(inner, np.vstack([counts["ctrl"][[0, 2]].T, other[[2, 1]].T]))
    assert notes(inner)["genes not in every sample"] == 3
    assert inner.obs["cell"].dropna().to_dict() == {"ctrl_GGGT-1": "B", "x_AAAC-1": "T"}

    outer = read("tenx", files, {**options, "join": "outer"})
    assert list(outer.var["id"]) == [*GENES["id"], "ENSG9"]
    expected = np.zeros((5, 5), int)
    expected[:3, :4] = counts["ctrl"].T
    expected[3:, [4, 2, 0]] = other.T
    same_counts(outer, expected)
    assert (outer.X.format, outer.X.dtype.kind) == ("csr", "i")

    symbol = read("tenx", files, {**options, "match": "symbol"})
    assert list(symbol.var_names) == ["RGS5"]
    same_counts(symbol, np.array([[*counts["ctrl"][1], *other[1]]]).T)


def test_genes_keep_the_order_of_the_samples(tmp_path):
    files, lists = {}, {"a": ["E7", "E2", "E5"], "b": ["E5", "E9", "E7", "E1"]}
    for seed, (name, ids) in enumerate(lists.items()):
        counts = counted(len(ids), 2, seed)
        genes = {"id": ids, "name": ids}
        files[name] = write_h5(tmp_path / f"{name}.h5", counts, ["A-1", "C-1"], genes, (TYPES * 2)[: len(ids)])
    for join, order in (("inner", ["E7", "E5"]), ("outer", ["E7", "E2", "E5", "E9", "E1"])):
        result = read("tenx", files, {"samples": {name: {"h5": name} for name in files}, "join": join})
        assert list(result.var["id"]) == list(result.var_names) == order
        for seed, (name, ids) in enumerate(lists.items()):
            peer = pd.DataFrame(counted(len(ids), 2, seed).T, columns=ids).reindex(columns=order, fill_value=0)
            same_counts(result[result.obs["sample"] == name], peer.to_numpy())


def test_lists_of_genes_that_cannot_be_matched_are_refused(tmp_path):
    twice = {"id": ["ENSG1", "ENSG1"], "name": ["A", "B"]}
    files = {"a": write_h5(tmp_path / "a.h5", counted(4, 2), ["A-1", "C-1"])}
    options = {"samples": {"a": {"h5": "a"}, "b": {"h5": "b"}}}
    others = {**twice, "id": ["X", "Y"]}
    for genes, pattern in [(twice, "sample b has the gene ENSG1 twice"), (others, "no id of a gene")]:
        files["b"] = write_h5(tmp_path / "b.h5", counted(2, 2), ["A-1", "C-1"], genes, TYPES[:2])
        with refused(pattern):
            read("tenx", files, options)


def test_features_of_another_type_are_left_out_and_counted(tmp_path, geo):
    counts = counted(4, 3)
    types = ["Gene Expression", "Antibody Capture", "Gene Expression", "Antibody Capture"]
    files = {"a": write_h5(tmp_path / "a.h5", counts, SAMPLES["ctrl"], types=types)}
    result = read("tenx", files, ONE)
    assert list(result.var["id"]) == ["ENSG1", "ENSG3"]
    same_counts(result, counts[[0, 2]].T)
    assert notes(result)["features of another type"] == 2
    with refused("options.feature_type: .*Gene Expression, Antibody Capture, not CRISPR"):
        read("tenx", files, {**ONE, "feature_type": "CRISPR"})

    files, counts = geo
    packed(files["genes"], [f"{i}\t{n}\t{t}" for i, n, t in zip(*GENES.values(), types, strict=True)])
    assert list(read("tenx", files, OPTIONS).var["id"]) == ["ENSG1", "ENSG3"]


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        ({"barcodes": None}, "cannot be read .*barcodes"),
        ({"indptr": None}, "cannot be read .*indptr"),
        ({"features/id": None}, "cannot be read .*id"),
        ({"indptr": np.array([0, 4, 2, 6])}, "cannot be read"),
        ({"indptr": np.array([0, 2, 6])}, "cannot be read"),
        ({"indptr": np.array([0, 2, 4, 5])}, "indptr ends at 5, there are 6 values"),
        ({"indptr": np.array([0.0, 2, 4, 6])}, "whole numbers"),
        ({"indices": np.array([0, 2, 1, 3, 0, 4])}, "cannot be read"),
        ({"indices": np.array([0, 2, 1, 3, 0, -1])}, "cannot be read"),
        ({"indices": np.array([0, 2, 1, 3, 3, 3])}, "a gene occurs twice in a cell"),
        ({"data": np.array(list("abcdef"), "S")}, "cannot be read .* not numbers"),
        ({"shape": np.array([3, 4])}, "3 x 4 .* but 4 x 3"),
        ({"barcodes": np.array(["A-1", "C-1"], "S")}, "4 x 3 .* but 4 x 2"),
        ({"barcodes": None, "barcodes/0": np.array([1])}, "cannot be read"),
    ],
)
def test_malformed_h5_is_refused(tmp_path, change, pattern):
    path = whole_h5(tmp_path, **change)
    with refused(pattern, start=path):
        read("tenx", {"a": path}, ONE)


def test_h5_with_genes_of_a_cell_in_any_order(tmp_path):
    """CellRanger 3 writes them backwards."""
    order = [1, 0, 3, 2, 5, 4]
    path = whole_h5(tmp_path, data=WHOLE.data[order], indices=WHOLE.indices[order])
    same_counts(read("tenx", {"a": path}, ONE), WHOLE.toarray().T)


def test_h5_of_two_genomes_is_refused(tmp_path):
    path = whole_h5(tmp_path, types=None)
    with h5py.File(path, "a") as file:
        file.copy("GRCh38", "mm10")
    with refused("has the groups GRCh38, mm10, one is expected"):
        read("tenx", {"a": path}, ONE)


# ------------------------------------------------------------------------------------------------------------ dge_text

GOOD = ["GENE\tr1_A\tr1_C", "RHO\t0\t10", "SAG\t2\t0"]


def write_dge(path, counts, genes, cells):
    """Write a digital expression matrix: a header of cells, then one line per gene."""
    pd.DataFrame(counts, index=pd.Index(genes, name="GENE"), columns=cells).to_csv(path, sep="\t")
    return path


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_dge_text_is_what_pandas_reads(tmp_path, name):
    rng = np.random.default_rng(0)
    counts = rng.binomial(1, 0.1, (40, 200)) * rng.choice([1, 9, 10, 123, 4567, 999_999_999], (40, 200))
    counts[7] = 0
    counts[:, 3] = 0
    genes, cells = [f"{i}RIK" for i in range(40)], [f"r1_{i:04d}" for i in range(200)]
    path = write_dge(tmp_path / name, counts, genes, cells)
    result = read("dge_text", {"counts": path})
    peer = pd.read_csv(path, sep="\t", index_col=0).T
    assert (result.X.format, result.X.dtype) == ("csr", np.int32)
    assert result.X.nnz == (counts > 0).sum()
    same_counts(result, peer.to_numpy())
    assert list(result.obs_names) == list(peer.index)
    assert list(result.var_names) == list(peer.columns)


def test_dge_text_with_leading_zeros_stores_no_zero(tmp_path):
    (tmp_path / "a.txt").write_text("GENE\tr1_A\tr1_C\nRHO\t00\t010\n", encoding="utf-8")
    counts = read("dge_text", {"counts": tmp_path / "a.txt"}).X
    assert (counts.nnz, counts[1, 0]) == (1, 10)


def test_dge_text_with_a_table_of_clusters(tmp_path):
    """As in GSE63472: the table has no header, and not all cells."""
    counts = counted(3, 4)
    files = {
        "counts": write_dge(tmp_path / "a.txt.gz", counts, ["RHO", "GLUL", "GFAP"], ["r1_A", "r1_C", "r2_A", "p1_T"]),
        "clusters": tmp_path / "clusters.txt",
    }
    files["clusters"].write_text("r2_A\t24\nr1_A\t3\np1_T\t35\nr9_A\t1\n", encoding="utf-8")
    names = {"cell_type": {"column": "cluster", "values": {"1-23": "Amacrine", "24": "Rods", "35": "Astrocytes"}}}
    options = {"cells": "clusters", "cells_columns": ["cell", "cluster"], "names": names}
    assert values(read("dge_text", files, options).obs["cell_type"]) == ["Amacrine", None, "Rods", "Astrocytes"]
    kept = read("dge_text", files, {**options, "annotated_only": True})
    same_counts(kept, counts.T[[0, 2, 3]])
    assert notes(kept)["rows of the table without a cell"] == 1


def test_dge_text_is_never_dense_in_memory(tmp_path):
    n_genes, n_cells = 1_500, 8_000
    with gzip.open(tmp_path / "a.txt.gz", "wt", compresslevel=1, encoding="utf-8") as file:
        file.write("\t".join(["GENE", *(f"r1_{i}" for i in range(n_cells))]) + "\n")
        for gene in range(n_genes):
            line = [f"G{gene}", *["0"] * n_cells]
            line[1 + gene % n_cells] = "12"
            file.write("\t".join(line) + "\n")
    tracemalloc.start()
    try:
        result = read("dge_text", {"counts": tmp_path / "a.txt.gz"})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (result.shape, result.X.nnz, result.X.sum()) == ((n_cells, n_genes), n_genes, 12 * n_genes)
    assert peak < n_genes * n_cells  # less than a byte per number


@pytest.mark.parametrize(
    ("line", "content", "pattern"),
    [
        (3, "SAG\t2", "line 3: has 1 numbers, the header names 2 cells"),
        (3, "SAG\t2\t0\t1", "line 3: has 3 numbers"),
        (2, "", "line 2: has no name"),
        (3, "\t2\t0", "line 3: has no name of a gene"),
        (3, "RHO\t2\t0", "line 3: the gene RHO occurs twice, first in line 2"),
        (2, "RHO\t0\t1.5", "line 2: '1.5' of the cell r1_C is not a whole number"),
        (2, "RHO\t1e3\t1", "line 2: '1e3' of the cell r1_A"),
        (2, "RHO\t-1\t1", "line 2: '-1' of the cell r1_A"),
        (2, "RHO\tNA\t1", "line 2: 'NA' of the cell r1_A"),
        (2, "RHO\t\t1", "line 2: '' of the cell r1_A"),
        (2, "RHO\t1\t", "line 2: '' of the cell r1_C"),
        (2, "RHO\t1\t 1", "line 2: ' 1' of the cell r1_C"),
        (2, "RHO\t1\t1234567890", "line 2: '1234567890' of the cell r1_C"),
        (2, "RHO\t1\t\u0661", "line 2: '\u0661' of the cell r1_C"),
        (1, "GENE\tr1_A\tr1_A", "line 1: the cell r1_A occurs twice"),
        (1, "GENE\tr1_A\t", "line 1: should be GENE and"),
        (1, "GENE\tr1_A", "line 2: has 2 numbers, the header names 1 cells"),
        (1, "GENE", "line 1: should be GENE and"),
    ],
)
def test_malformed_dge_text_is_refused(tmp_path, line, content, pattern):
    path = packed(tmp_path / "a.txt.gz", [*GOOD[: line - 1], content, *GOOD[line:]])
    with refused(pattern, start=path):
        read("dge_text", {"counts": path})


LONG = "\n".join([*GOOD, *(f"G{i}\t{i}\t0" for i in range(1000))]).encode()


@pytest.mark.parametrize(
    ("name", "content", "pattern"),
    [
        ("a.txt.gz", gzip.compress(LONG, mtime=0)[:-20], "cannot be read .after line "),
        ("a.txt", b"<html>", "line 1: should be GENE and"),
        ("a.txt", b"", "line 1: should be GENE and"),
        ("a.txt.gz", gzip.compress(b"", mtime=0), "line 1: should be GENE and"),
        ("a.txt", b"GENE\tA\n", "has no genes, only a header"),
        ("a.txt", b"GENE\tA\n\xff\xfe\t1\n", "line 2: is not text"),
    ],
)
def test_damaged_dge_text_is_refused(tmp_path, name, content, pattern):
    (tmp_path / name).write_bytes(content)
    with refused(pattern, start=tmp_path / name):
        read("dge_text", {"counts": tmp_path / name})


def test_dge_text_without_its_file_is_refused():
    with refused(r"options.matrix: 'counts'.*did you mean count\?"):
        read("dge_text", {"count": "a.txt"})


# ----------------------------------------------------------------------------------------------------------- simulated


def test_simulated_data_are_reproducible_and_have_the_planted_effects():
    module = registry.load("reader", "simulated")
    options = registry.resolve(module.SPEC, {"n_cells": 600, "depth": 3000.0}, "options")
    data, again = module.read({}, options), module.read({}, options)
    assert (data.X != again.X).nnz == 0
    assert (module.read({}, {**options, "seed": 1}).X != data.X).nnz > 0
    assert data.shape == (600, 300)
    assert data.X.min() >= 0
    assert 2000 < data.X.sum(axis=1).mean() < 4500

    sets = module.gene_sets(options)
    assert [*sets, "library size"] == list(read_truth(data).programmes["name"])
    mask = gene_sets.mask(sets, data.var_names).toarray()
    assert not data.varm["weights"][:, :-1][~mask].any()

    counts = data.X.toarray()
    score = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4) @ mask / mask.sum(axis=0)
    stimulated = (data.obs["condition"] == "stimulated").to_numpy()
    for name, cells in [("CONDITION", stimulated), ("TYPE_B", (data.obs["cell_type"] == "B").to_numpy())]:
        effect = (score[cells].mean(axis=0) - score[~cells].mean(axis=0)) / score.std(axis=0)
        assert list(sets)[int(effect.argmax())] == name
        assert effect.max() > 1.2


def test_simulated_data_without_effect_do_not_differ_between_conditions():
    module = registry.load("reader", "simulated")
    data = module.read({}, registry.resolve(module.SPEC, {"effect": 0.0}, "options"))
    expression = np.log1p(data.X.toarray())
    stimulated = (data.obs["condition"] == "stimulated").to_numpy()
    difference = expression[stimulated].mean(axis=0) - expression[~stimulated].mean(axis=0)
    z = difference / (expression.std(axis=0) * np.sqrt(4 / data.n_obs))
    assert 0.8 < z.std() < 1.2


@pytest.mark.parametrize(("change", "pattern"), [({"n_sets": 3}, "options.n_sets"), ({"set_size": 500}, "set_size")])
def test_wrong_options_of_simulated_are_refused(change, pattern):
    with refused(pattern):
        read("simulated", {}, change)
