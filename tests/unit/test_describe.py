"""The description of a dataset: each number in it is compared with its definition."""

import re

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from factorbench.contracts.prepared import prepared_record
from factorbench.data import description
from scipy import sparse

from tests.planted import planted, prepare, prepare_entry

ENTRY = {"title": "My cells", "reader": "tenx"}
SYMBOLS = {
    "how": "as_is",
    "in the sets": 6025,
    "found": 4820,
    "found by": {"as_is": 4820, "upper": 4820},
    "near misses": [],
    "genes": {"mapped": 33538, "unmapped": 0, "ambiguous": 0},
}
RECORD = {
    "dataset": "mine",
    "labels": {"condition": "stim", "cell_type": "type"},
    "contrast": {"label": "condition", "positive": "b", "negative": "a"},
    "donor": "",
    "hold_out": None,
    "missing": [],
    "params": {"gene_sets": ["reactome", "hallmark"]},
    "cells": {"raw": 2000, "with counts": 120},
    "genes": {"raw": 33538, "highly variable": 3300, "in a kept gene set": 60},
    "counts per cell": {"minimum": 512, "median": 2345.5, "maximum": 54321},
    "largest count": 77,
    "sets": {"in the collection": 724, "kept": 4, "dropped": {}},
    "symbols": SYMBOLS,
    "reader": {"cells not in the table": 1500, "cells left out": 0},
}


def topics(data, runs=(), **changes):
    """Return the lines of a description by topic, without their indent."""
    lines, topic = {}, ""
    for line in description.describe(data, RECORD | changes, ENTRY, runs).splitlines()[1:]:
        head, content = re.match(r"(.*?)\s{2,}(.*)", line).groups()
        topic = head or topic
        lines.setdefault(topic, []).append(content)
    return lines


@pytest.fixture
def data():
    return planted()


def test_lines_are_aligned(data):
    text = description.describe(data, RECORD, ENTRY, [])
    lines = text.splitlines()
    assert lines[0] == "My cells (mine)"
    assert text.endswith("\n")
    column = lines[1].index("2,000")
    assert all(line[column] != " " and line[column - 1] == " " for line in lines[1:])


def test_every_topic(data):
    assert topics(data, [("ae", 0), ("ae", 1), ("pca", 0)]) == {
        "cells": ["2,000 raw", "120 with counts"],
        "genes": ["33,538 raw", "3,300 highly variable", "60 in a kept gene set"],
        "counts per cell": ["512 to 54,321, median 2,345.5"],
        "label condition": ["a 60, b 60"],
        "label cell_type": ["y 80, x 40"],
        "contrast": ["condition: b (60) against a (60)"],
        "donors": ["not known"],
        "held out": ["no cell"],
        "symbols": ["as_is: 4,820 of 6,025 in the gene sets found in the data (80%)"],
        "gene sets": [
            "4 of 724 of reactome + hallmark kept, of 15 to 17 genes (median 17)",
            "the largest: SET_0 17, SET_1 17, SET_2 17, SET_3 15",
        ],
        "reader": ["tenx; 1,500 cells not in the table"],
        "missing": ["no sample"],
        "runs": ["3: ae, seeds 0, 1; pca, seed 0"],
    }


def test_counts_that_look_wrong_are_asked_about(data):
    def lines(median, largest=77):
        per_cell = {"minimum": 1, "median": median, "maximum": 1_234_567}
        return topics(data, **{"counts per cell": per_cell, "largest count": largest})["counts per cell"]

    unfiltered = "most cells have few counts: is this the unfiltered (raw) matrix? give the filtered one"
    assert lines(100.0) == ["1 to 1,234,567, median 100"]
    assert lines(99.5) == ["1 to 1,234,567, median 99.5", unfiltered]
    assert lines(3.0) == ["1 to 1,234,567, median 3", unfiltered]
    assert lines(1_234_567.0) == ["1 to 1,234,567, median 1,234,567"]
    assert lines(500.0, largest=1)[1:] == ["all counts are 0 or 1: is this a matrix of detected genes? give raw counts"]


def test_sizes_of_gene_sets_are_those_of_the_mask(data):
    mask = np.arange(60)[:, None] < np.array([7, 20, 3, 50, 20, 1])
    data = AnnData(data.X, obs=data.obs, var=data.var, varm={"mask": mask}, uns={"gene_sets": list("ABCDEF")})
    kept, largest = topics(data)["gene sets"]
    assert kept.endswith("of 1 to 50 genes (median 13.5)")
    assert largest == "the largest: D 50, B 20, E 20, A 7, C 3"


