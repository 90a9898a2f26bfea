"""Preparation against direct calls of scanpy, the definitions of its steps, and bad input."""

import os
from importlib import metadata
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from factorbench import registry
from factorbench.contracts.factors import no_factors, read_factors, write_factors
from factorbench.contracts.files import sha256, write_raw
from factorbench.contracts.prepared import prepared_record, read_prepared, write_prepared
from factorbench.data import counts as raw_counts
from factorbench.data import gene_sets, labels, preparation
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from tests.bad_data.outcome import refused
from tests.planted import prepare, prepare_entry

CONTRAST = {"label": "stimulation", "positive": "stimulated", "negative": ""}
LABELS = {"stimulation": "condition", "type": "cell_type"}
BASE = {"labels": LABELS, "contrast": CONTRAST, "n_top_genes": 150, "min_genes": 5, "prefixes": ["R_"]}
ALL_GENES = {"n_top_genes": 10_000, "min_genes": 1, "min_cells": 1}


@pytest.fixture(scope="module")
def simulated():
    """Planted counts and their sets, whose names begin with R_."""
    module = registry.load("reader", "simulated")
    options = registry.resolve(module.SPEC, {"n_cells": 200, "n_genes": 250, "depth": 500.0}, "options")
    return module.read({}, options), {f"R_{name}": genes for name, genes in module.gene_sets(options).items()}


@pytest.fixture
def raw(simulated):
    return simulated[0].copy()


@pytest.fixture
def sets(simulated):
    return simulated[1]


def prepared(raw, sets, orthologs=None, **changes):
    return prepare(raw, [sets], prepare_entry(**{**BASE, **changes}), "planted", {"counts": "abc"}, orthologs)


# ------------------------------------------------------------------------------------------------------------- results


@pytest.mark.parametrize("flavor", ["seurat_v3", "seurat", "cell_ranger"])
def test_same_as_scanpy(raw, sets, flavor):
    data = prepared(raw, sets, hvg_flavor=flavor)

    peer = raw.copy()
    peer.X = peer.X.astype(np.float32)
    sc.pp.filter_genes(peer, min_cells=3)
    peer.layers["counts"] = peer.X.copy()
    sc.pp.normalize_total(peer, target_sum=1e4)
    sc.pp.log1p(peer)
    layer = "counts" if flavor == "seurat_v3" else None
    sc.pp.highly_variable_genes(peer, flavor=flavor, n_top_genes=150, layer=layer, subset=True)
    present = {name: [gene for gene in peer.var_names if gene in genes] for name, genes in sets.items()}
    kept = {name: genes for name, genes in present.items() if len(genes) >= 5}
    peer = peer[:, [any(gene in genes for genes in kept.values()) for gene in peer.var_names]]

    assert 0 < peer.n_vars < 150
    assert list(data.var_names) == list(peer.var_names)
    assert list(data.obs_names) == list(peer.obs_names)
    np.testing.assert_allclose(data.X.toarray(), peer.X.toarray(), rtol=1e-6)
    np.testing.assert_array_equal(data.layers["counts"].toarray(), peer.layers["counts"].toarray())
    assert list(data.uns["gene_sets"]) == [name.removeprefix("R_") for name in kept]
    expected = [[gene in genes for genes in kept.values()] for gene in data.var_names]
    np.testing.assert_array_equal(data.varm["mask"], expected)


def test_written_file_and_its_record(raw, sets, tmp_path):
    before = raw.copy()
    data = prepared(raw, sets)
    assert (raw.X != before.X).nnz == 0
    pd.testing.assert_frame_equal(raw.obs, before.obs)
    write_prepared(tmp_path / "prepared.h5ad", data)
    stored = read_prepared(tmp_path / "prepared.h5ad")
    assert (stored.X != data.X).nnz == 0
    assert list(stored.uns["gene_sets"]) == list(data.uns["gene_sets"])
    assert list(stored.obs) == ["stimulation", "type"]
    record = prepared_record(stored)
    assert (record["dataset"], record["inputs"], record["contrast"]) == ("planted", {"counts": "abc"}, CONTRAST)
    assert record["params"] == prepare_entry(**BASE)
    assert record["genes"]["in a kept gene set"] == stored.n_vars
    assert record["cells"]["with counts"] == stored.n_obs
    assert record["sets"]["in the collection"] == len(sets) == record["sets"]["kept"] + len(record["sets"]["dropped"])
    assert record["versions"]["scanpy"] == metadata.version("scanpy")


