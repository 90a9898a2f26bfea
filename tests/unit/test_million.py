"""The million-cell benchmark, with 30,000 cells."""

import sys

import numpy as np
import pandas as pd
import pytest
from factorbench.contracts.prepared import read_prepared
from factorbench.model import InterpretableAutoencoder

from bench import million

pytestmark = pytest.mark.slow

N_CELLS = 30_000
N_FEW = 1_000


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


def test_the_exact_solution_from_disk_is_that_in_memory_and_needs_little_memory(made, tmp_path):
    prepared, _ = made
    step = million.measure(million.exact, prepared, 1)
    data = read_prepared(prepared)
    model = InterpretableAutoencoder(encoder="linear").fit(data)
    result = step.value
    assert result["objective"] == pytest.approx(model.objective(data)["objective"], rel=1e-4)
    assert result["objective"] == pytest.approx(model.history["objective"].iloc[-1], rel=1e-4)
    assert result["converged"]
    assert result["sweeps"] > 10
    assert min(result["covariance_seconds"], result["sweep_seconds"]) > 0
    assert result["covariance_seconds"] + result["sweep_seconds"] <= result["seconds"] <= step.seconds
    assert step.peak_mb < 700
    million.make_data(N_FEW, tmp_path)
    few = million.measure(million.exact, tmp_path / "prepared.h5ad", 1)
    # A block of cells takes about 100 MB. All cells as a dense matrix would take 120 MB more.
    assert step.peak_mb - few.peak_mb < 200


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


def table_of(cells):
    """Return the rows of `measurements` for times that grow in proportion, but for those of the sweeps."""
    rows = []
    for step in ("simulate", "prepare", million.EXACT, "train from disk", "train in memory"):
        row = {"step": step, "cells": cells, "seconds": cells / 1e3, "peak_mb": cells**0.5}
        if step == million.EXACT:
            sweeps = {1_000: 2.5, 10_000: 3.25, 100_000: 2.75}[cells]
            row |= {"covariance_seconds": cells / 1e4, "sweep_seconds": sweeps, "objective": 50 + cells / 1e5}
        elif step.startswith("train"):
            row |= {"objective": 52.0, "cells_per_second": 5e3}
        rows.append(row)
    return rows


def test_the_straight_line_is_that_of_the_covariance_and_the_sweeps_have_a_range():
    table = pd.DataFrame([row for cells in (1_000, 10_000, 100_000) for row in table_of(cells)])
    text = million.straight_line(table)
    assert "covariance grow as cells^1.00" in text
    assert "2.50 to 3.25 s" in text


def test_the_command_prints_eq_3_of_the_exact_solution_beside_that_of_the_network(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(million, "measurements", lambda cells, *rest: table_of(cells))
    monkeypatch.setattr(sys, "argv", ["bench.million", str(tmp_path), "--cells", "1000", "100000"])
    million.main()
    printed = capsys.readouterr().out
    assert "50.0100          52.0000          52.0000" in printed
    assert "51.0000          52.0000          52.0000" in printed
    assert "prepare: seconds grow as cells^1.00, peak memory as cells^0.50" in printed
    assert "covariance grow as cells^1.00" in printed
    table = pd.read_csv(tmp_path / "million.tsv", sep="\t")
    assert {"covariance_seconds", "sweep_seconds", "cells_per_second", "objective"} <= set(table)
    assert (tmp_path / "million.png").stat().st_size > 0


def test_the_figure_is_drawn(tmp_path):
    table = pd.DataFrame({"step": ["prepare"] * 2, "cells": [10, 20], "seconds": [1.0, 2.0], "peak_mb": [3.0, 4.0]})
    million.draw(table, tmp_path / "million.png")
    assert (tmp_path / "million.png").stat().st_size > 0
