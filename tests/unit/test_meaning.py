"""What is known of each factor: shares in sets, random sets and donors, joined over seeds; verdicts in words."""

import numpy as np
import pytest
from factorbench.results import meaning

from tests.unit import metric_fixtures as toy


def known(**values):
    """Scores of factor A in two seeds; a value is a pair, one for each seed."""
    splits = {"accuracy": "train", "p_difference": "donor", "q_difference": "donor"}
    values = {"accuracy": (0.8, 0.9), "auroc": (0.9, 0.1), "in_set_share": (0.7, 0.9)} | values
    rows = []
    for metric, pair in values.items():
        about = {"label": ""} if metric == "in_set_share" else {}
        rows += [
            {"metric": metric, "seed": seed, "value": value, "split": splits.get(metric, ""), **about}
            for seed, value in enumerate(pair)
        ]
    return toy.scores(*rows)


def the_row(scores):
    table = meaning.gene_sets_table(scores)
    assert list(table.columns) == list(meaning.COLUMNS)
    (row,) = table.to_dict("records")
    return row


def test_shares_are_means_and_p_values_the_largest_of_all_seeds():
    row = the_row(known(p_random_set=(0.01, 0.03), q_random_set=(0.02, 0.04), p_difference=(0.2, 0.1)))
    assert row["in_set_share"] == pytest.approx(0.8)
    assert row["accuracy"] == pytest.approx(0.85)
    assert row["auroc"] == pytest.approx(0.9)  # the sign of a factor does not matter
    assert (row["p_random_set"], row["q_random_set"], row["p_donors"]) == (0.03, 0.04, 0.2)
    assert (row["permutations"], row["seeds"]) == (120, 2)
    assert np.isnan(row["in_set_accuracy"])


def test_random_sets_are_shown_as_areas():
    scores = known(random_set=(0.1, 0.1))
    scores.loc[scores["metric"] == "random_set", ["lower", "upper"]] = 0.05, 0.3
    row = the_row(scores)
    assert [row[f"random_{name}"] for name in ("auroc", "lower", "upper")] == pytest.approx([0.6, 0.55, 0.8])


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({"in_set_share": (np.nan, np.nan), "q_random_set": (0.01, 0.01)}, "off"),
        ({"in_set_share": (0.45, 0.5), "q_random_set": (0.01, 0.01)}, "lost"),
        ({"in_set_share": (0.5, 0.5), "q_random_set": (0.01, 0.05)}, "beats"),
        ({"q_random_set": (0.01, 0.06), "p_random_set": (2 / 121, 2 / 121)}, "same"),
        ({"q_random_set": (0.06, 0.06), "p_random_set": (1 / 121, 1 / 121)}, "few"),
        ({}, "open"),
    ],
)
def test_verdicts_follow_share_and_false_discovery_rate(values, verdict):
    assert the_row(known(**values))["verdict"] == meaning.VERDICTS[verdict]


def test_factors_without_a_gene_set_are_not_in_the_table():
    assert meaning.gene_sets_table(toy.scores({"factor": "PC1"})).empty


def test_marks_follow_names_of_factors_that_left_their_set():
    assert meaning.marked(["A", "B", "C"], [0.49, 0.5, np.nan]) == ["A †", "B", "C"]