def test_record_does_not_depend_on_title_or_citation(raw, sets):
    named = dict.fromkeys(("title", "organism", "doi", "licence", "citation"), "another")
    assert prepared(raw, sets, **named).uns["factorbench"] == prepared(raw, sets).uns["factorbench"]


def test_raw_file_is_plain_anndata(raw, tmp_path):
    write_raw(tmp_path / "raw.h5ad", raw)
    stored = anndata.read_h5ad(tmp_path / "raw.h5ad")
    assert (stored.X != raw.X).nnz == 0
    assert list(stored.obs) == list(raw.obs)
    assert [path.name for path in tmp_path.iterdir()] == ["raw.h5ad"]


def test_limits_of_set_size(raw, sets):
    for n in (2, 3, 60, 61):
        sets = {**sets, f"R_{n}": list(raw.var_names[:n])}
    data = prepared(raw, {**sets, "R_ELSEWHERE": ["ISG15"]}, **{**ALL_GENES, "min_genes": 3, "max_genes": 60})
    sizes = dict(zip(data.uns["gene_sets"], data.varm["mask"].sum(axis=0), strict=True))
    assert (sizes["3"], sizes["60"]) == (min(sizes.values()), max(sizes.values())) == (3, 60)
    assert prepared_record(data)["sets"]["dropped"] == {"2": 2, "61": 61, "ELSEWHERE": 0}
    assert {"2", "61"} <= set(prepared(raw, sets, **ALL_GENES).uns["gene_sets"])


def test_constant_genes_and_empty_cells_are_dropped(raw, sets):
    counts = raw.X.tolil()
    counts[7] = 0
    counts[:, 3] = 0
    raw.X = counts.tocsr()
    data = prepared(raw, sets, n_top_genes=10_000)
    assert raw.obs_names[7] not in data.obs_names
    assert prepared_record(data)["cells"]["with counts"] == 199
    assert prepared_record(data)["genes"]["seen in enough cells"] == 249
    np.testing.assert_array_equal(preparation.varying([sparse.csr_matrix(np.full((4, 2), 2.0))]), [False, False])
    blocks = [sparse.csr_matrix([[1.0, 0, 2], [1, 1, 2]])]
    np.testing.assert_array_equal(preparation.varying(blocks), [False, True, False])


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint8])
def test_counts_per_cell_are_recorded(raw, sets, dtype):
    counts = raw.X.toarray().astype(dtype)
    counts[7] = 0
    raw.X = sparse.csr_matrix(counts)
    kept = counts[np.arange(200) != 7][:, (counts > 0).sum(axis=0) >= 30]
    totals = kept.sum(axis=1, dtype=int)
    record = prepared_record(prepared(raw, sets, min_cells=30))
    expected = {"minimum": totals.min(), "median": np.median(totals), "maximum": totals.max()}
    assert (record["counts per cell"], record["largest count"]) == (expected, kept.max())


def test_totals_of_an_unfiltered_matrix(raw, sets):
    """Most droplets are empty, so that the median of those with counts is that of empty ones."""
    empty = np.zeros((3000, raw.n_vars), np.float32)
    empty[np.arange(2900), np.random.default_rng(0).integers(0, raw.n_vars, 2900)] = 2
    more = anndata.AnnData(sparse.vstack([raw.X, sparse.csr_matrix(empty)], format="csr"))
    more.obs_names, more.var_names = [f"c{i}" for i in range(more.n_obs)], raw.var_names
    record = prepared_record(prepared(more, sets, labels={}, contrast=None))
    assert record["cells"]["with counts"] == 3100
    assert (record["counts per cell"]["minimum"], record["counts per cell"]["median"]) == (2, 2.0)


OTHERS = {
    "not a spike-in": ["ERCC-00002", "ERCC-00171", "ERCC.00003", "ERCC-00004 (spike-in control)"],
    "not a count of reads without a gene": [
        *("__no_feature", "__ambiguous", "__too_low_aQual", "__not_aligned", "__alignment_not_unique"),
        *("N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous", "X__no_feature"),
    ],
}


