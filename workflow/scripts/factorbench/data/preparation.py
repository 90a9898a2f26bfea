"""Counts -> what every method is fitted on: checked, labelled, log-normalised, highly variable genes, gene sets.

Each step is a function of its own; what it did is counted in the record that the prepared file carries. Counts are
read a block of cells at a time, as often as a step needs them, so that data may be larger than the memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from ..contracts.errors import UserError
from ..contracts.files import row_blocks, write_cells
from ..contracts.prepared import HELD_OUT, check_prepared
from . import gene_sets, symbols, variable_genes
from .labels import check_classes, check_donors, hold_out, read_contrast, read_labels, subset

SETTINGS = (
    *("n_cells", "subset_seed", "min_cells", "zeroed_by", "target_sum", "hvg_flavor", "n_top_genes"),
    *("gene_sets", "prefixes", "min_genes", "max_genes", "n_sets", "keep_sets", "symbols", "orthologs"),
)


def write_raw(path: str | Path, raw: AnnData | Iterable[AnnData]) -> None:
    """Write what a reader returned: counts, and labels as they were found; all cells, or blocks of them."""
    if isinstance(raw, AnnData):
        raw.strings_to_categoricals()
    write_cells(path, raw)


@dataclass(frozen=True)
class Counts:
    """Counts of some cells and genes, in blocks of cells, as often as they are gone through.

    Attributes
    ----------
    stored
        A matrix in memory or on disk whose rows can be sliced, shape (n_cells, n_genes).
    cells, genes
        Which of them, bool, shapes (n_cells,) and (n_genes,).
    """

    stored: Any
    cells: np.ndarray
    genes: np.ndarray

    def __iter__(self) -> Iterator[sparse.csr_matrix]:
        for rows in row_blocks(len(self.cells)):
            if self.cells[rows].any():
                yield read_counts(self.stored, rows)[self.cells[rows]][:, self.genes]


def read_counts(stored: Any, rows: slice) -> sparse.csr_matrix:
    """Some rows of a matrix in memory or on disk, without stored zeros."""
    counts = sparse.csr_matrix(stored[rows], copy=True)
    counts.eliminate_zeros()
    return counts


def prepare(*args: Any, **kwargs: Any) -> AnnData:
    """All cells of `prepare_blocks`, which has the same parameters, in memory."""
    data = anndata.concat(list(prepare_blocks(*args, **kwargs)), merge="same", uns_merge="same")
    check_prepared(data)
    return data


def prepare_blocks(
    raw: AnnData,
    collections: list[gene_sets.GeneSets],
    settings: dict[str, Any],
    name: str,
    inputs: dict[str, str] | None = None,
    orthologs: pd.DataFrame | None = None,
) -> Iterator[AnnData]:
    """Prepare a dataset, a block of cells at a time.

    Parameters
    ----------
    raw
        Counts, shape (n_cells, n_genes), and labels as a reader returned them, in memory or `contracts.on_disk`; it is
        not changed.
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

    Yields
    ------
    AnnData
        Consecutive cells, together as `contracts.check_prepared` says. Genes bear the gene sets' symbols; they are
        those selected as highly variable that are in a kept gene set; counts are normalised over all genes before that.
        Values of labels are text. ``obs["held_out"]`` says which cells methods are not fitted on, where some are to be
        held out; genes are selected on all cells. ``uns["factorbench"]`` counts the cells and genes left after each
        step.

    Raises
    ------
    UserError
        In one line: what is wrong with the data or the settings, the key and the remedy.
    """
    where = f"datasets.{name}"
    check_names(raw, where)
    obs = read_labels(raw.obs, settings["labels"], f"{where}.labels")
    contrast = read_contrast(obs, settings.get("contrast"), f"{where}.contrast")
    sets = gene_sets.join(collections, settings["gene_sets"], settings["prefixes"], f"{where}.gene_sets")
    genes, translated = symbols.translate(raw.var_names, settings["symbols"], orthologs)

    counts, steps, zeroed = choose(raw, obs, contrast, settings, where)
    zeroed = genes[zeroed]
    obs = take(obs, counts.cells)
    check_classes(obs, contrast, f"{where}.contrast")
    check_donors(obs, settings["donor"], f"{where}.donor")
    selected = select(counts, steps["genes"], settings, where)
    sizes = dict(zip(sets, gene_sets.mask(sets, genes[selected]).sum(axis=0).A1.tolist(), strict=True))
    selected, mask, kept = annotate(selected, sets, genes, settings, where)
    steps["genes"]["in a kept gene set"] = len(mask)
    held_out = None
    if settings["hold_out"]:
        obs[HELD_OUT] = hold_out(obs, settings["hold_out"], f"{where}.hold_out")
        held_out = {**settings["hold_out"], "cells": int(obs[HELD_OUT].sum())}

    record = {
        "dataset": name,
        "labels": settings["labels"],
        "contrast": contrast,
        "donor": settings["donor"],
        "hold_out": held_out,
        "missing": settings["missing"],
        "inputs": inputs or {},
        "settings": {key: settings.get(key) for key in SETTINGS},
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
            "kept": len(kept),
            "dropped": {key: size for key, size in sizes.items() if key not in kept},
        },
        "reader": json.loads(raw.uns.get("reader", "{}")),
        "versions": {package: version(package) for package in ("anndata", "numpy", "scanpy", "scipy")},
    }
    done = 0
    for block in counts:
        data = AnnData(
            log_normalise(block, settings["target_sum"])[:, selected[counts.genes]],
            obs=obs.iloc[done : done + block.shape[0]].copy(),
            var=pd.DataFrame(index=genes[selected]),
            varm={"mask": mask},
            layers={"counts": block[:, selected[counts.genes]].astype(np.int32)},
            uns={"gene_sets": np.array(kept, dtype=object), "factorbench": json.dumps(record)},
        )
        done += block.shape[0]
        yield data


def choose(
    raw: AnnData, obs: pd.DataFrame, contrast: dict[str, str] | None, settings: dict[str, Any], where: str
) -> tuple[Counts, dict[str, dict[str, int]], np.ndarray]:
    """The cells of the contrast or of the subset, and the genes seen in enough of them.

    Returns
    -------
    counts
        What is left.
    steps
        ``cells`` and ``genes``: how many are left after each step.
    zeroed
        The genes dropped as `zeroed_genes`, bool, shape (n_genes,).
    """
    n_cells, n_genes = {"raw": raw.n_obs}, {"raw": raw.n_vars}
    cells = obs[contrast["label"]].notna().to_numpy() if contrast else np.ones(len(obs), bool)
    n_cells["with a value of the contrast's label"] = int(cells.sum())
    classes = []
    if settings["zeroed_by"]:  # among all cells: in a small subset a rare gene is absent from a class by chance
        label = obs[settings["zeroed_by"]]
        classes = [cells & (label == name).to_numpy() for name in label[cells].dropna().unique()]
    if settings["n_cells"] is not None:
        chosen = subset(take(obs, cells), settings["n_cells"], settings["subset_seed"], f"{where}.n_cells")
        n_cells["in the subset"] = len(chosen)
        cells = narrow(cells, chosen)
    *seen_by_class, seen = seen_in(checked(raw, where), [*classes, cells])
    zeroed = zeroed_genes(np.array(seen_by_class), settings["min_cells"]) if classes else np.zeros(raw.n_vars, bool)
    n_genes["not zeroed in one class"] = int((~zeroed).sum())
    genes = ~zeroed & (seen >= settings["min_cells"])
    n_genes["seen in enough cells"] = int(genes.sum())
    cells = narrow(cells, np.concatenate([block.getnnz(axis=1) > 0 for block in Counts(raw.X, cells, genes)]))
    n_cells["with counts"] = int(cells.sum())
    if not cells.any():
        raise UserError(f"{where}.min_cells: no gene is seen in {settings['min_cells']} cells; lower min_cells")
    return Counts(raw.X, cells, genes), {"cells": n_cells, "genes": n_genes}, zeroed


def narrow(chosen: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Those of the ``chosen`` (bool, shape (n,)) that are ``kept``: bool, or positions among the chosen."""
    left = np.zeros(len(chosen), bool)
    left[np.flatnonzero(chosen)[kept]] = True
    return left


