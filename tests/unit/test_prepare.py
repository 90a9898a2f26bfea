"""Preparation against direct calls of scanpy, the definitions of its steps, and every kind of bad input."""

import hashlib
import json
import os
from importlib import metadata
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from factorbench import registry
from factorbench.contracts.errors import UserError
from factorbench.contracts.prepared import prepared_record, read_prepared, write_prepared
from factorbench.data import gene_sets, labels
from factorbench.data import preparation as steps
from factorbench.data.preparation import prepare
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

SETTINGS = {
    "title": "Planted",
    "labels": {"stimulation": "condition", "type": "cell_type"},
    "contrast": {"label": "stimulation", "positive": "stimulated", "negative": ""},
    "n_cells": None,
    "subset_seed": 0,
    "min_cells": 3,
    "zeroed_by": "",
    "target_sum": 1e4,
    "hvg_flavor": "seurat_v3",
    "n_top_genes": 150,
    "gene_sets": ["planted"],
    "min_genes": 5,
    "max_genes": None,
    "n_sets": None,
    "keep_sets": [],
    "prefixes": ["R_"],
    "symbols": "as_is",
    "orthologs": "",
    "donor": "",
    "hold_out": None,
    "missing": [],
    "doi": "10.1/x",
}


@pytest.fixture(scope="module")
def planted():
    """Planted counts and their sets, named with a prefix."""
    module = registry.load("reader", "simulated")
    options = registry.resolve(module.SPEC, {"n_cells": 200, "n_genes": 250, "depth": 500.0}, "options")
    return module.read({}, options), {f"R_{name}": genes for name, genes in module.gene_sets(options).items()}


@pytest.fixture
def raw(planted):
    return planted[0].copy()


@pytest.fixture
def sets(planted):
    return planted[1]


def record(data):
    return prepared_record(data)


# ----------------------------------------------------------------------------------------------------- what comes of it


@pytest.mark.parametrize("flavor", ["seurat_v3", "seurat", "cell_ranger"])
def test_same_as_scanpy_by_hand(raw, sets, flavor):
    found = prepare(raw, [sets], {**SETTINGS, "hvg_flavor": flavor}, "planted")

    by_hand = raw.copy()
    by_hand.X = by_hand.X.astype(np.float32)
    sc.pp.filter_genes(by_hand, min_cells=3)
    by_hand.layers["counts"] = by_hand.X.copy()
    sc.pp.normalize_total(by_hand, target_sum=1e4)
    sc.pp.log1p(by_hand)
    layer = "counts" if flavor == "seurat_v3" else None
    sc.pp.highly_variable_genes(by_hand, flavor=flavor, n_top_genes=150, layer=layer, subset=True)
    present = {name: [gene for gene in by_hand.var_names if gene in genes] for name, genes in sets.items()}
    kept = {name: genes for name, genes in present.items() if len(genes) >= 5}
    by_hand = by_hand[:, [any(gene in genes for genes in kept.values()) for gene in by_hand.var_names]]

    assert 0 < by_hand.n_vars < 150
    assert list(found.var_names) == list(by_hand.var_names)
    assert list(found.obs_names) == list(by_hand.obs_names)
    np.testing.assert_allclose(found.X.toarray(), by_hand.X.toarray(), rtol=1e-6)
    np.testing.assert_array_equal(found.layers["counts"].toarray(), by_hand.layers["counts"].toarray())
    assert list(found.uns["gene_sets"]) == [name.removeprefix("R_") for name in kept]
    expected = [[gene in genes for genes in kept.values()] for gene in found.var_names]
    np.testing.assert_array_equal(found.varm["mask"], expected)


def test_file_keeps_the_contract_and_the_raw_data_are_untouched(raw, sets, tmp_path):
    before = raw.copy()
    found = prepare(raw, [sets], SETTINGS, "planted", {"counts": "abc"})
    assert (raw.X != before.X).nnz == 0
    pd.testing.assert_frame_equal(raw.obs, before.obs)
    write_prepared(tmp_path / "prepared.h5ad", found)
    again = read_prepared(tmp_path / "prepared.h5ad")
    assert (again.X != found.X).nnz == 0
    assert list(again.uns["gene_sets"]) == list(found.uns["gene_sets"])
    assert list(again.obs) == ["stimulation", "type"]
    note = record(again)
    assert note["inputs"] == {"counts": "abc"}
    assert note["contrast"] == {"label": "stimulation", "positive": "stimulated", "negative": ""}
    assert note["settings"]["n_top_genes"] == 150
    assert note["settings"]["doi"] == "10.1/x"
    assert note["genes"]["in a kept gene set"] == again.n_vars
    assert note["cells"]["with counts"] == again.n_obs
    assert note["sets"]["in the collection"] == len(sets) == note["sets"]["kept"] + len(note["sets"]["dropped"])
    assert note["versions"]["scanpy"] == metadata.version("scanpy")


