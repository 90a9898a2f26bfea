"""The description of a dataset: every number in it, recounted; every case it may meet."""

import re

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from factorbench.data import description as page
from factorbench.data.description import describe
from scipy import sparse

from tests.planted import planted

ENTRY = {"reader": "tenx"}


def record(**changes):
    return {
        "dataset": "mine",
        "title": "My cells",
        "labels": {"condition": "stim", "cell_type": "type"},
        "contrast": {"label": "condition", "positive": "b", "negative": "a"},
        "donor": "",
        "hold_out": None,
        "missing": [],
        "settings": {"gene_sets": ["reactome", "hallmark"]},
        "cells": {"raw": 2000, "with counts": 120},
        "genes": {"raw": 33538, "highly variable": 3300, "in a kept gene set": 60},
        "sets": {"in the collection": 724, "kept": 4, "dropped": {}},
        "symbols": {
            "how": "as_is",
            "in the sets": 6025,
            "found": 4820,
            "found by": {"as_is": 4820, "upper": 4820},
            "near misses": [],
            "genes": {"mapped": 33538, "unmapped": 0, "ambiguous": 0},
        },
        "reader": {"cells not in the table": 1500, "cells left out": 0},
        **changes,
    }


def topics(text):
    """Topic -> its lines, without their indent."""
    found, topic = {}, ""
    for line in text.splitlines()[1:]:
        head, content = re.match(r"(.*?)\s{2,}(.*)", line).groups()
        topic = head or topic
        found.setdefault(topic, []).append(content)
    return found


@pytest.fixture
def data():
    return planted()


def test_a_page_of_aligned_lines(data):
    text = describe(data, record(), ENTRY, [("ae", 0), ("ae", 1), ("pca", 0)])
    lines = text.splitlines()
    assert lines[0] == "My cells (mine)"
    assert text.endswith("\n")
    assert 12 <= len(lines) <= 25
    column = lines[1].index("2,000")
    assert all(line[column] != " " and line[column - 1] == " " for line in lines[1:])
    said = topics(text)
    assert said["cells"] == ["2,000 raw", "120 with counts"]
    assert said["genes"] == ["33,538 raw", "3,300 highly variable", "60 in a kept gene set"]
    assert said["label condition"] == ["a 60, b 60"]
    assert said["label cell_type"] == ["y 80, x 40"]
    assert said["contrast"] == ["condition: b (60) against a (60)"]
    assert said["donors"] == ["not known"]
    assert said["held out"] == ["no cell"]
    assert said["symbols"] == ["as_is: 4,820 of 6,025 in the gene sets found among the genes (80%)"]
    assert said["reader"] == ["tenx; 1,500 cells not in the table"]
    assert said["missing"] == ["no sample"]
    assert said["runs"] == ["3: ae, seeds 0, 1; pca, seed 0"]


def test_gene_sets_are_measured_on_the_mask(data):
    sizes = [7, 20, 3, 50, 20, 1]
    mask = np.arange(60)[:, None] < np.array(sizes)
    more = AnnData(data.X, obs=data.obs, var=data.var, varm={"mask": mask}, uns={"gene_sets": list("ABCDEF")})
    kept, largest = page.gene_sets(more, {"kept": 6, "in the collection": 724}, {"gene_sets": ["reactome", "hallmark"]})
    assert kept == ("gene sets", "6 of 724 of reactome + hallmark kept, of 1 to 50 genes (median 13.5)")
    assert largest == ("", "the largest: D 50, B 20, E 20, A 7, C 3")


def test_classes_beyond_eight_are_counted():
    label = pd.Series(pd.Categorical([f"T{i:02d}" for i in range(11) for _ in range(20 - i)] + [None] * 3))
    assert page.classes(label) == (
        "T00 20, T01 19, T02 18, T03 17, T04 16, T05 15, T06 14, T07 13, and 3 more; 3 cells without"
    )
    assert page.classes(label[:20]) == "T00 20"
    assert page.classes(pd.Series(pd.Categorical([None, None]))) == "no class; 2 cells without"


