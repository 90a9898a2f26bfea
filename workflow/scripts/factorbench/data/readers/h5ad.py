"""Counts in an AnnData file, h5ad or zarr, dense or sparse, of any version of anndata.

Only what is needed is read: the counts, the labels of cells, the names of genes.
"""

from __future__ import annotations

import contextlib
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...contracts.errors import UserError
from ...contracts.files import row_blocks
from ...registry import Param, Spec, refer
from ..formats import ANNDATA, ZARR
from ._cells import PARAMS, annotate
from ._files import BROKEN, build_csr, check_size, open_hdf5, unreadable
from ._names import FEATURE_TYPE, OTHER_TYPE, check_genes, of_type

if TYPE_CHECKING:
    from anndata import AnnData
    from scipy import sparse

SPEC = Spec(
    name="h5ad",
    title="AnnData file",
    url="https://anndata.readthedocs.io",
    params={
        "layer": Param("", "where the counts are: name of a layer, raw (.raw.X), or empty (X)"),
        "feature_type": FEATURE_TYPE,
        "gene_names": Param("", "column of var that has the names of genes; empty: the index of var"),
        **PARAMS,
    },
)
TYPES = {"Gene Expression", "Antibody Capture", "CRISPR Guide Capture", "Multiplexing Capture", "Custom", "Peaks"}
"""Types of features as 10x calls them."""
PICKLE = re.compile(rb'"(?:id|name)"\s*:\s*"(?:numcodecs\.)?pickle"')
"""How the metadata of a zarr array ask for pickle, which can run any code."""


def read(files: dict[str, Path], options: dict[str, Any]) -> AnnData:
    """Read the counts, ``obs`` and the names of genes from one file, and the table of cells if there is one.

    Returns
    -------
    AnnData
        ``X`` CSR, shape (n_cells, n_genes), of the stored type, or float32 in place of float16. Features that
        ``var`` says to be of another type are left out. ``var`` has the columns of the file that could name
        the genes, and ``id``, the index of ``var`` in the file, if another column names them. The rest is as `annotate`
        says.

    Raises
    ------
    UserError
        If there is not exactly one file beside the table, it is damaged or unpacks to too much, or the layer or the
        column of ``gene_names`` does not exist, or no feature is of the type, or the layer is not a matrix of numbers;
        and see `annotate`.
    """
    import anndata

    paths = [path for key, path in files.items() if key != options["cells"]]
    if len(paths) != 1:
        raise UserError(f"files: h5ad reads exactly one file, not {len(paths)}; options.cells names a table of cells")
    (path,) = paths
    notes: dict[str, int] = {}
    try:
        with open_store(path, options["unpacked"]) as store, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # anndata warns of each column of an old file
            place = find_counts(store, options["layer"], path)
            obs = read_frame(store, "obs", notes)
            var = read_frame(store, re.sub("X$", "var", place) if place.startswith("raw") else "var", notes)
            try:
                counts = to_csr(store[place])
            except UserError:
                raise
            except Exception as error:  # anndata and zarr have errors of their own for what they do not know
                raise error if isinstance(error, BROKEN) else ValueError(error) from None
        if counts.shape != (len(obs), len(var)):
            raise ValueError(f"it names {len(obs)} cells and {len(var)} genes, its matrix is of shape {counts.shape}")
    except BROKEN as error:
        raise unreadable(path, error, ANNDATA, ZARR) from None
    check_genes(var.index, path)
    types = types_of(var, options["feature_type"])
    if types is not None:
        wanted = of_type(types, options["feature_type"], str(path))
        notes[OTHER_TYPE] = int((~wanted).sum())
        counts, var = counts[:, wanted], var[wanted]
    var = name_genes(var, options["gene_names"], path, notes)
    data = anndata.AnnData(counts, obs=obs, var=var)
    return annotate(data, data.obs_names.to_series(), files, options, notes)


@contextlib.contextmanager
def open_store(path: Path, unpacked: float) -> Iterator[Any]:
    """Open an h5ad file, plain or gzip, or a zip archive of a zarr store, as a group of arrays.

    Raise a `UserError` if its arrays take more than ``unpacked`` GiB of memory, and an error of `BROKEN` if it is
    damaged.
    """
    if not zipfile.is_zipfile(path):
        with open_hdf5(path, unpacked) as file:
            yield file
        return
    import zarr

    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        check_size(path, sum(member.file_size for member in members), unpacked)
        metadata = [member for member in members if re.search(r"(^|/)(\.z[a-z]+|zarr\.json)$", member.filename)]
        if any(PICKLE.search(archive.read(member)) for member in metadata):
            raise ValueError("an array is stored as pickle, which can run any code")
    roots = [re.fullmatch(r"(.*?)/?(\.zgroup|zarr\.json)", member.filename) for member in metadata]
    root = min((match[1] for match in roots if match), key=len, default="")  # the folder itself may be in the archive
    try:
        with contextlib.closing(zarr.storage.ZipStore(path, mode="r")) as store:
            group = zarr.open_group(store, path=root, mode="r", use_consolidated=False)
            sizes = [getattr(member, "nbytes", 0) for _, member in group.members(max_depth=None)]
            check_size(path, sum(sizes), unpacked)
            yield group
    except (UserError, *BROKEN):
        raise
    except Exception as error:  # zipfile and zarr have errors of their own
        raise ValueError(error) from None


