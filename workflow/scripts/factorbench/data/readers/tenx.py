"""Counts of 10x Genomics, one matrix per sample: CellRanger's h5, or Matrix Market with barcodes and genes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...contracts.errors import UserError
from ...registry import Param, Spec
from ..archives import text
from ._cells import PARAMS, annotate
from ._files import BROKEN, build_csr, check_unpacked, file_of, read_columns, unreadable

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
        "genes": Param("genes", "key of the genes (identifier, symbol, type) of matrices that do not name theirs"),
        "gene_names": Param("symbol", "which names genes get; repeated ones get -1, -2", choices=("symbol", "id")),
        "match": Param("id", "what two genes of different samples must share to be the same", choices=("id", "symbol")),
        "join": Param("inner", "genes of every sample, or of any (with counts of 0)", choices=("inner", "outer")),
        "feature_type": Param("Gene Expression", "type of the features to read, if a file has types"),
        **PARAMS,
        "sample_label": Param("sample", PARAMS["sample_label"].doc),
    },
)
FORMS = ({"h5"}, {"matrix", "barcodes"}, {"matrix", "barcodes", "genes"})
EXAMPLE = "{sample: {h5: <key>}} or {sample: {matrix: <key>, barcodes: <key>, genes: <key>}}"


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
    samples, other_features = {}, set()
    for sample, keys in options["samples"].items():
        counts, features, barcodes = _sample(files, sample, keys, options)
        wanted = features["type"].isna() | (features["type"] == options["feature_type"])
        if not wanted.any():
            types = ", ".join(features["type"].unique()) or "no features"
            raise UserError(f"options.feature_type: sample {sample} has {types}, not {options['feature_type']}")
        other_features |= set(features.loc[~wanted, "id"])
        obs = pd.DataFrame({"barcode": barcodes, options["sample_label"]: str(sample)})
        samples[sample] = anndata.AnnData(
            counts[:, wanted.to_numpy()],
            obs=obs.set_index(f"{sample}_" + obs["barcode"]).rename_axis(None),
            var=features.loc[wanted, ["id", "symbol"]],
        )
    data, n_not_everywhere = _join(samples, options)
    data.var = data.var.set_index(options["gene_names"]).rename_axis(None)
    notes = {
        "features of another type": len(other_features),
        "genes not in every sample": n_not_everywhere,
        "gene names made unique": int(data.var_names.duplicated().sum()),
    }
    data.var_names_make_unique()
    return annotate(data, data.obs["barcode"], files, options, notes)


def _sample(
    files: dict[str, Path], sample: Any, keys: Any, options: dict[str, Any]
) -> tuple[sparse.csr_matrix, pd.DataFrame, np.ndarray]:
    """Read one sample: counts (n_cells, n_features), features (id, symbol, type; index text) and barcodes."""
    at = f"samples.{sample}"
    if not isinstance(keys, dict) or set(keys) not in FORMS:
        raise UserError(f"options.{at}: {keys} should be as in {EXAMPLE}")
    unpacked = options["unpacked"]
    if "h5" in keys:
        counts, features, barcodes = _read_h5(file_of(files, keys["h5"], f"{at}.h5"), unpacked)
    else:
        path = file_of(files, keys["matrix"], f"{at}.matrix")
        barcodes = _read_names(file_of(files, keys["barcodes"], f"{at}.barcodes"), unpacked, ["barcode"])["barcode"]
        given = (keys["genes"], f"{at}.genes") if "genes" in keys else (options["genes"], "genes")
        features = _read_names(file_of(files, *given), unpacked, ["id", "symbol"], ["type"])
        counts = _read_market(path, unpacked, (len(features), len(barcodes)))
    features.index = features.index.astype(str)
    return counts, features, np.asarray(barcodes)


def _read_h5(path: Path, unpacked: float) -> tuple[sparse.csr_matrix, pd.DataFrame, np.ndarray]:
    """Read counts, features and barcodes from a file of CellRanger 3 (group matrix) or 2 (group of a genome)."""
    import h5py
    from scipy import sparse

    try:
        with h5py.File(path) as file:
            check_unpacked(file, path, unpacked)
            groups = list(file)
            if len(groups) != 1:
                raise ValueError(f"has the groups {', '.join(groups) or 'none'}, one is expected")
            group = file[groups[0]]
            places = {"id": "genes", "symbol": "gene_names"}
            if groups == ["matrix"]:
                places = {"id": "features/id", "symbol": "features/name", "type": "features/feature_type"}
            features = pd.DataFrame({"type": None} | {name: group[place].asstr()[:] for name, place in places.items()})
            barcodes = group["barcodes"].asstr()[:]
            parts = tuple(group[name][:] for name in ("data", "indices", "indptr"))
            shape = tuple(group["shape"][:].tolist())
        _check_shape(path, shape, (len(features), len(barcodes)))
        return build_csr(sparse.csr_matrix, parts, shape[::-1]), features, barcodes
    except (*BROKEN, AttributeError) as error:  # AttributeError: a group in place of an array
        raise unreadable(path, error) from None


def _read_market(path: Path, unpacked: float, named: tuple[int, int]) -> sparse.csr_matrix:
    """Read a Matrix Market file with the ``named`` numbers of genes and cells, transposed: shape (n_cells, n_genes)."""
    from scipy import io, sparse

    try:
        with text(path, unpacked) as file:
            *shape, n_values, form, values, symmetry = io.mminfo(file)
        _check_shape(path, tuple(shape), named)
        listed = (form, symmetry) == ("coordinate", "general") and values not in ("pattern", "complex")
        if not listed or n_values > shape[0] * shape[1]:
            raise ValueError(f"{form}, {values}, {symmetry}, {n_values} values: not a list of counts")
        with text(path, unpacked) as file:
            matrix = sparse.csr_matrix(io.mmread(file).T)
        if matrix.nnz < n_values:  # scipy sums entries of the same place
            raise ValueError("a gene occurs twice in a cell")
    except BROKEN as error:
        raise unreadable(path, error) from None
    return matrix


def _check_shape(path: Path, shape: tuple[int, ...], named: tuple[int, int]) -> None:
    if shape != named:
        shapes = (" x ".join(map(str, sizes)) for sizes in (shape, named))
        raise UserError("{}: is {} (genes x barcodes), but {} are named; check options.samples".format(path, *shapes))


def _read_names(path: Path, unpacked: float, columns: list[str], optional: Sequence[str] = ()) -> pd.DataFrame:
    """Read the first columns of a table without a header; ``optional`` ones may be missing from the file."""
    table = read_columns(path, unpacked, header=None, quoting=3)
    if table.shape[1] < len(columns):
        raise UserError(f"{path}: needs {len(columns)} columns ({', '.join(columns)}), it has {table.shape[1]}")
    columns = [*columns, *optional]
    return table.iloc[:, : len(columns)].set_axis(columns[: table.shape[1]], axis=1).reindex(columns=columns)


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
