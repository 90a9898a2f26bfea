"""Data with planted truth, and a budget that is not of seconds, for the tests of methods."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
from factorbench.contracts.budget import Budget


class BudgetOfChecks(Budget):
    """A budget that is spent after it has been checked ``left`` times."""

    def __init__(self, left: int):
        super().__init__(seconds=1e9)
        self.left = left

    def spent(self) -> bool:
        self.left -= 1
        return self.left < 0


def planted(
    n_cells: int = 600, n_sets: int = 12, set_size: int = 15, n_on: int = 4, batch_effect: float = 0.0, seed: int = 0
) -> anndata.AnnData:
    """Return log-normalised Poisson counts that vary with the first ``n_on`` of ``n_sets`` overlapping gene sets.

    ``obsm["truth"]`` has the activities of these programmes (cells x n_on). ``obs["batch"]`` has two batches; the
    second shifts the log rates of all genes by N(0, 1) * ``batch_effect``. ``obs["age"]`` is a number without effect.
    """
    rng = np.random.default_rng(seed)
    n_genes = n_sets * set_size
    mask = np.kron(np.eye(n_sets, dtype=bool), np.ones((set_size, 1), bool))
    mask |= np.roll(mask, set_size // 5, axis=0)  # neighbouring sets share genes
    truth = rng.normal(size=(n_cells, n_on))
    effects = np.where(mask[:, :n_on], rng.uniform(0.5, 1.0, size=(n_genes, n_on)), 0)
    batch = rng.integers(2, size=n_cells)
    log_rate = rng.normal(0.5, 0.5, n_genes) + truth @ effects.T
    log_rate += np.outer(batch, rng.normal(0, 1, n_genes) * batch_effect)
    counts = rng.poisson(np.exp(log_rate))
    X = np.log1p(counts / counts.sum(axis=1, keepdims=True) * np.median(counts.sum(axis=1))).astype(np.float32)
    obs = pd.DataFrame({"batch": np.array(["a", "b"])[batch], "age": rng.normal(40, 10, n_cells)})
    obs.index = [f"cell{i}" for i in range(n_cells)]
    data = anndata.AnnData(X, obs=obs, var=pd.DataFrame(index=[f"G{i:04}" for i in range(n_genes)]))
    data.varm["mask"] = mask
    data.uns["gene_sets"] = [f"SET_{k}" for k in range(n_sets)]
    data.obsm["truth"] = truth
    return data
