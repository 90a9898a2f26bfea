"""The reader tenx on the files that other tools than CellRanger write."""

import gzip

import h5py
import numpy as np
import pytest

from tests.bad_data.outcome import refused
from tests.unit.test_readers import GENES, ONE, TYPES, WHOLE, notes, read, same_counts, whole_h5

MARKET = "%%MatrixMarket matrix coordinate integer general\n"
COUNTS = np.array([[1, 0, 2], [0, 3, 0], [4, 0, 0], [0, 5, 6], [0, 7, 0]])  # genes x cells
CELLS, IDS = ["AAACCCAA-1", "CCCGTTTT-1", "GGGTAAAA-1"], ["ENSG1", "ENSG2", "ENSG3", "ENSG4", "ENSG5"]
SYMBOLS = ["ISG15", "RGS5", "B2M", "HLA-A", "NA"]
NAMES = {"barcodes.tsv": "\n".join(CELLS), "genes.tsv": "\n".join(map("\t".join, zip(IDS, SYMBOLS, strict=True)))}
TURNED, HEADERS = "matrices turned (they were cells x genes)", "header lines left out"
ROW_NUMBERS = "columns of row numbers left out"


def market(counts, kind="integer", form="{}"):
    lines = [f"{i + 1} {j + 1} {form.format(counts[i, j])}" for i, j in zip(*np.nonzero(counts), strict=True)]
    return "\n".join(
        [MARKET.strip().replace("integer", kind), f"{len(counts)} {len(counts[0])} {len(lines)}", *lines, ""]
    )


def sample(folder, content):
    """Write one sample, by default as CellRanger 2 does; the suffix of a name tells what it replaces."""
    files = {}
    for name, lines in ({"matrix.mtx": market(COUNTS)} | NAMES | content).items():
        key = next(key for key in ("matrix", "barcodes", "genes") if key in name)
        files[key] = folder / name
        files[key].write_bytes(lines.encode() if isinstance(lines, str) else lines)
    return files


def read_sample(folder, content):
    return read(
        "tenx", sample(folder, content), {"samples": {"a": {key: key for key in ("matrix", "barcodes", "genes")}}}
    )


def guesses(data):
    """Return the notes on what the files did not say."""
    return {phrase: n for phrase, n in notes(data).items() if phrase in (TURNED, HEADERS, ROW_NUMBERS)}


def rows(*lines):
    return "\n".join(lines) + "\n"


def quoted(fields, sep=","):
    return sep.join(f'"{field}"' for field in fields)


