"""The contract of every registered method, metric, reader and figure. A new file is tested without an entry here."""

import subprocess
import sys

import numpy as np
import pytest
from factorbench import registry
from factorbench.contracts.budget import Budget
from factorbench.contracts.errors import ContractError
from factorbench.contracts.factors import no_factors, read_factors, write_factors
from factorbench.contracts.prepared import prepared_record
from factorbench.contracts.scores import METRIC_COLUMNS, check_scores
from threadpoolctl import threadpool_limits

from tests.planted import ROOT, planted, scored

SPECS = {
    "method": registry.MethodSpec,
    "metric": registry.MetricSpec,
    "reader": registry.Spec,
    "figure": registry.FigureSpec,
}
HEAVY = {"torch", "scanpy", "slalom", "sklearn", "anndata", "matplotlib", "seaborn", "scipy", "pooch", "requests"}
QUICK = {"epochs": 3, "batch_size": 32, "n_factors": 5, "max_iterations": 20}
"""Parameters that make any method quick, if it has them."""


def quick(method):
    known = registry.load("method", method).SPEC.params
    return registry.method_params(method, {key: value for key, value in QUICK.items() if key in known}, "params")


def fit(method, data=None, budget=None):
    with threadpool_limits(1):
        return registry.load("method", method).fit(
            planted() if data is None else data, quick(method), 0, "cpu", budget or Budget()
        )


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Every method, fitted once to planted data and written: name -> (data, Factors, factors.h5ad)."""
    results = {}
    for method in registry.names("method"):
        data = planted()
        factors = fit(method, data)
        path = tmp_path_factory.mktemp(method) / "factors.h5ad"
        write_factors(path, factors, data)
        results[method] = (data, factors, read_factors(path))
    return results


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in registry.PARTS for name in registry.names(kind)])
def test_a_spec_is_complete(kind, name):
    spec = registry.load(kind, name).SPEC
    assert isinstance(spec, SPECS[kind])
    assert spec.title
    for key, param in spec.params.items():
        assert param.doc, f"{key} is not documented"
        if param.default is not registry.REQUIRED:
            assert param.check(key, param.default) == param.default
        assert param.refers_to in ("", *(["datasets", "methods", "labels", "claims"] if kind == "figure" else []))
    if kind == "method":
        assert spec.needs in ("lognorm", "counts")
        assert spec.gpu in ("none", "optional", "required")
    if kind == "metric":
        assert spec.measures
        assert all(low < high and better in ("up", "down", "") for low, high, better in spec.measures.values())
        assert spec.over in ("run", "seeds")
        assert not (spec.held_out and spec.over == "seeds"), "nothing calls such a metric"
    if kind == "figure":
        assert spec.tables
        assert spec.reading


@pytest.mark.parametrize("kind", registry.PARTS)
def test_planning_imports_nothing_heavy(kind):
    text = "import sys; from factorbench import registry; from factorbench.config import plan, resolve\n"
    text += f"assert [registry.load({kind!r}, name) for name in registry.names({kind!r})]\n"
    text += "[registry.method_params(name, {}, '') for name in registry.names('method')]\n" * (kind == "method")
    text += f"print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", text],
        cwd=ROOT / "workflow/scripts",
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
    )
    assert done.stdout.split() == []


# ----------------------------------------------------------------------------------------------------------- methods


@pytest.mark.parametrize("method", registry.names("method"))
def test_the_params_of_a_method_are_complete_and_completing_them_again_changes_nothing(method):
    params = quick(method)
    assert set(params) == set(registry.load("method", method).SPEC.params)
    assert params.items() >= {key: value for key, value in QUICK.items() if key in params}.items()
    assert registry.method_params(method, params, "params") == params


@pytest.mark.parametrize("method", registry.names("method"))
def test_a_method_keeps_the_contract(fitted, method):
    data, factors, _ = fitted[method]
    assert factors.status in ("ok", "max_iterations")
    assert len(factors.table) > 0
    annotated = factors.table["kind"] == "annotated"
    if annotated.any():
        assert list(factors.table.loc[annotated, "name"]) == list(data.uns["gene_sets"])
        sizes = factors.mask[:, annotated.to_numpy()].sum(axis=0)
        assert sizes.tolist() == np.asarray(data.varm["mask"]).sum(axis=0).tolist()
    assert not factors.mask[:, ~annotated.to_numpy()].any()


@pytest.mark.parametrize("method", registry.names("method"))
def test_a_method_does_not_change_its_data(fitted, method):
    data, fresh = fitted[method][0], planted()
    assert (data.X != fresh.X).nnz == 0
    assert (data.layers["counts"] != fresh.layers["counts"]).nnz == 0
    assert np.array_equal(data.varm["mask"], fresh.varm["mask"])
    assert data.obs.equals(fresh.obs)
    assert prepared_record(data) == prepared_record(fresh)


@pytest.mark.parametrize("method", registry.names("method"))
def test_the_same_seed_gives_the_same_result(fitted, method):
    again = fit(method)
    assert np.array_equal(again.scores, fitted[method][1].scores)
    assert np.array_equal(again.loadings, fitted[method][1].loadings)


@pytest.mark.parametrize("method", registry.names("method"))
def test_an_exhausted_budget_gives_a_valid_result(tmp_path, method):
    factors = fit(method, budget=Budget(0.0))
    write_factors(tmp_path / "f.h5ad", factors, planted())
    assert factors.status == ("ok" if factors.iterations is None else "budget")
    assert factors.status == "ok" or factors.reason


@pytest.mark.parametrize("method", registry.names("method"))
def test_gene_sets_may_have_the_names_of_other_factors(tmp_path, method):
    """Gene sets called sparse_1 or PC1: the factor of this name that is not annotated gets another name."""
    more = {key: 1 for key in ("n_sparse", "n_dense") if key in registry.load("method", method).SPEC.params}
    params = registry.method_params(method, quick(method) | more, "params")

    def fitted_to(data):
        with threadpool_limits(1):
            return registry.load("method", method).fit(data, params, 0, "cpu", Budget())

    table = fitted_to(planted()).table
    clash = list(table.loc[table["kind"] != "annotated", "name"])[:4]
    assert len(clash) >= len(more)
    data = planted()
    data.uns["gene_sets"] = [*clash, *data.uns["gene_sets"][len(clash) :]]
    write_factors(tmp_path / "f.h5ad", fitted_to(data), data)
    written = read_factors(tmp_path / "f.h5ad").uns["factors"]
    assert list(written["kind"]) == list(table["kind"])
    annotated = written["kind"] == "annotated"
    assert list(written.loc[annotated, "name"]) == (list(data.uns["gene_sets"]) if annotated.any() else [])
    assert list(written.loc[~annotated, "name"])[: len(clash)] == [f"{name}_" for name in clash]


@pytest.mark.parametrize("method", registry.names("method"))
def test_new_cells_that_equal_old_cells_get_the_same_scores(fitted, method):
    data, factors, _ = fitted[method]
    if not registry.load("method", method).SPEC.projects:
        assert factors.project is None
        return
    np.testing.assert_allclose(factors.project(data), factors.scores, rtol=1e-4, atol=1e-5)
    few = data[[5, 3, 17]]
    np.testing.assert_allclose(factors.project(few), factors.scores[[5, 3, 17]], rtol=1e-4, atol=1e-5)


# ----------------------------------------------------------------------------------------------------------- metrics


@pytest.mark.parametrize("metric", registry.names("metric"))
@pytest.mark.parametrize("method", registry.names("method"))
def test_every_metric_scores_every_method(fitted, metric, method):
    _, result, factors = fitted[method]
    spec = registry.load("metric", metric).SPEC
    table = scored(metric, planted(held_out=spec.held_out, donors=True), factors)
    check_scores(table, METRIC_COLUMNS)
    # Metrics over seeds and of gene sets look at annotated factors only.
    assert len(table) or ((spec.over == "seeds" or metric == "in_set") and "annotated" not in set(result.table["kind"]))
    assert set(table["metric"]) <= set(spec.measures)
    assert not table.duplicated(["metric", "factor", "label", "split"]).any()
    for measure, (low, high, _) in spec.measures.items():
        values = table.loc[table["metric"] == measure, "value"].dropna()
        assert values.between(low, high).all(), measure


@pytest.mark.parametrize("metric", registry.names("metric"))
@pytest.mark.parametrize("held_out", [False, True])
def test_every_metric_scores_a_run_without_factors(tmp_path, metric, held_out):
    data = planted(held_out=held_out, donors=True)
    write_factors(tmp_path / "f.h5ad", no_factors(data.n_obs, data.n_vars, "timeout", "late"), data)
    table = scored(metric, data, read_factors(tmp_path / "f.h5ad"))
    check_scores(table, METRIC_COLUMNS)
    assert not table["factor"].astype(bool).any()


@pytest.mark.parametrize("metric", registry.names("metric"))
def test_every_metric_rejects_factors_of_other_cells(fitted, metric):
    with pytest.raises(ContractError, match="same cells"):
        scored(metric, planted(held_out=True)[::-1].copy(), fitted["gene_set_mean"][2])