def find_counts(store: Any, layer: str, path: Path) -> str:
    """Return the place of the counts in an open store. Raise a `UserError` if the layer does not exist."""
    places = {"X": "X", "raw": "raw.X" if "raw.X" in store else "raw/X"}  # raw.X: anndata before 0.7
    places = {name: place for name, place in places.items() if place in store and not is_empty(store[place])}
    places |= {name: f"layers/{name}" for name in store.get("layers", ())}
    if not places:
        raise ValueError("it has no X, raw or layers")
    if not layer and "X" not in places:
        raise UserError(f"{path}: has no X; options.layer should name the counts: {', '.join(places)}")
    refer(layer or "X", places, f"{path}: options.layer")
    return places[layer or "X"]


def is_empty(stored: Any) -> bool:
    """Return whether a member of a store stands for None."""
    return stored.attrs.get("encoding-type") == "null"


def read_frame(store: Any, place: str, notes: dict[str, int]) -> pd.DataFrame:
    """Read ``obs`` or ``var`` of an open store; names of rows and text as plain Python text.

    A column that anndata cannot read is left out and counted in ``notes``. ValueError: there are no names of rows.
    """
    from anndata.io import read_elem

    if place not in store:
        raise ValueError(f"it has no {place}")
    stored = store[place]
    if hasattr(stored, "dtype"):
        frame = read_records(stored[:], store.get("uns", {}))
    else:
        try:
            frame = read_elem(stored)
        except Exception:  # anndata has its own errors for unknown encodings
            index, columns = str(stored.attrs["_index"]), {}
            for column in map(str, stored.attrs["column-order"]):
                with contextlib.suppress(Exception):
                    if "categories" not in stored[column].attrs:  # codes, which mean nothing without their categories
                        columns[column] = read_elem(stored[column])
            what = f"columns of {place} that could not be read"
            notes[what] = len(stored.attrs["column-order"]) - len(columns)
            frame = pd.DataFrame(columns, index=read_elem(stored[index]))
    if frame.index.hasnans:
        raise ValueError(f"a name in {place} is missing")
    frame.index = pd.Index(frame.index.astype(str).to_numpy(object))
    return frame.apply(plain_text)


def plain_text(column: pd.Series) -> pd.Series:
    """Return text of the type that pandas 3 and anndata 0.13 use as Python text, which every version can write."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.rename_categories(column.cat.categories.astype(object))
    return column.astype(object).where(column.notna(), None) if isinstance(column.dtype, pd.StringDtype) else column


def read_records(records: np.ndarray, uns: Any) -> pd.DataFrame:
    """Return the table that anndata before 0.7 stored as records; it kept the names of categories in ``uns``."""
    if not records.dtype.names or not len(records):
        raise ValueError(f"{records.dtype} of shape {records.shape} is not a table")
    frame = pd.DataFrame({name: decoded(records[name]) for name in records.dtype.names})
    for name in frame:
        if f"{name}_categories" in uns:
            categories = decoded(np.atleast_1d(uns[f"{name}_categories"][()]))
            frame[name] = pd.Categorical.from_codes(frame[name], categories)
    return frame.set_index("index" if "index" in frame else frame.columns[0])


def decoded(stored: np.ndarray) -> pd.Series:
    """Return a column as HDF5 stores it, with bytes as text."""
    column = pd.Series(stored.tolist())
    return column.str.decode("utf-8") if column.dtype == object else column


def types_of(var: pd.DataFrame, wanted: str) -> pd.Series | None:
    """Return the types of the features, if ``var`` has them.

    scanpy calls the column ``feature_types``. ``feature_type`` has types too, but in files of CELLxGENE the biotypes of
    the genes.
    """
    if "feature_types" in var:
        return var["feature_types"]
    types = var.get("feature_type")
    return types if types is not None and types.isin({*TYPES, wanted}).any() else None


def name_genes(var: pd.DataFrame, column: str, path: Path, notes: dict[str, int]) -> pd.DataFrame:
    """Return ``var`` with the names of genes as index, and only columns that could be names of genes.

    Those are text that differs in more than half of the genes. If a ``column`` gives the names, the index of the file
    becomes the column ``id``; a gene without a name keeps it as its name, and repeated names get -1, -2.
    """
    from anndata.utils import make_index_unique

    names = var[[name for name in var if var[name].dtype in ("object", "category")]]
    names = names.loc[:, [names[name].nunique() > len(var) / 2 for name in names]].astype(object)
    if column:
        refer(column, var, f"{path}: options.gene_names")
        given = var[column].astype(object)
        given = given.where(given.notna() & (given != ""), var.index.to_series()).astype(str)
        names = names.drop(columns=column, errors="ignore").assign(id=var.index)
        notes["gene names made unique"] = int(given.duplicated().sum())
        names.index = make_index_unique(pd.Index(given.to_numpy(object)))
    return names


def to_csr(stored: Any) -> sparse.csr_matrix:
    """Read a matrix of an open store (a dense array, or a group that holds a sparse matrix) as CSR."""
    from anndata.io import sparse_dataset
    from scipy import sparse

    if not hasattr(stored, "dtype"):
        matrix = sparse_dataset(stored)
        form = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix}[matrix.format]
        values, *places = (stored[part][:] for part in ("data", "indices", "indptr"))
        return build_csr(form, (at_least_single(values), *places), matrix.shape)
    if stored.ndim != 2 or stored.dtype.kind not in "iuf":
        raise ValueError(f"{stored.name} holds {stored.dtype} of shape {stored.shape}, not numbers of cells x genes")
    blocks = [
        sparse.csr_matrix(at_least_single(stored[rows])) for rows in row_blocks(stored.shape[0])
    ]  # a block is dense in memory
    return sparse.vstack(blocks, format="csr") if blocks else sparse.csr_matrix(stored.shape, dtype=stored.dtype)


def at_least_single(values: np.ndarray) -> np.ndarray:
    """Return values of half precision, which scipy does not have, in single precision, and others as they are."""
    return values.astype(np.float32) if values.dtype == np.float16 else values
