"""The reader dge_text on the tables that R, pandas and Drop-seq's tools write."""

import bz2
import gzip
import lzma

import numpy as np
import pandas as pd
import pytest

from tests.bad_data.outcome import refused
from tests.unit.test_readers import notes, read, same_counts

COUNTS = np.array([[0, 3, 10], [2, 0, 0], [0, 0, 100_000], [7, 0, 1]])  # genes x cells
GENES, CELLS = ["ACTB", "GAPDH", "G,3", "G 4"], ["AAACCCAA-1", "CCCGTTTT-1", "GGGTAAAA-1"]
GUESS = "cells read from lines (a guess by the names)"


def table(sep="\t", corner="GENE", quote="", number="{}", end="\n", after="", counts=COUNTS, rows=GENES, columns=CELLS):
    """Write counts as text. ``corner`` None: the header has one field less. ``after``: the end of every line."""
    header = ([] if corner is None else [f"{quote}{corner}{quote}"]) + [f"{quote}{name}{quote}" for name in columns]
    lines = [
        [f"{quote}{name}{quote}", *(number.format(count) for count in line)]
        for name, line in zip(rows, counts, strict=True)
    ]
    return "".join(sep.join(line) + after + end for line in [header, *lines])


def read_text(folder, content, **options):
    (folder / "a.txt").write_bytes(content.encode() if isinstance(content, str) else content)
    return read("dge_text", {"counts": folder / "a.txt"}, options)


PLAIN = ["ACTB", "GAPDH", "G3", "G4"]
FORMS = {
    "a header one field shorter": table(corner=None),
    "with a corner without name": table(corner=""),
    "commas": table(",", rows=PLAIN),
    "commas, quotes, a header without name, as write.csv": table(",", "", '"'),
    "commas, quotes, a header one field shorter": table(",", None, '"'),
    "semicolons, as write.csv2": table(";", "", '"'),
    "spaces, as write.table": table(" ", None, '"'),
    "spaces without quotes": table(" ", None, rows=PLAIN),
    "quotes around everything": table(",", "", '"', '"{}"'),
    "tabs and quotes": table("\t", None, '"'),
    "decimals that are zero": table(number="{:.2f}"),
    "a point at the end": table(number="{}."),
    "Windows line ends": table(end="\r\n"),
    "empty lines at the end": table() + "\n\r\n\n",
    "Windows line ends and quotes": table(",", "", '"', end="\r\n"),
    "a byte-order mark": "\ufeff" + table(),
    "a byte-order mark and quotes": "\ufeff" + table(",", None, '"'),
    "comments": "#DGE VERSION:1.1\tEXPRESSION_FORMAT:raw\n# another, with commas\n" + table(),
    "a header that looks like a comment": table(corner="#gene"),
    "separators at every end": table(after="\t"),
    "separators at every end, a header one field shorter": table(",", None, '"', after=","),
    "a separator at the end of the header": table().replace("\n", "\t\n", 1),
    "separators at the ends of lines": table(after="\t").replace("\t\n", "\n", 1),
    "as R writes large numbers": table().replace("100000", "1e+05"),
    "as R writes large numbers, with decimals": table(number="{}.0").replace("100000.0", "1.0000e+05"),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_forms_of_a_table(tmp_path, name):
    data = read_text(tmp_path, FORMS[name])
    same_counts(data, COUNTS.T)
    assert (data.X.format, data.X.dtype) == ("csr", np.int32)
    assert list(data.obs_names) == CELLS
    assert list(data.var_names) in (GENES, PLAIN)
    assert GUESS not in notes(data)


@pytest.mark.parametrize("sep", ["\t", ",", ";"])
@pytest.mark.parametrize("quoting", [0, 1, 2])
def test_what_pandas_writes_is_read(tmp_path, sep, quoting):
    names = ['5"-gene', 'a "b" c', f"x{sep}y", "plain"]
    frame = pd.DataFrame(COUNTS, index=names, columns=CELLS)
    frame.to_csv(tmp_path / "a.gz", sep=sep, quoting=quoting, compression="gzip")
    data = read("dge_text", {"counts": tmp_path / "a.gz"})
    same_counts(data, COUNTS.T)
    assert list(data.var_names) == names


def test_a_single_quote_sign_stays(tmp_path):
    data = read_text(tmp_path, 'GENE\t"A\tB\n"x\t1\t2\ny"\t3\t4\n5"z\t0\t6\n')
    assert (list(data.obs_names), list(data.var_names)) == (['"A', "B"], ['"x', 'y"', '5"z'])


ENSEMBL = [f"ENSMUSG0000000{i}" for i in range(1000, 1004)]


@pytest.mark.parametrize(
    ("genes", "cells"),
    [
        (GENES, CELLS),
        (["Actb", "Rpl13a", "x", "y"], ["1", "2", "3"]),
        (["ACTB", "mt-Nd1", "x", "y"], ["s_1", "s_2", "s_3"]),
        (ENSEMBL, ["a", "b", "c"]),
        (["a", "b", "c", "d"], [f"r1_{cell}" for cell in CELLS]),
    ],
)
def test_lines_are_cells_if_the_names_say_so(tmp_path, genes, cells):
    turned = table(",", "", '"', counts=COUNTS.T, rows=cells, columns=genes)
    for content, options, guess in (
        (turned, {}, {GUESS: 3}),
        (turned, {"lines": "cells"}, {}),
        (table(",", "", '"', rows=genes, columns=cells), {}, {}),
        (table(",", "", '"', rows=genes, columns=cells), {"lines": "genes"}, {}),
    ):
        data = read_text(tmp_path, content, **options)
        same_counts(data, COUNTS.T)
        assert (list(data.obs_names), list(data.var_names)) == (cells, genes)
        assert {phrase: n for phrase, n in notes(data).items() if phrase == GUESS} == guess


@pytest.mark.parametrize(
    ("genes", "cells"),
    [(["a", "b", "c", "d"], ["1", "2", "3"]), (["ACTB", "RPS6", "b", "c"], ["GAPDH", "B2M", "RPL3"])],
)
def test_lines_are_genes_if_the_names_say_nothing(tmp_path, genes, cells):
    data = read_text(tmp_path, table(rows=genes, columns=cells))
    assert list(data.var_names) == genes
    data = read_text(tmp_path, table(rows=genes, columns=cells), lines="cells")
    assert (list(data.obs_names), GUESS in notes(data)) == (genes, False)


def test_wrong_lines_are_refused(tmp_path):
    with refused("options.lines: 'gene' should be one of"):
        read_text(tmp_path, table(), lines="gene")


@pytest.mark.parametrize(
    "value", ["0.69", "NA", "NaN", "inf", "-1", "-0.0", "1e-05", "1.5e+00", "1e+10", "1e+400", "1..0"]
)
@pytest.mark.parametrize("sep", ["\t", ",", " "])
def test_numbers_that_are_no_counts_are_refused(tmp_path, value, sep):
    content = table(sep, rows=PLAIN).replace(f"{sep}1\n", f"{sep}{value}\n")
    with refused(
        f"line 5: '{value}' of the cell GGGTAAAA-1 is not a whole number".replace("+", r"\+"), tmp_path / "a.txt"
    ):
        read_text(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        ('"","A","B"\n"x","1,5","2"\n', "line 2: has 3 numbers, the header names 2 cells"),
        ('"";"A";"B"\n"x";0,5;1\n', "line 2: '0,5' of the cell A"),
        ("GENE,A,B\nx,1\t2\n", "line 2: has 1 numbers, the header names 2 cells"),
        ("GENE,A,B,C\nx,0,0,0\ny,1\t2,3\n", "line 3: has 2 numbers, the header names 3 cells"),
        ('GENE,A,B\nx,1"2",3\n', "line 2: '1\"2\"' of the cell A"),
        ("GENE;A;B\nx;1;2\ny;1;\n", "line 3: '' of the cell B"),
        ("GENE,A,B\nx,1,2,\ny,1,2\n", "line 3: does not end with ',', as the first line does"),
        ("GENE\tA\tB\t\nx\t1\t2\ny\t1\t2\t\n", "line 3: has 3 numbers"),
        ("GENE\tA\t\nx\t1\t2\n", "line 1: should be GENE and"),  # a cell without a name
        ("A\tB\tC\nx\t1\t2\t\n", "line 2: has 3 numbers, the header names 2 cells"),  # no value, or a separator more
        ("GENE\tA\tB\nx\t0\t1\t2\n", "line 2: has 3 numbers, the header names 2 cells"),
        ("# a\n# b\nGENE\tA\tB\nx\t0\t1\nx\t0\t1\n", "line 5: the gene x occurs twice, first in line 4"),
        ("# a\n# b\n", "line 2: should be GENE and"),
        ("cell\tACTB\tGAPDH\nx\t0\t0.5\n", "line 2: '0.5' of the gene GAPDH"),
        ("cell\tACTB\tGAPDH\nx\t0\t5\nx\t0\t1\n", "line 3: the cell x occurs twice"),
        ("cell\tACTB\tGAPDH\tACTB\nx\t0\t5\t1\n", "line 1: the gene ACTB occurs twice"),
    ],
)
def test_malformed_tables_are_refused(tmp_path, content, pattern):
    with refused(pattern, start=tmp_path / "a.txt: line"):
        read_text(tmp_path, content)


