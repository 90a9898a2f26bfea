"""AnnData files as people have them: of new and old versions, compressed, as zarr, with counts in various places."""

import bz2
import gzip
import io
import json
import lzma
import re
import shutil
import warnings
import zipfile

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from factorbench.contracts.files import on_disk, write_raw
from factorbench.data import formats
from scipy import sparse

from tests.bad_data.outcome import refused
from tests.unit.test_readers import notes, read, same_counts, values

COUNTS = np.random.default_rng(0).poisson(0.7, (12, 5)).astype(np.float32)
IDS = [f"ENSG0000{i}" for i in range(5)]
SYMBOLS = ["ISG15", "MX1", "MX1", None, "B2M"]


@pytest.fixture
def data():
    obs = pd.DataFrame({"stim": pd.Categorical(list("abc") * 4), "note": ["x", None, "y"] * 4})
    obs.index = [f"c{i}" for i in range(12)]
    var = pd.DataFrame({"feature_name": SYMBOLS, "biotype": ["coding"] * 5, "length": range(5)}, index=IDS)
    return anndata.AnnData(sparse.csr_matrix(COUNTS), obs=obs, var=var)


def written(tmp_path, path, options=None):
    """Read a file, write it as the rule `read` does, and return what other rules see."""
    write_raw(tmp_path / "raw.h5ad", read("h5ad", {"counts": path}, options))
    with on_disk(tmp_path / "raw.h5ad") as stored:
        return anndata.AnnData(stored.X[:], obs=stored.obs, var=stored.var, uns=stored.uns)


# ------------------------------------------------------------------------------------------------- new and old versions


def test_text_as_anndata_013_and_pandas_3_write_it(tmp_path, data):
    data.obs.index, data.var.index = data.obs.index.astype("string"), data.var.index.astype("string")
    data.obs["note"] = data.obs["note"].astype("string")
    data.obs["stim"] = data.obs["stim"].cat.rename_categories(data.obs["stim"].cat.categories.astype("string"))
    data.strings_to_categoricals()
    with anndata.settings.override(allow_write_nullable_strings=True):
        data.write_h5ad(tmp_path / "a.h5ad", convert_strings_to_categoricals=False)
    with h5py.File(tmp_path / "a.h5ad") as file:
        assert file["obs/_index"].attrs["encoding-type"] == "nullable-string-array"
    result = written(tmp_path, tmp_path / "a.h5ad")
    same_counts(result, COUNTS)
    assert (list(result.obs_names), list(result.var_names)) == ([f"c{i}" for i in range(12)], IDS)
    assert (values(result.obs["stim"]), values(result.obs["note"])) == (list("abc") * 4, ["x", None, "y"] * 4)


def test_a_missing_name_of_a_cell_is_refused(tmp_path, data):
    data.obs.index = pd.array([None, *data.obs_names[1:]], "string")
    with anndata.settings.override(allow_write_nullable_strings=True):
        data.write_h5ad(tmp_path / "a.h5ad")
    with refused("a name in obs is missing"):
        read("h5ad", {"counts": tmp_path / "a.h5ad"})


def test_raw_and_labels_as_anndata_wrote_them_before_07(tmp_path):
    def records(names, **columns):
        table = pd.DataFrame({"index": np.array(names, "S"), **columns}).to_records(index=False)
        return np.array(table.tolist(), [("index", "S8"), *((name, "i8") for name in columns)])

    with h5py.File(tmp_path / "a.h5ad", "w") as file:
        file["X"] = np.log1p(COUNTS[:, :3])
        file["obs"] = records([f"c{i}" for i in range(12)], stim=np.arange(12) % 3, n=np.arange(12))
        file["var"], file["raw.var"] = records(["A", "B", "C"]), records(list("ABCDE"))
        file["uns/stim_categories"] = np.array(["a", "b", "c"], "S")
        group, counts = file.create_group("raw.X"), sparse.csr_matrix(COUNTS)
        group.attrs.update({"h5sparse_format": "csr", "h5sparse_shape": counts.shape})
        for part in ("data", "indices", "indptr"):
            group[part] = getattr(counts, part)
    result = written(tmp_path, tmp_path / "a.h5ad", {"layer": "raw"})
    same_counts(result, COUNTS)
    assert list(result.var_names) == list("ABCDE")
    assert (values(result.obs["stim"]), list(result.obs["n"])) == (list("abc") * 4, list(range(12)))
    assert list(read("h5ad", {"counts": tmp_path / "a.h5ad"}).var_names) == ["A", "B", "C"]


# ----------------------------------------------------------------------------------------------------- where counts are


