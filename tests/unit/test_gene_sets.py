"""Gene sets: GMT files as they occur, and the mask against its definition."""

import numpy as np
import pytest
from factorbench.data import gene_sets
from hypothesis import given
from hypothesis import strategies as st

from tests.bad_data.outcome import refused

GENES = [f"G{i}" for i in range(12)]
NAMES = [f"S{i}" for i in range(20)]


def gmt(tmp_path, content):
    path = tmp_path / "sets.gmt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_read_gmt_keeps_the_order(tmp_path):
    path = gmt(tmp_path, "B\thttp://b\tG3\tG1\nA\t\tG2\n")
    assert list(gene_sets.read_gmt(path).items()) == [("B", ["G3", "G1"]), ("A", ["G2"])]


def test_read_gmt_with_windows_line_ends_gaps_and_repeats(tmp_path):
    path = gmt(tmp_path, b"\xef\xbb\xbfA\tx\tG1\tG2\tG1\t\t\r\n\r\n  \r\nB b\tx\tG\xc3\xa9\r\n")
    assert gene_sets.read_gmt(path) == {"A": ["G1", "G2"], "B b": ["Gé"]}


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        ("A\tx\tG1\n\nB\tx\n", "line 3: should be name, description and genes"),
        ("A\tx\tG1\nB\tx\t\t\n", "line 2: should be"),
        ("A x G1\n", "line 1: should be"),
        ("\tx\tG1\n", "line 1: should be"),
        ("A\tx\tG1\nB\tx\tG1\nA\ty\tG2\n", "line 3: the gene set A occurs twice"),
        ("\n", "has no gene set"),
        (b"\x1f\x8b\x08\xff\xfe", "is not a text file"),
    ],
)
def test_bad_gmt_is_refused(tmp_path, content, pattern):
    path = gmt(tmp_path, content)
    with refused(pattern, start=path):
        gene_sets.read_gmt(path)


@given(
    st.dictionaries(st.text("AB", min_size=1), st.lists(st.sampled_from([*GENES, "X", "Y"]), min_size=1)),
    st.lists(st.sampled_from(GENES), unique=True, min_size=1),
)
def test_mask_is_membership(sets, genes):
    mask = gene_sets.mask(sets, genes)
    assert mask.dtype == bool
    expected = np.array([[gene in members for members in sets.values()] for gene in genes], bool)
    np.testing.assert_array_equal(mask.toarray(), expected.reshape(len(genes), len(sets)))
    sizes = [len(set(members) & set(genes)) for members in sets.values()]
    np.testing.assert_array_equal(gene_sets.filter_by_size(mask, 2), [size >= 2 for size in sizes])
    np.testing.assert_array_equal(gene_sets.filter_by_size(mask, 1, 3), [1 <= size <= 3 for size in sizes])


def test_join_removes_the_prefix_of_each_collection():
    sets = [{"R_B": ["x"], "H_A": ["y"], "R_": ["w"]}, {"H_C": ["z"]}]
    joined = gene_sets.join(sets, ["r", "h"], ["R_", "H_"], "here")
    assert list(joined.items()) == [("B", ["x"]), ("H_A", ["y"]), ("R_", ["w"]), ("C", ["z"])]


def test_a_name_in_two_collections_is_refused():
    sets = [{"R_A": ["x"]}, {"Q": ["y"]}, {"H_A": ["z"]}]
    with refused("the gene set A is in r and in h; set the prefix", start="here: "):
        gene_sets.join(sets, ["r", "q", "h"], ["R_", "", "H_"], "here")
    assert list(gene_sets.join(sets, ["r", "q", "h"], ["R_", "", ""], "here")) == ["A", "Q", "H_A"]
    with refused("the gene set A is in r and in r; set the prefix", start="here: "):
        gene_sets.join([{"R_A": ["x"], "A": ["y"]}], ["r"], ["R_"], "here")


@pytest.mark.parametrize(
    ("genes", "members", "pairs"),
    [
        (["Isg15", "Actb", "Foo"], ["ISG15", "ACTB"], [("Isg15", "ISG15"), ("Actb", "ACTB")]),
        (["ENSG00000187608.8"], ["ENSG00000187608"], [("ENSG00000187608.8", "ENSG00000187608")]),
        (["HLA.DRA", "Q"], ["HLA-DRA", "ISG15"], [("HLA.DRA", "HLA-DRA")]),
        (["CAR3", "WWWW"], ["HCAR3"], []),
    ],
)
def test_near_matches_are_named_when_nothing_matches(genes, members, pairs):
    assert gene_sets.near_matches({"A": members}, genes) == pairs
    text = str(gene_sets.no_match({"A": members}, genes, "here"))
    assert text.startswith("here: no gene of the data is in any gene set")
    assert all(f"{gene} (data) ~ {member} (sets)" in text for gene, member in pairs)
    assert pairs or f"the data have {', '.join(genes)}, the sets {', '.join(members)}" in text


def test_draw_is_random_and_includes_the_sets_that_are_always_kept():
    kept = np.arange(20) % 2 == 0
    drawn = [gene_sets.draw(kept, NAMES, 5, ["S4", "S5"], seed, "here") for seed in range(50)]
    for chosen in drawn:
        assert chosen.sum() == 5
        assert not (chosen & ~kept).any()  # also not S5
        assert chosen[4]
    assert np.all(np.sum(drawn, axis=0)[kept] > 10)
    assert np.array_equal(drawn[3], gene_sets.draw(kept, NAMES, 5, ["S4", "S5"], 3, "here"))
    assert np.array_equal(gene_sets.draw(kept, NAMES, 99, [], 0, "here"), kept)


def test_wrong_sets_to_keep_are_refused():
    kept = np.ones(20, bool)
    with refused(r"'S44' is not defined \(did you mean", start="here.keep_sets: "):
        gene_sets.draw(kept, NAMES, 5, ["S44"], 0, "here")
    with refused("2 is fewer than the 3 sets of keep_sets", start="here.n_sets: "):
        gene_sets.draw(kept, NAMES, 2, ["S1", "S2", "S3"], 0, "here")