def test_columns_that_are_no_cells_are_refused(tmp_path):
    """As featureCounts, biomaRt and people write them. Text in them is not called a wrong count."""
    lengths = np.hstack([np.full((4, 1), 1000), COUNTS])
    with refused("a.txt: line 1: Length would be read as cells; delete the column", tmp_path):
        read_text(tmp_path, table(rows=GENES, columns=["Length", *CELLS], counts=lengths))
    names = ["Chr", "START", "End", "strand", "Length"]
    line = "\t".join(["Geneid", *names, *CELLS]) + "\n"
    content = f"# Program:featureCounts v2.0.1\n{line}ACTB\tchr1;chr1\t1;9\t5;20\t+;+\t17\t0\t1\t2\n"
    with refused("line 2: Chr, START, End, strand, Length would be read as cells; delete the columns", tmp_path):
        read_text(tmp_path, content)
    for name in ("gene_name", "Gene.Symbol", "gene id", "Symbol", "ENTREZID", "description", "gene_biotype", "GeneID"):
        with refused(f"line 1: {name} would be read as cells", tmp_path):
            read_text(tmp_path, table(columns=[*CELLS[:2], name]))


def test_a_packed_table_of_r(tmp_path):
    data = read_text(tmp_path, gzip.compress(table(" ", None, '"', end="\r\n").encode()))
    same_counts(data, COUNTS.T)


def test_the_content_says_whether_a_file_is_compressed(tmp_path):
    """GEO and Zenodo have files called .gz that are not."""
    (tmp_path / "a.txt.gz").write_text(table(), encoding="utf-8")
    same_counts(read("dge_text", {"counts": tmp_path / "a.txt.gz"}), COUNTS.T)
    packed = {"bzip2": bz2.compress, "xz": lzma.compress, "gzip twice": lambda text: gzip.compress(gzip.compress(text))}
    for name, compress in packed.items():
        (tmp_path / "a.txt.gz").write_bytes(compress(table().encode()))
        with refused(f"a.txt.gz: is not text; it is compressed by {name}; unpack it", tmp_path):
            read("dge_text", {"counts": tmp_path / "a.txt.gz"})
