"""The million-cell run, with 50,000 cells."""

import numpy as np
from factorbench import contracts

from bench import million

N_CELLS = 50_000


def test_data_larger_than_the_memory_they_are_made_in(tmp_path):
    steps = million.make_data(N_CELLS, tmp_path)
    n_cells, n_genes, n_sets, density = steps["prepare"].value
    assert (n_cells, n_sets) == (N_CELLS, 100)
    assert 950 <= n_genes <= 1_150
    assert 0.08 <= density <= 0.1
    data = contracts.read_prepared(tmp_path / "prepared.h5ad")
    assert data.shape == (n_cells, n_genes)
    assert data.obs["condition"].value_counts().to_dict() == {"control": N_CELLS // 2, "stimulated": N_CELLS // 2}
    totals = np.expm1(data.X).sum(axis=1)
    assert totals.max() <= 1e4 * (1 + 1e-5), "normalised over all genes, of which these are a part"
    # Dense counts of all cells would take 600 MB in double precision, libraries take about 300.
    assert {name: step.peak_mb < 500 for name, step in steps.items()} == {"simulate": True, "prepare": True}
