"""Truth and nulls through the workflow: random gene sets, corrupted sets, simulated data of the shape of others."""

import anndata
import numpy as np
import pytest
from factorbench.contracts.files import read_table
from factorbench.contracts.prepared import TRUE_MASK
from factorbench.contracts.truth import read_truth


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    from tests.workflow.conftest import Bench, planted_config

    bench = Bench(tmp_path_factory.mktemp("truth"))
    config = planted_config(bench.folder)
    config["datasets"] |= {
        "permuted": {"from": "planted", "permute_sets": "3-4"},
        "wrong": {"from": "planted", "corrupt": {"missing": 0.3, "added": 0.2}},
        "simulated": {
            "reader": "simulated",
            "options": {"fit_to": "planted", "n_cells": 300, "n_active": 0, "n_types": 1, "seed": "0-1"},
            "labels": {"condition": "condition"},
            "contrast": {"label": "condition", "positive": "stimulated"},
            "n_top_genes": 200,
        },
    }
    config["methods"] |= {
        "linear": {"use": "interpretable_ae", "params": {"encoder": "linear", "lambda1": 3.0}},
        "oracle": {"use": "oracle"},
    }
    known = ["permuted", "wrong", "simulated"]
    config["runs"] = [
        {"datasets": ["planted"], "methods": ["linear", "gene_set_mean"], "seeds": [0, 1]},
        {"datasets": known, "methods": ["linear", "gene_set_mean", "oracle"]},
    ]
    config["nulls"] = [
        {"datasets": ["planted"], "methods": ["linear", "gene_set_mean"], "permutations": 49},
        {"datasets": ["wrong"], "methods": ["gene_set_mean"], "permutations": 5000, "budget": 0.001},
    ]
    config["figures"] = {
        "recovery": {
            "kind": "recovery",
            "title": "What is recovered",
            "caption": "It.",
            "datasets": ["wrong"],
            "methods": ["linear", "gene_set_mean", "oracle"],
        }
    }
    config["claims"] = ""
    bench.write_config(config)
    bench.printed = bench.snakemake()
    return bench


@pytest.fixture(scope="module")
def scores(bench):
    return read_table(bench.result("tables/scores.tsv")).fillna({"label": "", "factor": ""})


def value(scores, **where):
    for column, wanted in where.items():
        scores = scores[scores[column] == wanted]
    return scores["value"].to_numpy()


def test_named_factors_are_compared_with_random_sets(bench, scores):
    about = {"dataset": "planted", "label": "condition=stimulated", "metric": "p_random_set"}
    for method in ("linear", "gene_set_mean"):
        assert value(scores, **about, method=method, factor="SET_0") == pytest.approx([0.02, 0.02])  # two seeds
        assert np.median(value(scores, **about, method=method)) > 0.1
        assert f"null   {method} on planted: 49 of 49 permutations, the smallest p is 0.02" in bench.printed
    assert "1 of 5000 permutations, the smallest p is 0.5" in bench.printed


def test_altered_sets_are_what_methods_get_and_the_true_ones_are_kept(bench):
    original = anndata.read_h5ad(bench.result("data/planted/prepared.h5ad")).varm["mask"]
    for name in ("permuted_0", "permuted_1", "wrong"):
        data = anndata.read_h5ad(bench.result(f"data/{name}/prepared.h5ad"))
        np.testing.assert_array_equal(data.varm[TRUE_MASK], original)
        factors = anndata.read_h5ad(bench.result(f"runs/{name}/linear/0/factors.h5ad"))
        np.testing.assert_array_equal(factors.varm["mask"], data.varm["mask"])
        assert (data.varm["mask"] != original).mean() > 0.05
    sizes = [
        anndata.read_h5ad(bench.result(f"data/permuted_{i}/prepared.h5ad")).varm["mask"].sum(axis=0) for i in (0, 1)
    ]
    np.testing.assert_array_equal(sizes, [original.sum(axis=0)] * 2)


def test_what_was_corrupted_is_restored_by_the_oracle_only(scores):
    for measure in ("aupr", "aupr_missing", "auroc_added"):
        assert set(value(scores, dataset="wrong", method="oracle", metric=measure)) == {1.0}
    assert set(value(scores, dataset="wrong", method="gene_set_mean", metric="auroc_added")) == {0.5}


def test_simulated_data_keep_their_truth_and_have_the_genes_of_the_others(bench, scores):
    real = anndata.read_h5ad(bench.result("data/planted/prepared.h5ad"))
    for i in (0, 1):
        data = anndata.read_h5ad(bench.result(f"data/simulated_{i}/prepared.h5ad"))
        assert set(data.var_names) <= set(real.var_names)
        programmes = read_truth(data).programmes
        sets = programmes[programmes["kind"].isin(["gene set", "decoy"])]
        assert set(sets["name"]) == set(real.uns["gene_sets"])
        found = value(scores, dataset=f"simulated_{i}", method="oracle", metric="activity_correlation")
        assert found == pytest.approx([1], abs=1e-5)  # the set of the only cell type is active in all cells
        assert (
            value(scores, dataset=f"simulated_{i}", method="gene_set_mean", metric="activity_correlation").mean() > 0.4
        )


def test_the_figure_is_drawn(bench):
    assert bench.result("figures/recovery.png").stat().st_size > 10_000
    assert "What is recovered" in bench.result("report.html").read_text(encoding="utf-8")