def test_features_that_are_no_genes_are_left_out_before_totals(raw, sets):
    without = prepared(raw, sets)
    names = [name for others in OTHERS.values() for name in others]
    counts = np.random.default_rng(0).poisson(300.0, (raw.n_obs, len(names)))
    more = anndata.AnnData(sparse.hstack([raw.X, sparse.csr_matrix(counts)], format="csr"), obs=raw.obs)
    more.var_names = [*raw.var_names, *names]
    data = prepared(more, sets)
    assert (list(data.var_names), list(data.obs_names)) == (list(without.var_names), list(without.obs_names))
    np.testing.assert_array_equal(data.X.toarray(), without.X.toarray())
    steps, n_genes = prepared_record(data)["genes"], raw.n_vars
    assert {step: steps.pop(step) for step in OTHERS} == {
        "not a spike-in": n_genes + 10,
        "not a count of reads without a gene": n_genes,
    }
    assert steps == prepared_record(without)["genes"] | {"raw": n_genes + 14}


def test_genes_with_similar_names_are_kept(raw, sets):
    names = ["ERCC1", "ERCC-6", "ERCC6L2", "N_unmapped2", "__no_features", "aERCC-00002"]
    raw.var_names = [*names, *raw.var_names[len(names) :]]
    steps = list(prepared_record(prepared(raw, sets))["genes"])
    assert not set(OTHERS).intersection(steps)


# -------------------------------------------------------------------------------------------------------------- labels


def test_labels_are_optional(raw, sets):
    data = prepared(raw, sets, labels={}, contrast=None, n_cells=50)
    assert data.n_obs == 50
    assert prepared_record(data)["contrast"] is None


def test_values_of_labels_become_text():
    obs = pd.DataFrame({"a": [1.0, np.nan, 2.5], "b": [True, False, True], "c": [3, 4, 3], "d": ["x", None, "y"]})
    texts = labels.read_labels(obs, {name.upper(): name for name in obs}, "here")
    classes = {"A": ["1", "2.5"], "B": ["False", "True"], "C": ["3", "4"], "D": ["x", "y"]}
    assert {name: list(label.cat.categories) for name, label in texts.items()} == classes
    assert texts.isna().to_numpy().sum() == 2
    for label, positive, text in (("A", 1, "1"), ("A", 2.5, "2.5"), ("B", True, "True"), ("C", 4, "4")):
        contrast = labels.read_contrast(texts, {"label": label, "positive": positive, "negative": ""}, "here")
        assert contrast == {"label": label, "positive": text, "negative": ""}


def test_cells_without_a_class_of_the_contrast_are_dropped(raw, sets):
    raw.obs.loc[raw.obs_names[:30], "condition"] = None
    raw.obs.loc[raw.obs_names[100:110], "cell_type"] = None
    data = prepared(raw, sets)
    assert list(data.obs_names) == list(raw.obs_names[30:])
    assert prepared_record(data)["cells"]["with a value of the contrast's label"] == 170
    assert data.obs["type"].isna().sum() == 10


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from("xyz")), min_size=2, max_size=60),
    st.data(),
    st.integers(0, 5),
)
def test_subset_is_proportional_and_reproducible(values, data, seed):
    obs = pd.DataFrame(values, columns=["u", "v"]).astype("category")
    n = data.draw(st.integers(1, len(obs)))
    chosen = labels.subset(obs, n, seed, "here")
    np.testing.assert_array_equal(chosen, labels.subset(obs, n, seed, "here"))
    assert len(set(chosen)) == len(chosen) == n
    assert list(chosen) == sorted(chosen)
    joint = pd.Series(values)
    share = joint.value_counts() * n / len(obs)
    taken = joint.iloc[chosen].value_counts().reindex(share.index, fill_value=0)
    assert (abs(taken - share) < 1).all()


def test_subset_differs_by_seed(raw, sets):
    one, two = (prepared(raw, sets, n_cells=60, subset_seed=seed) for seed in (0, 1))
    assert one.n_obs == two.n_obs == 60
    assert set(one.obs_names) != set(two.obs_names)
    assert one.obs["stimulation"].value_counts().to_dict() == {"control": 30, "stimulated": 30}