def test_counts_in_a_layer_of_a_file_without_x(tmp_path, data):
    anndata.AnnData(obs=data.obs, var=data.var, layers={"counts": data.X}).write_h5ad(tmp_path / "a.h5ad")
    same_counts(written(tmp_path, tmp_path / "a.h5ad", {"layer": "counts"}), COUNTS)
    with refused("a.h5ad: has no X; options.layer should name the counts: counts"):
        read("h5ad", {"counts": tmp_path / "a.h5ad"})


def test_gzip(tmp_path, data):
    data.write_h5ad(tmp_path / "a.h5ad")
    (tmp_path / "a.h5ad.gz").write_bytes(gzip.compress((tmp_path / "a.h5ad").read_bytes()))
    same_counts(written(tmp_path, tmp_path / "a.h5ad.gz"), COUNTS)
    bomb = tmp_path / "bomb.h5ad.gz"
    bomb.write_bytes(gzip.compress((tmp_path / "a.h5ad").read_bytes() + bytes(4 << 20)))
    with refused("unpacks to more than 0.002 GiB", start=bomb):
        read("h5ad", {"counts": bomb}, {"unpacked": 0.002})
    bomb.write_bytes((tmp_path / "a.h5ad.gz").read_bytes()[:-20])
    with refused("cannot be read .* delete it to download it again", start=bomb):
        read("h5ad", {"counts": bomb})


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_half_precision(tmp_path, data, form):
    counts = COUNTS.copy()
    counts[1, 2] = 2048
    data.X = form(counts)
    data.write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "a") as file:
        place = "X" if form is np.asarray else "X/data"
        values, attrs = file[place][:], dict(file[place].attrs)
        del file[place]
        file[place] = values.astype(np.float16)
        file[place].attrs.update(attrs)
    result = written(tmp_path, tmp_path / "a.h5ad")
    same_counts(result, counts)
    assert result.X.dtype == np.float32


def compressed_by(code, path, place):
    """Declare that an array is compressed by a filter that is not installed, as if hdf5plugin had written it."""
    with h5py.File(path, "a") as file:
        values, attrs = file[place][:], dict(file[place].attrs)
        del file[place]
        pipeline = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        pipeline.set_chunk(values.shape)
        pipeline.set_filter(code, h5py.h5z.FLAG_OPTIONAL, (3,))
        stored_type, space = h5py.h5t.py_create(values.dtype, logical=True), h5py.h5s.create_simple(values.shape)
        array = h5py.h5d.create(file.id, place.encode(), stored_type, space, pipeline)
        array.write_direct_chunk((0,) * values.ndim, values.tobytes(), 0)
        h5py.Dataset(array).attrs.update(attrs)


@pytest.mark.parametrize(
    ("code", "name"),
    [(32015, "zstd"), (32001, "blosc"), (32026, "blosc2"), (32004, "lz4"), (32008, "bitshuffle"), (300, "number 300")],
)
def test_a_filter_that_is_not_installed_is_named(tmp_path, data, code, name):
    data.obsm["X_umap"] = np.ones((12, 2))
    data.write_h5ad(tmp_path / "a.h5ad")
    compressed_by(code, tmp_path / "a.h5ad", "obsm/X_umap")
    same_counts(written(tmp_path, tmp_path / "a.h5ad"), COUNTS)  # an array that is not needed
    data.write_h5ad(tmp_path / "a.h5ad")
    compressed_by(code, tmp_path / "a.h5ad", "X/data")
    pattern = f"/X/data is compressed by the HDF5 filter {name}, which is not installed; .*compression='gzip'"
    with refused(pattern, start=tmp_path / "a.h5ad"):
        read("h5ad", {"counts": tmp_path / "a.h5ad"})
    (tmp_path / "a.h5ad.gz").write_bytes(gzip.compress((tmp_path / "a.h5ad").read_bytes()))
    with refused(pattern, start=tmp_path / "a.h5ad.gz"):
        read("h5ad", {"counts": tmp_path / "a.h5ad.gz"})


# ------------------------------------------------------------------------------------------------------- names of genes


def test_a_column_names_the_genes_and_their_ids_are_kept(tmp_path, data):
    data.write_h5ad(tmp_path / "a.h5ad")
    result = written(tmp_path, tmp_path / "a.h5ad", {"gene_names": "feature_name"})
    assert list(result.var_names) == ["ISG15", "MX1", "MX1-1", "ENSG00003", "B2M"]
    assert list(result.var["id"]) == IDS
    assert notes(result)["gene names made unique"] == 1
    same_counts(result, COUNTS)
    with refused(r"options.gene_names: 'feature_names' .*did you mean feature_name\?"):
        read("h5ad", {"counts": tmp_path / "a.h5ad"}, {"gene_names": "feature_names"})
    assert list(read("h5ad", {"counts": tmp_path / "a.h5ad"}).var) == ["feature_name"]  # it could name genes


