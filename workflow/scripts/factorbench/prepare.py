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

from . import contracts, genesets, symbols
from .contracts import UserError
from .labels import HELD_OUT, check_classes, check_donors, hold_out, read_contrast, read_labels, subset

SETTINGS = (
    *("n_cells", "subset_seed", "min_cells", "zeroed_by", "target_sum", "hvg_flavor", "n_top_genes"),
    *("gene_sets", "prefixes", "min_genes", "max_genes", "n_sets", "keep_sets", "symbols", "orthologs"),
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
    collections: list[genesets.GeneSets],
    settings: dict[str, Any],
    name: str,
    inputs: dict[str, str] | None = None,
    orthologs: pd.DataFrame | None = None,
) -> AnnData:
    """Prepare a dataset.

    Parameters
    ----------
    raw
        Counts, shape (n_cells, n_genes), and labels as a reader returned them; it is not changed.
    collections
        Collections of gene sets, in the order of ``settings["gene_sets"]``, with their full names.
    settings
        The dataset's entry of the resolved config (``labels``, ``contrast``, ``donor``, ``hold_out``, ``missing`` and
        `SETTINGS`).
    name
        The dataset's name in the config, for the record and for messages.
    inputs
        SHA-256 of the files this follows from, for the record.
    orthologs
        Pairs of one-to-one orthologs (`symbols.read_orthologs`), where ``settings["symbols"]`` asks for them.

    Returns
    -------
    AnnData
        As `contracts.check_prepared` says. Genes bear the gene sets' symbols; they are those selected as highly
        variable that are in a kept gene set; counts are normalised over all genes before that. Values of labels are
        text. ``obs["held_out"]`` says which cells methods are not fitted on, where some are to be held out; genes are
        selected on all cells. ``uns["factorbench"]`` counts the cells and genes left after each step.

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
    sets = genesets.join(collections, settings["gene_sets"], settings["prefixes"], f"{where}.gene_sets")
    genes, translated = symbols.translate(raw.var_names, settings["symbols"], orthologs)
    data = AnnData(counts, obs=obs, var=pd.DataFrame(index=genes))

    data, steps, zeroed = choose(data, contrast, settings, where)
    check_classes(data.obs, contrast, f"{where}.contrast")
    check_donors(data.obs, settings["donor"], f"{where}.donor")
    data = normalise(data, steps["genes"], settings, where)
    sizes = dict(zip(sets, genesets.mask(sets, data.var_names).sum(axis=0).A1.tolist(), strict=True))
    data = annotate(data, sets, genes, settings, where)
    steps["genes"]["in a kept gene set"] = data.n_vars
    held_out = None
    if settings["hold_out"]:
        data.obs[HELD_OUT] = hold_out(data.obs, settings["hold_out"], f"{where}.hold_out")
        held_out = {**settings["hold_out"], "cells": int(data.obs[HELD_OUT].sum())}

    record = {
        "dataset": name,
        "title": settings.get("title") or name,
        "labels": settings["labels"],
        "contrast": contrast,
        "donor": settings["donor"],
        "hold_out": held_out,
        "missing": settings["missing"],
        "inputs": inputs or {},
        "settings": {key: settings.get(key) for key in (*SETTINGS, *PROVENANCE)},
        **steps,
        "zeroed": {
            "by": settings["zeroed_by"],
            "n": len(zeroed),
            "n_in_gene_sets": len(set().union(*sets.values()).intersection(zeroed)),
            "genes": sorted(zeroed),
        },
        "symbols": {
            **symbols.describe_match(raw.var_names, genes, sets, settings["symbols"], orthologs),
            "genes": translated,
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


def choose(
    data: AnnData, contrast: dict[str, str] | None, settings: dict[str, Any], where: str
) -> tuple[AnnData, dict[str, dict[str, int]], list[str]]:
    """The cells of the contrast or of the subset, and the genes seen in enough of them.

    Returns
    -------
    data
        What is left.
    steps
        ``cells`` and ``genes``: how many are left after each step.
    zeroed
        The genes dropped as `zeroed_genes`.
    """
    n_cells, n_genes = {"raw": data.n_obs}, {"raw": data.n_vars}
    known = data.obs[contrast["label"]].notna().to_numpy() if contrast else np.ones(data.n_obs, bool)
    n_cells["with a value of the contrast's label"] = int(known.sum())
    data = data[known].copy()
    zeroed = np.zeros(data.n_vars, bool)
    if settings["zeroed_by"]:  # on all cells: in a small subset a rare gene is absent from a class by chance
        zeroed = zeroed_genes(data.X, data.obs[settings["zeroed_by"]], settings["min_cells"])
    dropped = data.var_names[zeroed].tolist()
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
    return data, {"cells": n_cells, "genes": n_genes}, dropped


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


def normalise(data: AnnData, n_genes: dict[str, int], settings: dict[str, Any], where: str) -> AnnData:
    """``X`` log-normalised beside ``layers["counts"]``, for the highly variable genes; ``n_genes`` is continued."""
    data.layers["counts"] = data.X.astype(np.int32)
    data.X = log_normalise(data.X, settings["target_sum"])
    data = data[:, varying(data.X)].copy()
    n_genes["not constant"] = data.n_vars
    data = data[:, highly_variable(data, settings["hvg_flavor"], settings["n_top_genes"], where)].copy()
    n_genes["highly variable"] = data.n_vars
    return data


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
    if settings["n_sets"] is not None:
        chosen = settings["keep_sets"], settings["subset_seed"]
        kept = genesets.draw(kept, list(sets), settings["n_sets"], *chosen, where)
    annotated = member[:, kept].getnnz(axis=1) > 0
    data = data[:, annotated].copy()
    data.varm["mask"] = member[annotated][:, kept].toarray()
    data.uns["gene_sets"] = np.array(list(sets), dtype=object)[kept]
    return data