# ------------------------------------------------------------------------------------------- collections and symbols


def test_several_collections_are_joined(raw, sets):
    first, second = dict(list(sets.items())[:4]), dict(list(sets.items())[4:])
    second = {name.replace("R_", "H_"): genes for name, genes in second.items()}
    entry = prepare_entry(**BASE | {"gene_sets": ["r", "h"], "prefixes": ["R_", "H_"]})
    one, both = prepared(raw, sets), prepare(raw, [first, second], entry, "planted")
    assert list(both.uns["gene_sets"]) == list(one.uns["gene_sets"])
    np.testing.assert_array_equal(both.varm["mask"], one.varm["mask"])
    with refused("the gene set .* is in r and in h; ", start="datasets.planted.gene_sets: "):
        prepare(raw, [first, first], {**entry, "prefixes": ["R_", "R_"]}, "planted")


def test_only_genes_with_an_ortholog_match(raw, sets):
    # Every fifth gene has no ortholog, and its name is the symbol of another gene: it would match by chance.
    missing = np.arange(raw.n_vars) % 5 == 0
    mouse = raw.copy()
    mouse.var_names = np.where(missing, np.roll(raw.var_names, 1), "MM" + raw.var_names.astype(str))
    orthologs = pd.DataFrame({"from": mouse.var_names, "to": raw.var_names})[~missing]
    plain = prepared(raw, sets, **ALL_GENES)
    data = prepared(mouse, sets, orthologs, **ALL_GENES, symbols="orthologs")
    assert list(data.var_names) == [gene for gene in plain.var_names if not missing[raw.var_names.get_loc(gene)]]
    # The values are the same, because genes without an ortholog were counted before they were dropped.
    same = plain[:, data.var_names]
    np.testing.assert_allclose(data.X.toarray(), same.X.toarray())
    sizes = pd.Series(same.varm["mask"].sum(axis=0), index=plain.uns["gene_sets"])
    assert dict(zip(data.uns["gene_sets"], data.varm["mask"].sum(axis=0), strict=True)) == sizes[sizes > 0].to_dict()

    members = set().union(*sets.values())
    match = prepared_record(data)["symbols"]
    assert (match["how"], match["in the sets"]) == ("orthologs", len(members))
    assert match["genes"] == {"mapped": 200, "unmapped": 50, "ambiguous": 0}
    by_chance = members & set(mouse.var_names)
    assert by_chance
    assert match["found"] == match["found by"]["orthologs"] == len(members & set(orthologs["to"]))
    assert match["found by"]["as_is"] == match["found by"]["upper"] == len(by_chance)


def test_symbols_in_capitals(raw, sets):
    plain, small = prepared(raw, sets), raw.copy()
    small.var_names = raw.var_names.str.lower()
    data = prepared(small, sets, symbols="upper")
    assert list(data.var_names) == list(plain.var_names)
    n_found = prepared_record(plain)["symbols"]["found"]
    assert prepared_record(data)["symbols"]["found by"] == {"as_is": 0, "upper": n_found}


# ------------------------------------------------------------------------------------- held-out cells, donors, samples


def test_held_out_cells_change_no_gene_and_no_value(raw, sets):
    plain = prepared(raw, sets)
    held = prepared(raw, sets, hold_out={"share": 0.2, "seed": 1})
    assert list(held.var_names) == list(plain.var_names)
    assert (held.X != plain.X).nnz == 0
    np.testing.assert_array_equal(held.varm["mask"], plain.varm["mask"])
    assert held.obs["held_out"].dtype == bool
    assert held.obs["held_out"].sum() == 40
    assert prepared_record(held)["hold_out"] == {"share": 0.2, "seed": 1, "cells": 40}
    assert prepared_record(plain)["hold_out"] is None
    pd.testing.assert_frame_equal(held.obs.drop(columns="held_out"), plain.obs)


def test_held_out_share_depends_on_its_seed(raw, sets, tmp_path):
    cells = []
    for seed in (0, 0, 1):
        write_prepared(tmp_path / "prepared.h5ad", prepared(raw, sets, hold_out={"share": 0.3, "seed": seed}))
        cells.append(read_prepared(tmp_path / "prepared.h5ad").obs["held_out"].to_numpy())
    np.testing.assert_array_equal(cells[0], cells[1])
    assert (cells[0] != cells[2]).any()
    assert {part.sum() for part in cells} == {60}