def test_raw_file_is_plain_anndata(raw, tmp_path):
    steps.write_raw(tmp_path / "raw.h5ad", raw)
    again = anndata.read_h5ad(tmp_path / "raw.h5ad")
    assert (again.X != raw.X).nnz == 0
    assert list(again.obs) == list(raw.obs)
    assert [path.name for path in tmp_path.iterdir()] == ["raw.h5ad"]


def test_limits_of_size(raw, sets):
    every = {**SETTINGS, "n_top_genes": 10_000, "min_genes": 1, "min_cells": 1}
    sets = {**sets, "R_SMALL": ["G0001", "G0002"], "R_LARGE": list(raw.var_names[:100]), "R_ELSEWHERE": ["ISG15"]}
    found = prepare(raw, [sets], {**every, "min_genes": 3, "max_genes": 60}, "planted")
    sizes = found.varm["mask"].sum(axis=0)
    assert sizes.min() >= 3
    assert sizes.max() <= 60
    assert record(found)["sets"]["dropped"] == {"SMALL": 2, "LARGE": 100, "ELSEWHERE": 0}
    assert {"SMALL", "LARGE"} <= set(prepare(raw, [sets], every, "planted").uns["gene_sets"])


def test_genes_without_variation_and_cells_without_counts_are_dropped(raw, sets):
    counts = raw.X.tolil()
    counts[7] = 0
    counts[:, 3] = 0
    raw.X = counts.tocsr()
    found = prepare(raw, [sets], {**SETTINGS, "n_top_genes": 10_000}, "planted")
    assert raw.obs_names[7] not in found.obs_names
    assert record(found)["cells"]["with counts"] == 199
    assert record(found)["genes"]["seen in enough cells"] == 249
    np.testing.assert_array_equal(steps.varying([sparse.csr_matrix(np.full((4, 2), 2.0))]), [False, False])
    np.testing.assert_array_equal(steps.varying([sparse.csr_matrix([[1.0, 0, 2], [1, 1, 2]])]), [False, True, False])


def test_labels_are_optional(raw, sets):
    found = prepare(raw, [sets], {**SETTINGS, "labels": {}, "contrast": None, "n_cells": 50}, "planted")
    assert found.n_obs == 50
    assert record(found)["contrast"] is None


# -------------------------------------------------------------------------------------------------------------- labels


def test_values_of_labels_become_text():
    obs = pd.DataFrame({"a": [1.0, np.nan, 2.5], "b": [True, False, True], "c": [3, 4, 3], "d": ["x", None, "y"]})
    found = labels.read_labels(obs, {name.upper(): name for name in obs}, "here")
    assert {name: list(label.cat.categories) for name, label in found.items()} == {
        "A": ["1", "2.5"],
        "B": ["False", "True"],
        "C": ["3", "4"],
        "D": ["x", "y"],
    }
    assert found.isna().to_numpy().sum() == 2
    for label, positive, text in (("A", 1, "1"), ("A", 2.5, "2.5"), ("B", True, "True"), ("C", 4, "4")):
        contrast = labels.read_contrast(found, {"label": label, "positive": positive, "negative": ""}, "here")
        assert contrast == {"label": label, "positive": text, "negative": ""}


def test_cells_without_the_contrasts_label_are_dropped_and_counted(raw, sets):
    raw.obs.loc[raw.obs_names[:30], "condition"] = None
    raw.obs.loc[raw.obs_names[100:110], "cell_type"] = None
    found = prepare(raw, [sets], SETTINGS, "planted")
    assert list(found.obs_names) == list(raw.obs_names[30:])
    assert record(found)["cells"]["with a value of the contrast's label"] == 170
    assert found.obs["type"].isna().sum() == 10


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
    one, two = (prepare(raw, [sets], {**SETTINGS, "n_cells": 60, "subset_seed": seed}, "planted") for seed in (0, 1))
    assert one.n_obs == two.n_obs == 60
    assert set(one.obs_names) != set(two.obs_names)
    assert one.obs["stimulation"].value_counts().to_dict() == {"control": 30, "stimulated": 30}


