"""What every registered method, metric and reader promises; a new file is tested by being there."""

import ast
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from factorbench import registry
from factorbench.contracts.budget import Budget
from factorbench.contracts.factors import no_factors, read_factors, write_factors
from factorbench.contracts.prepared import prepared_record, write_prepared
from factorbench.contracts.scores import METRIC_COLUMNS, check_scores

from tests.planted import ROOT, planted, scored

HEAVY = {"torch", "scanpy", "slalom", "sklearn", "anndata", "matplotlib", "seaborn", "scipy", "pooch", "requests"}
QUICK = {"epochs": 3, "batch_size": 32, "n_factors": 5, "max_iterations": 20}
"""Settings that make any method quick, where it has them."""


def quick(method):
    spec = registry.load("method", method).SPEC
    return registry.resolve(spec, {k: v for k, v in QUICK.items() if k in spec.params}, "params")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Every method, fitted once on planted data and written: name -> (data, Factors, factors.h5ad)."""
    results = {}
    for method in registry.names("method"):
        data = planted()
        factors = registry.load("method", method).fit(data, quick(method), 0, "cpu", Budget())
        path = tmp_path_factory.mktemp(method) / "factors.h5ad"
        write_factors(path, factors, data)
        results[method] = (data, factors, read_factors(path))
    return results


@pytest.mark.parametrize("kind", registry.PARTS)
def test_specs_are_complete(kind):
    assert registry.names(kind)
    for name in registry.names(kind):
        spec = registry.load(kind, name).SPEC
        assert spec.title
        for key, param in spec.params.items():
            assert param.doc, f"{name}.{key} is not documented"
            assert param.check(key, param.default) == param.default
        if kind == "method":
            assert spec.needs in ("lognorm", "counts")
            assert spec.gpu in ("none", "optional", "required")
        if kind == "metric":
            assert spec.over in ("run", "seeds")
            assert not (spec.held_out and spec.over == "seeds"), "nothing calls such a metric"


def test_planning_imports_nothing_heavy():
    text = "import sys; from factorbench import registry, config\n"
    text += "[registry.load(k, n) for k in registry.PARTS for n in registry.names(k)]\n"
    text += f"print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=ROOT / "workflow/scripts", capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_scoring_imports_what_it_needs_and_no_more(tmp_path):
    """A run is scored in about a second, of which imports must not be most."""
    data = planted(held_out=True, donors=True)
    write_prepared(tmp_path / "prepared.h5ad", data)
    found = registry.load("method", "gene_set_mean").fit(data, {}, 0, "cpu", Budget())
    write_factors(tmp_path / "factors.h5ad", found, data)
    text = "import sys; from factorbench import compare, contracts, registry, score; from tests.planted import scored\n"
    text += "data = contracts.read_prepared(sys.argv[1]); factors = contracts.read_factors(sys.argv[2])\n"
    text += "tables = [scored(n, data, factors) for n in registry.names('metric')]\n"
    text += "right = compare.right_cells(data, factors); assert all(map(len, tables)) and len(right.columns)\n"
    text += f"print(*sorted({HEAVY | {'scipy.stats'}!r} & set(sys.modules)))"
    command = [sys.executable, "-c", text, str(tmp_path / "prepared.h5ad"), str(tmp_path / "factors.h5ad")]
    paths = {"PYTHONPATH": f"{ROOT / 'workflow/scripts'}:{ROOT}"}
    done = subprocess.run(command, env=os.environ | paths, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["anndata", "scipy"]


LAYERS = [
    "contracts registry clock schema locks lifeline shortage archives words",
    "model genesets labels tables pins variable_genes",
    "scaling",
    "methods metrics plots readers symbols evidence sources",
    "run fetch prepare describe compare score claims findings figures",
    "config report summary provenance",
    "verify",
]


def test_imports_run_one_way():
    """scripts -> run, fetch, prepare -> methods, metrics, plots, readers -> model, genesets -> contracts."""
    level = {name: i for i, names in enumerate(LAYERS) for name in names.split()}
    package = ROOT / "workflow/scripts/factorbench"
    wrong = []
    for path in package.rglob("*.py"):
        place = path.relative_to(package).with_suffix("").parts
        if place[0] not in level:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or not node.level:
                continue
            base = place[: len(place) - node.level]
            targets = (
                [(*base, *(node.module or "").split("."))] if node.module else [(*base, a.name) for a in node.names]
            )
            for target in targets:
                target = next((part for part in target if part), "")
                same = target == place[0]
                if target not in level or same:
                    continue
                mine, other = level[place[0]], level[target]
                if other > mine or other == mine > 0:
                    wrong.append(f"{'/'.join(place)} imports {target}")
    assert not wrong


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
def test_a_method_leaves_its_data_alone(fitted, method):
    data, fresh = fitted[method][0], planted()
    assert (data.X != fresh.X).nnz == 0
    assert np.array_equal(data.varm["mask"], fresh.varm["mask"])
    assert data.obs.equals(fresh.obs)


@pytest.mark.parametrize("method", registry.names("method"))
def test_the_same_seed_gives_the_same_result(fitted, method):
    again = registry.load("method", method).fit(planted(), quick(method), 0, "cpu", Budget())
    assert np.array_equal(again.scores, fitted[method][1].scores)
    assert np.array_equal(again.loadings, fitted[method][1].loadings)


@pytest.mark.parametrize("method", registry.names("method"))
def test_a_spent_budget_leaves_a_valid_result(tmp_path, method):
    data = planted()
    factors = registry.load("method", method).fit(data, quick(method), 0, "cpu", Budget(0.0))
    write_factors(tmp_path / "f.h5ad", factors, data)
    assert factors.status == ("ok" if factors.iterations is None else "budget")
    assert factors.status == "ok" or factors.reason


@pytest.mark.parametrize("method", registry.names("method"))
def test_scores_of_new_cells_are_those_of_the_fit(fitted, method):
    data, factors, _ = fitted[method]
    if not registry.load("method", method).SPEC.projects:
        assert factors.project is None
        return
    np.testing.assert_allclose(factors.project(data), factors.scores, rtol=1e-4, atol=1e-5)
    few = data[[5, 3, 17]]
    np.testing.assert_allclose(factors.project(few), factors.scores[[5, 3, 17]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("metric", registry.names("metric"))
@pytest.mark.parametrize("method", registry.names("method"))
def test_every_metric_reads_every_method(fitted, metric, method):
    _, found, factors = fitted[method]
    spec = registry.load("metric", metric).SPEC
    table = scored(metric, planted(held_out=spec.held_out, donors=True), factors)
    check_scores(table, METRIC_COLUMNS)
    # Over seeds only annotated factors are known to be the same.
    assert len(table) or (spec.over == "seeds" and "annotated" not in set(found.table["kind"]))
    assert set(table["metric"]) <= set(spec.measures)
    for measure, (low, high, _) in spec.measures.items():
        values = table.loc[table["metric"] == measure, "value"].dropna()
        assert values.between(low, high).all(), measure


@pytest.mark.parametrize("metric", registry.names("metric"))
@pytest.mark.parametrize("held_out", [False, True])
def test_every_metric_reads_a_run_without_factors(tmp_path, metric, held_out):
    data = planted(held_out=held_out, donors=True)
    write_factors(tmp_path / "f.h5ad", no_factors(data.n_obs, data.n_vars, "timeout", "late"), data)
    table = scored(metric, data, read_factors(tmp_path / "f.h5ad"))
    check_scores(table, METRIC_COLUMNS)
    assert not table["factor"].astype(bool).any()


def test_records_of_prepared_data_are_json():
    assert json.loads(planted().uns["factorbench"]) == prepared_record(planted())