def test_cells_of_a_class_are_held_out(raw, sets):
    raw.obs["plate"] = np.where(np.arange(200) < 30, 7.0, 8.0)
    raw.obs.loc[raw.obs_names[-5:], "plate"] = np.nan
    entry = {"seed": 0, "label": "plate", "value": 7}
    data = prepared(raw, sets, labels={**LABELS, "plate": "plate"}, hold_out=entry)
    np.testing.assert_array_equal(data.obs["held_out"], np.arange(200) < 30)
    assert prepared_record(data)["hold_out"] == {**entry, "cells": 30}


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        ({"hold_out": {"seed": 0}}, "hold_out: give either share, or label and value"),
        ({"hold_out": {"share": 0.2, "label": "type", "value": "A"}}, "hold_out: give either"),
        ({"hold_out": {"share": 0.2, "value": "A"}}, "hold_out: give either"),
        ({"hold_out": {"label": "type", "value": "Z"}}, r"hold_out.value: 'Z' .*\(there are: A, B"),
        ({"hold_out": {"label": "type"}}, "hold_out.value: ''"),
        ({"hold_out": {"share": 0.005}}, "hold_out.share: holds out 1 of 200 cells; .* at least two"),
        ({"hold_out": {"share": 0.995}}, "hold_out.share: holds out 199 of 200 cells; .* at least two"),
        ({"hold_out": {"label": "one", "value": "x"}}, "hold_out.label: holds out 200 of 200 cells"),
        ({"donor": "one"}, r"donor: one has fewer than two values in the data \(x\); choose another"),
        ({"donor": "unknown"}, r"donor: unknown has fewer than two values in the data \(none\)"),
    ],
)
def test_wrong_held_out_cells_and_donors_are_refused(raw, sets, change, pattern):
    raw.obs["one"] = "x"
    raw.obs["unknown"] = pd.Series([None] * 200, index=raw.obs_names, dtype=object)
    with refused(pattern, start="datasets.planted."):
        prepared(raw, sets, **{"labels": {**LABELS, "one": "one", "unknown": "unknown"}, **change})


def test_donors_and_missing_samples_are_in_the_record(raw, sets):
    raw.obs["donor"] = [None, *(["d1", "d2"] * 100)[1:]]
    data = prepared(raw, sets, labels={**LABELS, "who": "donor"}, donor="who", missing=["C51"])
    assert data.n_obs == 200
    assert data.obs["who"].isna().sum() == 1
    assert (prepared_record(data)["donor"], prepared_record(data)["missing"]) == ("who", ["C51"])


# ------------------------------------------------------------------------------------------------------- zeroed genes


def test_genes_zeroed_in_one_class_are_dropped_and_named(raw, sets):
    control = (raw.obs["condition"] == "control").to_numpy()
    counts = raw.X.tolil()
    for gene in (5, 60):
        counts[control, gene] = 0
    counts[~control, 90] = 0
    counts[:, 91] = 0
    raw.X = counts.tocsr()
    both = np.array([(raw.X[cells] != 0).sum(axis=0).A1 for cells in (control, ~control)])
    expected = [g for g, (a, b) in zip(raw.var_names, both.T, strict=True) if (a == 0) != (b == 0) and a + b >= 3]
    assert {"G0006", "G0061", "G0091"} <= set(expected)
    assert "G0092" not in expected

    whole = {"n_top_genes": 10_000, "min_genes": 1}
    data = prepared(raw, sets, **whole, zeroed_by="stimulation")
    zeroed = prepared_record(data)["zeroed"]
    assert (zeroed["by"], zeroed["genes"], zeroed["n"]) == ("stimulation", expected, len(expected))
    assert zeroed["n_in_gene_sets"] == len(set(expected) & set().union(*sets.values()))
    assert not set(expected) & set(data.var_names)
    assert prepared_record(prepared(raw, sets, **whole))["zeroed"]["n"] == 0


