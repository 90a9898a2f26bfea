"""Gene sets: GMT files as they occur, and the mask against its definition."""

import gzip

import numpy as np
import pandas as pd
import pytest
from factorbench.data import gene_sets, symbols
from hypothesis import given
from hypothesis import strategies as st

from tests.bad_data.outcome import refused

GENES = [f"G{i}" for i in range(12)]
NAMES = [f"S{i}" for i in range(20)]


def test_read_gmt_with_windows_line_ends_gaps_and_repeats(tmp_path):
    content = b"\xef\xbb\xbfB b\tx\tG2\tG1\tG2\t\t\r\n\r\n  \r\nA\tx\tG\xc3\xa9\r\n"
    (tmp_path / "sets.gmt").write_bytes(content)
    assert list(gene_sets.read_gmt(tmp_path / "sets.gmt").items()) == [("B b", ["G2", "G1"]), ("A", ["Gé"])]


@given(
    st.dictionaries(st.text("AB", min_size=1), st.lists(st.sampled_from([*GENES, "X", "Y"]), min_size=1)),
    st.lists(st.sampled_from(GENES), unique=True, min_size=1),
)
def test_mask_is_membership(sets, genes):
    mask = gene_sets.mask(sets, genes)
    assert mask.dtype == bool
    expected = np.array([[gene in members for members in sets.values()] for gene in genes], bool)
    np.testing.assert_array_equal(mask.toarray(), expected.reshape(len(genes), len(sets)))


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
    advice = symbols.advice(symbols.describe_match(pd.DataFrame(index=genes), {"A": members}, "as_is"))
    text = str(gene_sets.no_match({"A": members}, genes, advice, "here"))
    assert text.startswith("here: no gene of the data is in any gene set")
    assert all(f"{gene} (data) ~ {member} (sets)" in text for gene, member in pairs)
    assert f"the data have {', '.join(genes)}, the sets {', '.join(members)}" in text


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
    with refused("'S44'.*did you mean", start="here.keep_sets: "):
        gene_sets.draw(kept, NAMES, 5, ["S44"], 0, "here")
    with refused("2 is fewer than the 3 sets of keep_sets", start="here.n_sets: "):
        gene_sets.draw(kept, NAMES, 2, ["S1", "S2", "S3"], 0, "here")


# ------------------------------------------------------------------------------------------- files without descriptions

WITHOUT = "A\tG1\tG2\tG3\nB\tG2\tG4\nC\tG3\tG1\tG5\n"


@pytest.mark.parametrize(
    ("content", "genes", "described"),
    [
        (WITHOUT, [], False),
        ("A\tG1\tG2\n", ["G1", "G2", "G9"], False),  # one set: only the data know that G1 is a gene
        ("A\tG1\tG2\n", [], True),
        (WITHOUT.replace("\tG1\tG2", "\t\tG1\tG2").replace("\tG2\tG4", "\tna\tG2\tG4"), [], True),
        ("A\thttps://x.org/A\tG1\tG2\nB\thttps://x.org/B\tG2\n", ["G1"], True),
        ("STAT1\tSTAT1\tG1\tG2\nIRF1\tIRF1\tSTAT1\tG2\n", ["STAT1", "IRF1", "G1"], True),  # the name is repeated
        ("A\tG1\n", ["G1"], False),
    ],
)
def test_a_second_column_of_genes_is_recognised(tmp_path, content, genes, described):
    path = tmp_path / "sets.gmt"
    path.write_text(content, encoding="utf-8")
    assert gene_sets.has_descriptions(path, genes) is described
    fields = [line.split("\t") for line in content.splitlines()]
    if not described:
        assert gene_sets.read_gmt(path, descriptions=False) == {name: genes for name, *genes in fields}
    elif all(len(line) > 2 for line in fields):
        assert gene_sets.read_gmt(path) == {name: genes for name, _, *genes in fields}


# ------------------------------------------------------------------------------------------------- forms of gene sets


def test_weights_quotes_and_gzip_are_read(tmp_path):
    content = 'A\tx\t"G1"\tG2,1.0\tG3,-0.5e-3\t"G4,0.25"\n"B"\tx\tG5\t5"-G\n'
    expected = {"A": ["G1", "G2", "G3", "G4"], "B": ["G5", '5"-G']}
    (tmp_path / "sets.gmt").write_text(content, encoding="utf-8")
    (tmp_path / "sets.gmt.gz").write_bytes(gzip.compress(content.encode()))
    assert gene_sets.read_gmt(tmp_path / "sets.gmt") == expected
    assert gene_sets.read_gmt(tmp_path / "sets.gmt.gz") == expected


@pytest.mark.parametrize("second", ["na\tna\tna", "\t\t", "https://x.org/1\t\tNA"])
def test_gmx_is_refused(tmp_path, second):
    """It has a gene set in each column; read as GMT, genes would be names of sets."""
    path = tmp_path / "sets.gmx"
    path.write_text(f"A\tB\tC\n{second}\nG1\tG2\tG3\nG4\tG5\tG6\n", encoding="utf-8")
    with refused("is in GMX format, with a gene set in each column; exchange its rows and columns", start=path):
        gene_sets.read_gmt(path)
