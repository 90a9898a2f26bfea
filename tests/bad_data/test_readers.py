"""Readers on bad files: counts are read as they are, or the file is refused in one line before it takes memory."""

import gzip
import json
import tracemalloc

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from factorbench.contracts.files import on_disk, write_raw
from factorbench.data import archives, symbols
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from tests.bad_data.outcome import fuzz, refused, tried
from tests.unit.test_readers import read

COUNTS = np.array([[0, 3, 0, 1], [2, 0, 0, 0], [0, 0, 5, 0]])
MIB = 1 / 1024  # in GiB


def read_and_write(tmp_path, reader, files, options=None):
    """Do what the rule read does; return the counts as they are in raw.h5ad."""
    write_raw(tmp_path / "raw.h5ad", read(reader, files, options))
    with on_disk(tmp_path / "raw.h5ad") as stored:
        counts = stored.X[:]
        counts.check_format(full_check=True)
        assert counts.has_canonical_format
        assert counts.shape == (len(stored.obs_names), len(stored.var_names))
        assert json.loads(stored.uns["reader"]).keys()
        return anndata.AnnData(counts, obs=stored.obs, var=stored.var, uns=stored.uns)


def cells(counts):
    obs = pd.DataFrame({"type": list("aab")}, index=["c0", "c1", "c2"])
    return anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=["g0", "g1", "g2", "g3"]))


def h5ad(path, counts=COUNTS, change=None):
    cells(counts).write_h5ad(path)
    if change:
        with h5py.File(path, "a") as file:
            change(file)
    return {"counts": path}


# ---------------------------------------------------------------------------------------------------------------- h5ad


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "uint8", "uint64"])
def test_h5ad_counts_of_any_form_and_type(tmp_path, form, dtype):
    data = read_and_write(tmp_path, "h5ad", h5ad(tmp_path / "a.h5ad", form(COUNTS.astype(dtype))))
    np.testing.assert_array_equal(data.X.toarray(), COUNTS)
    assert data.X.dtype == dtype


def test_h5ad_counts_too_large_for_float32_are_kept(tmp_path):
    counts = COUNTS.astype(np.int64) * 2**24 + (COUNTS > 0)
    data = read_and_write(tmp_path, "h5ad", h5ad(tmp_path / "a.h5ad", counts))
    assert data.X.toarray().tolist() == counts.tolist()


def test_h5ad_written_in_backed_mode(tmp_path):
    h5ad(tmp_path / "a.h5ad", sparse.csr_matrix(COUNTS))
    backed = anndata.read_h5ad(tmp_path / "a.h5ad", backed="r+")
    backed.obs["more"] = "x"
    backed.write()
    backed.file.close()
    data = read_and_write(tmp_path, "h5ad", {"counts": tmp_path / "a.h5ad"})
    np.testing.assert_array_equal(data.X.toarray(), COUNTS)
    assert list(data.obs) == ["type", "more"]


def replace(place, values):
    def change(file):
        kept = dict(file[place].attrs)
        del file[place]
        file[place] = values
        file[place].attrs.update(kept)

    return change


def attribute(place, name, value):
    return lambda file: file[place].attrs.create(name, value)


def link_to(target):
    def change(file):
        del file["X"]
        file["X"] = target

    return change


def external(file):
    """Make X the bytes of another file, so that a reader could be made to read any file of the user."""
    del file["X"]
    file.create_dataset("X", (3, 4), "f4", external=[("/etc/passwd", 0, 48)])


def no_index(file):
    del file["obs/_index"]


