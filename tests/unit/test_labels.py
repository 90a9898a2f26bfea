"""Classes that the config names and the data write, and labels that are missing as text."""

import anndata
import numpy as np
import pandas as pd
import pytest
import yaml
from factorbench.data import labels
from factorbench.data.description import describe_classes
from scipy import sparse

from tests.bad_data.outcome import refused
from tests.unit.test_readers import notes, read, values

CLASSES = {
    "cluster": ["10", "1_0", "1_1", "8", "010"],
    "patient": ["1.1", "1.10", "1.2"],
    "time": ["12:30", "750"],
    "response": ["NO", "YES"],
    "flag": ["TRUE", "FALSE"],
    "number": ["1", "2"],
    "any": ["=", "<<", "2020-13-01", "0b_", "[", "a: b", "&x", "7"],
}


def cells(**obs):
    """Return labels as the preparation reads them, with three cells per value."""
    obs = pd.DataFrame({name: np.repeat(classes, 3) for name, classes in obs.items()})
    return labels.read_labels(obs, {name: name for name in obs}, "here")


def positive(label, text):
    """Return the class that the contrast takes if the config says ``text``, without quotes."""
    obs = cells(**{label: CLASSES[label]})
    contrast = yaml.safe_load(f"{{label: {label}, positive: {text}, negative: ''}}")
    return labels.read_contrast(obs, contrast, "d.contrast")["positive"]


@pytest.mark.parametrize(
    ("label", "text", "expected"),
    [
        ("cluster", "1_1", "1_1"),
        ("patient", "1.2", "1.2"),
        ("response", "NO", "NO"),
        ("response", "YES", "YES"),
        ("flag", "TRUE", "TRUE"),
        ("number", "1", "1"),
        ("number", "1.0", "1"),
        ("any", "7", "7"),
        *(("cluster", f"'{name}'", name) for name in CLASSES["cluster"]),
        *(("any", f"'{name}'", name) for name in CLASSES["any"]),
    ],
)
def test_a_class_is_the_one_that_is_written_so(label, text, expected):
    assert positive(label, text) == expected


@pytest.mark.parametrize(
    ("label", "text", "pattern"),
    [
        ("cluster", "1_0", "10 may mean 10 or 1_0; put the name in quotes"),
        ("cluster", "10", "10 may mean 10 or 1_0"),
        ("cluster", "010", "8 may mean 010 or 8"),
        ("patient", "1.10", r"1\.1 may mean 1\.1 or 1\.10"),
        ("time", "12:30", "750 may mean 12:30 or 750"),
        ("number", "TRUE", r"'True' is not defined \(there are: 1, 2\)"),
        ("response", "1", r"'1' is not defined \(there are: NO, YES\)"),
        ("any", "9", "'9' is not defined"),
        ("response", "None", "'None' means that the label is missing; give the class another name"),
    ],
)
def test_a_class_that_is_not_certain_is_refused(label, text, pattern):
    with refused(pattern, start="d.contrast.positive: "):
        positive(label, text)


def test_a_single_class_of_that_number_is_found():
    obs = cells(cluster=["1_0", "1_1"], time=["12:30", "13:30"])
    for label, value, other, expected in (("cluster", 10, 11, ["1_0", "1_1"]), ("time", 750, 810, ["12:30", "13:30"])):
        contrast = labels.read_contrast(obs, {"label": label, "positive": value, "negative": other}, "here")
        assert list(contrast.values()) == [label, *expected]


def test_a_negative_class_that_yaml_reads_as_false_or_zero():
    obs = cells(response=["NO", "YES"], dose=["0", "5"])
    assert labels.read_contrast(obs, {"label": "response", "positive": True, "negative": False}, "") == {
        "label": "response",
        "positive": "YES",
        "negative": "NO",
    }
    assert labels.read_contrast(obs, {"label": "dose", "positive": 5, "negative": 0}, "")["negative"] == "0"


def test_held_out_cells_are_those_of_the_class_that_is_written_so():
    obs = cells(cluster=["1_0", "1_1"], response=["NO", "YES"])
    assert labels.hold_out(obs, {"label": "cluster", "value": 10}, "").tolist() == [True] * 3 + [False] * 3
    assert labels.hold_out(obs, {"label": "response", "value": False}, "").tolist() == [True] * 3 + [False] * 3
    obs = cells(patient=CLASSES["patient"])
    with refused(r"1\.1 may mean 1\.1 or 1\.10; put the name in quotes", start="d.hold_out.value: "):
        labels.hold_out(obs, {"label": "patient", "value": 1.1}, "d.hold_out")


