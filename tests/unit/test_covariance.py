"""The covariance of the genes, from cells in any form, against numpy."""

import anndata
import numpy as np
import pytest
from factorbench.contracts.errors import UserError
from factorbench.contracts.files import on_disk
from factorbench.model.covariance import gene_covariance
from scipy import sparse

N_CELLS, N_GENES = 4500, 12  # more than a block


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    return (rng.poisson(1, (N_CELLS, N_GENES)) * rng.random((N_CELLS, N_GENES)) * 3).astype(np.float32)


@pytest.fixture(params=["dense", "sparse", "very sparse", "disk"])
def form(request, X, tmp_path, monkeypatch):
    if request.param == "very sparse":
        monkeypatch.setattr("factorbench.model.covariance.SPARSE_BELOW", 1.0)
    if request.param != "disk":
        yield X if request.param == "dense" else sparse.csr_matrix(X)
        return
    anndata.AnnData(sparse.csr_matrix(X)).write_h5ad(tmp_path / "cells.h5ad")
    with on_disk(tmp_path / "cells.h5ad") as data:
        yield data.X


@pytest.mark.parametrize("center", [True, False])
def test_every_form_gives_numpys_covariance(form, X, center):
    result = gene_covariance(form, np.zeros((N_CELLS, 0), np.float32), center)
    np.testing.assert_allclose(result.means, X.mean(axis=0, dtype=float), rtol=1e-6)
    expected = np.cov(X.T.astype(float), bias=True) if center else X.T.astype(float) @ X / N_CELLS
    np.testing.assert_allclose(result.genes, expected, atol=1e-5)
    assert result.genes.dtype == np.float32
    assert result.effects.shape == (N_GENES, 0)


@pytest.mark.parametrize("center", [True, False])
def test_covariates_are_regressed_out(form, X, center):
    rng = np.random.default_rng(1)
    C = np.c_[np.eye(3)[rng.integers(3, size=N_CELLS)], rng.normal(size=N_CELLS)].astype(np.float32)
    result = gene_covariance(form, C, center)
    Y = X - X.mean(axis=0, dtype=float) * center
    effects = np.linalg.lstsq(C.astype(float), Y, rcond=None)[0]
    rest = Y - C @ effects
    np.testing.assert_allclose(result.effects, effects.T, atol=1e-4)
    np.testing.assert_allclose(result.genes, rest.T @ rest / N_CELLS, atol=1e-5)


def test_values_that_are_not_finite_are_named(X):
    for value in (np.nan, np.inf):
        broken = X.copy()
        broken[4100, 3] = value
        with pytest.raises(UserError, match=r"NaN or infinite .*cell number 4100"):
            gene_covariance(broken, np.zeros((N_CELLS, 0), np.float32), True)