N = int((COUNTS > 0).sum())
SPARSE = {
    "indices beyond the genes": (replace("X/indices", np.full(N, 9)), "indices must be < 4"),
    "negative indices": (replace("X/indices", np.full(N, -1)), "indices must be >= 0"),
    "a gene twice": (replace("X/indices", np.array([1, 1, 0, 2])), "a gene occurs twice in a cell"),
    "indices with a point": (replace("X/indices", np.array([1.5, 3.0, 0.0, 2.0])), "whole numbers"),
    "indptr that goes down": (replace("X/indptr", np.array([0, 3, 2, N])), "non-decreasing"),
    "indptr too short": (replace("X/indptr", np.array([0, N])), "index pointer size"),
    "fewer values": (replace("X/data", np.ones(2)), "indptr ends at 4, there are 2 values"),
    "values that are text": (replace("X/data", np.full(N, b"a")), "are not numbers"),
    "rows called columns": (attribute("X", "encoding-type", "csc_matrix"), "index pointer size 4 should be 5"),
    "an unknown encoding": (attribute("X", "encoding-type", "banana"), "banana"),
    "another shape": (attribute("X", "shape", [3, 2]), "indices must be < 2"),
    "more genes than names": (attribute("X", "shape", [3, 9]), r"names 3 cells and 4 genes, .* \(3, 9\)"),
}
DENSE = {
    "text": (replace("X", np.full((3, 4), b"a")), r"/X holds \|S1"),
    "long text": (replace("X", np.full((3, 4), "a", object)), "/X holds object"),
    "complex numbers": (replace("X", np.ones((3, 4), complex)), "/X holds complex128"),
    "true and false": (replace("X", np.ones((3, 4), bool)), "/X holds bool"),
    "one dimension": (replace("X", np.ones(12)), r"float64 of shape \(12,\)"),
    "three dimensions": (replace("X", np.ones((3, 4, 1))), r"float64 of shape \(3, 4, 1\)"),
    "fewer cells": (replace("X", np.ones((2, 4))), r"names 3 cells and 4 genes, .* \(2, 4\)"),
    "a circle of links": (link_to(h5py.SoftLink("/X")), "link"),
    "a file that is not there": (link_to(h5py.ExternalLink("/none.h5", "/X")), "open"),
    "a file that is no data": (external, "/X is kept in another file"),
    "obs without names": (no_index, "_index"),
    "no genes' names": (lambda file: file.pop("var"), "it has no var"),
}


@pytest.mark.parametrize(("form", "name"), [*(("csr", n) for n in SPARSE), *(("dense", n) for n in DENSE)])
def test_malformed_h5ad_is_refused(tmp_path, form, name):
    change, pattern = {"csr": SPARSE, "dense": DENSE}[form][name]
    counts = COUNTS.astype(np.float32)
    files = h5ad(tmp_path / "a.h5ad", sparse.csr_matrix(counts) if form == "csr" else counts, change)
    with refused(pattern, start=tmp_path / "a.h5ad"):
        read("h5ad", files)


UNNEEDED = {
    "obs of an unknown encoding": (attribute("obs", "encoding-type", "banana"), ["type"]),
    "uns of an unknown encoding": (attribute("uns", "encoding-type", "banana"), ["type"]),
    "a column that is not there": (attribute("obs", "column-order", ["type", "x"]), ["type"]),
    "a column of an unknown encoding": (attribute("obs/type", "encoding-type", "banana"), []),
}


@pytest.mark.parametrize("name", UNNEEDED)
def test_what_anndata_cannot_read_and_nobody_needs_is_left_out(tmp_path, name):
    change, columns = UNNEEDED[name]
    data = read_and_write(tmp_path, "h5ad", h5ad(tmp_path / "a.h5ad", COUNTS.astype(np.float32), change))
    np.testing.assert_array_equal(data.X.toarray(), COUNTS)
    assert (list(data.obs_names), list(data.obs)) == (["c0", "c1", "c2"], columns)
    if name.startswith("a column"):
        assert json.loads(data.uns["reader"])["columns of obs that could not be read"] == 1


@pytest.mark.parametrize("shape", [(0, 4), (3, 0)])
def test_h5ad_without_cells_or_genes_is_refused(tmp_path, shape):
    anndata.AnnData(np.zeros(shape, np.float32)).write_h5ad(tmp_path / "a.h5ad")
    with refused(f"files: the data have {shape[0]} cells and {shape[1]} genes"):
        read("h5ad", {"counts": tmp_path / "a.h5ad"})


