"""The control methods against their definitions."""

import json

import anndata
import numpy as np
import pandas as pd
import pytest
from factorbench import registry
from factorbench.contracts.budget import Budget
from factorbench.contracts.errors import UserError
from factorbench.contracts.factors import read_factors, write_factors
from factorbench.contracts.prepared import check_prepared
from factorbench.methods import gene_set_mean, pca
from scipy import sparse

N_CELLS, N_GENES, N_SETS = 50, 30, 6


@pytest.fixture
def data():
    random = np.random.default_rng(0)
    expression = random.gamma(2.0, 0.5, (N_CELLS, N_GENES)) * (random.random((N_CELLS, N_GENES)) < 0.4)
    mask = random.random((N_GENES, N_SETS)) < 0.3
    mask[np.arange(N_GENES), random.integers(N_SETS, size=N_GENES)] = True
    result = anndata.AnnData(
        sparse.csr_matrix(expression.astype(np.float32)),
        obs=pd.DataFrame(
            {"condition": pd.Categorical(["a", "b"] * (N_CELLS // 2))}, index=map("cell{}".format, range(N_CELLS))
        ),
        var=pd.DataFrame(index=map("gene{}".format, range(N_GENES))),
        varm={"mask": mask},
        uns={
            "gene_sets": np.array([f"SET{k}" for k in range(N_SETS)]),
            "factorbench": json.dumps({"dataset": "d", "labels": ["condition"], "contrast": {}, "inputs": {}}),
        },
    )
    check_prepared(result)
    return result


def fit(method, data, seed=0, **params):
    return method.fit(data, registry.resolve(method.SPEC, params, "params"), seed, "cpu", Budget())


def test_gene_set_mean_is_the_mean_over_the_genes_of_the_set(data):
    factors = fit(gene_set_mean, data)
    dense = data.X.toarray()
    for k in range(N_SETS):
        genes = np.flatnonzero(data.varm["mask"][:, k])
        assert factors.scores[:, k] == pytest.approx([np.mean([cell[g] for g in genes]) for cell in dense], rel=1e-6)
        assert factors.loadings[genes, k] == pytest.approx(1 / len(genes))
    assert not factors.loadings[~data.varm["mask"]].any()
    assert list(factors.table["name"]) == list(data.uns["gene_sets"])
    assert set(factors.table["kind"]) == {"annotated"}
    assert factors.table["active"].all()
    assert factors.offset is None
    assert (factors.status, factors.converged, factors.iterations) == ("ok", None, None)


def test_pca_equals_the_singular_value_decomposition(data):
    factors = fit(pca, data, n_factors=5)
    dense = data.X.toarray().astype(float)
    left, singular, right = np.linalg.svd(dense - dense.mean(axis=0), full_matrices=False)
    sign = np.sign(np.sum(factors.loadings * right[:5].T, axis=0))
    np.testing.assert_allclose(factors.loadings * sign, right[:5].T, atol=1e-8)
    np.testing.assert_allclose(factors.scores * sign, left[:, :5] * singular[:5], atol=1e-8)
    np.testing.assert_allclose(factors.table["explained_variance"], singular[:5] ** 2 / (N_CELLS - 1), rtol=1e-8)
    np.testing.assert_allclose(factors.offset, dense.mean(axis=0), atol=1e-8)


def test_pca_leaves_the_error_of_the_omitted_components(data):
    """Theorem of Eckart and Young: the squared error is the sum of the squared singular values that are left out."""
    factors = fit(pca, data, n_factors=7)
    dense = data.X.toarray().astype(float)
    left_out = np.linalg.svd(dense - dense.mean(axis=0), compute_uv=False)[7:]
    error = dense - (factors.scores @ factors.loadings.T + factors.offset)
    assert np.sum(error**2) == pytest.approx(np.sum(left_out**2), rel=1e-8)


def test_pca_with_the_same_seed_is_the_same_and_has_no_gene_sets(data):
    factors, again = (fit(pca, data, seed=3, n_factors=4) for _ in range(2))
    np.testing.assert_array_equal(factors.scores, again.scores)
    assert not factors.mask.any()
    assert factors.mask.shape == factors.loadings.shape
    assert list(factors.table["name"]) == ["PC1", "PC2", "PC3", "PC4"]
    assert set(factors.table["kind"]) == {"dense"}


@pytest.mark.parametrize("n_factors", [N_GENES, 1000])
def test_pca_refuses_more_factors_than_components(n_factors):
    with pytest.raises(UserError, match=r"params\.n_factors .* 29 or less"):
        pca.check(N_CELLS, N_GENES, N_SETS, {"n_factors": n_factors})


def test_pca_accepts_as_many_factors_as_components(data):
    pca.check(N_CELLS, N_GENES, N_SETS, {"n_factors": N_GENES - 1})
    assert fit(pca, data, n_factors=N_GENES - 1).scores.shape == (N_CELLS, N_GENES - 1)


@pytest.mark.parametrize("method", [gene_set_mean, pca])
def test_controls_do_not_change_the_data_and_keep_the_contract(method, data, tmp_path):
    before = data.copy()
    factors = fit(method, data, **({"n_factors": 3} if method is pca else {}))
    np.testing.assert_array_equal(data.X.toarray(), before.X.toarray())
    np.testing.assert_array_equal(data.varm["mask"], before.varm["mask"])
    write_factors(tmp_path / "factors.h5ad", factors, data)
    read = read_factors(tmp_path / "factors.h5ad")
    np.testing.assert_allclose(np.abs(read.obsm["scores"]), np.abs(factors.scores), rtol=1e-5, atol=1e-6)
    assert method.SPEC.control
