"""The same cells in every form in which people have them: the prepared data are always the same."""

import gzip
import shutil

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from factorbench import registry
from factorbench.contracts.files import on_disk, write_raw
from factorbench.contracts.prepared import prepared_record
from factorbench.data import gene_sets, local
from factorbench.data.counts import check_counts
from factorbench.data.description import describe
from scipy import io, sparse

from tests.planted import prepare, prepare_entry
from tests.workflow.conftest import planted_counts

KNOWN = ["ACTB", "GAPDH", "MALAT1", "B2M", "RPL3"]


def the_cells():
    """Return planted counts with names as people have them: barcodes, symbols, identifiers."""
    data, _ = planted_counts(n_cells=180)
    random = np.random.default_rng(1)
    data.obs_names = ["".join(random.choice(list("ACGT"), 16)) + "-1" for _ in range(data.n_obs)]
    data.var_names = [*KNOWN, *data.var_names[len(KNOWN) :]]
    data.var["id"] = [f"ENSG{i:011}" for i in range(data.n_vars)]
    return data


def the_sets(data):
    """Return the genes of each of six planted sets."""
    return {f"SET_{k}": list(data.var_names[20 * k : 20 * (k + 1)]) for k in range(6)}


def write_gzip(path, content):
    path.write_bytes(gzip.compress(content if isinstance(content, bytes) else content.encode()))


def h5ad(write):
    def form(folder, data):
        write(data, folder / "a.h5ad")
        return {"files": {"counts": "a.h5ad"}}

    return form


def new_text(data, path):
    data.obs.index, data.var.index = data.obs.index.astype("string"), data.var.index.astype("string")
    with anndata.settings.override(allow_write_nullable_strings=True):
        data.write_h5ad(path)


def no_x(data, path):
    anndata.AnnData(obs=data.obs, var=data.var, layers={"counts": data.X}).write_h5ad(path)


def logarithms_and_raw(data, path):
    kept = data[:, :100].copy()
    kept.X = kept.X.log1p()
    kept.raw = data
    kept.write_h5ad(path)


def half_precision(data, path):
    data.write_h5ad(path)
    with h5py.File(path, "a") as file:
        values = file["X/data"][:].astype(np.float16)
        del file["X/data"]
        file["X/data"] = values


def unreadable_uns(data, path):
    data.uns["log"] = {"a": 1}
    data.write_h5ad(path)
    with h5py.File(path, "a") as file:
        file["uns/log"].attrs["encoding-type"] = "of the future"


def identifiers(data, path):
    data.var["feature_name"] = pd.Categorical(data.var_names)
    data.var_names = data.var["id"]
    del data.var["id"]
    data.write_h5ad(path)


def packed_h5ad(folder, data):
    data.write_h5ad(folder / "plain")
    write_gzip(folder / "a.h5ad.gz", (folder / "plain").read_bytes())
    return {"files": {"counts": "a.h5ad.gz"}}


def zarr(folder, data):
    with anndata.settings.override(zarr_write_format=3):
        data.write_zarr(folder / "store")
    local.copy(str(folder / "store"), folder / "a.zarr")
    shutil.rmtree(folder / "store")
    return {"files": {"counts": "a.zarr"}}


def write_table_of_cells(folder, data, **options):
    data.obs.to_csv(folder / "cells.tsv", **{"sep": "\t", "index_label": "cell", **options})


def tenx_h5(folder, data, group="matrix", gzipped=False, more=()):
    counts = data.X.T.tocsc()  # genes x cells, compressed by cells
    with h5py.File(folder / "a.h5", "w") as file:
        matrix = file.create_group(group)
        matrix["barcodes"] = np.array(list(data.obs_names), "S")
        for key in ("data", "indices", "indptr"):
            matrix[key] = getattr(counts, key).astype(np.int64)
        matrix["shape"] = np.array(counts.shape, np.int32)
        if group == "matrix":
            matrix["features/id"] = np.array(list(data.var["id"]), "S")
            matrix["features/name"] = np.array(list(data.var_names), "S")
            matrix["features/feature_type"] = np.array(["Gene Expression"] * data.n_vars, "S")
        else:
            matrix["genes"], matrix["gene_names"] = (np.array(list(x), "S") for x in (data.var["id"], data.var_names))
        for name in more:
            file[name] = [0.5]
    write_table_of_cells(folder, data)
    if gzipped:
        write_gzip(folder / "a.h5.gz", (folder / "a.h5").read_bytes())
    options = {"samples": {"S1": {"h5": "counts"}}, "cells": "cells"}
    return {"reader": "tenx", "options": options, "files": {"counts": "a.h5" + ".gz" * gzipped, "cells": "cells.tsv"}}


def market(folder, data, turned=False, genes=("id", "symbol"), sep="\t", quote=False, header=False, rows=False):
    io.mmwrite(folder / "matrix.mtx", sparse.coo_matrix(data.X if turned else data.X.T), field="integer")
    columns = {"id": data.var["id"], "symbol": data.var_names}
    tables = {
        "genes.tsv": pd.DataFrame({name: list(columns[name]) for name in genes}),
        "barcodes.tsv": pd.DataFrame({"barcode": data.obs_names}),
    }
    for name, table in tables.items():
        table.index += 1
        table.to_csv(folder / name, sep=sep, index=rows, header=header, quoting=2 if quote else 0)
    write_table_of_cells(folder, data)
    keys = {"matrix": "matrix", "barcodes": "barcodes", "genes": "genes"}
    files = {"matrix": "matrix.mtx", "barcodes": "barcodes.tsv", "genes": "genes.tsv", "cells": "cells.tsv"}
    return {"reader": "tenx", "options": {"samples": {"S1": keys}, "cells": "cells"}, "files": files}


