"""Training on any data ends with finite numbers and a true status, or is refused in one line."""

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from factorbench import registry
from factorbench.contracts.budget import Budget
from factorbench.contracts.errors import UserError
from factorbench.contracts.factors import read_factors, write_factors
from factorbench.methods import interpretable_ae
from factorbench.model import InterpretableAutoencoder
from factorbench.model.params import RECIPES
from scipy import sparse

from tests.bad_data.outcome import one_line

RECIPE = pytest.mark.parametrize("recipe", RECIPES)
COUNTS = np.random.default_rng(0).poisson(2, (20, 12)).astype(np.float32)
QUICK = {"hidden": [8], "epochs": 4, "min_updates": 0}


def cells(X, n_sets=2, **obs):
    X = np.asarray(X, np.float32)
    data = anndata.AnnData(
        sparse.csr_matrix(X),
        obs=pd.DataFrame(obs, index=[f"c{i}" for i in range(len(X))]),
        var=pd.DataFrame(index=[f"g{i}" for i in range(X.shape[1])]),
    )
    data.varm["mask"] = (np.arange(X.shape[1])[:, None] + np.arange(n_sets)) % 2 == 0
    data.uns["gene_sets"] = [f"S{i}" for i in range(n_sets)]
    return data


def fit(tmp_path, data, recipe, **params):
    """Check, fit and write, as a run does, with a recipe or the exact solution (``linear``)."""
    given = {"encoder": "linear"} if recipe == "linear" else {**QUICK, "recipe": recipe}
    params = registry.method_params("interpretable_ae", given | params, "params")
    interpretable_ae.check(data.n_obs, data.n_vars, data.varm["mask"].shape[1], params)
    factors = interpretable_ae.fit(data, params, 0, "cpu", Budget())
    write_factors(tmp_path / "factors.h5ad", factors, data)
    return factors


FITS = {
    "constant genes": (cells(np.c_[COUNTS, np.ones((20, 3))]), {}),
    "genes that are all constant": (cells(np.ones((20, 12))), {}),
    "cells that are all the same": (cells(np.tile(COUNTS[:1], (20, 1))), {}),
    "empty cells": (cells(np.r_[COUNTS, np.zeros((5, 12))]), {}),
    "nothing but empty cells": (cells(np.zeros((20, 12))), {}),
    "two cells": (cells(COUNTS[:2]), {}),
    "a last batch of one cell": (cells(COUNTS[:9]), {"batch_size": 4}),
    "batches of two": (cells(COUNTS[:7]), {"batch_size": 2}),
    "one gene set": (cells(COUNTS, 1), {}),
    "one gene": (cells(COUNTS[:, :1], 1), {}),
    "an empty gene set": (cells(COUNTS[:, 1:2], 2), {}),
    "more gene sets than genes": (cells(COUNTS, 40), {}),
    "more factors than genes": (cells(COUNTS), {"n_dense": 30, "n_sparse": 30}),
    "tiny values": (cells(COUNTS * 1e-30), {}),
    "one batch label": (cells(COUNTS, batch=["x"] * 20), {"covariates": ["batch"]}),
    "a constant covariate": (cells(COUNTS, age=[7.0] * 20), {"covariates": ["age"]}),
}


@RECIPE
@pytest.mark.parametrize("name", FITS)
def test_unusual_data_are_fitted(tmp_path, recipe, name):
    data, params = FITS[name]
    factors = fit(tmp_path, data, recipe, **params)
    assert (factors.status, factors.iterations) == ("ok", 4)
    assert factors.scores.shape == (data.n_obs, len(factors.table))
    assert all(np.isfinite(part).all() for part in (factors.scores, factors.loadings, factors.offset))
    constant = np.ptp(data.X.toarray(), axis=0) == 0
    np.testing.assert_allclose(factors.offset[constant], data.X.toarray()[0, constant], rtol=1e-6)
    assert read_factors(tmp_path / "factors.h5ad").n_obs == data.n_obs


@pytest.mark.parametrize("name", FITS)
def test_unusual_data_have_an_exact_solution(tmp_path, name):
    data, params = FITS[name]
    factors = fit(tmp_path, data, "linear", **{key: params[key] for key in params if key != "batch_size"})
    assert (factors.status, factors.converged) == ("ok", True)
    assert all(np.isfinite(part).all() for part in (factors.scores, factors.loadings, factors.offset))
    assert factors.model.objective(data)["objective"] == pytest.approx(factors.history[-1]["objective"], rel=1e-3)
    assert read_factors(tmp_path / "factors.h5ad").n_obs == data.n_obs


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("X", "params"), [(COUNTS * 1e25, {}), (COUNTS, {"lambda1": 1e39})], ids=["values", "penalty"])
def test_an_exact_solution_that_is_not_finite_counts_as_divergence(tmp_path, X, params):
    factors = fit(tmp_path, cells(X), "linear", **params)
    assert (factors.status, factors.converged, factors.history) == ("diverged", False, [])
    assert "not finite after 0 sweeps" in factors.reason
    assert all(np.isfinite(part).all() for part in (factors.scores, factors.loadings))


