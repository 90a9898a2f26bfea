"""Cells read, prepared and written block by block: the same as all at once, whatever the size of the blocks."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from factorbench import registry
from factorbench.contracts import files
from factorbench.contracts.errors import ContractError, UserError
from factorbench.contracts.files import on_disk
from factorbench.contracts.prepared import read_prepared, write_prepared
from factorbench.data import preparation, variable_genes
from scipy import sparse

from tests.planted import planted
from tests.unit.test_prepare import SETTINGS

MODULE = registry.load("reader", "simulated")
OPTIONS = registry.resolve(MODULE.SPEC, {"n_cells": 210, "n_genes": 250, "depth": 500.0, "n_active": 2}, "options")


def same(one, two):
    """Assert that two AnnData hold the same, in the same types."""
    assert (one.X != two.X).nnz == 0
    assert one.X.dtype == two.X.dtype
    assert list(one.layers) == list(two.layers)
    for layer, values in one.layers.items():
        assert (values != two.layers[layer]).nnz == 0
        assert values.dtype == two.layers[layer].dtype
    pd.testing.assert_frame_equal(one.obs, two.obs)
    pd.testing.assert_frame_equal(one.var, two.var)
    assert list(one.varm) == list(two.varm)
    for name, values in one.varm.items():
        np.testing.assert_array_equal(values, two.varm[name])
    assert set(one.uns) == set(two.uns)
    for name, values in one.uns.items():
        np.testing.assert_array_equal(values, two.uns[name])


def in_blocks(data, size):
    for start in range(0, data.n_obs, size):
        block = data[start : start + size].copy()
        block.obs = data.obs.iloc[start : start + size].copy()  # every block knows all classes
        yield block


# ------------------------------------------------------------------------------------------------------------- on disk


@pytest.mark.parametrize("size", [1, 50, 119, 120])
def test_blocks_make_the_same_file(tmp_path, size):
    data = planted(held_out=True)
    write_prepared(tmp_path / "whole.h5ad", data)
    write_prepared(tmp_path / "blocks.h5ad", in_blocks(data, size))
    same(read_prepared(tmp_path / "blocks.h5ad"), read_prepared(tmp_path / "whole.h5ad"))


def test_cells_are_read_when_asked_for(tmp_path):
    data = planted()
    write_prepared(tmp_path / "p.h5ad", data)
    with on_disk(tmp_path / "p.h5ad") as stored:
        assert not isinstance(stored.X, sparse.spmatrix)
        assert (stored.X[30:70] != data.X[30:70]).nnz == 0
        same(stored[30:70].to_memory(), data[30:70].copy())


def test_a_block_that_fails_leaves_the_old_file_alone(tmp_path):
    data, path = planted(), tmp_path / "p.h5ad"
    write_prepared(path, data)

    def fail():
        yield data[:40].copy()
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_prepared(path, fail())
    assert list(tmp_path.iterdir()) == [path]
    same(read_prepared(path), data)


@pytest.mark.parametrize("fault", ["nan", "held out"])
def test_what_is_wrong_in_any_block_is_found(tmp_path, monkeypatch, fault):
    monkeypatch.setattr(files, "BLOCK", 30)
    data = planted(held_out=True)
    if fault == "nan":
        data.X.data[-1] = np.nan
    else:
        data.obs["held_out"] = True
    with pytest.raises(ContractError):
        write_prepared(tmp_path / "p.h5ad", in_blocks(data, 50))
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------------------ prepared


@pytest.mark.parametrize("size", [40, 150])
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"hvg_flavor": "seurat"},
        {"hvg_flavor": "cell_ranger"},
        {"n_cells": 90, "hold_out": {"share": 0.2, "seed": 1}, "zeroed_by": "stimulation", "n_top_genes": 10_000},
    ],
)
def test_prepared_from_disk_to_disk_as_in_memory(tmp_path, monkeypatch, size, change):
    raw, sets = MODULE.read({}, OPTIONS), MODULE.gene_sets(OPTIONS)
    counts = raw.X.tolil()
    counts[:40], counts[(raw.obs["condition"] == "control").to_numpy(), 5] = 0, 0  # a whole block, and a zeroed gene
    raw.X = counts.tocsr()
    raw.obs.loc[raw.obs_names[60:90], "condition"] = np.nan
    preparation.write_raw(tmp_path / "raw.h5ad", raw)
    settings = {**SETTINGS, "prefixes": [""], **change}
    whole = preparation.prepare(raw, [sets], settings, "planted")
    monkeypatch.setattr(files, "BLOCK", size)
    with on_disk(tmp_path / "raw.h5ad") as stored:
        blocks = preparation.prepare_blocks(stored, [sets], settings, "planted")
        write_prepared(tmp_path / "prepared.h5ad", blocks)
    same(read_prepared(tmp_path / "prepared.h5ad"), whole)


def test_stored_zeros_are_no_counts():
    raw, sets = MODULE.read({}, OPTIONS), MODULE.gene_sets(OPTIONS)
    raw.X.data[::3] = 0
    raw.X.data[: raw.X.indptr[1]] = 0
    found = preparation.prepare(raw, [sets], {**SETTINGS, "prefixes": [""]}, "planted")
    assert (raw.X.data == 0).any(), "the raw data are not changed"
    assert raw.obs_names[0] not in found.obs_names
    assert found.X.nnz == found.X.count_nonzero() == found.layers["counts"].nnz
    raw.X.eliminate_zeros()
    same(preparation.prepare(raw, [sets], {**SETTINGS, "prefixes": [""]}, "planted"), found)


def test_wrong_counts_are_counted_in_all_blocks(monkeypatch):
    monkeypatch.setattr(files, "BLOCK", 50)
    raw = MODULE.read({}, OPTIONS)
    counts = raw.X.astype(np.float32).tolil()
    counts[3, 9], counts[120, 4], counts[121, 0] = 0.5, 1.5, -1
    raw.X = counts.tocsr()
    with pytest.raises(UserError, match="1 counts are negative, the first in cell cell_00122, gene G0001"):
        preparation.prepare(raw, [MODULE.gene_sets(OPTIONS)], SETTINGS, "planted")
    counts[121, 0] = 1
    raw.X = counts.tocsr()
    with pytest.raises(UserError, match="2 counts are not whole numbers, the first in cell cell_00004, gene G0010"):
        preparation.prepare(raw, [MODULE.gene_sets(OPTIONS)], SETTINGS, "planted")


# ------------------------------------------------------------------------------------------------ highly variable genes


@pytest.mark.filterwarnings("ignore:.*zero.*:RuntimeWarning")
@pytest.mark.parametrize("size", [13, 300])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("flavor", ["seurat_v3", "seurat", "cell_ranger"])
def test_the_genes_that_scanpy_selects(flavor, seed, size):
    rng = np.random.default_rng(seed)
    mean = rng.lognormal(-1, 1.5, 400) * rng.gamma(rng.uniform(0.5, 20, 400), size=(300, 400)) / 5
    counts = rng.poisson(mean)
    counts[:, 0], counts[:, 1] = 1, np.arange(300) == 7  # as many everywhere, and in one cell
    counts[rng.integers(0, 300, 100), rng.integers(2, 400, 100)] += 50  # outliers: what is clipped
    data = anndata.AnnData(sparse.csr_matrix(counts, dtype=np.float32))
    if flavor != "seurat_v3":
        data.X = preparation.log_normalise(data.X, 1e4)
    blocks = [data.X[start : start + size] for start in range(0, 300, size)]
    for n_top_genes in (1, 20, 60, 80, 120, 250):
        table = sc.pp.highly_variable_genes(data, flavor=flavor, n_top_genes=n_top_genes, inplace=False)
        if flavor == "seurat_v3":
            found = variable_genes.seurat_v3(blocks, n_top_genes)
        else:
            found = variable_genes.dispersed(blocks, flavor, n_top_genes)
        np.testing.assert_array_equal(found, table["highly_variable"])
        assert found.sum() == n_top_genes


def test_genes_that_vary_between_blocks_only():
    low, high, both = (sparse.csr_matrix([[value, 5.0, 0.0]] * 3) for value in (1.0, 2.0, 3.0))
    for blocks in ([low, high], [high, low], [low, both, high]):
        np.testing.assert_array_equal(preparation.varying(blocks), [True, False, False])


def test_moments_are_those_of_all_cells():
    counts = np.random.default_rng(0).poisson(3.0, (40, 6)) * 20_000  # whose squares are more than int32 can hold
    blocks = [sparse.csr_matrix(counts[:33], dtype=np.int32), sparse.csr_matrix(counts[33:], dtype=np.int32)]
    n_cells, mean, variance = variable_genes.moments(blocks)
    assert n_cells == 40
    np.testing.assert_allclose(mean, counts.mean(axis=0))
    np.testing.assert_allclose(variance, counts.var(axis=0, ddof=1))


# ----------------------------------------------------------------------------------------------------------- simulated


def test_simulated_cells_of_several_blocks_are_one_dataset(monkeypatch):
    first = MODULE.read({}, {**OPTIONS, "n_cells": 80})
    monkeypatch.setattr(MODULE, "BLOCK", 80)
    blocks = list(MODULE.blocks({}, OPTIONS))
    assert [block.n_obs for block in blocks] == [80, 80, 50]
    same(blocks[0], first)
    assert (blocks[1].X != blocks[0].X).nnz > 0
    whole = MODULE.read({}, OPTIONS)
    assert whole.obs_names.is_unique
    np.testing.assert_array_equal(whole.varm["weights"], first.varm["weights"])
    np.testing.assert_array_equal(whole.obsm["activity"][:80].toarray(), first.obsm["activity"].toarray())
    for block in blocks:  # the planted difference is the same in each
        up = first.varm["weights"][:, 0] > 0
        share = np.asarray(block.X[:, up].sum(axis=1)).ravel() / np.asarray(block.X.sum(axis=1)).ravel()
        stimulated = (block.obs["condition"] == "stimulated").to_numpy()
        assert share[stimulated].mean() > 1.5 * share[~stimulated].mean()
