"""Small prepared data, factors, runs and scores with known answers, for tests of metrics, tables, figures, report."""

import json

import anndata
import numpy as np
import pandas as pd
from factorbench.contracts.factors import Factors, read_factors, write_factors
from factorbench.contracts.prepared import check_prepared
from factorbench.contracts.run import check_run
from factorbench.contracts.scores import SCORE_COLUMNS, check_scores
from scipy import sparse


def prepared(n_cells=120, n_genes=12, seed=0, contrast=True, labels=None):
    """Return prepared data with two conditions, three cell types and three gene sets (A, B, C)."""
    rng = np.random.default_rng(seed)
    values = np.where(rng.random((n_cells, n_genes)) < 0.6, rng.gamma(2, 0.5, (n_cells, n_genes)), 0)
    labels = labels or {
        "condition": np.where(rng.random(n_cells) < 0.4, "stimulated", "control"),
        "cell_type": rng.choice(["B cells", "T cells", "NK"], n_cells, p=[0.5, 0.3, 0.2]),
    }
    obs = pd.DataFrame({k: pd.Categorical(v) for k, v in labels.items()}, index=[f"c{i}" for i in range(n_cells)])
    data = anndata.AnnData(sparse.csr_matrix(values.astype(np.float32)), obs=obs)
    data.var_names = [f"G{i}" for i in range(n_genes)]
    data.varm["mask"] = np.arange(n_genes)[:, None] % 3 == np.arange(3)
    data.uns["gene_sets"] = ["A", "B", "C"]
    data.uns["factorbench"] = json.dumps(
        {
            "dataset": "toy",
            "labels": {label: label for label in labels},
            "contrast": {"label": "condition", "positive": "stimulated", "negative": "control"} if contrast else None,
            "inputs": {},
            "hold_out": None,
            "cells": {"raw": n_cells + 5, "with counts": n_cells},
            "genes": {"raw": 40, "in a kept gene set": n_genes},
            "sets": {"in the collection": 9, "kept": 3, "dropped": {"D": 1}},
            "zeroed": {"by": "condition", "n": 4, "n_in_gene_sets": 1, "genes": ["X1", "X2", "X3", "X4"]},
        }
    )
    check_prepared(data)
    return data


def written(factors, data, path):
    """Write factors and read them back, as a metric gets them."""
    write_factors(path, factors, data)
    return read_factors(path)


def factors(data, seed=0, off=(), offset=True):
    """Return factors: A follows the condition, B the B cells; C, one sparse and one dense factor are noise."""
    rng = np.random.default_rng(seed)
    names = ["A", "B", "C", "sparse_1", "dense_1"]
    scores = rng.normal(size=(data.n_obs, 5))
    scores[:, 0] += 2.5 * (data.obs["condition"] == "stimulated")
    scores[:, 1] += 3 * (data.obs["cell_type"] == "B cells")
    loadings = rng.normal(size=(data.n_vars, 5))
    mask = np.c_[data.varm["mask"], np.zeros((data.n_vars, 2), bool)]
    loadings[:, :3] *= mask[:, :3] | (rng.random((data.n_vars, 3)) < 0.2)
    active = ~np.isin(names, off)
    kinds = ["annotated"] * 3 + ["sparse", "dense"]
    return Factors(
        scores=scores,
        loadings=loadings * active,
        table=pd.DataFrame({"name": names, "kind": kinds, "active": active}),
        mask=mask,
        offset=np.asarray(data.X.mean(axis=0)).ravel() if offset else None,
    )


USES = {"ae": "interpretable_ae", "slow": "fsclvm", "slow_reassociated": "fsclvm_reassociated"}
"""Registered method of each toy method; the others have the name of theirs."""


def run(dataset="toy", method="ae", seed=0, status="ok", seconds=2.0, **other):
    """Return the content of a run.json."""
    record = {
        **{"dataset": dataset, "method": method, "use": USES.get(method, method), "seed": seed, "params": {}},
        **{"status": status, "reason": "" if status == "ok" else f"because of {status}"},
        **{"converged": None, "iterations": 30},
        **{"fit_seconds": seconds, "start_seconds": None, "budget_seconds": None, "timeout_seconds": None},
        **{"n_cells": 120, "n_genes": 12},
        **{"n_factors": 5, "n_active": 4, "device": "cpu", "threads": 1, "peak_memory_mb": 100.0, "host": "node"},
        **{"processor": "Quick 1", "started": "2020-01-01T00:00:00+00:00", "git_commit": "a" * 40, "git_dirty": True},
        **{"versions": {"numpy": "2.0"}, "inputs": {"prepared": "0" * 64}, **other},
    }
    check_run(record)
    return record


def scores(*rows):
    """Return a table of scores: a training accuracy of factor A per row, with the changes of one dict."""
    usual = {
        **{"dataset": "toy", "method": "ae", "seed": 0, "metric": "accuracy", "factor": "A"},
        **{"label": "condition=stimulated", "split": "train", "value": 0.5, "lower": np.nan, "upper": np.nan},
        **{"n": 120, "status": "ok"},
    }
    table = pd.DataFrame([{**usual, **row} for row in rows], columns=list(SCORE_COLUMNS))
    check_scores(table)
    return table


def config():
    """Return the part of a resolved config that figures and the report read."""
    toy = {
        **{"title": "Toy cells", "organism": "mouse", "doi": "10.1000/toy", "licence": "CC0", "n_cells": None},
        **{"citation": "Toy et al. <2020>", "gene_sets": ["sets"], "missing": [], "hold_out": None, "donor": ""},
        "contrast": {"label": "condition", "positive": "stimulated", "negative": "control"},
    }
    titles = {"ae": "Interpretable AE", "slow": "Slow model", "gene_set_mean": "Gene-set mean", "pca": "PCA"}
    return {
        "datasets": {"toy": toy, "small": {**toy, "title": "Fewer toy cells", "n_cells": 50}},
        "gene_sets": {"sets": {"title": "Toy sets", "citation": "", "doi": "", "licence": "CC BY 4.0"}},
        "methods": {name: {"title": t, "use": USES.get(name, name), "params": {}} for name, t in titles.items()},
        "figures": {},
        "report": {"title": "Which model?", "reference": "ae", "top": 10, "times": True},
        "left_out": ["figure x: not drawn"],
        "other_claims": [],
    }