@pytest.fixture
def h5ad(tmp_path):
    """Write four cells with labels and return them as files of a reader."""

    def write(**obs):
        obs = pd.DataFrame(obs, index=["AAC-1", "AAG-1", "CCC-1", "GGG-1"])
        anndata.AnnData(sparse.csr_matrix(np.eye(4, dtype=np.float32)), obs=obs).write_h5ad(tmp_path / "a.h5ad")
        return {"counts": tmp_path / "a.h5ad"}

    return write


def test_cells_are_kept_by_the_class_that_is_written_so(h5ad):
    files = h5ad(cluster=["1_0", "1_1", "8", "1_0"], flag=["NO", "YES", "NO", "YES"])
    assert list(read("h5ad", files, {"keep": {"cluster": [10, 8], "flag": False}}).obs_names) == ["AAC-1", "CCC-1"]
    with refused("8 may mean 010 or 8; put the name in quotes", start="options.keep.cluster: "):
        read("h5ad", h5ad(cluster=["010", "8", "8", "8"]), {"keep": {"cluster": [8]}})


def test_names_are_given_to_the_class_that_is_written_so(h5ad):
    files = h5ad(cluster=["1_0", "1_1", "8", "1_0"])
    rule = {"column": "cluster", "values": {10: "A", 11: "B", "5-8": "C"}}
    assert list(read("h5ad", files, {"names": {"type": rule}}).obs["type"]) == ["A", "B", "C", "A"]
    files = h5ad(cluster=["1_0", "10", "10", "10"])
    with refused("10 may mean 10 or 1_0; put the name in quotes", start="options.names.type.values: "):
        read("h5ad", files, {"names": {"type": {"column": "cluster", "values": {10: "A"}}}})
    with refused("values.10: False should be a name; put it in quotes"):
        read("h5ad", files, {"names": {"type": {"column": "cluster", "values": {"10": False, "1_0": "A"}}}})


@pytest.mark.parametrize("text", ["nan", "NaN", "NA", "N/A", "#N/A", "<NA>", "None", "", " NA "])
def test_labels_missing_as_text_are_missing_and_counted(h5ad, text):
    data = read("h5ad", h5ad(kind=["A", text, "B", text]))
    kind = labels.read_labels(data.obs, {"k": "kind"}, "here")["k"]
    assert values(kind) == ["A", None, "B", None]
    assert describe_classes(kind) == "A 1, B 1; 2 cells without"
    assert notes(data)[f"labels {text.strip()!r} read as missing"] == 2


def test_texts_of_missing_labels_are_counted_in_all_labels(h5ad):
    data = read(
        "h5ad", h5ad(kind=["A", "nan", "B", "NA"], donor=pd.Categorical(["nan", "D1", None, "D2"]), n=[1, 2, 3, 4])
    )
    counted = {what: n for what, n in notes(data).items() if what.startswith("labels")}
    assert counted == {"labels 'nan' read as missing": 2, "labels 'NA' read as missing": 1}


def test_names_that_only_look_like_missing_labels_are_classes(h5ad):
    data = read("h5ad", h5ad(kind=["none", "Na", "unknown", "NK"]))
    assert list(labels.as_text(data.obs["kind"])) == ["none", "Na", "unknown", "NK"]
    assert not [what for what in notes(data) if what.startswith("labels")]


def test_a_missing_donor_is_no_donor():
    obs = labels.read_labels(pd.DataFrame({"donor": ["D1", "nan", "D1", "nan"]}), {"donor": "donor"}, "here")
    with refused(r"donor has fewer than two values in the data \(D1\)", start="d.donor: "):
        labels.check_donors(obs, "donor", "d.donor")


def test_blanks_at_the_ends_of_labels_make_no_class(h5ad):
    files = h5ad(stim=["control", "control ", " stimulated", "stimulated\N{NO-BREAK SPACE}"])
    data = read("h5ad", files, {"keep": {"stim": ["control", "stimulated "]}})
    stim = labels.read_labels(data.obs, {"s": "stim"}, "here")["s"]
    assert stim.value_counts().to_dict() == {"control": 2, "stimulated": 2}
    contrast = {"label": "s", "positive": "stimulated ", "negative": ""}
    assert labels.read_contrast(pd.DataFrame({"s": stim}), contrast, "here")["positive"] == "stimulated"
