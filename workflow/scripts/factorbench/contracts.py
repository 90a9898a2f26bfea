"""Names, shapes, units and checks of every file that passes between two rules.

Everything here is checked when written and when read, so that a mistake is found in the rule that made it.
Only numpy, pandas and anndata are needed.
"""

from __future__ import annotations

import contextlib
import glob
import gzip
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .shortage import shortage

if TYPE_CHECKING:
    from anndata import AnnData

STATUSES = ("ok", "max_iterations", "budget", "timeout", "killed", "diverged", "not_applicable")
"""Every way a run can end. Only ``ok`` means that the method finished what it set out to do."""

KINDS = ("annotated", "sparse", "dense")
"""The kinds of factors of section 2 of Rybakov et al. 2020, in the order of the columns of W."""

FACTOR_COLUMNS = ("name", "kind", "active", "relevance", "sign")
SCORE_COLUMNS = (
    "dataset",
    "method",
    "seed",
    "metric",
    "factor",
    "label",
    "split",
    "value",
    "lower",
    "upper",
    "n",
    "status",
)
METRIC_COLUMNS = ("metric", "factor", "label", "split", "value", "lower", "upper", "n")
"""What a metric returns; the run's name and status are added when its table is written."""


class UserError(Exception):
    """A mistake that the user can mend. Its text is one line: the file, the key, the remedy."""


class ContractError(Exception):
    """A file between two rules breaks its contract: a fault of factorbench or of a method, not of the user."""


# ---------------------------------------------------------------------------------------------- results of a method


@dataclass
class Factors:
    """What a method returns.

    Attributes
    ----------
    scores
        Scores of the factors in each cell, f(Y) in eq. 1, shape (n_cells, n_factors).
    loadings
        Loadings W of eq. 1, shape (n_genes, n_factors); a factor that is switched off is a column of zeros.
    table
        One row a factor, in column order, with ``name``, ``kind`` (one of `KINDS`) and ``active`` (bool). Further
        columns (a method's own relevance, say) are kept.
    mask
        The gene sets the method was given for its factors, bool, shape (n_genes, n_factors); False for factors
        that are not annotated.
    status, reason
        One of `STATUSES`, and in one sentence why the run ended so.
    iterations
        Epochs, updates or whatever the method counts (``None``: it does not iterate).
    start_seconds
        Seconds of the fit before the first of them (``None``: not told).
    converged
        Whether the method's own criterion was met (``None``: it has none).
    history
        One dict of plain numbers an epoch or check, for learning curves.
    covariates
        What the model explains by observed covariates (eq. 2), shape (n_cells, n_genes), if it has any.
    offset
        What is added to scores @ loadings.T to give the method's reconstruction of X: shape (n_genes,), in the
        units of X; gene means for methods that centre. ``None``: the method does not reconstruct X.
    model
        An object with ``save(folder)``, if the method has a model worth keeping.
    project
        Scores of any cells with the genes of the fit, without a new fit: AnnData -> shape (n_cells, n_factors). Needed
        where `registry.MethodSpec.projects`; ``None``: the method has no scores for new cells.
    """

    scores: np.ndarray
    loadings: np.ndarray
    table: pd.DataFrame
    mask: np.ndarray
    status: str = "ok"
    reason: str = ""
    iterations: int | None = None
    start_seconds: float | None = None
    converged: bool | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    covariates: np.ndarray | None = None
    offset: np.ndarray | None = None
    model: Any = None
    project: Callable[[AnnData], np.ndarray] | None = None


def no_factors(n_cells: int, n_genes: int, status: str, reason: str) -> Factors:
    """An empty but valid result: a run that ended without any factor (time-out, killed, not applicable)."""
    return Factors(
        scores=np.zeros((n_cells, 0), np.float32),
        loadings=np.zeros((n_genes, 0), np.float32),
        table=pd.DataFrame(
            {"name": pd.Series(dtype=str), "kind": pd.Series(dtype=str), "active": pd.Series(dtype=bool)}
        ),
        mask=np.zeros((n_genes, 0), bool),
        status=status,
        reason=reason,
    )


def spread(factors: Factors, seen: np.ndarray, held_out: np.ndarray) -> Factors:
    """``factors`` of the seen cells as factors of all cells.

    Parameters
    ----------
    factors
        As fitted on the seen cells.
    seen
        Whether each cell was seen, bool, shape (n_cells,).
    held_out
        Scores of the cells that were not, in their order, shape (n_cells - n_seen, n_factors). What observed covariates
        explain of them is not known (NaN).
    """

    def together(of_seen: np.ndarray, of_others: np.ndarray | float) -> np.ndarray:
        whole = np.empty((len(seen), of_seen.shape[1]), np.float32)
        whole[seen], whole[~seen] = of_seen, of_others
        return whole

    covariates = None if factors.covariates is None else together(factors.covariates, np.nan)
    return replace(factors, scores=together(factors.scores, held_out), covariates=covariates)