PLACES = ["X", "X/data", "X/indices", "X/indptr", "obs", "obs/_index", "obs/type", "var", "var/_index", "uns", "layers"]
ARRAYS = st.one_of(
    st.lists(st.integers(-2, 9), max_size=6).map(lambda numbers: np.array(numbers, np.int64)),
    st.lists(st.floats(width=32), max_size=6).map(lambda numbers: np.array(numbers, np.float32)),
    st.lists(st.sampled_from(["", "a", "a", "é", "c\nd"]), max_size=4).map(lambda words: np.array(words, object)),
    st.sampled_from([np.float64(3), np.ones((3, 4)), np.ones((3, 4, 2)), np.zeros(3, [("a", "i4")])]),
)


@st.composite
def damage(draw):
    """Draw one to three changes of a file: an array replaced, an object removed, an attribute changed."""
    changes = []
    for _ in range(draw(st.integers(1, 3))):
        place, array = draw(st.sampled_from(PLACES)), draw(ARRAYS)
        how = draw(st.sampled_from(["replace", "remove", "attribute"]))
        name = draw(st.sampled_from(["encoding-type", "encoding-version", "shape", "_index", "column-order", "new"]))
        value = draw(
            st.sampled_from(["csc_matrix", "csr_matrix", "array", "dict", "", [3, 4], [9, 9], [-1, 4], ["type"]])
        )
        changes.append((place, how, array, name, value))
    return changes


@fuzz(60)
@given(damage(), st.sampled_from([sparse.csr_matrix, sparse.csc_matrix]))
def test_damaged_h5ad_is_read_or_refused(tmp_path, changes, form):
    files = h5ad(tmp_path / "a.h5ad", form(COUNTS.astype(np.float32)))
    with h5py.File(tmp_path / "a.h5ad", "a") as file:
        for place, how, array, name, value in changes:
            if place not in file:
                continue
            if how == "attribute":
                file[place].attrs[name] = value
                continue
            kept = dict(file[place].attrs)
            del file[place]
            if how == "replace":
                if array.dtype == object and not len(array):
                    array = np.zeros(0)
                file[place] = array
                file[place].attrs.update(kept)
    tried(read_and_write, tmp_path, "h5ad", files)


@fuzz(25)
@given(st.floats(0, 1, exclude_max=True))
def test_truncated_files_are_refused(tmp_path, share):
    for name, reader, options in (("a.h5ad", "h5ad", {}), ("a.h5", "tenx", {"samples": {"s": {"h5": "counts"}}})):
        path = tmp_path / name
        h5ad(path, sparse.csr_matrix(COUNTS))
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        with refused("cannot be read", start=path):
            read(reader, {"counts": path}, options)


# ---------------------------------------------------------------------------------------------------------------- text

NASTY = st.text(st.sampled_from("c01g\t\t\t\n\n\r\"' ,%#;\\.-\x00\x0b\x1b\ufeff\u2028é_/NA"), max_size=60).map(
    str.encode
)
BYTES = st.one_of(NASTY, st.binary(max_size=40), NASTY.map(gzip.compress))
MARKET = b"%%MatrixMarket matrix coordinate integer general\n"
SAMPLES = {"samples": {"s": {"matrix": "matrix", "barcodes": "barcodes", "genes": "genes"}}}


def tenx(folder, matrix=MARKET + b"2 2 2\n1 1 5\n2 2 1\n", barcodes=b"A\nB\n", genes=b"e1\tG1\ne2\tG2\n"):
    files = {}
    for name, content in (("matrix", matrix), ("barcodes", barcodes), ("genes", genes)):
        files[name] = folder / name
        files[name].write_bytes(content)
    return files


def has_names(data):
    for names in (data.obs_names, data.var_names):
        assert all(isinstance(name, str) for name in names)


@fuzz(150)
@given(BYTES | NASTY.map(lambda rest: b"GENE\tc0\tc1\ng0\t1\t2\n" + rest))
def test_any_bytes_are_read_as_dge_text_or_refused(tmp_path, content):
    (tmp_path / "a.txt").write_bytes(content)
    data = tried(read_and_write, tmp_path, "dge_text", {"counts": tmp_path / "a.txt"})
    if data is not None:
        has_names(data)
        assert b"\0" not in content or content[:2] == b"\x1f\x8b"


