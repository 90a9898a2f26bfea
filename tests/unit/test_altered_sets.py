"""Gene sets with permuted and with wrong genes."""

import re

import numpy as np
import pytest
from factorbench.contracts.errors import UserError
from factorbench.data import altered_sets
from scipy import sparse

N_GENES = 200


@pytest.fixture
def expression():
    rng = np.random.default_rng(0)
    return sparse.csr_matrix(rng.poisson(rng.lognormal(-1, 1.5, N_GENES), (300, N_GENES)).astype(np.float32))


@pytest.fixture
def mask():
    rng = np.random.default_rng(1)
    return rng.random((N_GENES, 12)) < rng.uniform(0.05, 0.3, 12)


def test_strata_have_enough_genes_of_about_the_same_expression(expression):
    strata = altered_sets.expression_strata([expression[:100], expression[100:]], "here")
    np.testing.assert_array_equal(strata, altered_sets.expression_strata([expression], "here"))
    assert np.bincount(strata).min() >= altered_sets.STRATUM
    mean, detected = expression.mean(axis=0).A1, expression.getnnz(axis=0)
    within = sum(mean[strata == k].var() * (strata == k).sum() for k in range(strata.max() + 1)) / N_GENES
    assert within < 0.2 * mean.var()
    for k in range(0, strata.max(), 2):  # pairs of strata: first by the mean, then by the share of cells
        assert mean[strata // 2 == k // 2].max() <= mean[strata // 2 > k // 2].min(initial=np.inf)
        assert detected[strata == k].max() <= detected[strata == k + 1].min()


def test_too_few_genes_are_refused(expression):
    few = 2 * altered_sets.STRATUM - 1
    with pytest.raises(UserError, match=re.escape(f"datasets.d.permute_sets: the gene sets have {few} genes")):
        altered_sets.expression_strata([expression[:, :few]], "datasets.d.permute_sets")
    assert altered_sets.expression_strata([expression[:, : few + 1]], "").max() == 1


def test_permuted_sets_keep_sizes_overlaps_and_strata(expression, mask):
    strata = altered_sets.expression_strata([expression], "here")
    permuted = altered_sets.permute(mask, strata, 3)
    count = mask.astype(int)
    np.testing.assert_array_equal(permuted.astype(int).T @ permuted, count.T @ count)
    for k in range(strata.max() + 1):
        np.testing.assert_array_equal(permuted[strata == k].sum(axis=0), mask[strata == k].sum(axis=0))
    assert (permuted != mask).mean() > 0.1
    np.testing.assert_array_equal(permuted, altered_sets.permute(mask, strata, 3))
    assert (permuted != altered_sets.permute(mask, strata, 4)).any()


@pytest.mark.parametrize(("missing", "added"), [(0.3, 0.3), (0.5, 0.0), (0.0, 0.2), (1.0, 1.0)])
def test_corrupted_sets_have_the_shares_of_wrong_genes(mask, missing, added):
    corrupted = altered_sets.corrupt(mask, missing, added, 0)
    sizes = mask.sum(axis=0)
    gone, new = (mask & ~corrupted).sum(axis=0), (corrupted & ~mask).sum(axis=0)
    np.testing.assert_array_equal(gone, np.minimum(np.round(missing * sizes), sizes - 1))
    np.testing.assert_array_equal(new, np.minimum(np.round(added * sizes), N_GENES - sizes))
    assert (missing or added) == 0 or (altered_sets.corrupt(mask, missing, added, 1) != corrupted).any()