OTHER_TYPE = "features of another type"


def with_types(data, values, column="feature_types"):
    """Give the features types; those in ``.raw`` are in another order, and all of another number."""
    data.var[column] = pd.Categorical(values)
    more = anndata.AnnData(sparse.csr_matrix(np.hstack([COUNTS[:, ::-1], COUNTS[:, :1] + 7])))
    more.var_names = [*data.var_names[::-1], "hashtag"]
    more.var[column] = [*values[::-1], "Antibody Capture"]
    data.raw = more
    return data


@pytest.mark.parametrize("column", ["feature_types", "feature_type"])
def test_only_genes_are_read(tmp_path, data, column):
    types = ["Gene Expression", "Antibody Capture", "Gene Expression", "Gene Expression", "Peaks"]
    with_types(data, types, column).write_h5ad(tmp_path / "a.h5ad")
    result = written(tmp_path, tmp_path / "a.h5ad")
    same_counts(result, COUNTS[:, [0, 2, 3]])
    assert (list(result.var_names), notes(result)[OTHER_TYPE]) == ([IDS[i] for i in (0, 2, 3)], 2)
    result = written(tmp_path, tmp_path / "a.h5ad", {"layer": "raw", "feature_type": "Antibody Capture"})
    same_counts(result, np.column_stack([COUNTS[:, 1], COUNTS[:, 0] + 7]))
    assert (list(result.var_names), notes(result)[OTHER_TYPE]) == ([IDS[1], "hashtag"], 4)
    result = written(tmp_path, tmp_path / "a.h5ad", {"gene_names": "feature_name"})
    assert list(result.var_names) == ["ISG15", "MX1", "ENSG00003"]  # MX1 is unique among the genes
    with refused("options.feature_type: .*a.h5ad has Gene Expression, Antibody Capture, Peaks, not CRISPR"):
        read("h5ad", {"counts": tmp_path / "a.h5ad"}, {"feature_type": "CRISPR"})


@pytest.mark.parametrize("column", ["feature_types", "feature_type"])
def test_a_file_without_genes_is_refused(tmp_path, data, column):
    data.var[column] = ["Peaks"] * 4 + ["Antibody Capture"]
    data.write_h5ad(tmp_path / "a.h5ad")
    with refused("options.feature_type: .*a.h5ad has Peaks, Antibody Capture, not Gene Expression"):
        read("h5ad", {"counts": tmp_path / "a.h5ad"})


def test_biotypes_of_cellxgene_are_no_types(tmp_path, data):
    data.var["feature_type"] = ["protein_coding", "lncRNA", "protein_coding", "IG_C_gene", "protein_coding"]
    data.write_h5ad(tmp_path / "a.h5ad")
    result = written(tmp_path, tmp_path / "a.h5ad")
    same_counts(result, COUNTS)
    assert OTHER_TYPE not in notes(result)


def test_features_without_a_type_are_genes(tmp_path, data):
    data.var["feature_types"] = [None, "Gene Expression", None, "Peaks", "Gene Expression"]
    data.write_h5ad(tmp_path / "a.h5ad")
    same_counts(written(tmp_path, tmp_path / "a.h5ad"), COUNTS[:, [0, 1, 2, 4]])


def test_genes_in_three_parts_are_refused(tmp_path):
    data = anndata.AnnData(np.ones((2, 6), np.float32))
    data.var_names = ["MX1", "MX1-U", "MX1-A", "B2M", "B2M-U", "B2M-A"]
    data.write_h5ad(tmp_path / "a.h5ad")
    with refused("alevin-fry counts them; write their sums", start=tmp_path / "a.h5ad"):
        read("h5ad", {"counts": tmp_path / "a.h5ad"})


# ----------------------------------------------------------------------------------------------------------------- zarr


def packed(folder, archive, top=""):
    """Pack a zarr store as people do, with or without the folder itself."""
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.write(path, f"{top}{path.relative_to(folder)}")
    return archive


def write_zarr(data, folder, version=2):
    with anndata.settings.override(zarr_write_format=version), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of anndata and zarr, on formats of the future
        data.write_zarr(folder)


@pytest.mark.parametrize("top", ["", "a.zarr/"])
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_zarr(tmp_path, data, form, version, top):
    data.X = form(COUNTS)
    with anndata.settings.override(zarr_write_format=version):
        write_zarr(data, tmp_path / "a.zarr")
    result = written(tmp_path, packed(tmp_path / "a.zarr", tmp_path / "a.zarr.zip", top))
    same_counts(result, COUNTS)
    assert values(result.obs["stim"]) == list("abc") * 4
    assert list(result.var_names) == IDS