def take(labels: pd.DataFrame, cells: np.ndarray) -> pd.DataFrame:
    """Labels of some cells; classes without any of them are forgotten."""
    kept = {name: label.cat.remove_unused_categories() for name, label in labels[cells].items()}
    return pd.DataFrame(kept, index=labels.index[cells])


# ------------------------------------------------------------------------------------------------------------ raw data


def check_names(raw: AnnData, where: str) -> None:
    """Raise a `UserError` if there are no cells, or names of cells or genes are not unique or cannot be printed."""
    if raw.n_obs == 0 or raw.n_vars == 0:
        raise UserError(f"{where}.files: the data have {raw.n_obs} cells and {raw.n_vars} genes; both are needed")
    for what, names in (("cells", raw.obs_names), ("genes", raw.var_names)):
        odd = [name for name in names if not str(name).isprintable()]
        if odd:
            raise UserError(
                f"{where}.files: {len(odd)} names of {what} have characters that cannot be printed "
                f"({odd[0]!r}); rename them in the file"
            )
        if not names.is_unique:
            repeated = names[names.duplicated()].unique()
            raise UserError(
                f"{where}.files: {len(repeated)} names of {what} are there more than once "
                f"({', '.join(map(str, repeated[:3]))}); make them unique in the file"
            )


