"""Counts of 10x Genomics, one matrix a sample: CellRanger's h5, or market form with barcodes and genes beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...contracts.errors import UserError
from ...registry import Param, Spec
from ..archives import text
from ._cells import BROKEN, PARAMS, annotate, broken, check_parts, check_unpacked, checked, file_of

if TYPE_CHECKING:
    from anndata import AnnData
    from scipy import sparse

SPEC = Spec(
    name="tenx",
    title="10x counts, h5 or matrix, barcodes and genes",
    params={
        "samples": Param(
            {},
            "sample -> {h5: key} or {matrix: key, barcodes: key, genes: key} of files; a matrix is genes x barcodes",
            types=(dict,),
        ),
        "genes": Param("genes", "key of the genes (identifier, symbol, type) of matrices that do not name their own"),
        "gene_names": Param("symbol", "which names the genes bear; repeated ones get -1, -2", choices=("symbol", "id")),
        "match": Param("id", "what makes two genes of different samples the same", choices=("id", "symbol")),
        "join": Param("inner", "genes of every sample, or of any (with counts of 0)", choices=("inner", "outer")),
        "feature_type": Param("Gene Expression", "type of the features to read, where a file says it"),
        **PARAMS,
        "sample_label": Param("sample", PARAMS["sample_label"].doc),
    },
)
FORMS = ({"h5"}, {"matrix", "barcodes"}, {"matrix", "barcodes", "genes"})
LARGEST = np.iinfo(np.int32).max


def read(files: dict[str, Path], options: dict[str, Any]) -> AnnData:
    """Read the samples one below the other.

    Returns
    -------
    AnnData
        ``X`` CSR int32, shape (n_cells, n_genes); cells named ``<sample>_<barcode>``; ``obs`` the sample, the barcode
        and the columns of the table; ``var["id"]`` the genes' identifiers; ``uns["reader"]`` json text: how many
        names of genes were made unique, how many genes are not in every sample, how many features are of another
        type, and what `annotate` counts.

    Raises
    ------
    UserError
        Naming the file or option: a file that is broken or does not fit the others, a key that ``files`` has not,
        counts that are none, and what `annotate` finds.
    """
    import anndata
    from scipy import sparse

    if not options["samples"]:
        raise UserError(
            "options.samples: name at least one sample: {sample: {h5: <key>}} or {matrix: <key>, barcodes: <key>}"
        )
    matrices, genes, cells, others = [], [], [], set()
    for sample, keys in options["samples"].items():
        matrix, features, barcodes = _sample(files, sample, keys, options)
        wanted = (features["type"] == options["feature_type"]).to_numpy() | features["type"].isna().to_numpy()
        if not wanted.any():
            raise UserError(
                f"options.feature_type: sample {sample} has no feature of the type {options['feature_type']!r} (it has "
                f"{', '.join(features['type'].unique()) or 'no features'})"
            )
        others |= set(features.loc[~wanted, "id"])
        matrices.append(matrix if wanted.all() else matrix[:, wanted])
        genes.append(features.loc[wanted, ["id", "symbol"]].reset_index(drop=True))
        cells.append(pd.DataFrame({"barcode": barcodes, options["sample_label"]: str(sample)}))
    notes = {"features of another type": len(others)}
    matrices, var, notes["genes not in every sample"] = _join(matrices, genes, options)
    obs = pd.concat(cells, ignore_index=True)
    obs.index = obs[options["sample_label"]] + "_" + obs["barcode"]
    var = var.set_index(options["gene_names"]).rename_axis(None)
    notes["gene names made unique"] = int(var.index.duplicated().sum())
    var.index = anndata.utils.make_index_unique(var.index)
    data = anndata.AnnData(sparse.vstack(matrices, format="csr"), obs=obs, var=var)
    return annotate(data, data.obs["barcode"], files, options, notes)


def _sample(
    files: dict[str, Path], sample: Any, keys: Any, options: dict[str, Any]
) -> tuple[sparse.csr_matrix, pd.DataFrame, np.ndarray]:
    """Counts of one sample (n_cells, n_features), its features (id, symbol, type) and its barcodes."""
    at = f"samples.{sample}"
    if not isinstance(keys, dict) or set(keys) not in FORMS:
        raise UserError(
            f"options.{at}: should be {{h5: <key>}} or {{matrix: <key>, barcodes: <key>, genes: <key>}}, not {keys}"
        )
    if "h5" in keys:
        return _h5(file_of(files, keys["h5"], f"{at}.h5"), options["unpacked"])
    matrix = file_of(files, keys["matrix"], f"{at}.matrix")
    path = file_of(files, keys["barcodes"], f"{at}.barcodes")
    barcodes = _lines(path, options["unpacked"], ("barcode",))["barcode"].to_numpy()
    given = (keys["genes"], f"{at}.genes") if "genes" in keys else (options["genes"], "genes")
    features = _lines(file_of(files, *given), options["unpacked"], ("id", "symbol"), ("type",))
    return _market(matrix, options["unpacked"], len(features), len(barcodes)), features, barcodes


def _h5(path: Path, unpacked: float) -> tuple[sparse.csr_matrix, pd.DataFrame, np.ndarray]:
    """What `_sample` returns, of a file of CellRanger 3 or later (group matrix) or 2 (a group named by its genome)."""
    import h5py
    from scipy import sparse

    try:
        with h5py.File(path) as file:
            check_unpacked(file, path, unpacked)
            groups = list(file)
            if len(groups) != 1:
                raise ValueError(f"has the groups {', '.join(groups) or 'none'}, one is expected")
            group = file[groups[0]]
            of = {"id": "genes", "symbol": "gene_names"}
            if groups == ["matrix"]:
                of = {"id": "features/id", "symbol": "features/name", "type": "features/feature_type"}
            columns = {name: group[place].asstr()[:] for name, place in of.items()}
            features = pd.DataFrame({"type": None, **columns})[["id", "symbol", "type"]]
            barcodes = group["barcodes"].asstr()[:]
            stored = tuple(group[name][:] for name in ("data", "indices", "indptr"))
            shape = tuple(group["shape"][:].tolist())
        _fit(path, shape, len(features), len(barcodes))
        check_parts(*stored)
        matrix = checked(sparse.csr_matrix(stored, shape=shape[::-1]))
    except (*BROKEN, AttributeError) as error:  # the last: a group in place of an array
        raise broken(path, error) from None
    return _counts(path, matrix), features, barcodes


def _market(path: Path, unpacked: float, n_genes: int, n_cells: int) -> sparse.csr_matrix:
    """Counts of a matrix in market form (genes x cells), shape (n_cells, n_genes)."""
    from scipy import io, sparse

    try:
        with text(path, unpacked) as file:
            *shape, n_values, form, values, symmetry = io.mminfo(file)
        _fit(path, tuple(shape), n_genes, n_cells)
        if (form, symmetry) != ("coordinate", "general") or values == "pattern" or n_values > n_genes * n_cells:
            raise ValueError(f"{form}, {values}, {symmetry}, {n_values} values: not a list of counts")
        with text(path, unpacked) as file:
            matrix = sparse.csr_matrix(io.mmread(file).T)
        if matrix.nnz < n_values:
            raise ValueError("a gene is there twice in a cell")
    except BROKEN as error:
        raise broken(path, error) from None
    return _counts(path, matrix)


def _fit(path: Path, shape: tuple[int, ...], n_genes: int, n_cells: int) -> None:
    if shape != (n_genes, n_cells):
        raise UserError(
            f"{path}: {' genes x '.join(map(str, shape))} barcodes, beside it are named {n_genes} genes and {n_cells} "
            f"barcodes; check options.samples"
        )


def _counts(path: Path, matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """The matrix as int32."""
    values = matrix.data
    if values.dtype.kind not in "iuf":
        raise UserError(f"{path}: has values of type {values.dtype}; counts are whole numbers")
    wrong = values[~((values >= 0) & (values <= LARGEST) & (values == np.round(values)))]
    if len(wrong):
        raise UserError(f"{path}: {len(wrong)} values are not whole numbers of 0 or more, the first {wrong[0]}")
    return matrix.astype(np.int32)


def _join(
    matrices: list[sparse.csr_matrix], genes: list[pd.DataFrame], options: dict[str, Any]
) -> tuple[list[sparse.csr_matrix], pd.DataFrame, int]:
    """The matrices with the same genes in the same order, these genes, and how many are not in every sample."""
    import anndata
    from scipy import sparse

    if all(other.equals(genes[0]) for other in genes):
        return matrices, genes[0], 0
    names = [pd.Index(other[options["match"]]) for other in genes]
    if options["match"] == "symbol":
        names = [anndata.utils.make_index_unique(index) for index in names]
    for sample, index in zip(options["samples"], names, strict=True):
        if not index.is_unique:
            raise UserError(
                f"options.match: sample {sample} has the gene {index[index.duplicated()][0]} twice; match by symbol"
            )
    common, every = names[0], names[0]
    for index in names[1:]:
        common, every = common[common.isin(index)], every.append(index[~index.isin(every)])
    if common.empty:
        raise UserError(f"options.match: no {options['match']} of a gene is in every sample; try the other")
    chosen = common if options["join"] == "inner" else every
    known = pd.concat([other.set_axis(index) for other, index in zip(genes, names, strict=True)])
    joined = []
    for matrix, index in zip(matrices, names, strict=True):
        place = chosen.get_indexer(index)
        rows = np.flatnonzero(place >= 0)
        move = sparse.csr_matrix((np.ones(len(rows), np.int32), (rows, place[rows])), shape=(len(index), len(chosen)))
        joined.append(sparse.csr_matrix(matrix @ move))
    var = known[~known.index.duplicated()].loc[chosen].reset_index(drop=True)
    return joined, var, len(every) - len(common)


def _lines(path: Path, unpacked: float, columns: tuple[str, ...], optional: tuple[str, ...] = ()) -> pd.DataFrame:
    """The first columns of a table without a header, as text; ``optional`` ones are missing values if not there."""
    try:
        with text(path, unpacked) as file:
            table = pd.read_csv(file, sep="\t", header=None, dtype=str, keep_default_na=False, quoting=3)
    except BROKEN as error:
        raise broken(path, error) from None
    if table.shape[1] < len(columns):
        raise UserError(f"{path}: needs {len(columns)} columns ({', '.join(columns)}), it has {table.shape[1]}")
    table = table.iloc[:, : len(columns) + len(optional)]
    return table.set_axis([*columns, *optional][: table.shape[1]], axis=1).reindex(columns=[*columns, *optional])
