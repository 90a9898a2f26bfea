"""Names of genes mapped to the symbols of gene sets, on a table like that of Ensembl."""

import pandas as pd
import pytest
from factorbench.data import symbols
from hypothesis import given
from hypothesis import strategies as st

from tests.bad_data.outcome import refused

COLUMNS = {"from": "Gene name", "to": "Human gene name", "kind": "Human homology type"}
ENSEMBL = """\
Gene stable ID,Gene name,Human gene name,Human gene stable ID,Human homology type,"Confidence [0 low, 1 high]"
M1,Isg15,ISG15,H1,ortholog_one2one,1.0
M2,mt-Nd1,MT-ND1,H2,ortholog_one2one,1.0
M3,Ccl2,CCL13,H3,ortholog_one2many,0.0
M3,Ccl2,CCL2,H4,ortholog_one2many,0.0
M4,Ifit3,IFIT3,H5,ortholog_many2many,1.0
M5,Ifit3b,IFIT3,H5,ortholog_many2many,1.0
M6,mt-Tf,,,,
M7,Nan,NA,H6,ortholog_one2one,1.0
M8,Twin,TWIN1,H7,ortholog_one2one,1.0
M9,TWIN,TWIN2,H8,ortholog_one2one,1.0
M10,Rn18,RNA18,H9,ortholog_one2one,1.0
M11,Rn19,RNA18,H10,ortholog_one2one,1.0
M12,Actb,ACTB,H11,ortholog_one2one,1.0
M13,Actb,ACTB,H11,ortholog_one2one,1.0
M14,,ORPHAN,H12,ortholog_one2one,1.0
M15,1700025G04Rik,C1orf21,H13,ortholog_one2one,1.0
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "mouse_to_human.csv"
    path.write_text(ENSEMBL, encoding="utf-8")
    return path


def pairs(orthologs):
    return dict(zip(orthologs["from"], orthologs["to"], strict=True))


ONE_TO_ONE = {"ISG15": "ISG15", "MT-ND1": "MT-ND1", "NAN": "NA", "ACTB": "ACTB", "1700025G04RIK": "C1orf21"}


@pytest.mark.parametrize("kind", [COLUMNS["kind"], ""])
def test_only_one_to_one_pairs_are_read(table, kind):
    # Without the kind, pairs are counted. In this table the result is the same.
    assert pairs(symbols.read_orthologs(table, {**COLUMNS, "kind": kind}, "here")) == ONE_TO_ONE


def test_the_kind_of_a_pair_counts_more_than_the_number_of_pairs(tmp_path):
    path = tmp_path / "few.csv"
    path.write_text("a,b,k\nX,X1,ortholog_one2many\nY,Y1,ortholog_one2one\n", encoding="utf-8")
    assert pairs(symbols.read_orthologs(path, {"from": "a", "to": "b", "kind": "k"}, "here")) == {"Y": "Y1"}
    assert pairs(symbols.read_orthologs(path, {"from": "a", "to": "b", "kind": ""}, "here")) == {"X": "X1", "Y": "Y1"}


@given(st.lists(st.tuples(st.sampled_from(["a", "A", "b", "c", None]), st.sampled_from(["P", "Q", "R", None]))))
def test_one_to_one_keeps_names_with_one_partner(rows):
    kept = symbols.one_to_one(pd.DataFrame(rows, columns=["from", "to"], dtype=object))
    known = {(a.upper(), b) for a, b in rows if a and b}
    expected = {(a, b) for a, b in known if sum(a == x for x, _ in known) == 1 == sum(b == y for _, y in known)}
    assert set(kept.itertuples(index=False, name=None)) == expected
    assert len(kept) == len(expected)


@pytest.mark.parametrize(
    ("content", "columns", "pattern"),
    [
        (ENSEMBL, {"to": "Human gene"}, r"here.to: 'Human gene'.*did you mean Human gene name"),
        (ENSEMBL, {"kind": "Gene name"}, "no pair in .*mouse_to_human.csv is one to one; check from, to and kind"),
        ("", {}, "mouse_to_human.csv: cannot be read "),
        (b"\x1f\x8b\x08\xff", {}, "cannot be read "),
    ],
)
def test_bad_tables_are_refused(table, content, columns, pattern):
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    with refused(pattern):
        symbols.read_orthologs(table, {**COLUMNS, **columns}, "here")


def test_genes_without_one_ortholog_never_match(table):
    orthologs = symbols.read_orthologs(table, COLUMNS, "here")
    # GEO writes names in capitals. CCL2 and IFIT3 are also human symbols, but these mouse genes have several orthologs.
    genes = pd.Index(["1700025G04RIK", "CCL2", "ISG15", "IFIT3", "mt-Nd1", "TWIN", "Unheard"])
    names, counts = symbols.translate(genes, "orthologs", orthologs)
    mark = symbols.NO_SYMBOL
    assert list(names) == ["C1orf21", f"CCL2{mark}", "ISG15", f"IFIT3{mark}", "MT-ND1", f"TWIN{mark}", f"Unheard{mark}"]
    assert counts == {"mapped": 3, "unmapped": 4, "ambiguous": 0}
    assert not set(names) & {"CCL2", "IFIT3", "TWIN1", "TWIN2"}


@pytest.mark.parametrize("how", ["upper", "orthologs"])
def test_genes_that_share_a_symbol_keep_their_names(how):
    orthologs = pd.DataFrame({"from": ["CD4", "CD8A"], "to": ["CD4", "CD8A"]})
    names, counts = symbols.translate(pd.Index(["Cd4", "CD4", "Cd8a"]), how, orthologs)
    assert list(names) == [f"Cd4{symbols.NO_SYMBOL}", f"CD4{symbols.NO_SYMBOL}", "CD8A"]
    assert counts == {"mapped": 1, "unmapped": 0, "ambiguous": 2}


def test_a_symbol_may_be_the_name_of_another_gene_of_the_data():
    # B becomes A, and the data have a gene A without an ortholog.
    names, counts = symbols.translate(pd.Index(["A", "B"]), "orthologs", pd.DataFrame({"from": ["B"], "to": ["A"]}))
    assert list(names) == [f"A{symbols.NO_SYMBOL}", "A"]
    assert counts == {"mapped": 1, "unmapped": 1, "ambiguous": 0}


@given(st.lists(st.text("abAB", min_size=1, max_size=3), unique=True), st.sampled_from(["as_is", "upper", "orthologs"]))
def test_translated_names_are_unique_and_every_gene_is_counted(genes, how):
    orthologs = pd.DataFrame({"from": ["A", "B", "AB"], "to": ["B", "A", "BA"]})
    names, counts = symbols.translate(pd.Index(genes, dtype=object), how, orthologs)
    assert names.is_unique
    assert sum(counts.values()) == len(names) == len(genes)
    assert sum(name.endswith(symbols.NO_SYMBOL) for name in names) == counts["unmapped"] + counts["ambiguous"]
    if how == "as_is":
        assert list(names) == genes


def test_symbols_found_by_each_way(table):
    orthologs = symbols.read_orthologs(table, COLUMNS, "here")
    genes = pd.Index(["Isg15", "ACTB", "Ccl2", "1700025G04Rik"])
    sets = {"A": ["ISG15", "ACTB", "CCL2"], "B": ["ACTB", "C1orf21", "TP53", "MDM2", "ATM"]}
    var = pd.DataFrame({"name": ["ISG15", None, "CCL2", "TP53"]}, index=genes)
    assert symbols.describe_match(var, sets, "as_is") == {
        "how": "as_is",
        "in the sets": 7,
        "found": 1,
        "found by": {"as_is": 1, "upper": 3},
        "near misses": [("Isg15", "ISG15"), ("Ccl2", "CCL2")],
        "genes": {"mapped": 4, "unmapped": 0, "ambiguous": 0},
        "columns": {"name": 3},
        "dates": 0,
    }
    match = symbols.describe_match(var[[]], {"A": ["ISG15", "ACTB", "C1orf21"], "B": ["CCL2"]}, "orthologs", orthologs)
    assert match["found by"] == {"as_is": 1, "upper": 3, "orthologs": 3}
    assert match["found"] == 3
    assert match["near misses"] == []


def test_a_few_names_that_r_or_excel_changed_are_shown_though_most_are_found():
    members = [f"G{i}" for i in range(90)] + [f"HLA-{letter}" for letter in "ABCDEF"]
    genes = pd.DataFrame(index=[member.replace("-", ".") for member in members] + ["1-Mar", "2-Sep", "DEC1"])
    match = symbols.describe_match(genes, {"A": members}, "as_is")
    assert match["found"] == 90
    first, second = symbols.advice(match)
    assert first.startswith("nearly matched: HLA.A (data) ~ HLA-A (sets), HLA.B (data) ~ HLA-B (sets), ")
    assert first.endswith("HLA-E (sets); rename them in one of the files")
    assert second.startswith("2 genes are dates, which Excel makes of MARCH1")
    match = symbols.describe_match(genes.loc["G0":"G89"], {"A": members, "B": ["g0", "g1"]}, "as_is")
    assert symbols.advice(match) == []  # G0 is in the data: another gene g0 of the sets, and no other pair