WRONG = {
    "NaN": np.isnan,
    "infinite": np.isinf,
    "negative": lambda values: values < 0,
    "not whole numbers": lambda values: values != np.round(values),
    "larger than 2^31 - 1": lambda values: values > np.iinfo(np.int32).max,
}
"""What a count must not be."""


def checked(raw: AnnData, where: str) -> Iterator[tuple[slice, sparse.csr_matrix]]:
    """All counts in blocks of cells, with their place.

    Raises
    ------
    UserError
        If they are no numbers; at the end, if a value is NaN, infinite, negative, not a whole number or too large.
    """
    if raw.X.dtype.kind not in "iuf":
        raise UserError(f"{where}.files: the data are of type {raw.X.dtype}; give raw counts, whole numbers")
    found, first = dict.fromkeys(WRONG, 0), {}
    for rows in row_blocks(raw.n_obs):
        counts = read_counts(raw.X, rows)
        for what, is_wrong in WRONG.items():
            entries = np.flatnonzero(is_wrong(counts.data))
            if len(entries):
                cell = rows.start + np.searchsorted(counts.indptr, entries[0], side="right") - 1
                first.setdefault(what, f"cell {raw.obs_names[cell]}, gene {raw.var_names[counts.indices[entries[0]]]}")
                found[what] += len(entries)
        yield rows, counts
    for what, number in found.items():
        if number:
            raise UserError(
                f"{where}.files: {number} counts are {what}, the first in {first[what]}; "
                f"give raw counts (options.layer says where in an h5ad file)"
            )


def seen_in(blocks: Iterable[tuple[slice, sparse.csr_matrix]], groups: list[np.ndarray]) -> np.ndarray:
    """In how many cells of each group (bool, shape (n_cells,)) each gene has a count, shape (n_groups, n_genes)."""
    member = np.array(groups)
    return sum(member[:, rows].astype(np.int64) @ (counts != 0) for rows, counts in blocks)


def zeroed_genes(seen: np.ndarray, min_cells: int) -> np.ndarray:
    """Genes without any count in exactly one class, bool, shape (n_genes,).

    That is what a filter on the number of cells leaves behind when it was applied class by class. Genes seen in fewer
    than ``min_cells`` cells are not looked at: they are rare, and dropped for that.

    Parameters
    ----------
    seen
        In how many cells of each class each gene has a count, shape (n_classes, n_genes).
    min_cells
        In how many cells of all classes a gene must be seen.
    """
    return ((seen == 0).sum(axis=0) == 1) & (seen.sum(axis=0) >= min_cells)


