"""Preparation of bad counts with odd parameters: the result fits the definitions, or it is refused in one line."""

import anndata
import numpy as np
import pandas as pd
import pytest
from factorbench import registry
from factorbench.contracts.prepared import check_prepared
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from tests.bad_data.outcome import fuzz, refused, tried
from tests.planted import prepare, prepare_entry


def raw(counts, **obs):
    n_cells, n_genes = counts.shape
    return anndata.AnnData(
        counts,
        obs=pd.DataFrame(obs, index=[f"c{i}" for i in range(n_cells)]),
        var=pd.DataFrame(index=[f"g{i}" for i in range(n_genes)]),
    )


def sets_of(n_genes):
    return {"ALL": [f"g{i}" for i in range(n_genes)], "ONE": ["g0"], "SOME": [f"g{i}" for i in range(0, n_genes, 2)]}


def prepared(data, **changes):
    return prepare(data, [sets_of(data.n_vars)], prepare_entry(**changes), "d")


def check_values(raw, data):
    """Check that the counts are those of the raw data, and X their logarithms after scaling, in double precision."""
    check_prepared(data)
    counts = sparse.csr_matrix(raw.X)[raw.obs_names.get_indexer(data.obs_names)].toarray().astype(np.float64)
    genes = raw.var_names.get_indexer(data.var_names)
    np.testing.assert_array_equal(data.layers["counts"].toarray(), counts[:, genes])
    totals = counts.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(data.X.toarray(), np.log1p(counts[:, genes] * (10_000 / totals)), rtol=1e-5)


SMALL = st.integers(0, 3) | st.integers(0, 60)
WEIRD = SMALL | st.sampled_from([-1, 0.5, np.nan, np.inf, -np.inf, 2.0**24, 2.0**31, 1e30, 1e300])
TYPES = ["int8", "int64", "uint32", "float32", "float64"]


@st.composite
def matrices(draw, values):
    shape = draw(st.integers(1, 12)), draw(st.integers(1, 10))
    rows = draw(st.lists(st.lists(values, min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]))
    return np.array(rows, np.float64)


CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "hvg_flavor": st.sampled_from(["seurat_v3", "seurat", "cell_ranger"]),
        "n_top_genes": st.integers(1, 9),
        "n_cells": st.integers(2, 12),
        "min_genes": st.integers(1, 4),
        "max_genes": st.none() | st.integers(1, 4),
        "n_sets": st.none() | st.integers(1, 3),
        "keep_sets": st.just(["ONE"]) | st.just(["NONE"]),
        "symbols": st.sampled_from(["as_is", "upper"]),
        "hold_out": st.sampled_from([{"share": 0.5}, {"share": 0.01}, {"label": "kind", "value": "a"}]),
        "zeroed_by": st.just("kind"),
        "donor": st.just("kind"),
        "contrast": st.just({"label": "kind", "positive": "a"}),
    },
)


@fuzz(40)
@given(matrices(SMALL), st.sampled_from(TYPES), st.sampled_from([np.asarray, sparse.csr_matrix, sparse.csc_matrix]))
def test_values_fit_the_definitions(counts, dtype, form):
    cells = raw(sparse.csr_matrix(form(counts.astype(dtype))))
    data = tried(lambda: prepared(cells, min_cells=1))
    if data is not None:
        check_values(cells, data)
        assert [name for name in cells.var_names if name in set(data.var_names)] == list(data.var_names)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@fuzz(120)
@given(matrices(SMALL) | matrices(WEIRD), CHANGES, st.data())
def test_any_numbers_and_parameters_are_prepared_or_refused(counts, changes, data):
    kinds = data.draw(st.lists(st.sampled_from(["a", "b", None]), min_size=len(counts), max_size=len(counts)))
    cells = raw(sparse.csr_matrix(counts), kind=pd.Categorical(kinds))
    min_cells = data.draw(st.integers(1, 3))
    result = tried(lambda: prepared(cells, labels={"kind": "kind"}, min_cells=min_cells, **changes))
    if result is not None:
        assert np.isfinite(counts).all()
        assert ((counts >= 0) & (counts == np.round(counts)) & (counts < 2**31)).all()
        check_prepared(result)