# ------------------------------------------------------------------------------------------- collections and symbols


def test_several_collections_are_one(raw, sets):
    first, second = dict(list(sets.items())[:4]), dict(list(sets.items())[4:])
    second = {name.replace("R_", "H_"): genes for name, genes in second.items()}
    two = {**SETTINGS, "gene_sets": ["r", "h"], "prefixes": ["R_", "H_"]}
    one, both = prepare(raw, [sets], SETTINGS, "planted"), prepare(raw, [first, second], two, "planted")
    assert list(both.uns["gene_sets"]) == list(one.uns["gene_sets"])
    np.testing.assert_array_equal(both.varm["mask"], one.varm["mask"])
    assert record(both)["settings"]["gene_sets"] == ["r", "h"]
    with pytest.raises(UserError, match=r"^datasets.planted.gene_sets: the gene set .* is in r and in h; "):
        prepare(raw, [first, first], {**two, "prefixes": ["R_", "R_"]}, "planted")


def as_mouse(raw):
    """The same data with names as GEO writes them and a table of orthologs; every fifth gene has none.

    What lacks an ortholog bears the symbol of another gene: it would match by chance.
    """
    lacking = np.arange(raw.n_vars) % 5 == 0
    mouse = np.where(lacking, np.roll(raw.var_names, 1), "MM" + raw.var_names.astype(str))
    orthologs = pd.DataFrame({"from": mouse, "to": raw.var_names})[~lacking]
    data = raw.copy()
    data.var_names = mouse
    return data, orthologs, lacking


def test_orthologs_match_and_nothing_else_does(raw, sets):
    mouse, orthologs, lacking = as_mouse(raw)
    every = {**SETTINGS, "n_top_genes": 10_000, "min_genes": 1, "min_cells": 1}
    plain = prepare(raw, [sets], every, "planted")
    found = prepare(mouse, [sets], {**every, "symbols": "orthologs", "orthologs": "t"}, "planted", {}, orthologs)
    assert list(found.var_names) == [gene for gene in plain.var_names if not lacking[raw.var_names.get_loc(gene)]]
    # The same normalised values and members: genes without an ortholog were counted before they were dropped.
    same = plain[:, found.var_names]
    np.testing.assert_allclose(found.X.toarray(), same.X.toarray())
    sizes = pd.Series(same.varm["mask"].sum(axis=0), index=plain.uns["gene_sets"])
    assert dict(zip(found.uns["gene_sets"], found.varm["mask"].sum(axis=0), strict=True)) == sizes[sizes > 0].to_dict()

    members = set().union(*sets.values())
    note = record(found)["symbols"]
    assert note["genes"] == {"mapped": 200, "unmapped": 50, "ambiguous": 0}
    assert note["how"] == "orthologs"
    assert note["in the sets"] == len(members)
    by_hand = {"orthologs": members & set(orthologs["to"]), "as_is": members & set(mouse.var_names)}
    assert by_hand["as_is"], "nothing would match by chance: the test says nothing"
    assert note["found"] == note["found by"]["orthologs"] == len(by_hand["orthologs"])
    assert note["found by"]["as_is"] == note["found by"]["upper"] == len(by_hand["as_is"])
    assert record(found)["settings"]["orthologs"] == "t"


def test_capitals(raw, sets):
    small = raw.copy()
    small.var_names = raw.var_names.str.lower()
    found = prepare(small, [sets], {**SETTINGS, "symbols": "upper"}, "planted")
    plain = prepare(raw, [sets], SETTINGS, "planted")
    assert list(found.var_names) == list(plain.var_names)
    assert record(found)["symbols"]["found by"] == {"as_is": 0, "upper": record(plain)["symbols"]["found"]}


# ------------------------------------------------------------------------------------- held-out cells, donors, samples