def test_contrast_with_all_other_cells_and_without():
    obs = pd.DataFrame({"type": pd.Categorical(list("xxyzz"))})
    text = page.contrast(obs, {"label": "type", "positive": "x", "negative": ""})
    assert text == "type: x (2) against all others (3)"
    assert page.contrast(obs, {"label": "type", "positive": "x", "negative": "y"}).endswith("against y (1)")
    assert page.contrast(obs, None).startswith("none")


def test_donors_held_out_cells_and_missing_samples(data):
    data.obs["who"] = pd.Categorical([None, *np.resize(["d1", "d2", "d3"], 119)])
    data.obs["held_out"] = np.arange(120) < 24
    share = {"share": 0.2, "seed": 7, "label": "", "value": "", "cells": 24}
    said = topics(describe(data, record(donor="who", hold_out=share, missing=["C51", "C52"]), ENTRY, []))
    assert said["donors"] == ["3, by the label who"]
    assert said["held out"] == ["24 of 120 cells, drawn at random, seed 7"]
    assert said["missing"] == ["samples C51, C52"]
    label = {"seed": 0, "label": "condition", "value": "b", "cells": 24}
    said = topics(describe(data, record(hold_out=label), ENTRY, []))
    assert said["held out"] == ["24 of 120 cells, those whose condition is b"]


def test_poor_matches_say_what_would_help(data):
    poor = {
        "how": "as_is",
        "in the sets": 6025,
        "found": 12,
        "found by": {"as_is": 12, "upper": 4953, "orthologs": 4728},
        "near misses": [["Isg15", "ISG15"], ["Actb", "ACTB"]],
        "genes": {"mapped": 20000, "unmapped": 1000, "ambiguous": 2},
    }
    said = topics(describe(data, record(symbols=poor), ENTRY, []))
    assert said["symbols"] == [
        "as_is: 12 of 6,025 in the gene sets found among the genes (0%); 1,000 genes unmapped; 2 genes ambiguous",
        "found by way: as_is 12, upper 4,953, orthologs 4,728",
        "nearly matched: Isg15 (data) ~ ISG15 (sets), Actb (data) ~ ACTB (sets)",
    ]


def test_without_runs_it_says_how_to_add_some(data):
    said = topics(describe(data, record(), ENTRY, []))
    assert said["runs"] == [
        "no run of the config uses it; under runs, add for example",
        "- {datasets: [mine], methods: [ae, gene_set_mean], seeds: [0, 1, 2]}",
    ]


def test_what_prepare_writes_can_be_described():
    from factorbench.contracts.prepared import prepared_record
    from factorbench.data.preparation import prepare

    from tests.unit.test_prepare import SETTINGS

    plain = planted()
    raw = AnnData(sparse.csr_matrix(plain.layers["counts"]), obs=plain.obs, var=plain.var)
    sets = {
        f"R_{name}": list(plain.var_names[plain.varm["mask"][:, k]]) for k, name in enumerate(plain.uns["gene_sets"])
    }
    settings = {
        **SETTINGS,
        "labels": {"condition": "condition", "who": "cell_type"},
        "contrast": {"label": "condition", "positive": "b", "negative": ""},
        "donor": "who",
        "hold_out": {"share": 0.25, "seed": 0, "label": "", "value": ""},
    }
    found = prepare(raw, [sets], settings, "mine")
    said = topics(describe(found, prepared_record(found), ENTRY, [("ae", 0)]))
    assert said["cells"][-1] == f"{found.n_obs} with counts"
    assert said["genes"][-1] == f"{found.n_vars} in a kept gene set"
    assert said["held out"] == ["30 of 120 cells, drawn at random, seed 0"]
    assert said["donors"] == ["2, by the label who"]
    assert said["symbols"] == ["as_is: 60 of 60 in the gene sets found among the genes (100%)"]
    assert said["gene sets"][0].startswith("4 of 4 of planted kept, of 15 to 17 genes")
