"""A table of cells, or of orthologs, as R, Excel, pandas and people write it."""

import anndata
import numpy as np
import pandas as pd
import pytest
from factorbench.data import symbols
from factorbench.data.labels import as_text
from scipy import sparse

from tests.bad_data.outcome import refused
from tests.unit.test_readers import notes, read, values

CELLS = ["AAC-1", "AAG-1", "CCC-1", "GGG-1"]
OBS = pd.DataFrame({"stim": list("ccss"), "size": [0.1, 2.0, np.nan, 7.5]}, index=CELLS)
HEADER = ["cell", "kind", "donor"]
ROWS = [["AAC-1", "B, naive", "101"], ["AAG-1", "NK", ""], ["CCC-1", "T;8", "107"], ["GGG-1", "NK", "107"]]
KINDS, DONORS = ["B, naive", "NK", "T;8", "NK"], ["101", None, "107", "107"]


def files(folder, table, obs=OBS):
    """Write a table, text or bytes, beside an h5ad file."""
    data = anndata.AnnData(sparse.csr_matrix(np.eye(len(obs), dtype=np.float32)), obs=obs.copy())
    data.write_h5ad(folder / "a.h5ad")
    (folder / "cells.txt").write_bytes(table if isinstance(table, bytes) else table.encode())
    return {"counts": folder / "a.h5ad", "cells": folder / "cells.txt"}


def annotated(folder, table, obs=OBS, **options):
    return read("h5ad", files(folder, table, obs), {"cells": "cells", **options})


def lines(*rows):
    return "".join(f"{row}\n" for row in rows)


def written(sep, quote='"{}"', header=HEADER, end="\n"):
    return "".join(sep.join(quote.format(field) for field in row) + end for row in [header, *ROWS])


PLAIN = written("\t", "{}")
FORMS = {
    "tabs": PLAIN,
    "CRLF": written("\t", "{}", end="\r\n"),
    "CR": written("\t", "{}", end="\r"),
    "R, with row names": written("\t", header=HEADER[1:]),
    "R, with row names, comma": written(",", header=HEADER[1:]),
    "write.csv of R": written(",", header=["", *HEADER[1:]]),
    "write.csv2 of R": written(";", header=["", *HEADER[1:]]),
    "commas, quoted": written(","),
    "semicolons, quoted": written(";"),
    "a byte-order mark": b"\xef\xbb\xbf" + written(";").encode(),
    "comments": "# made by X, on Monday\n## v1\t2\n#\n\n" + PLAIN,
    "a comment with a quote": '# 5" kit\n#"\n' + written(","),
    "a header that starts with #": "# by X\n#" + PLAIN,
    "blanks at the ends of cells": PLAIN.replace("-1\t", "-1 \t"),
    "blanks in the header": PLAIN.replace("\tkind\t", "\tkind \t"),
    "empty lines": "\n" + PLAIN.replace("AAG", "\n\nAAG") + "\n\n",
    "a tab at all line ends": written("\t", "{}", end="\t\n"),
}


@pytest.mark.parametrize("name", FORMS)
def test_tables_of_several_forms_have_the_same_labels(tmp_path, name):
    data = annotated(tmp_path, FORMS[name])
    assert values(data.obs["kind"]) == KINDS
    assert values(data.obs["donor"]) == DONORS
    assert notes(data)["cells not in the table"] == notes(data)["rows of the table without a cell"] == 0


@pytest.mark.parametrize("sep", "\t,;")
def test_tables_without_a_header(tmp_path, sep):
    table = "# cells\n" + written(sep).split("\n", 1)[1]
    data = annotated(tmp_path, table, cells_columns=HEADER)
    assert (values(data.obs["kind"]), values(data.obs["donor"])) == (KINDS, DONORS)


def test_decimal_commas_are_no_separators(tmp_path):
    data = annotated(tmp_path, lines("cell;ratio;kind", "AAC-1;1,5;A", "AAG-1;2,5;B"))
    assert values(data.obs["ratio"]) == ["1,5", "2,5", None, None]
    assert values(data.obs["kind"]) == ["A", "B", None, None]


