"""Preparation: of whatever counts and settings comes what the definitions say, or a refusal in one line."""

import anndata
import numpy as np
import pandas as pd
import pytest
from factorbench import registry
from factorbench.config import schema
from factorbench.contracts.errors import UserError
from factorbench.contracts.prepared import check_prepared
from factorbench.data.preparation import prepare
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from tests.bad_data.outcome import fuzz, one_line, tried

SETTINGS = schema.fill({"datasets": {"d": {}}}, schema.read("config"))["datasets"]["d"] | {
    **{"gene_sets": ["sets"], "prefixes": [""], "min_genes": 1, "max_genes": None, "missing": []},
}


def raw(counts, **obs):
    n_cells, n_genes = counts.shape
    return anndata.AnnData(
        counts,
        obs=pd.DataFrame(obs, index=[f"c{i}" for i in range(n_cells)]),
        var=pd.DataFrame(index=[f"g{i}" for i in range(n_genes)]),
    )


def sets_of(n_genes):
    return {"ALL": [f"g{i}" for i in range(n_genes)], "ONE": ["g0"], "SOME": [f"g{i}" for i in range(0, n_genes, 2)]}


def prepared(data, **settings):
    return prepare(data, [sets_of(data.n_vars)], {**SETTINGS, **settings}, "d")


def is_right(data, found, target_sum):
    """The counts are those of the raw data; X is their logarithm after scaling, in double precision."""
    check_prepared(found)
    counts = sparse.csr_matrix(data.X)[data.obs_names.get_indexer(found.obs_names)].toarray().astype(np.float64)
    genes = data.var_names.get_indexer(found.var_names)
    np.testing.assert_array_equal(found.layers["counts"].toarray(), counts[:, genes])
    kept = [gene for gene, n in zip(counts.T, (data.X != 0).sum(axis=0).A1, strict=True) if n]
    totals = np.sum(kept, axis=0)
    np.testing.assert_allclose(
        found.X.toarray(), np.log1p(counts[:, genes] * (target_sum / totals)[:, None]), rtol=1e-5
    )


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
def test_counts_become_what_the_definitions_say(counts, dtype, form):
    data = raw(sparse.csr_matrix(form(counts.astype(dtype))))
    found = tried(lambda: prepared(data, min_cells=1))
    if found is not None:
        is_right(data, found, 10_000)
        varies = [name for name in data.var_names if name in set(found.var_names)]
        assert varies == list(found.var_names)


@pytest.mark.filterwarnings("ignore")
@fuzz(120)
@given(matrices(SMALL) | matrices(WEIRD), CHANGES, st.data())
def test_any_numbers_and_settings_are_prepared_or_refused(counts, changes, data):
    kinds = data.draw(st.lists(st.sampled_from(["a", "b", None]), min_size=len(counts), max_size=len(counts)))
    cells = raw(sparse.csr_matrix(counts), kind=pd.Categorical(kinds))
    min_cells = data.draw(st.integers(1, 3))
    found = tried(lambda: prepared(cells, **{"labels": {"kind": "kind"}, "min_cells": min_cells, **changes}))
    good = np.isfinite(counts).all() and (counts >= 0).all() and (counts == np.round(counts)).all()
    if found is None:
        return
    assert good
    assert counts.max() < 2**31
    check_prepared(found)


@pytest.mark.parametrize("dtype", ["int64", "uint64", "float64"])
@pytest.mark.parametrize("count", [2**24 + 1, 2**31 - 1])
def test_counts_beyond_what_float32_holds_are_kept(dtype, count):
    data = raw(sparse.csr_matrix(np.array([[count, 1, 7], [3, count, 0], [0, 2, 5]]).astype(dtype)))
    found = prepared(data, min_cells=1)
    assert found.layers["counts"].max() == count
    is_right(data, found, 10_000)


@pytest.mark.parametrize(
    ("dtype", "count"), [("int64", 2**31), ("int64", 2**40), ("uint64", 2**63), ("float64", 2.0**31), ("float32", 1e30)]
)
def test_counts_beyond_what_is_stored_are_refused(dtype, count):
    data = raw(sparse.csr_matrix(np.array([[count, 1], [3, 0]]).astype(dtype)))
    with pytest.raises(UserError, match=r"d\.files: 1 counts are larger than 2\^31 - 1, the first in cell c0, gene g0"):
        prepared(data, min_cells=1)


@pytest.mark.parametrize("dtype", [bool, complex])
def test_what_is_no_number_is_no_count(dtype):
    with pytest.raises(UserError, match=f"d.files: the data are of type {dtype.__name__}") as error:
        prepared(raw(sparse.csr_matrix(np.eye(3).astype(dtype))))
    one_line(error.value)


@pytest.mark.parametrize("axis", ["obs_names", "var_names"])
@pytest.mark.parametrize("name", ["a\nb", "a\r", "a\x1b[2J", "a\tb", "\u2028"])
def test_names_that_cannot_be_printed_are_refused(axis, name):
    data = raw(sparse.csr_matrix(np.eye(3)))
    setattr(data, axis, [name, "x", "y"])
    with pytest.raises(UserError, match=r"1 names of (cells|genes) have characters that cannot be printed") as error:
        prepared(data)
    one_line(error.value)


def test_values_of_labels_that_cannot_be_printed_are_refused():
    data = raw(sparse.csr_matrix(np.eye(3)), kind=["a\nb", "a", "a"])
    with pytest.raises(UserError, match=r"d\.labels\.kind: 'a\\nb' has characters") as error:
        prepared(data, labels={"kind": "kind"})
    one_line(error.value)


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
def test_data_without_much_in_them(counts, flavor, n_top_genes):
    data = raw(sparse.csr_matrix(counts.astype(np.int32)))
    found = tried(lambda: prepared(data, min_cells=1, hvg_flavor=flavor, n_top_genes=n_top_genes))
    if found is not None:
        assert found.n_vars <= data.n_vars
        assert (found.X.toarray().std(axis=0) > 0).all()


@pytest.mark.parametrize("flavor", ["seurat", "cell_ranger"])
def test_genes_each_alone_in_their_bin(flavor):
    """No dispersion can be compared with another: scanpy's rule has nothing to say."""
    counts = np.random.default_rng(0).poisson([1, 30, 900], (30, 3)) + 1
    found = tried(lambda: prepared(raw(sparse.csr_matrix(counts)), min_cells=1, hvg_flavor=flavor, n_top_genes=2))
    assert found is None or 1 <= found.n_vars <= 3


@pytest.mark.parametrize("n_genes", [2, 3])
def test_fewer_genes_than_a_regression_needs(n_genes):
    """loess ends the whole process where it has no neighbours to look at."""
    counts = np.random.default_rng(0).poisson(3, (30, n_genes))
    with pytest.raises(UserError, match=rf"d\.hvg_flavor: .*{n_genes} genes vary, too few .*choose another") as error:
        prepared(raw(sparse.csr_matrix(counts)), min_cells=1, n_top_genes=1)
    one_line(error.value)


def test_every_reader_has_the_limit_but_the_one_without_files():
    assert [n for n in registry.names("reader") if "unpacked" not in registry.load("reader", n).SPEC.params] == [
        "simulated"
    ]