def test_genes_and_numbers_are_those_without_holding_out(raw, sets):
    plain = prepare(raw, [sets], SETTINGS, "planted")
    held = prepare(raw, [sets], {**SETTINGS, "hold_out": {"share": 0.2, "seed": 1}}, "planted")
    assert list(held.var_names) == list(plain.var_names)
    assert (held.X != plain.X).nnz == 0
    np.testing.assert_array_equal(held.varm["mask"], plain.varm["mask"])
    assert held.obs["held_out"].dtype == bool
    assert held.obs["held_out"].sum() == 40
    assert record(held)["hold_out"] == {"share": 0.2, "seed": 1, "cells": 40}
    assert "held_out" not in plain.obs
    assert record(plain)["hold_out"] is None
    pd.testing.assert_frame_equal(held.obs.drop(columns="held_out"), plain.obs)


def test_held_out_share_follows_from_its_seed(raw, sets, tmp_path):
    cells = []
    for seed in (0, 0, 1):
        found = prepare(raw, [sets], {**SETTINGS, "hold_out": {"share": 0.3, "seed": seed}}, "planted")
        write_prepared(tmp_path / "prepared.h5ad", found)
        cells.append(read_prepared(tmp_path / "prepared.h5ad").obs["held_out"].to_numpy())
    np.testing.assert_array_equal(cells[0], cells[1])
    assert (cells[0] != cells[2]).any()
    assert {part.sum() for part in cells} == {60}


def test_a_class_can_be_held_out(raw, sets):
    raw.obs["plate"] = np.where(np.arange(200) < 30, 7.0, 8.0)
    raw.obs.loc[raw.obs_names[-5:], "plate"] = np.nan
    plates = {**SETTINGS, "labels": {**SETTINGS["labels"], "plate": "plate"}}
    entry = {"seed": 0, "label": "plate", "value": 7}
    found = prepare(raw, [sets], {**plates, "hold_out": entry}, "planted")
    np.testing.assert_array_equal(found.obs["held_out"], np.arange(200) < 30)
    assert record(found)["hold_out"] == {**entry, "cells": 30}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"hold_out": {"seed": 0}}, "hold_out: give either share, or label and value"),
        (
            {"hold_out": {"share": 0.2, "label": "type", "value": "A"}},
            "hold_out: give either share, or label and value",
        ),
        ({"hold_out": {"share": 0.2, "value": "A"}}, "hold_out: give either share, or label and value"),
        ({"hold_out": {"label": "typ", "value": "A"}}, r"hold_out.label: 'typ' is none .* \(did you mean type\?\)"),
        ({"hold_out": {"label": "type", "value": "Z"}}, r"hold_out.value: no cell is 'Z' in type \(there are: A, B"),
        ({"hold_out": {"label": "type"}}, "hold_out.value: no cell is '' in type"),
        ({"hold_out": {"share": 0.005}}, "hold_out.share: holds out 1 of 200 cells; at least two"),
        ({"hold_out": {"share": 0.995}}, "hold_out.share: holds out 199 of 200 cells; at least two"),
        ({"hold_out": {"label": "one", "value": "x"}}, "hold_out.label: holds out 200 of 200 cells"),
        (
            {"hold_out": {"share": 0.2}, "labels": {"stimulation": "condition", "held_out": "cell_type"}},
            "hold_out: a label is called held_out",
        ),
        ({"donor": "one"}, r"donor: one has fewer than two values in the data \(x\); choose another"),
        ({"donor": "nobody"}, r"donor: nobody has fewer than two values in the data \(none\)"),
        ({"donor": "typ"}, r"donor: 'typ' is none of the dataset's labels \(did you mean type\?\)"),
    ],
)
def test_held_out_cells_and_donors_that_cannot_be(raw, sets, change, says):
    raw.obs["one"] = "x"
    raw.obs["nobody"] = pd.Series([None] * 200, index=raw.obs_names, dtype=object)
    names = {**SETTINGS["labels"], "one": "one", "nobody": "nobody"}
    with pytest.raises(UserError, match=f"^datasets.planted.{says}") as error:
        prepare(raw, [sets], {**SETTINGS, "labels": names, **change}, "planted")
    assert "\n" not in str(error.value)


def test_donors_and_missing_samples_are_in_the_record(raw, sets):
    raw.obs["donor"] = [None, *(["d1", "d2"] * 100)[1:]]
    labels_ = {**SETTINGS["labels"], "who": "donor"}
    found = prepare(raw, [sets], {**SETTINGS, "labels": labels_, "donor": "who", "missing": ["C51"]}, "planted")
    assert found.n_obs == 200
    assert found.obs["who"].isna().sum() == 1
    assert record(found)["donor"] == "who"
    assert record(found)["missing"] == ["C51"]
    assert record(prepare(raw, [sets], SETTINGS, "planted"))["donor"] == ""


