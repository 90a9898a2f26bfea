"""Planted data and helpers that several test files share."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]


def planted(n_cells=120, n_genes=60, n_sets=4, seed=0, held_out=False, donors=False):
    """Return small prepared data with a planted answer: the genes of SET_0 are up in cells of condition "b".

    The genes of SET_1 are up in cells of type "y" (the others are "x"). ``held_out``: every fourth cell is held out;
    ``donors``: cells are of three donors, but for three cells whose donor is unknown. The data hold this truth, with
    one programme that is no set and has no effect.
    """
    import anndata
    from scipy import sparse

    random = np.random.default_rng(seed)
    condition = random.permutation(np.repeat(["a", "b"], [n_cells // 2, n_cells - n_cells // 2]))
    cell_type = random.permutation(np.repeat(["x", "y"], [n_cells // 3, n_cells - n_cells // 3]))
    mask = np.zeros((n_genes, n_sets), bool)
    size = n_genes // n_sets
    for k in range(n_sets):
        mask[k * size : (k + 1) * size + 2, k] = True
    mask[~mask.any(axis=1), 0] = True
    rate = np.ones((n_cells, n_genes))
    rate[np.ix_(condition == "b", mask[:, 0])] *= 3
    rate[np.ix_(cell_type == "y", mask[:, 1])] *= 3
    counts = random.poisson(rate).astype(np.float32)
    lognorm = np.log1p(counts / counts.sum(axis=1, keepdims=True).clip(1) * 1e4).astype(np.float32)
    data = anndata.AnnData(sparse.csr_matrix(lognorm))
    data.layers["counts"] = sparse.csr_matrix(counts)
    data.obs_names = [f"C{i:04d}" for i in range(n_cells)]
    data.var_names = [f"G{i:04d}" for i in range(n_genes)]
    data.obs["condition"] = pd.Categorical(condition)
    data.obs["cell_type"] = pd.Categorical(cell_type)
    data.varm["mask"] = mask
    data.uns["gene_sets"] = [f"SET_{k}" for k in range(n_sets)]
    record = {
        "dataset": "planted",
        "labels": {"condition": "condition", "cell_type": "cell_type"},
        "contrast": {"label": "condition", "positive": "b", "negative": "a"},
        "inputs": {},
    }
    activity = np.zeros((n_cells, n_sets + 1))
    activity[:, 0], activity[:, 1] = condition == "b", cell_type == "y"
    activity[:, n_sets] = np.linspace(0, 1, n_cells)
    data.obsm["activity"] = sparse.csr_matrix(activity)
    data.varm["weights"] = np.zeros((n_genes, n_sets + 1))
    data.varm["weights"][:, :2] = np.log(3) * mask[:, :2]
    kinds = ["gene set", "gene set", *["decoy"] * (n_sets - 2), "unannotated"]
    names = [*data.uns["gene_sets"], "unannotated_1"]
    data.uns["truth"] = json.dumps([{"name": n, "kind": k, "where": ""} for n, k in zip(names, kinds, strict=True)])
    if held_out:
        data.obs["held_out"] = np.arange(n_cells) % 4 == 0
    if donors:
        donor = np.array(["d1", "d2", "d3"], object)[np.arange(n_cells) // 2 % 3]
        donor[:3] = None
        data.obs["donor"] = pd.Categorical(donor)
        record |= {"labels": record["labels"] | {"donor": "donor"}, "donor": "donor"}
    data.uns["factorbench"] = json.dumps(record)
    return data


def scored(name, data, factors):
    """Return what a metric measures with its default parameters; both seeds of a metric over seeds are ``factors``."""
    from factorbench import registry

    metric = registry.load("metric", name)
    params = registry.resolve(metric.SPEC, {}, name)
    if metric.SPEC.over == "seeds":
        return metric.score(data, [factors, factors], params)
    return metric.score(data, factors, params, *([factors] if metric.SPEC.held_out else []))


def prepare_entry(**changes):
    """Return what `data.preparation` gets of a dataset's entry: the defaults of the schema, then ``changes``."""
    from factorbench.config import plan, schema

    dataset = schema.fill({"datasets": {"d": {}}}, schema.read("config"))["datasets"]["d"]
    dataset |= {"gene_sets": ["sets"], "prefixes": [""], "min_genes": 1, "missing": []}
    return plan.preparation(dataset | changes)


def prepare(*args):
    """Return all cells of `data.preparation.prepare_blocks`, which has the same parameters, in memory."""
    import anndata
    from factorbench.contracts.prepared import check_prepared
    from factorbench.data.preparation import prepare_blocks

    data = anndata.concat(list(prepare_blocks(*args)), merge="same", uns_merge="same")
    check_prepared(data)
    return data