def factor_signs(loadings: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Signs (+1 or -1) that make the loadings inside the mask sum to a positive number, shape (n_factors,).

    A factor without a mask (sparse, dense) is signed by the sum of all its loadings; a sum of zero keeps its sign.
    """
    annotated = mask.any(axis=0)
    total = np.where(annotated, np.where(mask, loadings, 0).sum(axis=0), loadings.sum(axis=0))
    return np.where(total < 0, -1, 1).astype(np.int8)


# --------------------------------------------------------------------------------------------------- atomic writing


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder and move it to ``path`` if the block ends well.

    What a writer of ``path`` that was killed left is removed. A lack of space is raised as `Shortage`, naming ``path``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for dots in (".", ".."):  # one more where a temporary path was written so itself
        for left in path.parent.glob(f"{dots}{glob.escape(path.name)}.????????.part*"):
            left.unlink(missing_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part" + path.suffix, dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        os.chmod(part, 0o666 & ~_umask())
        os.replace(part, path)
    except Exception as error:
        lack = shortage(error, str(path))
        if lack is None:
            raise
        raise lack from error
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as json; a number that is not finite becomes null (json has no other word for it)."""
    with atomic(path) as part:
        part.write_text(json.dumps(_plain(value), indent=1, sort_keys=False, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_json(path: str | Path) -> Any:
    return json.loads(Path(path).read_text())


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """Write a tidy table as TSV (gzip-compressed where the name ends in .gz). Equal tables are equal files."""
    with atomic(path) as part, contextlib.ExitStack() as stack:
        file = stack.enter_context(open(part, "wb"))
        if part.suffix == ".gz":  # by default its header has the time and the temporary name
            file = stack.enter_context(gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0))
        table.to_csv(file, sep="\t", index=False, float_format="%.6g")


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a TSV of `write_table`. Text that looks like a missing value (a gene called NA) stays text."""
    return pd.read_csv(path, sep="\t", keep_default_na=False, na_values=[""])


# ------------------------------------------------------------------------------------------------------- cells on disk

BLOCK = 4_000
"""Cells read or written at a time: bounds the memory, 4,000 cells with 2,000 genes each take 64 MB."""


def row_blocks(n_cells: int) -> Iterator[slice]:
    """Consecutive blocks of at most `BLOCK` cells."""
    for start in range(0, n_cells, BLOCK):
        yield slice(start, min(start + BLOCK, n_cells))


def write_cells(path: str | Path, data: AnnData | Iterable[AnnData]) -> None:
    """Write cells as one h5ad file.

    Parameters
    ----------
    path
        Nothing is there if writing fails.
    data
        All cells; or blocks of them, with the same genes and the same categories of labels, which are written one below
        the other as they come. ``X``, ``layers`` and ``obsm`` of blocks are CSR matrices; ``var``, ``varm`` and ``uns``
        are those of the first.
    """
    import anndata
    import h5py
    from anndata.io import sparse_dataset, write_elem

    obs = []
    with atomic(path) as part:
        for block in [data] if isinstance(data, anndata.AnnData) else data:
            obs.append(block.obs)
            if len(obs) == 1:
                block.write_h5ad(part, compression="lzf", convert_strings_to_categoricals=False)
                continue
            with h5py.File(part, "a") as file:
                sparse_dataset(file["X"]).append(block.X)
                for group in ("layers", "obsm"):
                    for name, values in getattr(block, group).items():
                        sparse_dataset(file[group][name]).append(values)
        if len(obs) > 1:
            with h5py.File(part, "a") as file:
                write_elem(file, "obs", pd.concat(obs), dataset_kwargs={"compression": "lzf"})


@contextlib.contextmanager
def on_disk(path: str | Path) -> Iterator[AnnData]:
    """An h5ad file whose ``X`` and ``layers`` stay on disk until cells are asked for (``data.X[:1000]``).

    That is possible inside the ``with`` statement only. ``obsm`` is left out.
    """
    import anndata
    import h5py
    from anndata.io import read_elem, sparse_dataset

    def matrix(stored: h5py.Group | h5py.Dataset) -> Any:
        return sparse_dataset(stored) if isinstance(stored, h5py.Group) else stored

    with h5py.File(path) as file:
        yield anndata.AnnData(
            X=matrix(file["X"]),
            layers={name: matrix(stored) for name, stored in file["layers"].items()},
            **{name: read_elem(file[name]) for name in ("obs", "var", "varm", "uns")},
        )


# ------------------------------------------------------------------------------------------------------ prepared.h5ad


def check_prepared(data: AnnData) -> None:
    """Raise `ContractError` unless ``data`` (in memory or `on_disk`) is what every method and metric may rely on.

    ``X`` float32, sparse (CSR), log-normalised, not centred; ``layers["counts"]`` beside it when counts are known;
    ``obs`` categorical labels; ``varm["mask"]`` bool (n_genes, n_sets) without empty rows or columns;
    ``uns["gene_sets"]`` the names of its columns; ``uns["factorbench"]`` json text: what was done with which inputs;
    ``obs["held_out"]`` bool, where cells are kept from the fit (some, not all).
    """

    def need(ok: bool, what: str) -> None:
        if not ok:
            raise ContractError(f"prepared data: {what}")

    need(getattr(data.X, "format", "") == "csr", "X must be a CSR matrix")
    need(data.X.dtype == np.float32, f"X must be float32, not {data.X.dtype}")
    need(all(np.isfinite(data.X[rows].data).all() for rows in row_blocks(data.n_obs)), "X must be finite")
    need(data.obs_names.is_unique and data.var_names.is_unique, "names of cells and of genes must be unique")
    need("mask" in data.varm, 'varm["mask"] is missing')
    mask = np.asarray(data.varm["mask"])
    need(mask.dtype == bool, f'varm["mask"] must be bool, not {mask.dtype}')
    need(bool(mask.any(axis=0).all()), 'varm["mask"] has an empty gene set')
    need(len(data.uns.get("gene_sets", ())) == mask.shape[1], 'uns["gene_sets"] must name the columns of the mask')
    record = prepared_record(data)
    for key in ("dataset", "labels", "contrast", "inputs"):
        need(key in record, f'uns["factorbench"] lacks "{key}"')
    for label in record["labels"]:
        need(
            label in data.obs and isinstance(data.obs[label].dtype, pd.CategoricalDtype),
            f"label {label} must be categorical",
        )
    if "held_out" in data.obs:
        need(data.obs["held_out"].dtype == bool, 'obs["held_out"] must be bool')
        need(not data.obs["held_out"].all(), "no cell is left to fit on")


def prepared_record(data: AnnData) -> dict[str, Any]:
    """How ``data`` was prepared: dataset, labels, contrast, settings, what was dropped, hashes of inputs."""
    return json.loads(data.uns["factorbench"])


def seen_cells(data: AnnData) -> np.ndarray:
    """Whether methods are fitted on each cell, bool, shape (n_cells,); of prepared data or of factors.h5ad."""
    if "held_out" not in data.obs:
        return np.ones(data.n_obs, bool)
    return ~data.obs["held_out"].to_numpy(bool)


def without_held_out(data: AnnData) -> AnnData:
    """``data`` (prepared, or factors.h5ad) without the cells held out of the fit; itself if there are none."""
    seen = seen_cells(data)
    return data if seen.all() else data[seen].copy()


def write_prepared(path: str | Path, data: AnnData | Iterable[AnnData]) -> None:
    """Write prepared cells, all of them or blocks (`write_cells`), and check what was written."""
    with atomic(path) as part:
        write_cells(part, data)
        with on_disk(part) as written:
            check_prepared(written)


def read_prepared(path: str | Path) -> AnnData:
    import anndata

    data = anndata.read_h5ad(path)
    check_prepared(data)
    return data


# ------------------------------------------------------------------------------------------------------- factors.h5ad


def check_factors(data: AnnData) -> None:
    """Raise `ContractError` unless ``data`` is a valid factors.h5ad (see `write_factors`)."""

    def need(ok: bool, what: str) -> None:
        if not ok:
            raise ContractError(f"factors: {what}")

    table = data.uns["factors"]
    need(set(FACTOR_COLUMNS) <= set(table.columns), f"the table of factors needs the columns {FACTOR_COLUMNS}")
    n = len(table)
    for name, found in (("scores", data.obsm), ("loadings", data.varm), ("mask", data.varm)):
        need(name in found, f"{name} missing")
        need(found[name].ndim == 2 and found[name].shape[1] == n, f"{name} must have {n} columns, one a factor")
    need(bool(np.isfinite(data.obsm["scores"]).all()), "scores must be finite")
    need(bool(np.isfinite(data.varm["loadings"]).all()), "loadings must be finite")
    need(table["name"].is_unique, "names of factors must be unique")
    need(set(table["kind"]) <= set(KINDS), f"kinds of factors must be among {KINDS}")
    off = ~table["active"].to_numpy(bool)
    need(not np.any(data.varm["loadings"][:, off]), "a factor that is switched off must have loadings of zero")


def write_factors(path: str | Path, factors: Factors, data: AnnData) -> None:
    """Write what a method found on ``data`` (prepared) as factors.h5ad, signs fixed once and for all.

    ``obsm["scores"]`` (cells x factors) and ``varm["loadings"]`` (genes x factors) float32, ``varm["mask"]`` bool,
    ``uns["factors"]`` a table: name, kind, active, relevance (L2 norm of the loadings, the paper's measure), sign (what
    the method's own scores and loadings were multiplied by, `factor_signs`), and the method's own columns;
    ``uns["history"]`` json text; ``varm["offset"]`` and ``layers["covariates"]`` where the method has them;
    ``obs["held_out"]`` where ``data`` have it.

    Raises
    ------
    ContractError
        If shapes, names, kinds or numbers are not as they must be.
    """
    import anndata

    if factors.status not in STATUSES:
        raise ContractError(f"status {factors.status!r} is not one of {STATUSES}")
    scores = np.asarray(factors.scores, np.float32)
    loadings = np.asarray(factors.loadings, np.float32)
    mask = np.asarray(factors.mask, bool)
    n_factors = len(factors.table)
    shapes = (data.n_obs, n_factors), (data.n_vars, n_factors), (data.n_vars, n_factors)
    if (scores.shape, loadings.shape, mask.shape) != shapes:
        raise ContractError(
            f"shapes of scores {scores.shape}, loadings {loadings.shape}, mask {mask.shape} do not fit "
            f"{data.n_obs} cells and {data.n_vars} genes"
        )
    sign = factor_signs(loadings, mask)
    table = factors.table.reset_index(drop=True).assign(relevance=np.linalg.norm(loadings, axis=0), sign=sign)
    table.index = table.index.astype(str)
    held_out = data.obs[[column for column in data.obs if column == "held_out"]].copy()
    result = anndata.AnnData(obs=held_out, var=pd.DataFrame(index=data.var_names))
    result.obsm["scores"] = scores * sign
    result.varm["loadings"] = loadings * sign
    result.varm["mask"] = mask
    result.uns["factors"] = table
    result.uns["history"] = json.dumps(_plain(factors.history))
    if factors.offset is not None:
        result.varm["offset"] = np.asarray(factors.offset, np.float32).reshape(-1, 1)
    if factors.covariates is not None:
        result.layers["covariates"] = np.asarray(factors.covariates, np.float32)
    check_factors(result)
    with atomic(path) as part:
        result.write_h5ad(part, compression="lzf")


def read_factors(path: str | Path) -> AnnData:
    import anndata

    data = anndata.read_h5ad(path)
    data.uns["factors"] = data.uns["factors"].astype({"active": bool})
    check_factors(data)
    return data


# ------------------------------------------------------------------------------------------------------------- run.json

RUN_KEYS = (
    "dataset",
    "method",
    "use",
    "seed",
    "params",
    "status",
    "reason",
    "converged",
    "iterations",
    "fit_seconds",
    "start_seconds",
    "budget_seconds",
    "timeout_seconds",
    "n_cells",
    "n_genes",
    "n_factors",
    "n_active",
    "device",
    "threads",
    "peak_memory_mb",
    "host",
    "processor",
    "started",
    "git_commit",
    "git_dirty",
    "versions",
    "inputs",
)


def check_run(run: dict[str, Any]) -> None:
    """Raise `ContractError` unless ``run`` is a valid run.json: every key of `RUN_KEYS`, a status we know."""
    missing = [key for key in RUN_KEYS if key not in run]
    if missing:
        raise ContractError(f"run.json lacks {', '.join(missing)}")
    if run["status"] not in STATUSES:
        raise ContractError(f"run.json: status {run['status']!r} is not one of {STATUSES}")


# ------------------------------------------------------------------------------------------------------ scores.tsv


def contrast_label(contrast: dict[str, Any]) -> str:
    """The label under which scores.tsv holds a contrast (of the config or of a record): ``condition=stimulated``."""
    return f"{contrast['label']}={contrast['positive']}"


def check_scores(table: pd.DataFrame, columns: tuple[str, ...] = SCORE_COLUMNS) -> None:
    """Raise `ContractError` unless ``table`` is tidy: these columns in this order, numbers where numbers belong.

    ``seed`` is missing in rows about all seeds of a method.
    """
    if tuple(table.columns) != columns:
        raise ContractError(f"a table of scores has the columns {columns}, not {tuple(table.columns)}")
    for column in ("value", "lower", "upper"):
        if not pd.api.types.is_numeric_dtype(table[column]):
            raise ContractError(f"column {column} of a table of scores must be numbers")