def test_classes_after_the_eighth_are_counted():
    label = pd.Series(pd.Categorical([f"T{i:02d}" for i in range(11) for _ in range(20 - i)] + [None] * 3))
    assert description.describe_classes(label) == (
        "T00 20, T01 19, T02 18, T03 17, T04 16, T05 15, T06 14, T07 13, and 3 more; 3 cells without"
    )
    assert description.describe_classes(label[:20]) == "T00 20"
    assert description.describe_classes(pd.Series(pd.Categorical([None, None]))) == "no class; 2 cells without"


def test_contrast_with_one_class_all_other_cells_or_none():
    obs = pd.DataFrame({"type": pd.Categorical(list("xxyzz"))})
    contrast = {"label": "type", "positive": "x", "negative": ""}
    assert description.describe_contrast(obs, contrast) == "type: x (2) against all others (3)"
    assert description.describe_contrast(obs, {**contrast, "negative": "y"}).endswith("against y (1)")
    assert description.describe_contrast(obs, None).startswith("none")


def test_donors_held_out_cells_and_missing_samples(data):
    data.obs["who"] = pd.Categorical([None, *np.resize(["d1", "d2", "d3"], 119)])
    data.obs["held_out"] = np.arange(120) < 24
    share = {"share": 0.2, "seed": 7, "label": "", "value": "", "cells": 24}
    lines = topics(data, donor="who", hold_out=share, missing=["C51", "C52"])
    assert lines["donors"] == ["3, by the label who"]
    assert lines["held out"] == ["24 of 120 cells, drawn at random, seed 7"]
    assert lines["missing"] == ["samples C51, C52"]
    label = {"seed": 0, "label": "condition", "value": "b", "cells": 24}
    assert topics(data, hold_out=label)["held out"] == ["24 of 120 cells, those with condition b"]


def test_poor_matches_are_shown_with_what_may_help(data):
    poor = SYMBOLS | {
        "found": 12,
        "found by": {"as_is": 12, "upper": 4953, "orthologs": 4728},
        "near misses": [["Isg15", "ISG15"], ["Actb", "ACTB"]],
        "genes": {"mapped": 20000, "unmapped": 1000, "ambiguous": 2},
    }
    assert topics(data, symbols=poor)["symbols"] == [
        "as_is: 12 of 6,025 in the gene sets found in the data (0%); 1,000 genes unmapped; 2 genes ambiguous",
        "found by way: as_is 12, upper 4,953, orthologs 4,728",
        "symbols: upper would find 4,953 of the symbols in the gene sets, not 12",
        "nearly matched: Isg15 (data) ~ ISG15 (sets), Actb (data) ~ ACTB (sets); "
        "symbols: upper or orthologs may map them",
    ]


def test_without_runs_an_example_is_shown(data):
    example = topics(data)["runs"][-1]
    assert example == "- {datasets: [mine], methods: [ae, gene_set_mean], seeds: [0, 1, 2]}"


def test_description_of_prepared_data():
    plain = planted()
    raw = AnnData(sparse.csr_matrix(plain.layers["counts"]), obs=plain.obs, var=plain.var)
    sets = dict(
        zip(plain.uns["gene_sets"], (list(raw.var_names[genes]) for genes in plain.varm["mask"].T), strict=True)
    )
    entry = prepare_entry(
        labels={"condition": "condition", "who": "cell_type"},
        contrast={"label": "condition", "positive": "b", "negative": ""},
        donor="who",
        hold_out={"share": 0.25, "seed": 0, "label": "", "value": ""},
    )
    data = prepare(raw, [sets], entry, "mine")
    lines = topics(data, [("ae", 0)], **prepared_record(data))
    assert lines["cells"][-1] == f"{data.n_obs} with counts"
    assert lines["genes"][-1] == f"{data.n_vars} in a kept gene set"
    totals = plain.layers["counts"].toarray().sum(axis=1)
    assert lines["counts per cell"] == [
        f"{totals.min():.0f} to {totals.max():.0f}, median {np.median(totals):g}",
        "most cells have few counts: is this the unfiltered (raw) matrix? give the filtered one",
    ]
    assert lines["held out"] == ["30 of 120 cells, drawn at random, seed 0"]
    assert lines["donors"] == ["2, by the label who"]
    assert lines["symbols"] == ["as_is: 60 of 60 in the gene sets found in the data (100%)"]
    assert lines["gene sets"][0].startswith("4 of 4 of sets kept, of 15 to 17 genes")
