"""What several test files share."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]


def planted(n_cells=120, n_genes=60, n_sets=4, seed=0):
    """Small prepared data with a planted answer: the genes of SET_0 go up in cells whose condition is "b".

    Two cell types, x and y, differ in the genes of SET_1.
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
        "title": "Planted",
        "labels": {"condition": "condition", "cell_type": "cell_type"},
        "contrast": {"label": "condition", "positive": "b", "negative": "a"},
        "inputs": {},
    }
    data.uns["factorbench"] = json.dumps(record)
    return data
