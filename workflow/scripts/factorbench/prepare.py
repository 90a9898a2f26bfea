"""Counts -> what every method is fitted on: checked, labelled, log-normalised, highly variable genes, gene sets.

Each step is a function of its own; what it did is counted in the record that the prepared file carries.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from . import contracts, genesets
from .contracts import UserError
from .registry import nearest

SETTINGS = (
    *("n_cells", "subset_seed", "min_cells", "zeroed_by", "target_sum", "hvg_flavor", "n_top_genes"),
    *("gene_sets", "min_genes", "max_genes", "prefix"),
)
PROVENANCE = ("organism", "doi", "licence", "citation")


def write_raw(path: str | Path, raw: AnnData) -> None:
    """Write what a reader returned: counts, and labels as they were found."""
    with contracts.atomic(path) as part:
        raw.write_h5ad(part, compression="lzf")


def read_raw(path: str | Path) -> AnnData:
    return anndata.read_h5ad(path)


def prepare(
    raw: AnnData,
    sets: genesets.GeneSets,
    settings: dict[str, Any],
    name: str,
    inputs: dict[str, str] | None = None,
) -> AnnData:
    """Prepare a dataset.

    Parameters
    ----------
    raw
        Counts, shape (n_cells, n_genes), and labels as a reader returned them; it is not changed.
    sets
        Gene sets, with their full names.
    settings
        The dataset's entry of the resolved config (``labels``, ``contrast`` and `SETTINGS`).
    name
        The dataset's name in the config, for the record and for messages.
    inputs
        SHA-256 of the files this follows from, for the record.

    Returns
    -------
    AnnData
        As `contracts.check_prepared` says. Genes are those selected as highly variable that are in a kept gene set;
        counts are normalised over all genes before that. Values of labels are text. ``uns["factorbench"]`` counts
        the cells and genes left after each step.

    Raises
    ------
    UserError
        In one line: what is wrong with the data or the settings, the key and the remedy.
    """
    where = f"datasets.{name}"
    check_names(raw, where)
    counts = check_counts(raw, where)
    obs = read_labels(raw.obs, settings["labels"], f"{where}.labels")
    contrast = read_contrast(obs, settings.get("contrast"), f"{where}.contrast")
    sets = genesets.strip_prefix(sets, settings["prefix"])
    n_cells, n_genes = {"raw": raw.n_obs}, {"raw": raw.n_vars}

    known = obs[contrast["label"]].notna().to_numpy() if contrast else np.ones(len(obs), bool)
    n_cells["with a value of the contrast's label"] = int(known.sum())
    data = AnnData(counts[known], obs=obs[known], var=pd.DataFrame(index=raw.var_names))
    zeroed = np.zeros(data.n_vars, bool)
    if settings["zeroed_by"]:  # on all cells: in a small subset a rare gene is absent from a class by chance
        zeroed = zeroed_genes(data.X, data.obs[settings["zeroed_by"]], settings["min_cells"])
    chosen = np.arange(data.n_obs)
    if settings["n_cells"] is not None:
        chosen = subset(data.obs, settings["n_cells"], settings["subset_seed"], f"{where}.n_cells")
        n_cells["in the subset"] = len(chosen)
    data = data[chosen, ~zeroed].copy()
    n_genes["not zeroed in one class"] = data.n_vars
    data = data[:, data.X.getnnz(axis=0) >= settings["min_cells"]].copy()
    n_genes["seen in enough cells"] = data.n_vars
    data = data[data.X.getnnz(axis=1) > 0].copy()
    n_cells["with counts"] = data.n_obs
    if data.n_obs == 0:
        raise UserError(f"{where}.min_cells: no gene is seen in {settings['min_cells']} cells; lower min_cells")
    check_classes(data.obs, contrast, f"{where}.contrast")

    data.layers["counts"] = data.X.astype(np.int32)
    data.X = log_normalise(data.X, settings["target_sum"])
    data = data[:, varying(data.X)].copy()
    n_genes["not constant"] = data.n_vars
    data = data[:, highly_variable(data, settings["hvg_flavor"], settings["n_top_genes"], where)].copy()
    n_genes["highly variable"] = data.n_vars
    sizes = dict(zip(sets, np.asarray(genesets.mask(sets, data.var_names).sum(axis=0)).ravel().tolist(), strict=True))
    data = annotate(data, sets, raw.var_names, settings, where)
    n_genes["in a kept gene set"] = data.n_vars

    annotated = set().union(*sets.values())
    record = {
        "dataset": name,
        "title": settings.get("title") or name,
        "labels": settings["labels"],
        "contrast": contrast,
        "inputs": inputs or {},
        "settings": {key: settings.get(key) for key in (*SETTINGS, *PROVENANCE)},
        "cells": n_cells,
        "genes": n_genes,
        "zeroed": {
            "by": settings["zeroed_by"],
            "n": int(zeroed.sum()),
            "n_in_gene_sets": len(annotated.intersection(raw.var_names[zeroed])),
            "genes": sorted(raw.var_names[zeroed]),
        },
        "sets": {
            "in the collection": len(sets),
            "kept": len(data.uns["gene_sets"]),
            "dropped": {key: size for key, size in sizes.items() if key not in set(data.uns["gene_sets"])},
        },
        "reader": json.loads(raw.uns.get("reader", "{}")),
        "versions": {package: version(package) for package in ("anndata", "numpy", "scanpy", "scipy")},
    }
    data.uns["factorbench"] = json.dumps(record)
    contracts.check_prepared(data)
    return data


# ------------------------------------------------------------------------------------------------------------ raw data


def check_names(raw: AnnData, where: str) -> None:
    """Raise a `UserError` if there are no cells, or names of cells or genes are not unique."""
    if raw.n_obs == 0 or raw.n_vars == 0:
        raise UserError(f"{where}.files: the data have {raw.n_obs} cells and {raw.n_vars} genes; both are needed")
    for what, names in (("cells", raw.obs_names), ("genes", raw.var_names)):
        if not names.is_unique:
            repeated = names[names.duplicated()].unique()
            raise UserError(
                f"{where}.files: {len(repeated)} names of {what} are there more than once "
                f"({', '.join(map(str, repeated[:3]))}); make them unique in the file"
            )


def check_counts(raw: AnnData, where: str) -> sparse.csr_matrix:
    """The counts as a CSR matrix without stored zeros, shape (n_cells, n_genes).

    Raises
    ------
    UserError
        If a value is NaN, infinite, negative or not a whole number.
    """
    counts = sparse.csr_matrix(raw.X, copy=True)
    counts.eliminate_zeros()
    values = counts.data
    wrong = {
        "NaN": np.isnan(values),
        "infinite": np.isinf(values),
        "negative": values < 0,
        "not whole numbers": values != np.round(values),
    }
    for what, entries in wrong.items():
        if entries.any():
            first = int(np.flatnonzero(entries)[0])
            cell = raw.obs_names[np.searchsorted(counts.indptr, first, side="right") - 1]
            raise UserError(
                f"{where}.files: {entries.sum()} counts are {what}, the first in cell {cell}, gene "
                f"{raw.var_names[counts.indices[first]]}; give raw counts (options.layer says where in an h5ad file)"
            )
    return counts


def zeroed_genes(counts: sparse.csr_matrix, label: pd.Series, min_cells: int) -> np.ndarray:
    """Genes without any count in exactly one class of ``label``, bool, shape (n_genes,).

    That is what a filter on the number of cells leaves behind when it was applied class by class. Genes seen in fewer
    than ``min_cells`` cells are not looked at: they are rare, and dropped for that.
    """
    classes = label.cat.codes.to_numpy()
    known = classes >= 0
    indicator = sparse.csr_matrix(
        (np.ones(known.sum(), np.int32), (classes[known], np.flatnonzero(known))),
        shape=(len(label.cat.categories), len(label)),
    )
    seen = (indicator @ (counts != 0).astype(np.int32)).toarray()
    return ((seen == 0).sum(axis=0) == 1) & (seen.sum(axis=0) >= min_cells)


# -------------------------------------------------------------------------------------------------------------- labels


def read_labels(obs: pd.DataFrame, labels: dict[str, str], where: str) -> pd.DataFrame:
    """The labels under our names (``labels``: our name -> column of ``obs``), categories of text."""
    for name, column in labels.items():
        if column not in obs:
            raise UserError(f"{where}.{name}: the data have no label {column!r}{nearest(column, list(obs.columns))}")
    return pd.DataFrame({name: as_text(obs[column]) for name, column in labels.items()}, index=obs.index)


def as_text(label: pd.Series) -> pd.Series:
    """A label as categories of text in sorted order; a whole number is written without a decimal point."""
    values = label.astype(object)
    text = [_text(value) if known else None for value, known in zip(values, values.notna(), strict=True)]
    return pd.Series(pd.Categorical(text), index=label.index)


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def read_contrast(obs: pd.DataFrame, contrast: dict[str, Any] | None, where: str) -> dict[str, str] | None:
    """The contrast with its values as text: label, positive, negative (empty: all other cells).

    Raises
    ------
    UserError
        If the label has fewer than two classes, or a value of the contrast is none of them.
    """
    if not contrast:
        return None
    given = {key: _text(contrast.get(key, "")) for key in ("label", "positive", "negative")}
    if given["label"] not in obs:
        raise UserError(f"{where}.label: {given['label']!r} is none of the dataset's labels")
    classes = list(obs[given["label"]].cat.categories)
    if len(classes) < 2:
        raise UserError(
            f"{where}.label: {given['label']} has one class in the data ({', '.join(classes) or 'none'}); "
            f"a contrast needs two: choose another label"
        )
    for key in ("positive", "negative"):
        if given[key] not in classes and (given[key] or key == "positive"):
            raise UserError(
                f"{where}.{key}: no cell is {given[key]!r} in {given['label']}{nearest(given[key], classes)}"
            )
    if given["positive"] == given["negative"]:
        raise UserError(f"{where}.negative: is the positive class too; name another or leave it out")
    return given


def check_classes(obs: pd.DataFrame, contrast: dict[str, str] | None, where: str) -> None:
    """Raise a `UserError` if a class of the contrast has no cell left after subsetting."""
    if contrast is None:
        return
    positive = obs[contrast["label"]] == contrast["positive"]
    negative = obs[contrast["label"]] == contrast["negative"] if contrast["negative"] else ~positive
    for key, cells in (("positive", positive), ("negative", negative)):
        if not cells.any():
            raise UserError(f"{where}.{key}: none of its cells is left; choose a larger n_cells")


def subset(labels: pd.DataFrame, n_cells: int, seed: int, where: str) -> np.ndarray:
    """Sorted positions of ``n_cells`` cells drawn at random in proportion to all their labels jointly.

    Each stratum gets its share rounded down; the strata with the largest remainders get one cell more.
    """
    if n_cells > len(labels):
        raise UserError(f"{where}: {n_cells} cells were asked for and there are {len(labels)}; lower n_cells")
    stratum = np.zeros(len(labels), int)
    if len(labels.columns):
        stratum = labels.groupby(list(labels), observed=True, dropna=False).ngroup().to_numpy()
    share = np.bincount(stratum) * (n_cells / len(labels))
    take = np.floor(share).astype(int)
    take[np.argsort(take - share, kind="stable")[: n_cells - take.sum()]] += 1
    order = np.random.default_rng(seed).permutation(len(labels))
    place = pd.Series(order).groupby(stratum[order]).cumcount().to_numpy()
    return np.sort(order[place < take[stratum[order]]])


# --------------------------------------------------------------------------------------------------------------- genes


def log_normalise(counts: sparse.csr_matrix, target_sum: float) -> sparse.csr_matrix:
    """log(1 + counts scaled to ``target_sum`` a cell), natural logarithm, float32 CSR, shape (n_cells, n_genes)."""
    import scanpy as sc

    data = AnnData(counts.astype(np.float32))
    sc.pp.normalize_total(data, target_sum=target_sum)
    sc.pp.log1p(data)
    return data.X


def varying(expression: sparse.csr_matrix) -> np.ndarray:
    """Genes that are not the same in all cells, bool, shape (n_genes,)."""
    low, high = (extreme(axis=0).toarray().ravel() for extreme in (expression.min, expression.max))
    return high > low


def highly_variable(data: AnnData, flavor: str, n_top_genes: int, where: str) -> np.ndarray:
    """The ``n_top_genes`` most variable genes by scanpy, bool, shape (n_genes,); all of them if there are not more.

    ``seurat_v3`` ranks by the counts, the other flavours by their logarithms (``X``).
    """
    if n_top_genes >= data.n_vars:
        return np.ones(data.n_vars, bool)
    import scanpy as sc

    layer = "counts" if flavor == "seurat_v3" else None
    try:
        table = sc.pp.highly_variable_genes(data, layer=layer, flavor=flavor, n_top_genes=n_top_genes, inplace=False)
    except ValueError as error:  # loess gives up on few cells or few distinct means
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"{where}.hvg_flavor: {flavor} fails on these data ({reason}); choose another flavour"
        ) from None
    return table["highly_variable"].to_numpy(bool)


def annotate(data: AnnData, sets: genesets.GeneSets, genes: pd.Index, settings: dict[str, Any], where: str) -> AnnData:
    """``data`` with the genes that are in a set of accepted size, ``varm["mask"]`` and ``uns["gene_sets"]``.

    Raises
    ------
    UserError
        If no set is left: either no gene of the raw data (``genes``) is in any, or the limits of size are too strict.
    """
    member = genesets.mask(sets, data.var_names)
    kept = genesets.filter_by_size(member, settings["min_genes"], settings["max_genes"])
    if not kept.any():
        if not genesets.mask(sets, genes).nnz:
            raise genesets.no_match(sets, genes, f"{where}.gene_sets")
        raise UserError(
            f"{where}.min_genes: no gene set has {settings['min_genes']} to {settings['max_genes'] or 'any number'} of "
            f"the {data.n_vars} selected genes (the largest has {member.sum(axis=0).max()}); "
            f"change min_genes, max_genes or n_top_genes"
        )
    annotated = member[:, kept].getnnz(axis=1) > 0
    data = data[:, annotated].copy()
    data.varm["mask"] = member[annotated][:, kept].toarray()
    data.uns["gene_sets"] = np.array(list(sets), dtype=object)[kept]
    return data