NUMBERED = [quoted((i + 1, cell)) for i, cell in enumerate(CELLS)]
BOTH = list(zip(IDS, SYMBOLS, strict=True))
FORMS = {
    "as CellRanger 2 writes it": ({}, {}),
    "as STARsolo writes it": (
        {
            "matrix.mtx": market(COUNTS, "real", "{}.0") + "\n\n",
            "genes.tsv": rows(*(f"{i}\t{s}\tGene Expression" for i, s in BOTH)),
        },
        {},
    ),
    "as kallisto writes it": (
        {
            "matrix.mtx": market(COUNTS.T, "real"),
            "cells_x_genes.genes.txt": rows(*IDS),
            "cells_x_genes.barcodes.txt": rows(*CELLS),
        },
        {TURNED: 1},
    ),
    "symbols only": ({"genes.tsv": rows(*SYMBOLS)}, {}),
    "with spaces and Windows line ends": (
        {"barcodes.tsv": "".join(f" {cell} \r\n" for cell in CELLS), "genes.tsv": NAMES["genes.tsv"] + "\r\n\r\n"},
        {},
    ),
    "with quotes": (
        {"barcodes.tsv": rows(*map('"{}"'.format, CELLS)), "genes.tsv": rows(*(quoted(pair, "\t") for pair in BOTH))},
        {},
    ),
    "with a byte-order mark": ({"barcodes.tsv": "\ufeff" + NAMES["barcodes.tsv"]}, {}),
    "with headers": (
        {"barcodes.tsv": rows("barcode", *CELLS), "genes.tsv": "gene_id\tgene_name\n" + NAMES["genes.tsv"]},
        {HEADERS: 2},
    ),
    "with headers, cells x genes, as split-pipe writes it": (
        {
            "matrix.mtx": market(COUNTS.T),
            "barcodes.csv": rows("bc_wells,sample", *(f"{cell},s1" for cell in CELLS)),
            "genes.csv": rows("gene_id,gene_name,genome", *(f"{i},{s},hg38" for i, s in BOTH)),
        },
        {TURNED: 1, HEADERS: 2},
    ),
    "by write.csv": (
        {
            "barcodes.txt": rows('"","x"', *NUMBERED),
            "genes.txt": rows('"","V1","V2"', *(quoted((i + 1, *pair)) for i, pair in enumerate(BOTH))),
        },
        {HEADERS: 2, ROW_NUMBERS: 2},
    ),
    "by write.csv without row names": (
        {"barcodes.csv": rows('"x"', *map('"{}"'.format, CELLS)), "genes.csv": rows(*map(quoted, BOTH))},
        {HEADERS: 1},
    ),
    "by write.csv, row names are the identifiers": (
        {"genes.csv": rows('"","symbol"', *map(quoted, BOTH))},
        {HEADERS: 1},
    ),
    "by write.csv2": (
        {"barcodes.csv": rows('"";"x"', *(line.replace(",", ";") for line in NUMBERED))},
        {HEADERS: 1, ROW_NUMBERS: 1},
    ),
    "by write.table": (
        {
            "barcodes.txt": rows('"x"', *(line.replace(",", " ") for line in NUMBERED)),
            "genes.txt": rows('"V1"\t"V2"', *(f'"{i + 1}"\t{quoted(pair, chr(9))}' for i, pair in enumerate(BOTH))),
        },
        {HEADERS: 2, ROW_NUMBERS: 2},
    ),
    "by to_csv": (
        {"barcodes.csv": rows(",0", *(f"{i},{cell}" for i, cell in enumerate(CELLS)))},
        {HEADERS: 1, ROW_NUMBERS: 1},
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_forms_of_a_sample(tmp_path, name):
    content, expected = FORMS[name]
    data = read_sample(tmp_path, content)
    same_counts(data, COUNTS.T)
    assert list(data.obs["barcode"]) == CELLS
    ids, symbols = list(data.var["id"]), list(data.var_names)
    assert (ids, symbols) in [(IDS, SYMBOLS), (IDS, IDS), (SYMBOLS, SYMBOLS)]
    assert len(set(ids + symbols)) == 5 or not name.startswith(("symbols", "as kallisto"))
    assert guesses(data) == expected


def test_a_single_quote_sign_stays(tmp_path):
    data = read_sample(tmp_path, {"genes.tsv": 'ENSG1\t5"\nENSG2\t"a\nENSG3\t"b"\nENSG4\t"c"d"\nENSG5\t""\n'})
    assert list(data.var_names) == ['5"', '"a', "b", '"c"d"', ""]


def test_names_in_quotes_may_have_commas(tmp_path):
    lines = [quoted((i, f"{s},x")) for i, s in BOTH]
    assert list(read_sample(tmp_path, {"genes.csv": rows(*lines)}).var_names) == [f"{s},x" for s in SYMBOLS]


def test_names_with_commas_are_not_split_without_need(tmp_path):
    data = read_sample(tmp_path, {"barcodes.tsv": "S1,A\nS1,C\nS1,G\n"})
    assert list(data.obs["barcode"]) == ["S1,A", "S1,C", "S1,G"]


def test_cells_that_are_called_by_numbers_keep_them(tmp_path):
    data = read_sample(tmp_path, {"barcodes.tsv": "1\tB\n2\tB\n3\tT\n"})
    assert list(data.obs["barcode"]) == ["1", "2", "3"]
    assert guesses(data) == {}


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        ({"barcodes.tsv": rows("TTTTTTTT-1", *CELLS)}, "5 x 3 .* but 5 x 4 are named"),  # another sample's
        ({"genes.tsv": rows("ENSG0\tA", NAMES["genes.tsv"])}, "5 x 3 .* but 6 x 3 are named"),
        ({"barcodes.tsv": rows("a", "b", *CELLS)}, "5 x 3 .* but 5 x 5 are named"),
        ({"barcodes.tsv": NAMES["genes.tsv"], "genes.tsv": NAMES["barcodes.tsv"]}, "exchange them in options"),
        ({"matrix.mtx": market(COUNTS.T), "barcodes.tsv": rows(*CELLS[:2])}, "3 x 5 .* but 5 x 2"),
        (
            {"genes.csv": rows('"","id","symbol"', *(quoted((s, i, s)) for i, s in BOTH))},
            r"genes\.csv: has row names and 2 columns; write it without row names",
        ),
    ],
)
def test_samples_that_do_not_fit_are_refused(tmp_path, content, pattern):
    with refused(pattern, start=tmp_path):
        read_sample(tmp_path, content)


def test_sizes_that_fit_in_two_ways_are_refused(tmp_path):
    """Four genes and a header of three cells, or a header of three genes and four cells."""
    content = {"matrix.mtx": market(COUNTS[:4]), "barcodes.tsv": rows("x", *CELLS), "genes.tsv": rows(*SYMBOLS[:4])}
    with refused(
        "4 lines of genes and 4 of barcodes; it may be cells x genes, .* header", start=tmp_path / "matrix.mtx"
    ):
        read_sample(tmp_path, content)
    content["barcodes.tsv"] = rows("\tx", *(f"{i}\t{cell}" for i, cell in enumerate(CELLS)))
    assert guesses(read_sample(tmp_path, content)) == {HEADERS: 1, ROW_NUMBERS: 1}  # row names make it certain


