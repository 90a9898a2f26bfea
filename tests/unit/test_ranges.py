"""Datasets whose seed is a range."""

import re

import pytest
from factorbench.config import ranges
from factorbench.contracts.errors import UserError


def expanded(datasets, listed):
    config = {"datasets": datasets, "runs": [{"datasets": listed, "methods": ["m"]}], "nulls": [], "figures": {}}
    ranges.expand(config, "c.yaml")
    return config


def test_a_range_makes_a_dataset_for_each_seed():
    config = expanded({"real": {}, "null": {"from": "real", "title": "Null", "permute_sets": "5-7"}}, ["real", "null"])
    assert config["runs"][0]["datasets"] == ["real", "null_0", "null_1", "null_2"]
    assert [config["datasets"][f"null_{i}"]["permute_sets"] for i in range(3)] == [5, 6, 7]
    assert config["datasets"]["null_2"] == {"from": "real", "title": "Null (3 of 3)", "permute_sets": 7}
    assert "null" not in config["datasets"]


def test_a_dataset_from_one_with_a_range_is_repeated_with_it():
    wrong = {"from": "base", "corrupt": {"missing": 0.3, "seed": "10-11"}}
    config = expanded({"wrong": wrong, "base": {"options": {"seed": "0-1", "n_cells": 5}}}, ["wrong"])
    assert config["datasets"]["base_1"] == {"options": {"seed": 1, "n_cells": 5}}
    assert config["datasets"]["wrong_1"] == {"from": "base_1", "corrupt": {"missing": 0.3, "seed": 11}}


def test_draws_are_datasets_that_differ_in_seeds_only():
    datasets = {
        "real": {"title": "Real", "permute_sets": None, "n_cells": None},
        "null_0": {"title": "Null (1 of 2)", "permute_sets": 5, "n_cells": None},
        "null_1": {"title": "Null (2 of 2)", "permute_sets": 6, "n_cells": None},
        "few": {"title": "Few", "permute_sets": 6, "n_cells": 9},
        "a": {"corrupt": {"missing": 0.1, "seed": 1}, "options": {"seed": 1}},
        "b": {"corrupt": {"missing": 0.1, "seed": 2}, "options": {"seed": 3}},
        "c": {"corrupt": {"missing": 0.2, "seed": 2}, "options": {"seed": 3}},
    }
    assert ranges.draws(datasets) == {
        **{"real": ["real"], "null_0": ["null_0", "null_1"], "few": ["few"], "a": ["a", "b"], "c": ["c"]}
    }


@pytest.mark.parametrize(
    ("datasets", "pattern"),
    [
        ({"d": {"permute_sets": "7-3"}}, "datasets.d.permute_sets: 7-3 should be first-last"),
        ({"d": {"permute_sets": "0-1", "corrupt": {"seed": "0-4"}}}, "permute_sets and corrupt.seed differ in length"),
        ({"d": {"permute_sets": "0-1"}, "d_1": {}}, "datasets.d makes a dataset d_1, and there is one; rename it"),
    ],
)
def test_wrong_ranges_are_refused(datasets, pattern):
    with pytest.raises(UserError, match=re.escape(pattern)):
        expanded(datasets, ["d"])
