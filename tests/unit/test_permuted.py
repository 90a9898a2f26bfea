"""Permuted masks: the solutions of one covariance are those of fits to permuted gene sets."""

import functools

import numpy as np
import pandas as pd
import pytest
from factorbench.contracts.budget import Budget
from factorbench.methods import interpretable_ae
from factorbench.model import InterpretableAutoencoder
from factorbench.runs.permuted import permuted_masks, with_mask

from bench import permuted
from tests.planted import planted

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data():
    return planted(n_cells=130)


@pytest.mark.parametrize("threads", [1, 2])
def test_eq_3_is_that_of_fits_to_permuted_gene_sets(data, threads):
    result = permuted.permuted(data, 3, threads)
    params = interpretable_ae.complete({"encoder": "linear"})
    for value, mask in zip(result.masks["objective"], permuted_masks(data, "here"), strict=False):
        fitted = interpretable_ae.fit(with_mask(data, mask), params, 0, "cpu", Budget())
        assert value == pytest.approx(fitted.history[-1]["objective"], rel=1e-6)
    model = InterpretableAutoencoder(encoder="linear").fit(data)
    assert result.own == pytest.approx(model.objective(data)["objective"], rel=1e-4)
    assert result.masks["objective"].nunique() == 3
    assert result.masks["converged"].all()
    assert result.seconds > 0


def test_solutions_that_have_not_converged_are_counted(data, monkeypatch):
    hasty = functools.partial(InterpretableAutoencoder, max_sweeps=2)
    monkeypatch.setattr(permuted, "InterpretableAutoencoder", hasty)
    assert not permuted.permuted(data, 2, 1).masks["converged"].any()


def test_the_report_has_the_distribution_of_eq_3(data, monkeypatch, capsys):
    masks = pd.DataFrame({"objective": [5.0, 9.0, 6.0, 7.5], "converged": [True, True, False, True]})
    monkeypatch.setattr(permuted, "permuted", lambda *given: permuted.Permuted(2.0, 4.5, masks))
    permuted.report(data, 4, 1)
    printed = capsys.readouterr().out
    assert "2.0 s, 2.0 masks a second; 3 converged" in printed
    assert "lowest 5.0000, median 6.7500, highest 9.0000" in printed
    assert "not permuted 4.5000" in printed


def test_gene_sets_that_explain_the_data_have_a_lower_eq_3_than_permuted_ones(data):
    result = permuted.permuted(data, 5, 1)
    assert result.own < np.min(result.masks["objective"])
