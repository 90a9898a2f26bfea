"""Gene sets: whatever bytes a GMT file has, its sets are read as they are or it is refused in one line."""

import time

import pytest
from factorbench.contracts.errors import UserError
from factorbench.data import gene_sets
from hypothesis import example, given
from hypothesis import strategies as st

from tests.bad_data.outcome import fuzz, one_line, tried

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
def test_what_was_written_is_read(tmp_path, sets, end, mark, n_tabs, n_empty):
    lines = ["\t".join([name, about, *genes]) + "\t" * n_tabs for name, (about, genes) in sets.items()]
    content = ("\ufeff" if mark else "") + (end * (n_empty + 1)).join(lines) + end * n_empty
    found = gene_sets.read_gmt(write(tmp_path, content))
    assert list(found.items()) == [(name, genes) for name, (_, genes) in sets.items()]


GMT_BYTES = st.one_of(
    st.binary(max_size=60),
    st.text(st.sampled_from("A\tB\n\r \0\x1b\ufeff\u2028é"), max_size=40).map(str.encode),
    st.text("AB\t\n", max_size=20).map(lambda text: text.encode("utf-16-le")),
)


@fuzz(150)
@given(GMT_BYTES)
def test_any_bytes_are_sets_or_refused(tmp_path, content):
    sets = tried(gene_sets.read_gmt, write(tmp_path, content))
    for name, genes in (sets or {}).items():
        assert genes
        for word in (name, *genes):
            assert word == word.strip() != ""
            assert word.isprintable()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("A\tx\tG1\n".encode("utf-16-le"), "line 1: .*cannot be printed"),
        ("A\tx\tG1\n".encode("utf-16"), "not a text file"),
        ("A\tx\tG\x1b[2J1\n", "line 1: .*cannot be printed"),
        ("A\tx\tG1\nB\x00\tx\tG1\n", "line 2: .*cannot be printed"),
        ("A\tx\tG1\r\n \tx\tG1\r\n", "line 2: a line of a GMT file"),
        ("A\tx\tG1\rA\tx\tG2\r", "line 2: the gene set A is there twice"),
    ],
)
def test_what_is_none_is_told_with_its_line(tmp_path, content, says):
    with pytest.raises(UserError, match=says) as error:
        gene_sets.read_gmt(write(tmp_path, content))
    assert one_line(error.value).startswith(str(tmp_path / "sets.gmt"))


def test_a_file_that_cannot_be_opened_is_told(tmp_path):
    for path in (tmp_path / "none.gmt", tmp_path):
        with pytest.raises(UserError, match="cannot be read") as error:
            gene_sets.read_gmt(path)
        assert one_line(error.value).startswith(str(path))


def test_a_set_of_one_gene_and_one_of_a_hundred_thousand(tmp_path):
    many = [f"G{i}" for i in range(100_000)]
    began = time.perf_counter()
    sets = gene_sets.read_gmt(write(tmp_path, "ONE\t\tG7\nMANY\t\t" + "\t".join(many) + "\n"))
    mask = gene_sets.mask(sets, many[:50])
    assert time.perf_counter() - began < 5
    assert sets == {"ONE": ["G7"], "MANY": many}
    assert mask.sum(axis=0).tolist() == [[1, 50]]
    assert gene_sets.filter_by_size(mask, 2).tolist() == [False, True]
