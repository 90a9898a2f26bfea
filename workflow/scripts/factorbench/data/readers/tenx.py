"""Counts of 10x Genomics, one matrix per sample: CellRanger's h5, or Matrix Market with barcodes and genes.

Other tools write the same files cells x genes, and R with quotes, commas, headers and row numbers. The sizes of the
matrix say which lines are headers and whether it is cells x genes. Files that fit in two ways are refused.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...contracts.errors import UserError
from ...registry import Param, Spec
from ..archives import CHUNK, text
from ..formats import MARKET, TENX
from ._cells import PARAMS, annotate
from ._files import BROKEN, build_csr, file_of, open_hdf5, read_columns, unreadable
from ._names import FEATURE_TYPE, OTHER_TYPE, check_genes, exchanged, of_type

if TYPE_CHECKING:
    import h5py
    from anndata import AnnData
    from scipy import sparse

SPEC = Spec(
    name="tenx",
    title="10x counts, h5 or matrix, barcodes and genes",
    params={
        "samples": Param(
            {},
            "sample -> {h5: key} or {matrix: key, barcodes: key, genes: key} of files",
            types=(dict,),
        ),
        "genes": Param(
            "genes",
            "key of the genes (identifier, symbol, type; or one of the first two) of matrices that do not name theirs",
        ),
        "gene_names": Param("symbol", "which names genes get; repeated ones get -1, -2", choices=("symbol", "id")),
        "match": Param("id", "what two genes of different samples must share to be the same", choices=("id", "symbol")),
        "join": Param("inner", "genes of every sample, or of any (with counts of 0)", choices=("inner", "outer")),
        "feature_type": FEATURE_TYPE,
        **PARAMS,
        "sample_label": Param("sample", PARAMS["sample_label"].doc),
    },
)
FORMS = ({"h5"}, {"matrix", "barcodes"}, {"matrix", "barcodes", "genes"})
EXAMPLE = "{sample: {h5: <key>}} or {sample: {matrix: <key>, barcodes: <key>, genes: <key>}}"
ARRAYS = ("data", "indices", "indptr")
BARCODES, FEATURES = ["barcode"], ["id", "symbol", "type"]
"""Columns of the files that name cells and genes."""


def read(files: dict[str, Path], options: dict[str, Any]) -> AnnData:
    """Read the samples, one below the other.

    Returns
    -------
    AnnData
        ``X`` CSR, shape (n_cells, n_genes), of the stored type; cells named ``<sample>_<barcode>``; ``obs`` the sample
        and the barcode; ``var["id"]`` the identifiers of the genes; the rest as `annotate` says.

    Raises
    ------
    UserError
        Naming the file or option, if ``files`` has no such key, a file is damaged or does not fit the others; and see
        `annotate`.
    """
    import anndata

    if not options["samples"]:
        raise UserError(f"options.samples: name at least one sample: {EXAMPLE}")
    samples, other_features, guesses = {}, set(), Counter()
    for sample, keys in options["samples"].items():
        counts, features, barcodes = _sample(files, sample, keys, options, guesses)
        wanted = of_type(features["type"], options["feature_type"], f"sample {sample}")
        other_features |= set(features.loc[~wanted, "id"])
        obs = pd.DataFrame({"barcode": barcodes, options["sample_label"]: str(sample)})
        samples[sample] = anndata.AnnData(
            counts[:, wanted],
            obs=obs.set_index(f"{sample}_" + obs["barcode"]).rename_axis(None),
            var=features.loc[wanted, ["id", "symbol"]],
        )
    data, n_not_everywhere = _join(samples, options)
    data.var = data.var.set_index(options["gene_names"]).rename_axis(None)
    notes = {
        **+guesses,
        OTHER_TYPE: len(other_features),
        "genes not in every sample": n_not_everywhere,
        "gene names made unique": int(data.var_names.duplicated().sum()),
    }
    data.var_names_make_unique()
    return annotate(data, data.obs["barcode"], files, options, notes)


def _sample(
    files: dict[str, Path], sample: Any, keys: Any, options: dict[str, Any], guesses: Counter[str]
) -> tuple[sparse.csr_matrix, pd.DataFrame, np.ndarray]:
    """Read one sample: counts (n_cells, n_features), features (id, symbol, type; index text) and barcodes.

    What the files do not say, and sizes or names do, is counted in ``guesses``.
    """
    at = f"samples.{sample}"
    if not isinstance(keys, dict) or set(keys) not in FORMS:
        raise UserError(f"options.{at}: {keys} should be as in {EXAMPLE}")
    unpacked = options["unpacked"]
    if "h5" in keys:
        matrix = file_of(files, keys["h5"], f"{at}.h5")
        counts, features, barcodes = _read_h5(matrix, unpacked)
    else:
        genes = (keys["genes"], f"{at}.genes") if "genes" in keys else (options["genes"], "genes")
        of_sample = ((keys[name], f"{at}.{name}") for name in ("matrix", "barcodes"))
        matrix, barcodes, genes = (file_of(files, *key) for key in (*of_sample, genes))
        counts, features, barcodes = _read_market(matrix, genes, barcodes, unpacked, guesses)
    check_genes(features["id"], matrix)
    features.index = features.index.astype(str)
    return counts, features, np.asarray(barcodes)


def _read_h5(path: Path, unpacked: float) -> tuple[sparse.csr_matrix, pd.DataFrame, np.ndarray]:
    """Read counts, features and barcodes from a file of CellRanger 3, CellRanger 2 or CellBender."""
    from scipy import sparse

    try:
        with open_hdf5(path, unpacked) as file:
            group = _matrix_of(file, path)
            places = {"id": "genes", "symbol": "gene_names"}
            if "features" in group:
                places = {"id": "features/id", "symbol": "features/name", "type": "features/feature_type"}
            columns = {name: group[at].asstr()[:] for name, at in places.items() if name != "type" or at in group}
            features = pd.DataFrame({"type": None} | columns)
            barcodes = group["barcodes"].asstr()[:]
            parts = tuple(group[name][:] for name in ARRAYS)
            shape = tuple(group["shape"][:].tolist())
        if shape != (len(features), len(barcodes)):
            raise _misfit(path, shape, (len(features), len(barcodes)))
        return build_csr(sparse.csr_matrix, parts, shape[::-1]), features, barcodes
    except (*BROKEN, AttributeError) as error:  # AttributeError: a group in place of an array
        raise unreadable(path, error, TENX) from None


def _matrix_of(file: h5py.File, path: Path) -> h5py.Group:
    """Return the only group that holds counts: ``matrix``, or the genome in a file of CellRanger 2."""
    members = {name: set(file[name]) for name in file if file.get(name, getclass=True) is type(file["/"])}
    groups = [name for name in members if name == "matrix" or members[name] >= {"barcodes", *ARRAYS}]
    if not groups:
        raise ValueError(f"no group has barcodes, data, indices and indptr; there is {', '.join(file) or 'nothing'}")
    if len(groups) > 1 and "matrix" not in groups:
        raise UserError(
            f"{path}: has the groups {', '.join(groups)}, one is expected; save one of the genomes as h5ad: "
            f"scanpy.read_10x_h5(..., genome={groups[0]!r}).write_h5ad(...) (reader: h5ad)"
        )
    return file["matrix" if "matrix" in groups else groups[0]]


def _read_market(
    path: Path, genes: Path, barcodes: Path, unpacked: float, guesses: Counter[str]
) -> tuple[sparse.csr_matrix, pd.DataFrame, pd.Series]:
    """Read counts, features and barcodes from a Matrix Market file and the files that name its genes and cells."""
    from scipy import io, sparse

    tables = [_read_table(genes, unpacked), _read_table(barcodes, unpacked)]
    try:
        header, entry = _head(path, unpacked)
        if b"float" in header:
            raise UserError(
                f"{path}: is UniqueAndMult of STARsolo, which has decimals; give matrix.mtx from its folder"
            )
        with text(path, unpacked) as file:
            *shape, n_values, form, values, symmetry = io.mminfo(file)
        turned, headers = _fit(path, tuple(shape), tables)
        listed = (form, symmetry) == ("coordinate", "general") and values not in ("pattern", "complex")
        if not listed or n_values > shape[0] * shape[1]:
            raise ValueError(f"{form}, {values}, {symmetry}, {n_values} values: not a list of counts")
        if len(entry) > 3:  # scipy would ignore the others
            raise UserError(
                f"{path}: has {len(entry)} numbers a line, not gene, cell and count; if it is Velocyto of STARsolo "
                "(spliced, unspliced, ambiguous), give the matrix.mtx of Gene or GeneFull"
            )
        with text(path, unpacked) as file:
            stored = io.mmread(file)
        matrix = sparse.csr_matrix(stored if turned else stored.T)
        if matrix.nnz < n_values:  # scipy sums entries of the same place
            raise ValueError("a gene occurs twice in a cell")
    except BROKEN as error:
        raise unreadable(path, error, MARKET) from None
    guesses.update({"matrices turned (they were cells x genes)": int(turned), "header lines left out": sum(headers)})
    features = _name(genes, tables[0], headers[0], FEATURES, guesses)
    names = _name(barcodes, tables[1], headers[1], BARCODES, guesses)["barcode"]
    if exchanged(features["id"], names):
        raise UserError(f"{genes}: names cells, or {barcodes} names genes; exchange them in options.samples")
    return matrix, features, names


def _head(path: Path, unpacked: float) -> tuple[list[bytes], list[bytes]]:
    """Return the words of the first line of a Matrix Market file, and the numbers of the first entry."""
    with text(path, unpacked) as file:
        lines = (line.lower().split() for line in iter(lambda: file.readline(CHUNK), b""))
        header = next(lines, [])
        _, entry = (next((words for words in lines if words and words[0][:1] != b"%"), []) for _ in range(2))
    return header, entry


def _fit(path: Path, shape: tuple[int, ...], tables: list[pd.DataFrame]) -> tuple[bool, tuple[bool, ...]]:
    """Return whether the matrix is cells x genes, and for genes and barcodes whether their first line is a header.

    The sizes decide. A square matrix is genes x cells, as 10x defines it.
    """
    sizes = tuple(map(len, tables))
    fits = [
        (turned, headers)
        for turned in (False, True)[: 1 + (shape[0] != shape[1])]
        for headers in product(*((True,) if pd.isna(table.iloc[0, 0]) else (False, True) for table in tables))
        if shape[:: -1 if turned else 1] == tuple(np.subtract(sizes, headers))
    ]
    if len(fits) > 1:
        raise UserError(
            f"{path}: is {shape[0]} x {shape[1]}, with {sizes[0]} lines of genes and {sizes[1]} of barcodes; it may be "
            "cells x genes, or genes x cells; delete the header line from the file that has one"
        )
    for turned, headers in fits:
        if not any(header and _is_like_the_next(table) for table, header in zip(tables, headers, strict=True)):
            return turned, headers
    raise _misfit(path, shape, sizes)


def _is_like_the_next(table: pd.DataFrame) -> bool:
    """Return whether the first two names have the same form, such as two barcodes, so that the first is no header."""
    forms = [re.sub("[A-Z]", "A", re.sub("[0-9]", "0", str(name))) for name in table.iloc[:2, 0]]
    return forms[1:] == forms[:1]


def _misfit(path: Path, shape: tuple[int, ...], named: tuple[int, ...]) -> UserError:
    shapes = (" x ".join(map(str, sizes)) for sizes in (shape, named))
    return UserError("{}: is {} (genes x barcodes), but {} are named; check options.samples".format(path, *shapes))


def _read_table(path: Path, unpacked: float) -> pd.DataFrame:
    """Read all lines of a table as text. A header that has no name for the row names starts with None."""
    try:
        with text(path, unpacked) as file:
            first, second = (file.readline(CHUNK).decode("utf-8-sig", "replace").rstrip("\r\n") for _ in range(2))
    except BROKEN as error:
        raise unreadable(path, error) from None
    sep = _separator(path, first, second or first)
    n_missing = second.count(sep) - first.count(sep)
    quoting = 3 if sep == "\t" else 0  # names may have quotes, but not tabs
    table = read_columns(path, unpacked, sep, int(n_missing == 1), quoting=quoting)
    if n_missing == 1:
        table = pd.concat([pd.DataFrame([[None, *first.split(sep)]]), table], ignore_index=True)
    table = table.apply(_bare)
    table.iloc[0, 0] = table.iloc[0, 0] or None
    return table


def _bare(names: pd.Series) -> pd.Series:
    """Return names without spaces and quotes around them. A quote on one side only is part of the name."""
    names = names.str.strip(" ")
    quoted = names.str.startswith('"', na=False)
    return names.where(~quoted, names[quoted].str.replace('^"([^"]*)"$', r"\1", regex=True))


def _separator(path: Path, first: str, second: str) -> str:
    """Return the separator of a table, by its first two lines: a tab if nothing else is certain."""
    for sep in ",; " if "\t" not in second else "":
        quoted = re.fullmatch(f'"[^"]*"(?:{sep}"[^"]*")+', second)
        if quoted or (sep != " " and first.startswith((sep, f'""{sep}'))):
            return sep
    return "," if ".csv" in path.suffixes and "," in second and "\t" not in second else "\t"


def _name(path: Path, table: pd.DataFrame, header: bool, columns: list[str], guesses: Counter[str]) -> pd.DataFrame:
    """Return the ``columns`` of a table of names. If it names genes in one column, this is id and symbol."""
    head = table.iloc[0].fillna("") if header else None
    table = table.iloc[int(header) :].reset_index(drop=True)
    if table.shape[1] > 1 and _counts_up(table[0]) and (columns == FEATURES or table[1].is_unique):
        table, head = table.iloc[:, 1:], head if head is None else head.iloc[1:]
        guesses["columns of row numbers left out"] += 1
    elif header and not head.iloc[0] and columns == FEATURES and table.shape[1] > 2:
        raise UserError(f"{path}: has row names and {table.shape[1] - 1} columns; write it without row names")
    if header and not (table.shape[1] > 2 and "type" in str(head.iloc[2]).lower()):
        table = table.iloc[:, :2]
    names = table.iloc[:, : len(columns)].set_axis(columns[: table.shape[1]], axis=1).reindex(columns=columns)
    return names.assign(symbol=names["symbol"].fillna(names["id"])) if columns == FEATURES else names


def _counts_up(column: pd.Series) -> bool:
    """Return whether a column is 1, 2, 3 and so on, or starts at 0."""
    start = {"0": 0, "1": 1}.get(column.iloc[0]) if len(column) else None
    return start is not None and (column == pd.Series(range(start, start + len(column))).astype(str)).all()


def _join(samples: dict[Any, AnnData], options: dict[str, Any]) -> tuple[AnnData, int]:
    """Put samples one below the other, with the same genes; also return how many genes are not in every sample."""
    import anndata

    first, *others = samples.values()
    if not all(other.var.equals(first.var) for other in others):
        for sample, data in samples.items():
            data.var_names = data.var[options["match"]].rename(None)
            if options["match"] == "symbol":
                data.var_names_make_unique()
            elif not data.var_names.is_unique:
                twice = data.var_names[data.var_names.duplicated()][0]
                raise UserError(f"options.match: sample {sample} has the gene {twice} twice; match by symbol")
    genes = pd.concat([data.var for data in samples.values()])
    in_samples = genes.index.value_counts()
    genes = genes[~genes.index.duplicated()]
    everywhere = in_samples[genes.index].to_numpy() == len(samples)
    if not everywhere.any():
        raise UserError(f"options.match: no {options['match']} of a gene is in every sample; try the other")
    if options["join"] == "inner":
        genes = genes[everywhere]
    data = anndata.concat(list(samples.values()), join=options["join"])[:, genes.index].copy()
    data.var = genes
    return data, int((~everywhere).sum())
