"""False discoveries on a few simulated data, and how they are counted. ``make calibrate`` takes hundreds."""

import numpy as np
import pandas as pd
import pytest

from bench import calibrate

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibration")
    jobs = [("random sets", scenario, "gene_set_mean", seed) for scenario in ("none", "half") for seed in range(12)]
    jobs += [("random sets", "none", "interpretable_ae", seed) for seed in range(4)]
    jobs += [("donors", scenario, "gene_set_mean", seed) for scenario in calibrate.DONORS for seed in range(12)]
    return calibrate.calibrate(jobs, calibrate.PERMUTATIONS, folder, 2)


def rates(table, **where):
    rows = calibrate.summary(table)
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows.iloc[0]


@pytest.mark.parametrize("method", ["gene_set_mean", "interpretable_ae"])
def test_sets_that_have_nothing_to_do_with_the_condition_are_rarely_found(table, method):
    found = rates(table, scenario="none", method=method)
    assert found["errors"] < 0.12  # 120 or 40 sets, of which 5 % are expected
    assert found["fdr"] <= 0.25
    p = table.loc[(table["scenario"] == "none") & (table["method"] == method), "p"]
    assert 0.4 < p.mean() < 0.6


def test_planted_sets_are_found_and_others_are_not(table):
    found = rates(table, scenario="half")
    assert found["power"] > 0.4
    assert found["fdr"] < 0.15


@pytest.mark.parametrize("scenario", list(calibrate.DONORS))
def test_a_test_on_cells_takes_donors_for_an_effect(table, scenario):
    assert rates(table, scenario=scenario, test="cells")["errors"] > 0.3
    assert rates(table, scenario=scenario, test="donors")["errors"] < 0.12


def test_the_figure_is_drawn(table, tmp_path):
    calibrate.draw(table, tmp_path / "calibration.png")
    assert (tmp_path / "calibration.png").stat().st_size > 10_000


def test_rates_are_counted_by_hand():
    rows = [  # two data of four sets each, two of them planted: one false of two discoveries, then none of one
        *((0, True, 0.001, 0.01), (0, True, 0.5, 0.6), (0, False, 0.01, 0.04), (0, False, 0.9, 0.9)),
        *((1, True, 0.001, 0.01), (1, True, 0.4, 0.6), (1, False, 0.04, 0.08), (1, False, np.nan, np.nan)),
    ]
    table = pd.DataFrame(rows, columns=["seed", "true", "p", "q"])
    table = table.assign(scenario="half", method="m", test="random sets", set="S")
    (row,) = calibrate.summary(table).to_dict("records")
    assert (row["data"], row["fdr"], row["power"]) == (2, 0.25, 0.5)
    assert row["errors"] == pytest.approx(2 / 3)
    assert row["fdr_lower"] == 0