# -------------------------------------------------------------------------------------------------- zeroed by a filter


def test_genes_zeroed_in_one_class_are_dropped_counted_and_named(raw, sets):
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

    whole = {**SETTINGS, "n_top_genes": 10_000, "min_genes": 1}
    found = prepare(raw, [sets], {**whole, "zeroed_by": "stimulation"}, "planted")
    note = record(found)["zeroed"]
    assert note["genes"] == expected
    assert note["n"] == len(expected)
    assert note["n_in_gene_sets"] == len(set(expected) & set().union(*sets.values()))
    assert not set(expected) & set(found.var_names)
    assert record(prepare(raw, [sets], whole, "planted"))["zeroed"]["n"] == 0


def test_zeroed_genes_are_looked_for_in_all_cells_not_in_the_subset(raw, sets):
    # A rare gene is absent from a class of a small subset by chance: that is no artefact.
    small = {
        **SETTINGS,
        "n_cells": 16,
        "zeroed_by": "stimulation",
        "min_cells": 1,
        "n_top_genes": 10_000,
        "min_genes": 1,
    }
    in_subset = raw[labels.subset(labels.read_labels(raw.obs, SETTINGS["labels"], ""), 16, 0, "")]
    classes = [(in_subset.obs["condition"] == name).to_numpy() for name in ("control", "stimulated")]
    assert steps.zeroed_genes(steps.seen_in(steps.checked(in_subset, ""), classes), 1).sum() > 0
    assert record(prepare(raw, [sets], small, "planted"))["zeroed"]["n"] == 0


def test_zeroed_in_exactly_one_of_three_classes():
    counts = sparse.csr_matrix([[1, 0, 0, 1], [1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]])
    seen = steps.seen_in([(slice(0, 4), counts)], [np.array(["a", "b", "b", "c"]) == name for name in "abc"])
    np.testing.assert_array_equal(seen, [[1, 0, 0, 1], [2, 2, 0, 0], [1, 1, 1, 0]])
    np.testing.assert_array_equal(steps.zeroed_genes(seen, 1), [False, True, False, False])
    np.testing.assert_array_equal(steps.zeroed_genes(seen, 4), [False] * 4)


# ----------------------------------------------------------------------------------------------------------- bad input


def put(value):
    def change(raw):
        counts = raw.X.astype(np.float32).tolil()
        counts[2, 4] = value
        raw.X = counts.tocsr()

    return change


def twice(names):
    return lambda raw: setattr(raw, names, ["twice", "twice", *getattr(raw, names)[2:]])


def one_class(raw):
    raw.obs["condition"] = "stimulated"


CONTRAST = SETTINGS["contrast"]


@pytest.mark.filterwarnings("ignore:Observation names", "ignore:Variable names")
@pytest.mark.parametrize(
    ("spoil", "change", "says"),
    [
        (
            put(np.nan),
            {},
            r"planted.files: 1 counts are NaN, the first in cell cell_00003, gene G0005; give raw counts",
        ),
        (put(np.inf), {}, r"1 counts are infinite, the first in cell cell_00003, gene G0005"),
        (put(-1), {}, r"1 counts are negative, the first in cell cell_00003, gene G0005"),
        (put(0.5), {}, r"1 counts are not whole numbers, the first in cell cell_00003, gene G0005"),
        (twice("obs_names"), {}, r"planted.files: 1 names of cells are there more than once \(twice\)"),
        (twice("var_names"), {}, r"planted.files: 1 names of genes are there more than once \(twice\)"),
        (
            None,
            {"labels": {"stimulation": "conditon"}},
            r"labels.stimulation: .*'conditon' \(did you mean condition\?\)",
        ),
        (None, {"labels": {"stimulation": "x"}}, r"no label 'x' \(there are: cell_type, condition\)"),
        (None, {"contrast": {**CONTRAST, "label": "x"}}, r"contrast.label: 'x' is none of the dataset's labels"),
        (one_class, {}, r"contrast.label: stimulation has one class in the data \(stimulated\)"),
        (
            None,
            {"contrast": {**CONTRAST, "positive": "stim"}},
            r"contrast.positive: no cell is 'stim' in stimulation \(",
        ),
        (None, {"contrast": {**CONTRAST, "positive": "simulated"}}, r"did you mean stimulated\?"),
        (
            None,
            {"contrast": {**CONTRAST, "negative": "q"}},
            r"contrast.negative: .* \(there are: control, stimulated\)",
        ),
        (None, {"contrast": {**CONTRAST, "negative": "stimulated"}}, r"contrast.negative: is the positive class too"),
        (None, {"n_cells": 201}, r"planted.n_cells: 201 cells were asked for and there are 200; lower n_cells"),
        (
            None,
            {"n_cells": 1, "min_cells": 1},
            r"contrast.(positive|negative): none of its cells is left; choose a larger n_cells",
        ),
        (None, {"min_cells": 1000}, r"planted.min_cells: no gene is seen in 1000 cells; lower min_cells"),
        (None, {"min_genes": 30}, r"planted.min_genes: no gene set has 30 to any number of the 150 selected genes"),
        (None, {"max_genes": 2, "min_genes": 1}, r"no gene set has 1 to 2 of the 150 selected genes \(the largest has"),
    ],
)
def test_bad_input_is_refused_in_one_line(raw, sets, spoil, change, says):
    if spoil:
        spoil(raw)
    with pytest.raises(UserError, match=says) as error:
        prepare(raw, [sets], {**SETTINGS, **change}, "planted")
    assert str(error.value).startswith("datasets.planted.")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(0, 250), (200, 0)])