@pytest.mark.slow
@fuzz(70)
@given(BYTES | NASTY.map(lambda rest: b"cell\tx\nc0\ta\n" + rest), st.booleans(), st.sampled_from(["", "c[0-9]"]))
def test_any_bytes_are_read_as_a_table_of_cells_or_refused(tmp_path, content, header, barcode):
    (tmp_path / "cells.tsv").write_bytes(content)
    files = h5ad(tmp_path / "a.h5ad") | {"cells": tmp_path / "cells.tsv"}
    options = {"cells": "cells", "barcode": barcode, "cells_columns": [] if header else ["cell", "x"]}
    data = tried(read_and_write, tmp_path, "h5ad", files, options)
    if data is not None:
        np.testing.assert_array_equal(data.X.toarray(), COUNTS)
        assert list(data.obs["type"]) == list("aab")


@fuzz(120)
@given(BYTES, st.sampled_from(["matrix", "barcodes", "genes"]), st.booleans())
def test_any_bytes_are_read_as_tenx_or_refused(tmp_path, content, key, after):
    start = {"matrix": MARKET, "barcodes": b"A\n", "genes": b"e1\tG1\n"}[key]
    files = tenx(tmp_path, **{key: start + content if after else content})
    data = tried(read_and_write, tmp_path, "tenx", files, SAMPLES)
    if data is not None:
        has_names(data)


@pytest.mark.parametrize(
    ("matrix", "pattern"),
    [
        (MARKET + b"2 2 9000000000000\n1 1 5\n", "9000000000000 values: not a list of counts"),
        (MARKET + b"2000000000 3000000000 1\n1 1 5\n", "2000000000 x 3000000000"),
        (MARKET + b"2 2 2\n1 1 5\n1 1 1\n", "a gene occurs twice in a cell"),
        (MARKET + b"2 2 1\n1 1 99999999999999999999\n", "cannot be read"),
        (MARKET.replace(b"general", b"symmetric") + b"2 2 1\n1 1 5\n", "symmetric"),
        (MARKET.replace(b"integer", b"pattern") + b"2 2 1\n1 1\n", "pattern"),
        (MARKET.replace(b"integer", b"complex") + b"2 2 1\n1 1 2 3\n", "complex"),
        (MARKET.replace(b"coordinate", b"array") + b"2 2\n1\n2\n3\n4\n", "array"),
    ],
)
def test_malformed_matrix_market_is_refused_before_it_takes_memory(tmp_path, matrix, pattern):
    with refused(pattern, start=tmp_path / "matrix"):
        read("tenx", tenx(tmp_path, matrix), SAMPLES)


ONE = b"cell\tx\nc0\t1\n"
TABLES = {
    "a column called self": (b"cell\tself\nc0\t1\n", {}, None),
    "a column without a value": (b"cell\tx\nc0\t\nc1\tNA\n", {}, None),
    "a column called as the index": (b"cell\t_index\nc0\t1\n", {}, "cannot be called '_index'"),
    "a column that is a path": (b"cell\t/X\nc0\t1\n", {}, "cannot be called '/X'"),
    "a column that is a dot": (b"cell\t.\nc0\t1\n", {}, r"cannot be called '\.'"),
    "more fields than names": (b"cell\tx\nc0\t1\t2\t3\n", {}, "2 fields more than the header"),
    "zero bytes": (b"cell\tx\nc0\ta\0b\n", {}, "is not text"),
    "UTF-16": ("cell\tx\nc0\t1\n".encode("utf-16-le"), {}, "is not text"),
    "columns that are numbers": (b"c0\t1\n", {"cells_columns": [1, 2]}, "cells_columns"),
    "a column without a name": (b"c0\t1\n", {"cells_columns": ["a", ""]}, "cells_columns"),
    "columns of one name": (b"c0\t1\n", {"cells_columns": ["a", "a"]}, "each once"),
    "a range without end": (ONE, {"names": {"l": {"column": "x", "values": {"0-999999999": "a"}}}}, None),
    "no name": (ONE, {"names": {"l": {"column": "x", "values": {"1": None}}}}, "should be a name"),
    "a name that is a list": (ONE, {"names": {"l": {"column": "x", "values": {"1": ["a"]}}}}, "should be a name"),
    "a column that is a list": (ONE, {"names": {"l": {"column": ["x"], "values": {}}}}, r"names\.l\.column: "),
    "an expression too large": (ONE, {"barcode": "a{99999999999}"}, "not a regular expression"),
}


