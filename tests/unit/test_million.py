"""The million-cell benchmark, with 30,000 cells."""

import numpy as np
import pandas as pd
import pytest
from factorbench.contracts.prepared import read_prepared

from bench import million

pytestmark = pytest.mark.slow

N_CELLS = 30_000


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("million")
    return folder / "prepared.h5ad", million.make_data(N_CELLS, folder)


def test_data_are_made_in_less_memory_than_they_take(made):
    prepared, steps = made
    n_cells, n_genes, n_sets, density = steps["prepare"].value
    assert (n_cells, n_sets) == (N_CELLS, 100)
    assert 950 <= n_genes <= 1_150
    assert 0.08 <= density <= 0.1
    data = read_prepared(prepared)
    assert data.shape == (n_cells, n_genes)
    assert data.obs["condition"].value_counts().to_dict() == {"control": N_CELLS // 2, "stimulated": N_CELLS // 2}
    totals = np.expm1(data.X).sum(axis=1)
    assert totals.max() <= 1e4 * (1 + 1e-5), "counts are normalised over all genes, and these are a part of them"
    # Dense counts of all cells would take 360 MB in double precision, and libraries take about 300 MB.
    assert {name: step.peak_mb < 500 for name, step in steps.items()} == {"simulate": True, "prepare": True}


def test_training_from_disk_needs_less_memory_and_ends_where_training_in_memory_does(made):
    prepared, steps = made
    disk, memory = (million.measure(million.train, prepared, from_disk, 1, 1) for from_disk in (True, False))
    assert disk.value["objective"] == pytest.approx(memory.value["objective"], rel=0.01)
    dense_mb = 4 * N_CELLS * steps["prepare"].value[1] / 2**20
    assert memory.peak_mb - disk.peak_mb > 0.5 * dense_mb
    assert disk.peak_mb < 1000
    assert disk.value["cells_per_second"] > 0


def test_exponents_are_slopes_of_logarithms():
    cells = np.array([1e3, 1e4, 1e6])
    assert million.exponent(cells, 3 * cells**1.5) == pytest.approx(1.5)


def test_the_figure_is_drawn(tmp_path):
    table = pd.DataFrame({"step": ["prepare"] * 2, "cells": [10, 20], "seconds": [1.0, 2.0], "peak_mb": [3.0, 4.0]})
    million.draw(table, tmp_path / "million.png")
    assert (tmp_path / "million.png").stat().st_size > 0