@pytest.mark.parametrize("dtype", ["int64", "uint64", "float64"])
@pytest.mark.parametrize("count", [2**24 + 1, 2**31 - 1])
def test_counts_too_large_for_float32_are_kept(dtype, count):
    cells = raw(sparse.csr_matrix(np.array([[count, 1, 7], [3, count, 0], [0, 2, 5]]).astype(dtype)))
    data = prepared(cells, min_cells=1)
    assert data.layers["counts"].max() == count
    check_values(cells, data)


@pytest.mark.parametrize("dtype", ["int64", "uint64", "float64", "float32"])
@pytest.mark.parametrize("count", [2**31, 2**40, 2**62])
def test_counts_too_large_for_int32_are_refused(dtype, count):
    cells = raw(sparse.csr_matrix(np.array([[count, 1], [3, 0]]).astype(dtype)))
    with refused(r"d\.files: .* in cell c0, gene g0 is not a whole number from 0 to 2\^31 - 1"):
        prepared(cells, min_cells=1)


@pytest.mark.parametrize("dtype", [bool, complex])
def test_values_that_are_not_numbers_are_refused(dtype):
    with refused(f"d.files: the data are of type {dtype.__name__}"):
        prepared(raw(sparse.csr_matrix(np.eye(3).astype(dtype))))


@pytest.mark.parametrize("axis", ["obs_names", "var_names"])
@pytest.mark.parametrize("name", ["a\nb", "a\r", "a\x1b[2J", "a\tb", "\u2028"])
def test_names_that_cannot_be_printed_are_refused(axis, name):
    data = raw(sparse.csr_matrix(np.eye(3)))
    setattr(data, axis, [name, "x", "y"])
    with refused("1 names of (cells|genes) have characters that cannot be printed"):
        prepared(data)


def test_values_of_labels_that_cannot_be_printed_are_refused():
    data = raw(sparse.csr_matrix(np.eye(3)), kind=["a\nb", "a", "a"])
    with refused(r"d\.labels\.kind: 'a\\nb' has characters"):
        prepared(data, labels={"kind": "kind"})


@pytest.mark.parametrize(
    "counts",
    [
        np.zeros((4, 5)),
        np.ones((4, 5)),
        np.tile([1, 2, 3, 4, 5], (4, 1)),
        np.diag([1, 1, 1, 1]),
        np.array([[1, 2, 3]]),
        np.array([[1], [2], [0], [4]]),
    ],
    ids=["no counts", "constant", "equal cells", "each its own", "one cell", "one gene"],
)
@pytest.mark.parametrize("flavor", ["seurat_v3", "seurat", "cell_ranger"])
@pytest.mark.parametrize("n_top_genes", [1, 3, 3300])
@pytest.mark.filterwarnings("ignore")
def test_data_with_little_variation(counts, flavor, n_top_genes):
    cells = raw(sparse.csr_matrix(counts.astype(np.int32)))
    data = tried(lambda: prepared(cells, min_cells=1, hvg_flavor=flavor, n_top_genes=n_top_genes))
    if data is not None:
        assert data.n_vars <= cells.n_vars
        assert (data.X.toarray().std(axis=0) > 0).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("flavor", ["seurat", "cell_ranger"])
def test_genes_whose_means_all_differ(flavor):
    """scanpy compares the dispersion of genes of about the same mean. No two of these genes have that."""
    counts = np.random.default_rng(0).poisson([1, 30, 900], (30, 3)) + 1
    data = tried(lambda: prepared(raw(sparse.csr_matrix(counts)), min_cells=1, hvg_flavor=flavor, n_top_genes=2))
    assert data is None or 1 <= data.n_vars <= 3


@pytest.mark.parametrize("n_genes", [2, 3])
def test_too_few_genes_for_a_regression_are_refused(n_genes):
    """loess crashes the process if a gene has no neighbours."""
    counts = np.random.default_rng(0).poisson(3, (30, n_genes))
    with refused(rf"d\.hvg_flavor: .*{n_genes} genes vary, too few .*choose another"):
        prepared(raw(sparse.csr_matrix(counts)), min_cells=1, n_top_genes=1)


def test_every_reader_of_files_has_a_limit_of_size():
    unlimited = [n for n in registry.names("reader") if "unpacked" not in registry.load("reader", n).SPEC.params]
    assert unlimited == ["simulated"]