@pytest.mark.parametrize("name", TABLES)
def test_odd_tables_of_cells(tmp_path, name):
    content, options, pattern = TABLES[name]
    (tmp_path / "cells.tsv").write_bytes(content)
    files = h5ad(tmp_path / "a.h5ad") | {"cells": tmp_path / "cells.tsv"}
    if pattern is None:
        n_labels = 3 if options else 2
        assert read_and_write(tmp_path, "h5ad", files, {"cells": "cells", **options}).obs.shape == (3, n_labels)
    else:
        with refused(pattern):
            read("h5ad", files, {"cells": "cells", **options})


# -------------------------------------------------------------------------------------------------------------- limits

BOMB = gzip.compress(b"GENE\tc0\n" + b"0\t" * (32 << 20), 9)  # 64 kB that unpack to 64 MiB


@pytest.mark.parametrize(
    ("reader", "key", "options"),
    [("dge_text", "counts", {}), ("h5ad", "cells", {"cells": "cells"}), ("tenx", "barcodes", SAMPLES)],
)
def test_text_is_refused_when_more_than_the_limit_is_unpacked(tmp_path, reader, key, options):
    files = {"dge_text": {}, "h5ad": h5ad(tmp_path / "a.h5ad"), "tenx": tenx(tmp_path)}[reader]
    bomb = tmp_path / "bomb.gz"
    bomb.write_bytes(BOMB)
    tracemalloc.start()
    try:
        with refused(r"unpacks to more than .* GiB; raise limits\.unpacked", start=bomb):
            read(reader, {**files, key: bomb}, {**options, "unpacked": 2 * MIB})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 48 << 20


def test_no_more_than_the_limit_is_unpacked(tmp_path):
    (tmp_path / "bomb.gz").write_bytes(BOMB)
    file = archives.Text(tmp_path / "bomb.gz", 2 * MIB)
    with file, refused("unpacks to more"):
        file.readall()
    assert file.content.tell() < (2 << 20) + (1 << 17)
    with archives.text(tmp_path / "bomb.gz", 65 * MIB) as whole:
        assert len(whole.read()) == len(gzip.decompress(BOMB))


def test_comments_of_a_matrix_count_towards_the_limit(tmp_path):
    comments = (b"%" + b" " * 98 + b"\n") * 50_000
    matrix = gzip.compress(MARKET + comments + b"2 2 1\n1 1 5\n")
    files = tenx(tmp_path, matrix)
    assert read("tenx", files, SAMPLES).X.sum() == 5
    with refused("matrix: unpacks to more than"):
        read("tenx", files, SAMPLES | {"unpacked": MIB})


def test_orthologs_are_refused_when_more_than_the_limit_is_unpacked(tmp_path):
    path = tmp_path / "pairs.csv.gz"
    path.write_bytes(gzip.compress(b"mouse,human\nActb,ACTB\n" + b"a,b\n" * 2_000_000))
    columns = {"from": "mouse", "to": "human", "kind": ""}
    assert len(symbols.read_orthologs(path, columns, "here")) == 2
    with refused("unpacks to more than", start=path):
        symbols.read_orthologs(path, columns, "here", MIB)


@pytest.mark.parametrize(("reader", "place"), [("h5ad", "X"), ("h5ad", "obs/big"), ("tenx", "X"), ("h5ad", "uns/big")])
def test_arrays_of_a_terabyte_in_a_small_file_are_refused(tmp_path, reader, place):
    def grow(file):
        file.pop(place, None)
        file.create_dataset(place, (500_000, 500_000), "f4", chunks=(1000, 1000), compression="gzip")

    files = h5ad(tmp_path / "a.h5ad", change=grow)
    assert (tmp_path / "a.h5ad").stat().st_size < 100_000
    options = {"samples": {"s": {"h5": "counts"}}} if reader == "tenx" else {}
    with refused(r"unpacks to 931 GiB, more than 16; raise limits\.unpacked", start=tmp_path / "a.h5ad"):
        read(reader, files, options)
