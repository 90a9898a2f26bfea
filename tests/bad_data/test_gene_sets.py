"""Gene sets from bad files: they are read as they are, or the file is refused in one line."""

import time

import pytest
from factorbench.data import gene_sets
from hypothesis import example, given
from hypothesis import strategies as st

from tests.bad_data.outcome import fuzz, refused, tried

WORDS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8)
DESCRIPTIONS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r"), max_size=8)
SETS = st.dictionaries(WORDS, st.tuples(DESCRIPTIONS, st.lists(WORDS, min_size=1, unique=True)), min_size=1)


def write(tmp_path, content):
    path = tmp_path / "sets.gmt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@fuzz(100)
@given(SETS, st.sampled_from(["\n", "\r\n", "\r"]), st.booleans(), st.integers(0, 3), st.integers(0, 2))
@example({"Ä É": ("a\u2028b\x85c", ["Gé", "G"])}, "\r", True, 2, 1)
def test_any_sets_are_read_as_written(tmp_path, sets, end, mark, n_tabs, n_empty):
    lines = ["\t".join([name, about, *genes]) + "\t" * n_tabs for name, (about, genes) in sets.items()]
    content = ("\ufeff" if mark else "") + (end * (n_empty + 1)).join(lines) + end * n_empty
    assert list(gene_sets.read_gmt(write(tmp_path, content)).items()) == [
        (name, genes) for name, (_, genes) in sets.items()
    ]


GMT_BYTES = st.one_of(
    st.binary(max_size=60),
    st.text(st.sampled_from("A\tB\n\r \0\x1b\ufeff\u2028é"), max_size=40).map(str.encode),
    st.text("AB\t\n", max_size=20).map(lambda text: text.encode("utf-16-le")),
)


@fuzz(150)
@given(GMT_BYTES)
def test_any_bytes_are_read_or_refused(tmp_path, content):
    sets = tried(gene_sets.read_gmt, write(tmp_path, content))
    for name, genes in (sets or {}).items():
        assert genes
        for word in (name, *genes):
            assert word == word.strip() != ""
            assert word.isprintable()


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        ("A\tx\tG1\n".encode("utf-16-le"), "line 1: .*cannot be printed"),
        ("A\tx\tG1\n".encode("utf-16"), "is not a text file"),
        (b"\x1f\x8b\x08\xff\xfe", "is not a text file"),
        ("\n", "has no gene set"),
        ("A\tx\tG1\n\nB\tx\n", "line 3: should be name, description and genes"),
        ("A\tx\tG1\nB\tx\t\t\n", "line 2: should be"),
        ("A x G1\n", "line 1: should be"),
        ("\tx\tG1\n", "line 1: should be"),
        ("A\tx\tG1\nB\tx\tG1\nA\ty\tG2\n", "line 3: the gene set A occurs twice"),
        ("A\tx\tG\x1b[2J1\n", "line 1: .*cannot be printed"),
        ("A\tx\tG1\nB\x00\tx\tG1\n", "line 2: .*cannot be printed"),
        ("A\tx\tG1\r\n \tx\tG1\r\n", "line 2: should be name, description and genes"),
        ("A\tx\tG1\rA\tx\tG2\r", "line 2: the gene set A occurs twice"),
    ],
)
def test_bad_lines_are_refused_with_their_number(tmp_path, content, pattern):
    path = write(tmp_path, content)
    with refused(pattern, start=path):
        gene_sets.read_gmt(path)


def test_files_that_cannot_be_opened_are_refused(tmp_path):
    for path in (tmp_path / "none.gmt", tmp_path):
        with refused("cannot be read", start=path):
            gene_sets.read_gmt(path)


def test_sets_of_one_gene_and_of_a_hundred_thousand(tmp_path):
    many = [f"G{i}" for i in range(100_000)]
    began = time.perf_counter()
    sets = gene_sets.read_gmt(write(tmp_path, "ONE\t\tG7\nMANY\t\t" + "\t".join(many) + "\n"))
    mask = gene_sets.mask(sets, many[:50])
    assert time.perf_counter() - began < 5
    assert sets == {"ONE": ["G7"], "MANY": many}
    assert mask.sum(axis=0).tolist() == [[1, 50]]
