"""f-scLVM: slalom gives its original numbers with new libraries; its results, budget and seeds are handled rightly."""

import contextlib
import importlib.util
import io
import json
import subprocess
import sys

import anndata
import numpy as np
import pandas as pd
import pytest
from factorbench import registry
from factorbench.contracts.budget import Budget
from factorbench.contracts.errors import UserError
from factorbench.contracts.factors import read_factors, write_factors
from factorbench.contracts.prepared import check_prepared
from factorbench.methods import _slalom, fsclvm, fsclvm_reassociated
from scipy import sparse
from threadpoolctl import threadpool_limits

from tests.planted import ROOT
from tests.unit.ae_data import BudgetOfChecks

DATA = ROOT / "tests/data"

REFERENCE = json.loads((DATA / "slalom_reference.json").read_text(encoding="utf-8"))
"""Numbers from the original environment: Python 3.7, numpy 1.19, scipy 1.5, scikit-learn 0.19."""


def prepared(expression, mask, names=None):
    n_cells, n_genes = expression.shape
    data = anndata.AnnData(
        sparse.csr_matrix(np.asarray(expression, np.float32)),
        obs=pd.DataFrame({"condition": pd.Categorical(["a"] * n_cells)}, index=[f"cell{n}" for n in range(n_cells)]),
        var=pd.DataFrame(index=[f"gene{g}" for g in range(n_genes)]),
        varm={"mask": np.asarray(mask, bool)},
        uns={
            "gene_sets": np.array(names or [f"SET{k}" for k in range(mask.shape[1])]),
            "factorbench": json.dumps({"dataset": "d", "labels": ["condition"], "contrast": {}, "inputs": {}}),
        },
    )
    check_prepared(data)
    return data


@pytest.fixture
def data():
    return prepared(np.array(REFERENCE["hundredths"]) / 100, np.array(REFERENCE["mask"]))


@pytest.fixture(autouse=True)
def as_in_a_run(monkeypatch):
    """One thread and no progress bar."""
    monkeypatch.setenv("FACTORBENCH_PROGRESS", "off")
    with threadpool_limits(fsclvm.SPEC.threads):
        yield


def fit(data, seed=0, budget=None, **params):
    return fsclvm.fit(data, registry.resolve(fsclvm.SPEC, params, "params"), seed, "cpu", budget or Budget())


def same(one, other):
    """Return whether two results are equal bit for bit."""
    return (
        np.array_equal(one.scores, other.scores)
        and np.array_equal(one.loadings, other.loadings)
        and list(one.table["active"]) == list(other.table["active"])
        and np.array_equal(one.table["native_relevance"], other.table["native_relevance"])
    )


# --------------------------------------------------------------------------------------------------- import of slalom