@RECIPE
@pytest.mark.parametrize(
    ("data", "params", "message"),
    [
        (cells(COUNTS[:1]), {}, "the data have 1 cell; training needs two"),
        (cells(COUNTS[:0]), {}, "the data have 0 cells"),
        (cells(COUNTS[:, :0]), {}, "no genes"),
        (cells(COUNTS, 0), {}, "no factors"),
        (cells(COUNTS), {"hidden": [10**12]}, "hidden: .* at most 100,000"),
        (cells(COUNTS), {"hidden": [8, True]}, "hidden: .* whole numbers"),
        (cells(COUNTS), {"n_dense": 10**9}, "n_dense: .* at most 10000"),
        (cells(COUNTS), {"n_sparse": 10**9}, "n_sparse: .* at most 10000"),
        (cells(COUNTS), {"epochs": 10**30}, "epochs: .* at most"),
        (cells(COUNTS), {"min_updates": 10**30}, "min_updates: .* at most"),
        (cells(COUNTS), {"batch_size": 1}, "batch_size: .* at least 2"),
        (cells(COUNTS, age=[1e200, *range(19)]), {"covariates": ["age"]}, r"obs\['age'\]: its numbers are too large"),
        (cells(COUNTS, age=[np.inf, *range(19)]), {"covariates": ["age"]}, r"obs\['age'\]: 1 cells have no"),
        (cells(np.where(COUNTS > 5, np.nan, COUNTS)), {}, "X has values that are NaN or infinite"),
    ],
)
def test_data_and_parameters_that_cannot_be_fitted_are_refused(tmp_path, recipe, data, params, message):
    with pytest.raises(UserError, match=message) as error:
        fit(tmp_path, data, recipe, **params)
    one_line(error.value)


DIVERGING = {
    "values whose squares overflow": (COUNTS * 1e25, {}),
    "a weight that overflows": (COUNTS, {"lambda0": 1e38}),
    "a penalty that overflows": (COUNTS, {"lambda1": 1e39, "init": "normal"}),
}


@RECIPE
@pytest.mark.parametrize("name", DIVERGING)
def test_an_objective_that_is_not_finite_stops_as_diverged(tmp_path, recipe, name):
    X, params = DIVERGING[name]
    factors = fit(tmp_path, cells(X), recipe, **params)
    assert (factors.status, factors.iterations, len(factors.history)) == ("diverged", 0, 1)
    assert "not finite in epoch 1" in factors.reason
    assert all(np.isfinite(part).all() for part in (factors.scores, factors.loadings))
    assert all(bool(t.isfinite().all()) for t in factors.model.network.state_dict().values())


@RECIPE
@pytest.mark.parametrize("patience", [0, 3])
@pytest.mark.parametrize("poison", ["loadings", "encoder"])
def test_the_last_finite_state_is_kept(recipe, patience, poison):
    """A weight becomes NaN in the third epoch: the weights before it are kept, bit for bit."""
    seen = []
    params = {**QUICK, "recipe": recipe, "epochs": 6, "patience": patience, "tolerance": 0.0}
    model = InterpretableAutoencoder(**params)

    def watch():
        if len(seen) == 2:
            weights = model.network.loadings if poison == "loadings" else next(model.network.encoder.parameters())
            with torch.no_grad():
                weights[0, 0] = float("nan")
        seen.append({name: tensor.clone() for name, tensor in model.network.state_dict().items()})

    model.fit(cells(COUNTS), watch=watch)
    assert (model.outcome.status, model.outcome.epochs) == ("diverged", 2)
    assert "not finite in epoch 3" in model.outcome.reason
    best = int(np.argmin(model.history["evaluated"][:2])) if patience else 1
    assert all(torch.equal(tensor, seen[best][name]) for name, tensor in model.network.state_dict().items())


@RECIPE
def test_training_has_no_batch_of_one_cell(tmp_path, recipe, monkeypatch):
    sizes = []
    forward = torch.nn.BatchNorm1d.forward

    def watched(self, values):
        if self.training:
            sizes.append(len(values))
        return forward(self, values)

    monkeypatch.setattr(torch.nn.BatchNorm1d, "forward", watched)
    fit(tmp_path, cells(COUNTS[:17]), recipe, batch_size=4, epochs=1)
    assert sorted(sizes) == [3, 3, 3, 4, 4]