def test_zarr_that_asks_for_pickle_is_refused(tmp_path, data):
    with anndata.settings.override(zarr_write_format=2):
        write_zarr(data, tmp_path / "a.zarr")
    path = tmp_path / "a.zarr/obs/_index/.zarray"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(metadata | {"filters": [{"id": "pickle", "protocol": 5}]}), encoding="utf-8")
    with refused("stored as pickle, which can run any code"):
        read("h5ad", {"counts": packed(tmp_path / "a.zarr", tmp_path / "a.zarr.zip")})


def test_large_and_damaged_zarr_is_refused(tmp_path, data):
    write_zarr(data, tmp_path / "a.zarr")
    archive = packed(tmp_path / "a.zarr", tmp_path / "a.zarr.zip")
    with refused("unpacks to", start=archive):
        read("h5ad", {"counts": archive}, {"unpacked": 1e-6})
    zarr.open_group(tmp_path / "a.zarr")["layers"].create_array("huge", shape=(1 << 40,), chunks=(1 << 20,), dtype="i8")
    huge = packed(tmp_path / "a.zarr", tmp_path / "huge.zarr.zip")
    with refused(r"unpacks to 8.19e\+03 GiB, more than 16", start=huge):
        read("h5ad", {"counts": huge})
    shutil.rmtree(tmp_path / "a.zarr/layers/huge")
    (tmp_path / "a.zarr/X/data/0").write_bytes(b"no chunk")
    with refused("cannot be read"):
        read("h5ad", {"counts": packed(tmp_path / "a.zarr", archive)})
    archive.write_bytes(archive.read_bytes()[:-200])
    with refused("cannot be read"):
        read("h5ad", {"counts": archive})


# ---------------------------------------------------------------------------------------------- files of other formats


def hdf5(*members):
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for member in members:
            file[member] = [1]
    return content.getvalue()


def zipped(*members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for member in members:
            file.writestr(member, "1")
    return content.getvalue()


OTHERS = {
    "molecule_info": hdf5("barcode_idx", "umi", "count", "features/id"),
    "loom": hdf5("matrix", "row_attrs/Gene", "col_attrs/CellID"),
    "MuData": hdf5("mod/rna/X", "obs/_index", "var/_index"),
    "h5Seurat": hdf5("assays/RNA", "cell.names"),
    "R": gzip.compress(b"X\n\0\0\0\3\0\4\1\2"),
    "Excel": zipped("xl/workbook.xml"),
    "Parquet": b"PAR1\0\0",
    "zip": zipped("a.mtx"),
    "tar": bytes(257) + b"ustar\x0000" + bytes(1000),
    formats.MARKET: b"%%MatrixMarket matrix coordinate integer general\n1 1 1\n1 1 1\n",
    "UTF-16": "GENE\tc0\ng0\t1\n".encode("utf-16"),
    "git-lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "web page": b"\n<!DOCTYPE html><p>Not found",
    "bzip2": bz2.compress(b"GENE\tc0\ng0\t1\n"),
    "xz": lzma.compress(b"GENE\tc0\ng0\t1\n"),
    "zstd": b"\x28\xb5\x2f\xfd\0",
    "gzip in gzip": gzip.compress(gzip.compress(b"GENE\tc0\ng0\t1\n", mtime=0)),
    formats.TENX: hdf5("matrix/barcodes", "matrix/data"),
    formats.ANNDATA: hdf5("obs/_index", "var/_index"),
    formats.ZARR: zipped("a.zarr/zarr.json"),
}


@pytest.mark.parametrize("name", formats.READ_INSTEAD)
def test_files_of_other_formats_are_named(tmp_path, name):
    """A whole file of another form is not called incomplete, since a second download would change nothing."""
    path = tmp_path / "file"
    path.write_bytes(OTHERS[name])
    assert formats.recognise(path) == name
    if name in (formats.ANNDATA, formats.ZARR):  # the reader reads these, if they are complete
        pattern = "cannot be read"
    else:
        pattern = "cannot be read: it is " + re.escape(formats.READ_INSTEAD[name])
    with refused(pattern, start=path) as error:
        read("h5ad", {"counts": path})
    assert error is None or name == "web page" or "delete" not in str(error)


def test_an_array_of_zarr_that_is_not_needed_may_be_missing(tmp_path, data):
    data.obsm["X_umap"] = np.ones((12, 2))
    write_zarr(data, tmp_path / "a.zarr")
    shutil.rmtree(tmp_path / "a.zarr/obsm")
    same_counts(written(tmp_path, packed(tmp_path / "a.zarr", tmp_path / "a.zarr.zip")), COUNTS)