def test_other_matrices_of_starsolo_are_refused(tmp_path):
    content = market(COUNTS, "real", "{}.333").replace("real", "float")
    with refused("is UniqueAndMult of STARsolo, which has decimals; give matrix.mtx", start=tmp_path / "matrix.mtx"):
        read_sample(tmp_path, {"matrix.mtx": content})
    content = market(COUNTS, "integer", "{} 0 7").replace("5 3 ", "% a comment\n\n5 3 ", 1)
    with refused("has 5 numbers a line, .*Velocyto.* give the matrix.mtx of Gene", start=tmp_path / "matrix.mtx"):
        read_sample(tmp_path, {"matrix.mtx": content})


def test_genes_in_three_parts_are_refused(tmp_path):
    """As alevin-fry writes them in its USA mode, cells x genes."""
    parts = [f"{name}{part}" for part in ("", "-U", "-A") for name in SYMBOLS]
    content = {"matrix.mtx": market(np.vstack([COUNTS, COUNTS, COUNTS]).T), "genes.txt": rows(*parts)}
    with refused(r"ambiguous \(-A\) counts of each gene, .*pyroe.load_fry", start=tmp_path / "matrix.mtx"):
        read_sample(tmp_path, content)
    names = ["HLA", "HLA-A", "HLA-B", "B2M", "MX1"]
    assert list(read_sample(tmp_path, {"genes.tsv": rows(*names)}).var_names) == names


def test_a_square_matrix_is_genes_x_cells(tmp_path):
    counts = COUNTS[:3]
    content = {"matrix.mtx": market(counts), "genes.tsv": rows("x", *SYMBOLS[:3])}
    data = read_sample(tmp_path, content)
    same_counts(data, counts.T)
    assert guesses(data) == {HEADERS: 1}


def test_files_called_gz_that_are_plain(tmp_path):
    content = {"matrix.mtx.gz": market(COUNTS)} | {f"{name}.gz": lines for name, lines in NAMES.items()}
    files = sample(tmp_path, {}) | {name.split(".")[0]: tmp_path / name for name in content}
    for name, lines in content.items():
        (tmp_path / name).write_text(lines, encoding="utf-8")
    data = read("tenx", files, {"samples": {"a": {key: key for key in ("matrix", "barcodes", "genes")}}})
    same_counts(data, COUNTS.T)
    assert list(data.var_names) == SYMBOLS


# ------------------------------------------------------------------------------------------------------------------ h5


@pytest.mark.parametrize("types", [TYPES, None])
def test_h5_of_cellbender(tmp_path, types):
    """Version 0.3 writes further groups, version 0.2 further arrays."""
    path = whole_h5(tmp_path, types=types, latent_cell_probability=np.ones(3), ambient_expression=np.ones(4))
    with h5py.File(path, "a") as file:
        for place in ("droplet_latents/cell_size", "global_latents/ambient_expression", "metadata/fpr"):
            file[place] = np.ones(3)
    data = read("tenx", {"a": path}, ONE)
    same_counts(data, WHOLE.toarray().T)
    assert list(data.var["id"]) == GENES["id"]


def test_h5_without_types_has_genes_only(tmp_path):
    data = read("tenx", {"a": whole_h5(tmp_path, **{"features/feature_type": None})}, ONE)
    same_counts(data, WHOLE.toarray().T)
    assert (list(data.var["id"]), notes(data)["features of another type"]) == (GENES["id"], 0)


def test_h5_of_two_genomes_names_them_and_says_what_to_do(tmp_path):
    path = whole_h5(tmp_path, types=None)
    with h5py.File(path, "a") as file:
        file.copy("GRCh38", "mm10")
    with refused(r"GRCh38, mm10.*genome='GRCh38'\)\.write_h5ad.*reader: h5ad", start=path):
        read("tenx", {"a": path}, ONE)


def test_molecule_info_is_refused(tmp_path):
    path = tmp_path / "molecule_info.h5"
    with h5py.File(path, "w") as file:
        for name in ("barcode_idx", "feature_idx", "count", "umi", "barcode_info/pass_filter"):
            file[name] = np.arange(5)
    with refused("cannot be read", start=path):
        read("tenx", {"a": path}, ONE)


def test_h5_that_is_packed(tmp_path):
    path = tmp_path / "a.h5.gz"
    path.write_bytes(gzip.compress(whole_h5(tmp_path).read_bytes()))
    same_counts(read("tenx", {"a": path}, ONE), WHOLE.toarray().T)
