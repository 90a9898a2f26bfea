"""Files between rules are checked, written completely or not at all, and read back the same."""

import json

import numpy as np
import pandas as pd
import pytest
from factorbench.contracts.errors import ContractError, UserError
from factorbench.contracts.factors import Factors, add_held_out, factor_signs, no_factors, read_factors, write_factors
from factorbench.contracts.files import atomic, read_json, read_table, write_json, write_table
from factorbench.contracts.prepared import seen_cells, without_held_out, write_prepared
from factorbench.registry import refer

from tests.planted import planted


def factors(data, **changes):
    """Return a valid result on ``data``: an annotated factor, one that is switched off, and a dense one."""
    random = np.random.default_rng(0)
    loadings = random.normal(size=(data.n_vars, 3)).astype(np.float32)
    mask = np.zeros((data.n_vars, 3), bool)
    mask[:, :2] = data.varm["mask"][:, :2]
    loadings[:, 1] = 0
    table = pd.DataFrame(
        {
            "name": ["SET_0", "SET_1", "dense_1"],
            "kind": ["annotated", "annotated", "dense"],
            "active": [True, False, True],
        }
    )
    values = {"scores": random.normal(size=(data.n_obs, 3)), "loadings": loadings, "table": table, "mask": mask}
    return Factors(**{**values, **changes})


def test_factors_are_read_as_written(tmp_path):
    data = planted()
    given = factors(data, offset=np.arange(data.n_vars), history=[{"loss": 1.0}, {"loss": float("nan")}])
    write_factors(tmp_path / "f.h5ad", given, data)
    stored = read_factors(tmp_path / "f.h5ad")
    table = stored.uns["factors"]
    sign = table["sign"].to_numpy()
    assert np.allclose(stored.obsm["scores"] * sign, given.scores, atol=1e-6)
    assert np.allclose(stored.varm["loadings"] * sign, given.loadings)
    assert np.allclose(table["relevance"], np.linalg.norm(given.loadings, axis=0))
    assert list(table["active"]) == [True, False, True]
    assert json.loads(stored.uns["history"]) == [{"loss": 1.0}, {"loss": None}]
    assert list(stored.obs_names) == list(data.obs_names)


def test_signs_make_the_loadings_inside_the_mask_sum_to_a_positive_number():
    mask = np.array([[True, False, False], [True, False, False], [False, False, False]])
    loadings = np.array([[-2, -1, 1], [1, 0, 1], [9, 0, 1]])
    assert factor_signs(loadings, mask).tolist() == [-1, -1, 1]


def test_an_empty_result_is_valid(tmp_path):
    data = planted()
    write_factors(tmp_path / "f.h5ad", no_factors(data.n_obs, data.n_vars, "timeout", "late"), data)
    assert read_factors(tmp_path / "f.h5ad").obsm["scores"].shape == (data.n_obs, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"scores": np.zeros((120, 2))},
        {"scores": np.full((120, 3), np.nan)},
        {"loadings": np.ones((60, 3))},
        {"table": pd.DataFrame({"name": ["a", "a", "b"], "kind": "dense", "active": True})},
        {"table": pd.DataFrame({"name": ["a", "b", "c"], "kind": "deep", "active": True})},
        {"status": "fine"},
    ],
    ids=["shape", "not finite", "off but not zero", "repeated name", "unknown kind", "unknown status"],
)
def test_an_invalid_result_is_not_written(tmp_path, change):
    data = planted()
    with pytest.raises(ContractError):
        write_factors(tmp_path / "f.h5ad", factors(data, **change), data)
    assert list(tmp_path.iterdir()) == []


def test_factors_keep_which_cells_were_held_out(tmp_path):
    data = planted(held_out=True)
    write_factors(tmp_path / "f.h5ad", factors(data), data)
    stored = read_factors(tmp_path / "f.h5ad")
    seen = np.arange(data.n_obs) % 4 > 0
    np.testing.assert_array_equal(seen_cells(stored), seen)
    assert list(without_held_out(stored).obs_names) == list(data.obs_names[seen])
    whole = planted()
    assert seen_cells(whole).all()
    assert without_held_out(whole) is whole


def test_scores_of_seen_and_held_out_cells_are_combined():
    seen = np.array([True, False, True])
    of_seen = factors(planted(), scores=np.array([[1.0], [3.0]]), covariates=np.ones((2, 4)))
    combined = add_held_out(of_seen, seen, np.array([[2.0]]))
    assert combined.scores.ravel().tolist() == [1, 2, 3]
    np.testing.assert_array_equal(np.isnan(combined.covariates).all(axis=1), ~seen)
    assert of_seen.scores.shape == (2, 1)


FAULTS = {
    "dense": lambda data: setattr(data, "X", data.X.toarray()),
    "float64": lambda data: setattr(data, "X", data.X.astype(np.float64)),
    "nan": lambda data: data.X.data.__setitem__(0, np.nan),
    "names": lambda data: setattr(data, "obs_names", ["same"] * data.n_obs),
    "mask": lambda data: data.varm.update(mask=data.varm["mask"] & False),
    "label": lambda data: data.obs.__setitem__("condition", "a"),
    "record": lambda data: data.uns.update(factorbench="{}"),
    "held out": lambda data: data.obs.insert(0, "held_out", "no"),
    "all held out": lambda data: data.obs.insert(0, "held_out", True),
}


@pytest.mark.filterwarnings("ignore:Observation names")
@pytest.mark.parametrize("fault", FAULTS)
def test_invalid_prepared_data_are_not_written(tmp_path, fault):
    data = planted()
    FAULTS[fault](data)
    with pytest.raises(ContractError):
        write_prepared(tmp_path / "p.h5ad", data)
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old", encoding="utf-8")

    def fail():
        with atomic(path) as part:
            part.write_text("new, incompl", encoding="utf-8")
            raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        fail()
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_tables_keep_names_that_look_like_missing_values(tmp_path):
    table = pd.DataFrame({"factor": ["NA", "null", "nan"], "value": [1.5, np.nan, 2.0]})
    write_table(tmp_path / "t.tsv.gz", table)
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.tsv.gz"), table)


def test_json_has_null_for_infinite_numbers(tmp_path):
    write_json(tmp_path / "a.json", {"a": np.float32("inf"), "b": [np.int64(3)]})
    assert read_json(tmp_path / "a.json") == {"a": None, "b": [3]}


def test_equal_tables_are_equal_files(tmp_path, monkeypatch):
    table = pd.DataFrame({"a": [1, 2], "b": ["x", "µ"]})
    written = []
    for now in (1e9, 2e9):
        monkeypatch.setattr("time.time", lambda now=now: now)
        for name in ("table.tsv", "table.tsv.gz"):
            write_table(tmp_path / name, table)
            written.append((tmp_path / name).read_bytes())
            assert read_table(tmp_path / name).equals(table)
    assert written[:2] == written[2:]


def test_errors_are_of_a_readable_length():
    """Names in files can be of any length, and files can have any number of columns."""
    long = str(UserError(f"a.h5ad: {'x' * 9_000}; rename it in the file"))
    assert len(long) <= UserError.LONGEST
    assert long.startswith("a.h5ad: xxx")
    assert long.endswith("xxx; rename it in the file")
    with pytest.raises(UserError) as error:
        refer("zzz", [f"column {i}" for i in range(5_000)], "labels.type")
    assert str(error.value).endswith("column 1021, column 1022, column 1023, ... 5000 in all)")
    assert str(error.value).startswith("labels.type: 'zzz' is not defined (there are: column 0, column 1, column 10,")