def test_nothing_in_the_data(raw, sets, shape):
    with pytest.raises(UserError, match=f"the data have {shape[0]} cells and {shape[1]} genes"):
        prepare(raw[: shape[0], : shape[1]].copy(), [sets], SETTINGS, "planted")


def test_gene_sets_that_match_nothing_name_what_nearly_did(raw):
    with pytest.raises(UserError, match=r"planted.gene_sets: no gene .* G0001 \(data\) ~ g0001 \(sets\)") as error:
        prepare(raw, [{"A": ["g0001", "g0002"]}], SETTINGS, "planted")
    assert "\n" not in str(error.value)


def test_flavour_that_fails_on_the_data(raw, sets):
    counts = sparse.csr_matrix(np.tile([[1, 0], [0, 1]], (100, 125)))
    with pytest.raises(UserError, match=r"planted.hvg_flavor: seurat_v3 fails on these data"):
        prepare(anndata.AnnData(counts, obs=raw.obs, var=raw.var), [sets], SETTINGS, "planted")


# ----------------------------------------------------------------------------------------------------------- real data


def mirrored(path):
    path = Path(os.environ.get("MIRROR", "")) / path
    if "MIRROR" not in os.environ or not path.exists():
        pytest.skip("MIRROR does not lead to the real files")
    return path


def test_real_kang():
    """About a thousand genes and about the paper's 134 sets, with those on interferon."""
    file = mirrored("kang/kang_tutorial.h5ad")
    gmt = mirrored("reactome/c2.cp.reactome.v4.0.symbols.gmt")
    module = registry.load("reader", "h5ad")
    assert hashlib.sha256(file.read_bytes()).hexdigest().startswith("9a5bf9212520dc89")
    raw = module.read({"counts": file}, registry.resolve(module.SPEC, {}, "options"))
    kang = {
        **SETTINGS,
        "labels": {"condition": "condition", "cell_type": "cell_type"},
        "contrast": {"label": "condition", "positive": "stimulated", "negative": "control"},
        "zeroed_by": "condition",
        "n_top_genes": 3300,
        "min_genes": 13,
        "prefixes": ["REACTOME_"],
    }
    found = prepare(raw, [gene_sets.read_gmt(gmt)], kang, "kang")
    assert found.n_obs == 13_576
    assert 950 <= found.n_vars <= 1050
    assert 125 <= len(found.uns["gene_sets"]) <= 140
    sizes = dict(zip(found.uns["gene_sets"], found.varm["mask"].sum(axis=0), strict=True))
    assert sizes["INTERFERON_SIGNALING"] > 50
    assert {"SIGNALING_BY_THE_B_CELL_RECEPTOR_BCR", "ANTIVIRAL_MECHANISM_BY_IFN_STIMULATED_GENES"} <= set(sizes)
    zeroed = record(found)["zeroed"]
    assert 500 < zeroed["n"] == len(zeroed["genes"]) < 1500
    assert json.loads(found.uns["factorbench"])["genes"]["raw"] == 14_053