TRAILING = lines("cell\tkind\tdonor", "AAC-1\tA\t1\t", "AAG-1\tB\t2\t")
SWALLOWED = lines("cell\tnote\tkind", "AAC-1\t\"5' kit\tA", "AAG-1\tok\tB", 'CCC-1\t3" tube"\tC', "GGG-1\tok\tA")
REFUSED = {
    "a tab at line ends": (TRAILING, r"lines end with a tab, the header \(line 1\) does not; .*delete it from the lin"),
    "a comma at line ends": ("# x\n" + TRAILING.replace("\t", ","), r"lines end with a comma, the header \(line 2\)"),
    "a tab at the end of the header": (lines("kind\tdonor\t", "AAC-1\tA\tD1"), "line 1: the last column has no name"),
    "a column twice": (lines("x\tkind\tkind", "AAC-1\tA\tB"), "line 1: the column 'kind' occurs twice; rename"),
    "a column twice but for a blank": (lines("#", "x,kind,kind ", "AAC-1,A,B"), "line 2: the column 'kind' occurs"),
    "a quote closed later": (SWALLOWED, "line 2: a quote is not closed, so that it hides lines; delete it"),
    "a quote closed by another": (SWALLOWED.replace('3" tube"', '"3 tube'), "line 2: a quote is not closed"),
    "a quote closed in another column": (SWALLOWED.replace('3" tube"\tC', 'ok\t"C'), "line 2: a quote is not closed"),
    "a quote never closed": (SWALLOWED.replace('3" tube"', "3 tube"), "line 2: a quote is not closed"),
    "a quote in a csv": (lines("#", "", "x,y,z", "a,b,c", 'd,"e,f', 'g,h",i'), "line 5: a quote is not closed"),
    "a quote in a long table": (SWALLOWED + "C\tx\ty\n" * 99999, "line 2: a quote is not closed"),
    "a line too long": (lines("# x", "cell\tkind", "AAC-1\tA", "AAG-1\tB\tC"), "line 4 has 3 fields, .* have 2;"),
    "Latin-1": (PLAIN.encode().replace(b"NK", b"\xb5"), "line 3 is not UTF-8; save the file as UTF-8"),
    "UTF-16": (PLAIN.encode("utf-16"), "is not text; it is text in UTF-16; save it as UTF-8"),
    "commas or semicolons": (lines("ratio", "AAC-1;1,5"), "commas or semicolons may separate its columns"),
    "one column": (lines("cell", "AAC-1"), "no columns beside their names, separated by tabs, commas or semicolons"),
    "spaces": (lines("cell kind", "AAC-1 A"), "no columns beside their names, separated by tabs, commas or semicolons"),
    "comments alone": ("# a\n# b\n", "has no cells"),
    "a field of a megabyte": (f'cell,"{"x" * 200_000}"\nAAC-1,A\n', "cannot be read .field larger"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_tables_that_could_be_misread_are_refused(tmp_path, name):
    table, pattern = REFUSED[name]
    with refused(pattern, start=f"{tmp_path / 'cells.txt'}: "):
        annotated(tmp_path, table)


def test_row_names_of_r_with_missing_values_at_the_ends(tmp_path):
    """R writes NA, or nothing in single fields: a table without any value in its last column would be ambiguous."""
    data = annotated(tmp_path, lines("kind\tdonor", "AAC-1\tA\tNA", "AAG-1\tB\tNA"))
    assert values(data.obs["kind"]) == ["A", "B", None, None]
    data = annotated(tmp_path, lines("kind\tdonor", "AAC-1\tA\t", "AAG-1\tB\tD2"))
    assert values(data.obs["kind"]) == ["A", "B", None, None]
    assert values(data.obs["donor"]) == [None, "D2", None, None]


def test_quotes_that_hide_no_line_are_read(tmp_path):
    rows = ["cell\tnote\tkind", 'AAC-1\t"two\nlines"\tA', 'AAG-1\t5" tube\tB', 'CCC-1\t"a ""b""\tc"\tC']
    data = annotated(tmp_path, lines(*rows))
    assert values(data.obs["kind"]) == ["A", "B", "C", None]
    assert values(data.obs["note"]) == ["two\nlines", '5" tube', 'a "b"\tc', None]


@pytest.mark.parametrize("text", ["nan", "#N/A", "None", "N/A"])
def test_texts_of_missing_labels_in_a_table(tmp_path, text):
    data = annotated(tmp_path, written("\t", "{}").replace("NK", text))
    assert values(as_text(data.obs["kind"])) == ["B, naive", None, "T;8", None]
    assert notes(data)[f"labels {text!r} read as missing"] == 2


def test_labels_of_the_data_that_differ_from_the_table_are_named(tmp_path):
    table = lines("x\tstim\tsize\tkind", "CCC-1\ts \t\tA", "AAC-1\tc\t0.10000\tB", "GGG-1\ts\t7.5\tA")
    data = annotated(tmp_path, table)
    assert not [what for what in notes(data) if "differ" in what]
    data = annotated(tmp_path, table.replace("c\t0.1", "s\t0.2"))
    assert values(data.obs["stim"]) == list("ccss")
    assert data.obs["size"].tolist()[0] == 0.1
    assert values(data.obs["kind"]) == ["B", None, "A", "A"]
    assert notes(data)["columns of the table that differ from labels of the data and are not used (stim, size)"] == 2


def test_a_row_with_the_name_of_one_cell_is_not_shared(tmp_path):
    obs = pd.DataFrame(index=["AAC-1", "AAC-2", "AAG-1", "CCC-2"])
    table = lines("x\tkind", "AAC-1\tA", "AAG-1\tB")
    remedy = "options.barcode should include what differs"
    with refused(f"AAC-1 is the name of a cell, but the cell AAC-2 matches this row too; {remedy}"):
        annotated(tmp_path, table, obs, barcode="[ACGT]+")
    data = annotated(tmp_path, table, obs, barcode="[ACGT]+-[0-9]+")
    assert values(data.obs["kind"]) == ["A", None, "B", None]


def test_a_table_of_samples_is_shared_by_their_cells(tmp_path):
    obs = pd.DataFrame(index=["S1_AAC-1", "S1_AAG-1", "S2_AAC-1"])
    data = annotated(tmp_path, lines("sample,donor", "S1,D1", "S2,D2"), obs, barcode="^S[0-9]+")
    assert values(data.obs["donor"]) == ["D1", "D1", "D2"]
    assert notes(data)["cells that share a row of the table"] == 2


def test_blanks_at_the_ends_of_samples(tmp_path):
    obs = pd.DataFrame({"stim": ["c", "s ", "c", "s"]}, index=["AAC-1", "AAC-11", "AAG-1", "GGG-1"])
    table = lines("cell\tstim\tkind", "AAC-1 \tc \tA", "AAC-1\ts\tB", "GGG-1\ts \tC")
    data = annotated(tmp_path, table, obs, sample_label="stim", barcode="^[ACGT]+")
    assert values(data.obs["kind"]) == ["A", "B", None, "C"]


def test_a_column_with_the_name_of_the_index(tmp_path):
    data = annotated(tmp_path, lines("x\tcell_id", "AAC-1\tC1", "GGG-1\tC2"), OBS.rename_axis("cell_id"))
    data.write_h5ad(tmp_path / "raw.h5ad")
    assert values(anndata.read_h5ad(tmp_path / "raw.h5ad").obs["cell_id"]) == ["C1", None, None, "C2"]


PAIRS = [["Gene, from", "to", "kind"], ["Actb", "ACTB", "ortholog_one2one"], ["Cd4", "CD4", "ortholog_one2one"]]


@pytest.mark.parametrize("sep", "\t,;")
@pytest.mark.parametrize("start", ["", "# BioMart, release 1\n"])
@pytest.mark.parametrize("row_names", [False, True])
def test_orthologs_of_several_forms_are_the_same(tmp_path, sep, start, row_names):
    rows = [[f'"{field}"' for field in row] for row in PAIRS]
    rows = [rows[0], *([f'"{i}"', *row] for i, row in enumerate(rows[1:]))] if row_names else rows
    (tmp_path / "pairs").write_text(start + lines(*map(sep.join, rows)), encoding="utf-8")
    pairs = symbols.read_orthologs(tmp_path / "pairs", {"from": "Gene, from", "to": "to", "kind": "kind"}, "here")
    assert pairs.to_numpy().tolist() == [["ACTB", "ACTB"], ["CD4", "CD4"]]