# --------------------------------------------------------------------------------------------------------------- genes


def log_normalise(counts: sparse.csr_matrix, target_sum: float) -> sparse.csr_matrix:
    """log(1 + counts scaled to ``target_sum`` a cell), natural logarithm, float32 CSR, shape (n_cells, n_genes)."""
    import scanpy as sc

    data = AnnData(counts.astype(np.float32))
    sc.pp.normalize_total(data, target_sum=target_sum)
    sc.pp.log1p(data)
    return data.X


def expression(counts: Counts, target_sum: float, genes: np.ndarray) -> Iterator[sparse.csr_matrix]:
    """`log_normalise` of all ``counts``, in blocks of cells; the values of ``genes`` (bool, among all there are)."""
    for block in counts:
        yield log_normalise(block, target_sum)[:, genes[counts.genes]]


def varying(expression: Iterable[sparse.csr_matrix]) -> np.ndarray:
    """Genes that are not the same in all cells, bool, shape (n_genes,)."""
    low, high = np.inf, -np.inf
    for block in expression:
        low = np.minimum(low, block.min(axis=0).toarray().ravel())
        high = np.maximum(high, block.max(axis=0).toarray().ravel())
    return high > low


def select(counts: Counts, n_genes: dict[str, int], settings: dict[str, Any], where: str) -> np.ndarray:
    """The highly variable genes, bool, shape (n_genes,); all that vary if they are not more than are to be selected.

    ``seurat_v3`` ranks by the counts, the other flavours by their logarithms. ``n_genes`` is continued.
    """
    target_sum, flavor, n_top_genes = (settings[key] for key in ("target_sum", "hvg_flavor", "n_top_genes"))
    genes = narrow(counts.genes, varying(expression(counts, target_sum, counts.genes)))
    n_genes["not constant"] = int(genes.sum())
    if n_top_genes < genes.sum():
        try:
            if flavor == "seurat_v3":
                chosen = variable_genes.seurat_v3(replace(counts, genes=genes), n_top_genes)
            else:
                chosen = variable_genes.dispersed(expression(counts, target_sum, genes), flavor, n_top_genes)
        except ValueError as error:  # loess gives up on few cells or few distinct means
            reason = " ".join(str(error).split())[:120]
            raise UserError(
                f"{where}.hvg_flavor: {flavor} fails on these data ({reason}); choose another flavour"
            ) from None
        genes = narrow(genes, chosen)
    n_genes["highly variable"] = int(genes.sum())
    return genes


def annotate(
    selected: np.ndarray, sets: gene_sets.GeneSets, genes: pd.Index, settings: dict[str, Any], where: str
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Those of the ``selected`` genes (bool, shape (n_genes,)) that are in a set of accepted size.

    Returns
    -------
    selected
        Bool, shape (n_genes,).
    mask
        Which of them is in which set, bool, shape (n_selected, n_kept).
    kept
        Names of the sets.

    Raises
    ------
    UserError
        If no set is left: either no gene of the raw data (``genes``) is in any, or the limits of size are too strict.
    """
    member = gene_sets.mask(sets, genes[selected])
    kept = gene_sets.filter_by_size(member, settings["min_genes"], settings["max_genes"])
    if not kept.any():
        if not gene_sets.mask(sets, genes).nnz:
            raise gene_sets.no_match(sets, genes, f"{where}.gene_sets")
        raise UserError(
            f"{where}.min_genes: no gene set has {settings['min_genes']} to {settings['max_genes'] or 'any number'} of "
            f"the {selected.sum()} selected genes (the largest has {member.sum(axis=0).max()}); "
            f"change min_genes, max_genes or n_top_genes"
        )
    if settings["n_sets"] is not None:
        chosen = settings["keep_sets"], settings["subset_seed"]
        kept = gene_sets.draw(kept, list(sets), settings["n_sets"], *chosen, where)
    annotated = member[:, kept].getnnz(axis=1) > 0
    names = [name for name, keep in zip(sets, kept, strict=True) if keep]
    return narrow(selected, annotated), member[annotated][:, kept].toarray(), names
