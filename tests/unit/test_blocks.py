"""Cells are read, prepared and written in blocks. The results do not depend on the size of the blocks."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from factorbench import registry
from factorbench.contracts import files
from factorbench.contracts.errors import ContractError
from factorbench.contracts.files import on_disk, write_raw
from factorbench.contracts.prepared import read_prepared, write_prepared
from factorbench.data import preparation, variable_genes
from scipy import sparse

from tests.bad_data.outcome import refused
from tests.planted import planted, prepare, prepare_entry
from tests.unit.test_prepare import BASE

MODULE = registry.load("reader", "simulated")
OPTIONS = registry.resolve(MODULE.SPEC, {"n_cells": 210, "n_genes": 250, "depth": 500.0, "n_active": 2}, "options")
SETS = MODULE.gene_sets(OPTIONS)


def prepared(raw, **changes):
    return prepare(raw, [SETS], prepare_entry(**{**BASE, "prefixes": [""], **changes}), "planted")


def same(one, two):
    """Assert that two AnnData are equal, also in their types."""
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
        block.obs = data.obs.iloc[start : start + size].copy()  # with the categories of all cells
        yield block


# ------------------------------------------------------------------------------------------------------------- on disk


@pytest.mark.parametrize("size", [1, 50, 119, 120])
def test_blocks_make_the_same_file(tmp_path, size):
    data = planted(held_out=True)
    write_prepared(tmp_path / "whole.h5ad", data)
    write_prepared(tmp_path / "blocks.h5ad", in_blocks(data, size))
    same(read_prepared(tmp_path / "blocks.h5ad"), read_prepared(tmp_path / "whole.h5ad"))


def test_cells_stay_on_disk_until_they_are_sliced(tmp_path):
    data = planted()
    write_prepared(tmp_path / "p.h5ad", data)
    with on_disk(tmp_path / "p.h5ad") as stored:
        assert not isinstance(stored.X, sparse.spmatrix)
        assert (stored.X[30:70] != data.X[30:70]).nnz == 0
        same(stored[30:70].to_memory(), data[30:70].copy())


def test_a_block_that_fails_leaves_the_old_file(tmp_path):
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
def test_faults_in_any_block_are_found(tmp_path, monkeypatch, fault):
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
def test_preparation_on_disk_is_the_same_as_in_memory(tmp_path, monkeypatch, size, change):
    raw = MODULE.read({}, OPTIONS)
    counts = raw.X.tolil()
    counts[:40], counts[(raw.obs["condition"] == "control").to_numpy(), 5] = 0, 0  # a whole block, and a zeroed gene
    raw.X = counts.tocsr()
    raw.obs.loc[raw.obs_names[60:90], "condition"] = np.nan
    write_raw(tmp_path / "raw.h5ad", raw)
    whole = prepared(raw, **change)
    monkeypatch.setattr(files, "BLOCK", size)
    entry = prepare_entry(**{**BASE, "prefixes": [""], **change})
    with on_disk(tmp_path / "raw.h5ad") as stored:
        write_prepared(tmp_path / "prepared.h5ad", preparation.prepare_blocks(stored, [SETS], entry, "planted"))
    same(read_prepared(tmp_path / "prepared.h5ad"), whole)


def test_stored_zeros_are_not_counts():
    raw = MODULE.read({}, OPTIONS)
    raw.X.data[::3] = 0
    raw.X.data[: raw.X.indptr[1]] = 0
    data = prepared(raw)
    assert (raw.X.data == 0).any(), "the raw data are not changed"
    assert raw.obs_names[0] not in data.obs_names
    assert data.X.nnz == data.X.count_nonzero() == data.layers["counts"].nnz
    raw.X.eliminate_zeros()
    same(prepared(raw), data)


def test_wrong_counts_in_any_block_are_named(monkeypatch):
    monkeypatch.setattr(files, "BLOCK", 50)
    raw = MODULE.read({}, OPTIONS)
    counts = raw.X.astype(np.float32).tolil()
    counts[120, 4], counts[121, 0] = 1.5, -1
    raw.X = counts.tocsr()
    with refused("1.5 in cell cell_00121, gene G0005"):
        prepared(raw)


# ------------------------------------------------------------------------------------------------ highly variable genes


@pytest.mark.filterwarnings("ignore:.*zero.*:RuntimeWarning")
@pytest.mark.parametrize("size", [13, 300])
@pytest.mark.parametrize("seed", range(4))
def test_seurat_v3_selects_the_genes_that_scanpy_selects(seed, size):
    rng = np.random.default_rng(seed)
    mean = rng.lognormal(-1, 1.5, 400) * rng.gamma(rng.uniform(0.5, 20, 400), size=(300, 400)) / 5
    counts = rng.poisson(mean)
    counts[:, 0], counts[:, 1] = 1, np.arange(300) == 7  # a constant gene, and one that is in one cell
    counts[rng.integers(0, 300, 100), rng.integers(2, 400, 100)] += 50  # outliers, which are clipped
    data = anndata.AnnData(sparse.csr_matrix(counts, dtype=np.float32))
    blocks = [data.X[start : start + size] for start in range(0, 300, size)]
    for n_top_genes in (1, 20, 60, 80, 120, 250):
        table = sc.pp.highly_variable_genes(data, flavor="seurat_v3", n_top_genes=n_top_genes, inplace=False)
        chosen = variable_genes.seurat_v3(blocks, n_top_genes)
        np.testing.assert_array_equal(chosen, table["highly_variable"])
        assert chosen.sum() == n_top_genes


def test_genes_that_vary_only_between_blocks():
    low, high, both = (sparse.csr_matrix([[value, 5.0, 0.0]] * 3) for value in (1.0, 2.0, 3.0))
    for blocks in ([low, high], [high, low], [low, both, high]):
        np.testing.assert_array_equal(preparation.varying(blocks), [True, False, False])


def test_moments_are_those_of_all_cells():
    counts = np.random.default_rng(0).poisson(3.0, (40, 6)) * 20_000  # int32 cannot hold their squares
    blocks = [sparse.csr_matrix(counts[:33], dtype=np.int32), sparse.csr_matrix(counts[33:], dtype=np.int32)]
    n_cells, mean, variance = variable_genes.moments(blocks)
    assert n_cells == 40
    np.testing.assert_allclose(mean, counts.mean(axis=0))
    np.testing.assert_allclose(variance, counts.var(axis=0, ddof=1))


# ----------------------------------------------------------------------------------------------------------- simulated


def test_simulated_blocks_are_of_one_dataset(monkeypatch):
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
    for block in blocks:  # each has the planted difference
        up = first.varm["weights"][:, 0] > 0
        share = np.asarray(block.X[:, up].sum(axis=1)).ravel() / np.asarray(block.X.sum(axis=1)).ravel()
        stimulated = (block.obs["condition"] == "stimulated").to_numpy()
        assert share[stimulated].mean() > 1.5 * share[~stimulated].mean()