def test_zeroed_genes_are_those_of_all_cells_not_of_the_subset(raw, sets):
    # A rare gene is absent from a class of a small subset by chance.
    in_subset = raw[labels.subset(labels.read_labels(raw.obs, LABELS, ""), 16, 0, "")]
    classes = [(in_subset.obs["condition"] == name).to_numpy() for name in ("control", "stimulated")]
    seen = raw_counts.seen_in(raw_counts.checked_counts(in_subset, ""), classes)
    assert preparation.zeroed_genes(seen, 1).sum() > 0
    data = prepared(raw, sets, **ALL_GENES, n_cells=16, zeroed_by="stimulation")
    assert prepared_record(data)["zeroed"]["n"] == 0


def test_zeroed_genes_are_absent_from_exactly_one_class():
    counts = sparse.csr_matrix([[1, 0, 0, 1], [1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]])
    classes = [np.array(["a", "b", "b", "c"]) == name for name in "abc"]
    seen = raw_counts.seen_in([(slice(0, 4), counts)], classes)
    np.testing.assert_array_equal(seen, [[1, 0, 0, 1], [2, 2, 0, 0], [1, 1, 1, 0]])
    np.testing.assert_array_equal(preparation.zeroed_genes(seen, 1), [False, True, False, False])
    np.testing.assert_array_equal(preparation.zeroed_genes(seen, 4), [False] * 4)


# ----------------------------------------------------------------------------------------------------------- bad input


def count(value):
    """Return a function that puts a value among the counts, of cell_00003 and G0005."""

    def change(raw):
        counts = raw.X.astype(np.float32).tolil()
        counts[2, 4] = value
        raw.X = counts.tocsr()

    return change


def twice(names):
    return lambda raw: setattr(raw, names, ["twice", "twice", *getattr(raw, names)[2:]])


def one_class(raw):
    raw.obs["condition"] = "stimulated"


def contrast(**changes):
    return {"contrast": {**CONTRAST, **changes}}


@pytest.mark.filterwarnings("ignore:Observation names", "ignore:Variable names")
@pytest.mark.parametrize(
    ("damage", "change", "pattern"),
    [
        *((count(x), {}, f"files: {x} in cell cell_00003, gene G0005") for x in (np.nan, np.inf, -np.inf, -1.0, 0.5)),
        (twice("obs_names"), {}, r"files: 1 names of cells occur more than once \('twice'\)"),
        (twice("var_names"), {}, r"files: 1 names of genes occur more than once \('twice'\)"),
        (one_class, {}, "contrast.negative: all selected cells are 'stimulated'; choose another class or label"),
        (None, {"labels": {"stimulation": "conditon"}}, "labels.stimulation: 'conditon'.*did you mean condition"),
        (None, {"labels": {"stimulation": "x"}}, "labels.stimulation: 'x'.*there are: cell_type, condition"),
        (None, contrast(positive="simulated"), r"contrast.positive: 'simulated'.*did you mean stimulated\?"),
        (None, contrast(negative="q"), "contrast.negative: 'q'.*there are: control, stimulated"),
        (None, contrast(negative="stimulated"), "contrast.negative: is the same as positive"),
        (None, {"n_cells": 201}, "n_cells: 201 is more than the 200 cells of the data; lower n_cells"),
        (None, {"n_cells": 1, "min_cells": 1}, "contrast.*: (no|all) selected cell.*stimulat.*raise n_cells"),
        (None, {"min_cells": 1000}, "min_cells: no gene is seen in 1000 cells; lower min_cells"),
        (None, {"min_genes": 30}, "min_genes: no gene set has 30 to any number of the 150 selected genes"),
        (None, {"max_genes": 2, "min_genes": 1}, r"no gene set has 1 to 2 of the 150 selected genes \(the largest has"),
    ],
)
def test_bad_input_is_refused(raw, sets, damage, change, pattern):
    if damage:
        damage(raw)
    with refused(pattern, start="datasets.planted."):
        prepared(raw, sets, **change)


@pytest.mark.parametrize("shape", [(0, 250), (200, 0)])
def test_data_without_cells_or_genes_are_refused(raw, sets, shape):
    with refused(f"the data have {shape[0]} cells and {shape[1]} genes"):
        prepared(raw[: shape[0], : shape[1]].copy(), sets)