def table(folder, data, turned=False, sep="\t", quote=False, corner="GENE", end="\n", decimals="", start=""):
    frame = pd.DataFrame(data.X.toarray().astype(int), index=data.obs_names, columns=data.var_names)
    frame = frame if turned else frame.T

    def quoted(names):
        return [f'"{name}"' if quote else name for name in names]

    lines = [sep.join([*([corner] if corner is not None else []), *quoted(frame.columns)])]
    for name, values in zip(quoted(frame.index), frame.to_numpy().tolist(), strict=True):
        lines.append(sep.join([name, *(f"{value}{decimals}" for value in values)]))
    (folder / "a.txt").write_bytes((start + end.join(lines) + end).encode())
    write_table_of_cells(folder, data)
    return {"reader": "dge_text", "options": {"cells": "cells"}, "files": {"counts": "a.txt", "cells": "cells.tsv"}}


def cells_of_r(folder, data):
    """A table as write.csv writes it: quotes, commas, names of rows, NA."""
    entry = market(folder, data)
    write_table_of_cells(folder, data, sep=",", quoting=2, index_label="")
    return entry


FORMS = {
    "h5ad": h5ad(lambda data, path: data.write_h5ad(path)),
    "h5ad, dense": h5ad(lambda data, path: anndata.AnnData(data.X.toarray(), data.obs, data.var).write_h5ad(path)),
    "h5ad of anndata 0.13": h5ad(new_text),
    "h5ad, no X": lambda *a: h5ad(no_x)(*a) | {"options": {"layer": "counts"}},
    "h5ad, raw": lambda *a: h5ad(logarithms_and_raw)(*a) | {"options": {"layer": "raw"}},
    "h5ad, float16": h5ad(half_precision),
    "h5ad, unreadable uns": h5ad(unreadable_uns),
    "h5ad, identifiers": lambda *a: h5ad(identifiers)(*a) | {"options": {"gene_names": "feature_name"}},
    "h5ad.gz": packed_h5ad,
    "zarr": zarr,
    "10x h5": tenx_h5,
    "10x h5 of CellRanger 2": lambda *a: tenx_h5(*a, group="GRCh38"),
    "10x h5.gz": lambda *a: tenx_h5(*a, gzipped=True),
    "CellBender": lambda *a: tenx_h5(*a, more=["droplet_latents/cell_probability", "global_latents/x", "metadata/y"]),
    "10x matrix": market,
    "10x matrix, one column": lambda *a: market(*a, genes=["symbol"]),
    "10x matrix, quotes": lambda *a: market(*a, quote=True),
    "10x matrix, headers": lambda *a: market(*a, header=True),
    "10x matrix, cells x genes": lambda *a: market(*a, turned=True, genes=["symbol"]),
    "10x matrix, write.csv": lambda *a: market(*a, sep=",", quote=True, header=True, rows=True),
    "cells of write.csv": cells_of_r,
    "Drop-seq": table,
    "Drop-seq with comments": lambda *a: table(*a, start="#DGE\tVERSION:1.1\n"),
    "write.table": lambda *a: table(*a, sep=" ", quote=True, corner=None),
    "write.table, Windows": lambda *a: table(*a, quote=True, corner=None, end="\r\n", decimals=".0"),
    "csv": lambda *a: table(*a, sep=",", corner=""),
    "csv, cells x genes": lambda *a: table(*a, sep=",", corner="", turned=True),
}

WITHOUT_IDS = {"10x matrix, one column", "10x matrix, cells x genes", *(n for n in FORMS if FORMS[n] is table)}
WITHOUT_IDS |= {"Drop-seq with comments", "write.table", "write.table, Windows", "csv", "csv, cells x genes"}
"""Forms that have no identifiers of genes beside their names."""


def resolved(folder, entry):
    """Return what `read` gets: paths, and all options of the reader."""
    spec = registry.load("reader", entry.get("reader", "h5ad")).SPEC
    files = {key: folder / name for key, name in entry["files"].items()}
    return files, registry.resolve(spec, entry.get("options", {}), "options")


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_prepared_data(tmp_path, name):
    data = the_cells()
    expected = data.X.toarray()
    sets = the_sets(data)
    entry = FORMS[name](tmp_path, the_cells())
    reader = registry.load("reader", entry.get("reader", "h5ad"))
    write_raw(tmp_path / "raw.h5ad", reader.read(*resolved(tmp_path, entry)))
    labels = {
        "labels": {"condition": "stim", "kind": "type"},
        "contrast": {"label": "condition", "positive": "stimulated"},
    }
    with on_disk(tmp_path / "raw.h5ad") as raw:
        check_counts(raw, name)
        result = prepare(raw, [sets], prepare_entry(**labels, n_top_genes=1000, min_cells=1), "mine")
    cells = [cell.removeprefix("S1_") for cell in result.obs_names]
    assert cells == list(data.obs_names)
    member = gene_sets.mask(sets, result.var_names).toarray()
    assert list(result.var_names) == [gene for gene in data.var_names if gene in set().union(*sets.values())]
    np.testing.assert_array_equal(result.layers["counts"].toarray(), expected[:, : result.n_vars])
    np.testing.assert_array_equal(result.varm["mask"], member)
    assert list(result.obs["condition"]) == list(data.obs["stim"])
    assert list(result.obs["kind"]) == list(data.obs["type"])
    ids = data.var_names.to_series() if name in WITHOUT_IDS else data.var["id"]
    assert list(result.var["id"]) == list(ids[result.var_names])
    description = describe(result, prepared_record(result), {"title": name, "reader": reader.SPEC.name}, [])
    for part in (
        "180 raw",
        "240 raw",
        "control 90, stimulated 90",
        "120 of 120 in the gene sets",
        "6 of 6 of sets kept",
    ):
        assert part in description, part