@pytest.fixture(scope="module")
def reference_script():
    spec = importlib.util.spec_from_file_location("make_slalom_reference", DATA / "make_slalom_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("expected", REFERENCE["runs"], ids=["annotated", "all_kinds"])
def test_slalom_gives_the_numbers_of_its_original_environment(expected, reference_script):
    expression, mask = np.array(REFERENCE["hundredths"]), np.array(REFERENCE["mask"]) > 0
    with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
        results = reference_script.run(_slalom.slalom, expression, mask, expected["n_dense"], expected["n_sparse"])
    assert REFERENCE["versions"]["python"].startswith("3.7.")
    assert results["terms"] == expected["terms"]
    assert results["on"] == expected["on"]
    for name in ("scores", "weights", "inclusion", "relevance"):
        np.testing.assert_allclose(results[name], expected[name], atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_importing_slalom_changes_no_other_module():
    """In a process of its own: slalom alone cannot be imported, `load` imports it, and all else is as before."""
    code = """
import sys, warnings
import matplotlib, numpy, scipy, sklearn.decomposition
import scipy.stats
warnings.simplefilter("ignore")
try:
    import slalom
except (ImportError, AttributeError):
    pass
else:
    raise SystemExit("slalom can be imported without help")
backend = dict.__getitem__(matplotlib.rcParams, "backend")
state = numpy.random.get_state()[1].tolist()
names = set(dir(scipy))
from factorbench.methods import _slalom
slalom = _slalom.slalom
import scipy as again
assert again is scipy and sys.modules["scipy"] is scipy
assert not hasattr(scipy, "array") and not hasattr(scipy, "randn")
assert "__path__" in vars(scipy) and type(scipy).__name__ == "module"
assert not hasattr(sklearn.decomposition, "RandomizedPCA")
assert numpy.random.get_state()[1].tolist() == state
assert dict.__getitem__(matplotlib.rcParams, "backend") == backend
added = {name for name in set(dir(scipy)) - names if type(getattr(scipy, name)).__name__ != "module"}
assert not added, added
assert slalom.core.SP.array is numpy.array and slalom.core.SP.special is scipy.special
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT / "workflow/scripts",
        env={"PATH": "", "OMP_NUM_THREADS": "1"},
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr


# ------------------------------------------------------------------------------------------------------------ results


@pytest.mark.parametrize("expected", REFERENCE["runs"], ids=["annotated", "all_kinds"])
def test_results_are_those_of_slalom_in_our_order(expected, data):
    """The tolerance is for prepared data, which are float32; this example turns 1e-7 into 1e-6."""
    n_dense, n_sparse, seed = expected["n_dense"], expected["n_sparse"], REFERENCE["seed"]
    factors = fit(data, seed, n_dense=n_dense, n_sparse=n_sparse, max_iterations=REFERENCE["iterations"])
    n_hidden = n_dense + n_sparse
    n_sets = data.varm["mask"].shape[1]
    # slalom: dense, sparse, annotated
    order = [*range(n_hidden, n_hidden + n_sets), *range(n_dense, n_hidden), *range(n_dense)]
    on = np.array(expected["on"])[order] == 1
    np.testing.assert_allclose(factors.scores, np.array(expected["scores"])[:, order], atol=1e-4)
    weights, inclusion = (np.array(expected[name])[:, order] for name in ("weights", "inclusion"))
    np.testing.assert_allclose(factors.loadings, weights * inclusion * on, atol=1e-4)
    np.testing.assert_allclose(factors.table["native_relevance"], np.array(expected["relevance"])[order], atol=1e-4)
    assert list(factors.table["active"]) == list(on)
    assert on.all() == (n_hidden == 0), "the example must cover factors that are on and that are off"
    assert list(factors.table["kind"]) == ["annotated"] * n_sets + ["sparse"] * n_sparse + ["dense"] * n_dense
    hidden = [*(f"sparse_{k + 1}" for k in range(n_sparse)), *(f"dense_{k + 1}" for k in range(n_dense))]
    assert list(factors.table["name"]) == [*data.uns["gene_sets"], *hidden]
    np.testing.assert_array_equal(factors.mask[:, :n_sets], data.varm["mask"])
    assert not factors.mask[:, n_sets:].any()
    assert factors.iterations == REFERENCE["iterations"]


def test_result_keeps_the_contract_and_data_do_not_change(data, tmp_path):
    before = data.copy()
    factors = fit(data, n_dense=2, n_sparse=1, max_iterations=30)
    np.testing.assert_array_equal(data.X.toarray(), before.X.toarray())
    np.testing.assert_array_equal(data.varm["mask"], before.varm["mask"])
    assert not factors.table["active"].all()
    write_factors(tmp_path / "factors.h5ad", factors, data)
    read = read_factors(tmp_path / "factors.h5ad")
    assert not read.varm["loadings"][:, ~factors.table["active"].to_numpy()].any()


def test_residual_follows_from_scores_loadings_and_offset(data):
    factors = fit(data, max_iterations=101)
    assert [h["iteration"] for h in factors.history] == [1, 101]
    assert factors.table["active"].all()
    residual = np.abs(data.X.toarray().astype(float) - (factors.scores @ factors.loadings.T + factors.offset)).mean()
    assert factors.history[-1]["residual"] == pytest.approx(residual, rel=1e-10)
    assert factors.history[-1]["residual"] < factors.history[0]["residual"]


def test_planted_sets_are_recovered_and_the_others_switched_off():
    random = np.random.default_rng(1)
    mask = np.kron(np.eye(4, dtype=bool), np.ones((10, 1), bool))
    truth = random.normal(size=(80, 2))
    expression = 3 + truth @ mask[:, :2].T.astype(float) + random.normal(0, 0.3, (80, 40))
    factors = fit(prepared(expression, mask), max_iterations=200)
    assert list(factors.table["active"]) == [True, True, False, False]
    assert not factors.loadings[:, 2:].any()
    for k in range(2):
        assert abs(np.corrcoef(truth[:, k], factors.scores[:, k])[0, 1]) > 0.98
        inside = np.abs(factors.loadings[mask[:, k], k])
        assert inside.min() > 5 * np.abs(factors.loadings[~mask[:, k], k]).max()


def test_names_of_gene_sets_have_no_meaning_for_slalom(data):
    special = ["hidden0 set", "hiddenSparse1", "bias", "covariate0", "hidden_parse3"]
    renamed = prepared(data.X.toarray(), data.varm["mask"], special)
    factors = fit(renamed, n_dense=1, max_iterations=15)
    assert same(factors, fit(data, n_dense=1, max_iterations=15))
    assert list(factors.table["name"]) == [*special, "dense_1"]
    assert list(factors.table["kind"]) == ["annotated"] * 5 + ["dense"]


def test_a_gene_in_no_set_has_no_loadings_and_changes_nothing(data):
    expression = np.insert(data.X.toarray(), 3, 7.0 + np.arange(data.n_obs), axis=1)
    more = prepared(expression, np.insert(data.varm["mask"], 3, False, axis=0))
    factors, without = fit(more, max_iterations=15), fit(data, max_iterations=15)
    assert not factors.loadings[3].any()
    np.testing.assert_array_equal(np.delete(factors.loadings, 3, axis=0), without.loadings)
    np.testing.assert_array_equal(factors.scores, without.scores)
    np.testing.assert_allclose(factors.offset, expression.mean(axis=0), rtol=1e-6)


# ------------------------------------------------------------------------------------------------- how a run can end


@pytest.mark.parametrize("updates", [1, 37])
def test_a_spent_budget_gives_a_shorter_uninterrupted_run_bit_for_bit(updates, data):
    factors = fit(data, seed=5, budget=BudgetOfChecks(updates), n_dense=2, n_sparse=1)
    with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
        mask = data.varm["mask"].astype(float)
        terms = np.array([f"set{k}" for k in range(mask.shape[1])])
        params = {"nHidden": 2, "nHiddenSparse": 1, "minGenes": 0, "do_preTrain": False}
        with _slalom.seeded(5):
            model = _slalom.slalom.initFA(data.X.toarray().astype(float), terms, mask, **params)
        with _slalom.seeded(5):
            model.train(nIterations=updates)
    order = [3, 4, 5, 6, 7, 2, 0, 1]
    np.testing.assert_array_equal(factors.scores, model.getX()[:, order])
    np.testing.assert_array_equal(factors.loadings, (model.getW() * model.getZ() * (model.doUpdate == 1))[:, order])
    assert (factors.status, factors.converged, factors.iterations) == ("budget", False, updates)
    assert f"after {updates} iterations" in factors.reason


def test_a_budget_that_is_spent_at_once_keeps_the_start(data):
    factors = fit(data, budget=Budget(1e-9))
    assert (factors.status, factors.converged, factors.iterations) == ("budget", False, 0)
    assert np.isfinite(factors.scores).all()
    assert np.isfinite(factors.loadings).all()
    assert "budget of 1e-09 s" in factors.reason


@pytest.mark.slow
def test_convergence_and_max_iterations_are_told_apart(data):
    converged = fit(data, tolerance=1e-3)
    assert (converged.status, converged.converged) == ("ok", True)
    assert 700 < converged.iterations < fsclvm.SPEC.params["max_iterations"].default
    assert f"after {converged.iterations} iterations" in converged.reason
    change = abs(converged.history[-1]["residual"] - converged.history[-2]["residual"])
    assert change < 1e-3

    exactly = fit(data, tolerance=1e-3, max_iterations=converged.iterations)
    assert (exactly.status, exactly.converged) == ("ok", True)

    short = fit(data, tolerance=1e-3, max_iterations=converged.iterations - 1)
    assert (short.status, short.converged, short.iterations) == ("max_iterations", False, converged.iterations - 1)
    assert "max_iterations" in short.reason

    strict = fit(data, tolerance=0.0, max_iterations=converged.iterations + 50)
    assert (strict.status, strict.converged) == ("max_iterations", False)


def test_values_that_are_not_finite_end_the_run_as_diverged(data, monkeypatch, tmp_path):
    core = sys.modules["slalom.core"].CSparseFA
    update = core.updateEps

    def broken(model):
        update(model)
        if model.iterationCount == 150:
            model.Eps.E1[:] = np.nan

    monkeypatch.setattr(core, "updateEps", broken)
    factors = fit(data)
    assert (factors.status, factors.converged) == ("diverged", False)
    assert factors.iterations < 300, "it went on after values were not finite"
    write_factors(tmp_path / "factors.h5ad", factors, data)


# ------------------------------------------------------------------------------------------------ fsclvm_reassociated


ITERATIONS = 300


def many_sets(n_cells=90, n_genes=150, n_sets=42):
    """Return data with many overlapping sets, so that an error would show; half of the sets vary in the cells."""
    random = np.random.default_rng(2)
    mask = random.random((n_genes, n_sets)) < 0.1
    mask[~mask.any(axis=1), 0] = True
    scores = random.normal(size=(n_cells, n_sets)) * (np.arange(n_sets) % 2)
    weights = mask * random.normal(1, 0.3, mask.shape)
    return prepared(4 + scores @ weights.T + random.normal(0, 0.5, (n_cells, n_genes)), mask)


@pytest.fixture
def trained(monkeypatch):
    """All models that are trained, in order."""
    models, train = [], fsclvm.train

    def remember(model, *more):
        models.append(model)
        return train(model, *more)

    monkeypatch.setattr(fsclvm, "train", remember)
    return models


@pytest.fixture
def products(monkeypatch):
    """Shapes of all matrix products that slalom evaluates."""
    core = sys.modules["slalom.core"]
    shapes = []

    class Recording:
        def __getattr__(self, name, scipy=core.SP):
            return getattr(scipy, name)

        def dot(self, left, right):
            product = np.dot(left, right)
            shapes.append(product.shape)
            return product

    monkeypatch.setattr(core, "SP", Recording())
    return shapes


@pytest.mark.slow
def test_reassociated_equals_the_original_after_300_iterations(trained):
    data = many_sets()
    for method in (fsclvm, fsclvm_reassociated):
        params = registry.resolve(method.SPEC, {"max_iterations": ITERATIONS, "n_dense": 1}, "params")
        factors = method.fit(data, params, 0, "cpu", Budget())
        assert (factors.status, factors.iterations) == ("max_iterations", ITERATIONS)
    original, modified = trained
    assert original.doUpdate.sum() < len(original.doUpdate), "the example must cover factors that are off"
    np.testing.assert_array_equal(modified.doUpdate, original.doUpdate)
    values = {
        "X": (original.getX(), modified.getX()),
        "W": (original.getW(), modified.getW()),
        "Z": (original.getZ(), modified.getZ()),
        "alpha": (original.Alpha.E1, modified.Alpha.E1),
    }
    for name, (expected, value) in values.items():
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-9 * np.abs(expected).max(), err_msg=name)
    assert not np.array_equal(original.getX(), modified.getX()), "nothing was re-associated"


def test_reassociated_evaluates_no_product_of_all_cells_and_genes(data, products):
    n_factors, iterations = data.varm["mask"].shape[1], 4
    params = registry.resolve(fsclvm.SPEC, {"max_iterations": iterations}, "params")
    fsclvm.fit(data, params, 0, "cpu", Budget())
    assert products.count(data.shape) == n_factors * iterations
    n_products = len(products)
    products.clear()
    fsclvm_reassociated.fit(data, params, 0, "cpu", Budget())
    assert products.count(data.shape) == 0
    assert len(products) == n_products, "another product was changed"


def test_other_models_stay_unchanged_while_and_after_a_model_is_reassociated(data, trained):
    params = registry.resolve(fsclvm.SPEC, {"max_iterations": 12}, "params")
    core = sys.modules["slalom.core"]
    expected, before = fit(data, max_iterations=12), dict(vars(core))
    between = []

    class FitsTheOriginalBetween(BudgetOfChecks):
        def spent(self):
            if self.left == 3:
                between.append(fsclvm.fit(data, params, 0, "cpu", Budget()))
            if self.left == 1:
                raise ArithmeticError("injected")
            return super().spent()

    with pytest.raises(ArithmeticError, match="injected"):
        fsclvm_reassociated.fit(data, params, 0, "cpu", FitsTheOriginalBetween(9))
    assert vars(core) == before
    for factors in (*between, fit(data, max_iterations=12)):
        assert same(factors, expected)
    assert len(between) == 1
    assert ["updateS" in vars(model) for model in trained] == [False, True, False, False]


def test_reassociated_with_a_spent_budget_equals_its_uninterrupted_run(data):
    params = registry.resolve(fsclvm.SPEC, {"max_iterations": 9}, "params")
    factors = fsclvm_reassociated.fit(data, params, 3, "cpu", Budget())
    stopped = fsclvm_reassociated.fit(data, params | {"max_iterations": 50}, 3, "cpu", BudgetOfChecks(9))
    assert (stopped.status, stopped.iterations) == ("budget", 9)
    assert same(stopped, factors)


def test_reassociated_is_described_as_a_modified_fsclvm():
    spec = fsclvm_reassociated.SPEC
    assert "modified" in spec.title
    assert (spec.params, spec.packages, spec.same_model_as) == (fsclvm.SPEC.params, ("slalom",), "fsclvm")
    assert spec.differs_by


# ------------------------------------------------------------------------------------------------------------- seeds


def test_seeds_vary_the_run_and_repeat_it(data):
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    factors = fit(data, seed=1, max_iterations=40)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    with _slalom.seeded(99):
        assert same(fit(data, seed=1, max_iterations=40), factors)
    other = fit(data, seed=2, max_iterations=40)
    assert not np.array_equal(other.scores, factors.scores)


def test_seeds_choose_the_genes_that_sparse_factors_start_from(data):
    one, other = (fit(data, seed=seed, n_sparse=1, max_iterations=1).loadings[:, 5] for seed in (1, 2))
    assert set(np.flatnonzero(np.abs(one) > 0.1)) != set(np.flatnonzero(np.abs(other) > 0.1))


# ------------------------------------------------------------------------------------------------------------- checks


def test_check_refuses_too_few_genes_and_too_little_memory():
    params = registry.resolve(fsclvm.SPEC, {"n_sparse": 1}, "params")
    fsclvm.check(100, 20, 5, params)
    with pytest.raises(UserError, match=r"params\.n_sparse needs 20 genes, .* 19"):
        fsclvm.check(100, 19, 5, params)
    with pytest.raises(UserError, match=r"GiB of memory.*n_cells"):
        fsclvm.check(10_000_000, 1000, 1000, params)


@pytest.mark.parametrize(
    ("params", "key"),
    [({"n_dense": -1}, "n_dense"), ({"n_dense": 1.5}, "n_dense"), ({"max_iterations": 0}, "max_iterations")],
)
def test_bad_parameters_are_refused(params, key):
    with pytest.raises(UserError, match=key):
        registry.resolve(fsclvm.SPEC, params, "methods.fsclvm.params")