def test_gene_sets_without_a_match_are_refused_with_near_matches(raw):
    with refused(r"planted.gene_sets: no gene .* G0001 \(data\) ~ g0001 \(sets\)"):
        prepared(raw, {"A": ["g0001", "g0002"]})


def test_few_matches_are_refused_with_what_may_help(raw, sets):
    """One gene that matches by chance must not hide that the others are written in another way."""
    lower = {name: [gene.lower() for gene in genes] for name, genes in sets.items()}
    lower["R_TYPE_A"] = [*lower["R_TYPE_A"], raw.var_names[0]]
    raw.var["symbol"] = raw.var_names.str.lower()
    with refused(
        r"min_genes: no gene set has 13 .*the largest has [01].*options: \{gene_names: symbol\} would find "
        r"[0-9]+ of the symbols in the gene sets, not 1; nearly matched: G0.* ~ g0.*symbols: upper or orthologs"
    ):
        prepared(raw, lower, min_genes=13)
    raw.var_names = raw.var_names.str.lower()
    upper = {name: [gene.upper() for gene in genes] for name, genes in lower.items()}
    with refused("symbols: upper would find [0-9]+ of the symbols in the gene sets, not 1"):
        prepared(raw, {**upper, "R_TYPE_A": [*upper["R_TYPE_A"], raw.var_names[0]]}, min_genes=13)


def test_identifiers_of_genes_are_kept(raw, sets, tmp_path):
    raw.var["id"] = [f"ENSG{i}" for i in range(raw.n_vars)]
    data = prepared(raw, sets)
    assert list(data.var["id"]) == list(raw.var["id"][data.var_names])
    del raw.var["id"]
    raw.var_names = raw.var_names.str.lower()
    data = prepared(raw, {"A": list(raw.var_names.str.upper())}, symbols="upper")
    assert list(data.var["id"]) == list(data.var_names.str.lower())
    factors = no_factors(data.n_obs, data.n_vars, "timeout", "late")
    write_factors(tmp_path / "f.h5ad", factors, data)
    assert list(read_factors(tmp_path / "f.h5ad").var["id"]) == list(data.var["id"])


def test_a_flavour_that_fails_on_the_data_is_refused(raw, sets):
    counts = sparse.csr_matrix(np.tile([[1, 0], [0, 1]], (100, 125)))
    with refused("planted.hvg_flavor: seurat_v3 fails .*choose another"):
        prepared(anndata.AnnData(counts, obs=raw.obs, var=raw.var), sets)


# ----------------------------------------------------------------------------------------------------------- real data


@pytest.mark.skipif("MIRROR" not in os.environ, reason="MIRROR is not the folder of the real files")
def test_real_kang():
    """About a thousand genes and the paper's 134 sets are left, with those on interferon."""
    file = Path(os.environ["MIRROR"], "kang/kang_tutorial.h5ad")
    sets = gene_sets.read_gmt(Path(os.environ["MIRROR"], "reactome/c2.cp.reactome.v4.0.symbols.gmt"))
    assert sha256(file).startswith("9a5bf9212520dc89")
    module = registry.load("reader", "h5ad")
    raw = module.read({"counts": file}, registry.resolve(module.SPEC, {}, "options"))
    kang = {
        "labels": {"condition": "condition", "cell_type": "cell_type"},
        "contrast": {"label": "condition", "positive": "stimulated", "negative": "control"},
        **{"zeroed_by": "condition", "n_top_genes": 3300, "min_genes": 13, "prefixes": ["REACTOME_"]},
    }
    data = prepare(raw, [sets], prepare_entry(**kang), "kang")
    assert data.n_obs == 13_576
    assert 950 <= data.n_vars <= 1050
    assert 125 <= len(data.uns["gene_sets"]) <= 140
    sizes = dict(zip(data.uns["gene_sets"], data.varm["mask"].sum(axis=0), strict=True))
    assert sizes["INTERFERON_SIGNALING"] > 50
    assert {"SIGNALING_BY_THE_B_CELL_RECEPTOR_BCR", "ANTIVIRAL_MECHANISM_BY_IFN_STIMULATED_GENES"} <= set(sizes)
    record = prepared_record(data)
    assert 500 < record["zeroed"]["n"] == len(record["zeroed"]["genes"]) < 1500
    assert record["genes"]["raw"] == 14_053
