"""Prepare counts for all methods: labels, a subset, normalisation, highly variable genes, gene sets.

Every step counts the cells and genes that it leaves, for the record in the prepared file. Counts are read in blocks of
cells, as often as steps need them, so that data may be larger than the memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from ..contracts.errors import UserError
from ..contracts.prepared import GENE_ID, HELD_OUT, TRUE_MASK
from ..contracts.truth import has_truth
from . import altered_sets, gene_sets, symbols, variable_genes
from .counts import Counts, check_names, checked_counts, seen_in
from .labels import check_classes, check_donors, hold_out, read_contrast, read_labels, subset

NO_GENES = {
    "not a spike-in": r"ERCC[-.][0-9]{5}\b",
    "not a count of reads without a gene": "("
    "X?__(no_feature|ambiguous|too_low_aQual|not_aligned|alignment_not_unique)|"
    "N_(unmapped|multimapping|noFeature|ambiguous))$",
}
"""Step -> names of features that are left out in it: ERCC's spike-ins, and the lines that htseq-count and STAR add to
their tables of genes."""


def prepare_blocks(
    raw: AnnData,
    collections: list[gene_sets.GeneSets],
    entry: dict[str, Any],
    name: str,
    inputs: dict[str, str] | None = None,
    orthologs: pd.DataFrame | None = None,
) -> Iterator[AnnData]:
    """Prepare a dataset, a block of cells at a time.

    Parameters
    ----------
    raw
        Counts, shape (n_cells, n_genes), and labels as a reader returned them, in memory or `contracts.files.on_disk`.
        They are not changed.
    collections
        Collections of gene sets with their full names, in the order of ``entry["gene_sets"]``.
    entry, name
        What `config.plan.preparation` takes from the dataset's entry in the resolved config, and its name there.
    inputs
        SHA-256 of the files that are used, for the record.
    orthologs
        As `symbols.read_orthologs` returns them, if ``entry["symbols"]`` is ``orthologs``.

    Yields
    ------
    AnnData
        Consecutive cells; all of them are as `contracts.prepared.check_prepared` says. Counts are normalised over all
        genes. Then genes are kept that are highly variable among all cells and in a kept gene set; they have the
        symbols of the gene sets. ``obs["held_out"]`` says on which cells methods are not fitted, if the entry holds
        some out. ``varm["true_mask"]`` has the gene sets as they are, if the entry alters them. ``uns["factorbench"]``
        counts the cells and genes that each step left.

    Raises
    ------
    UserError
        If the data do not fit the entry, in one line: the key, what is wrong, what to do.
    """
    where = f"datasets.{name}"
    check_names(raw, where)
    obs = read_labels(raw.obs, entry["labels"], f"{where}.labels")
    contrast = read_contrast(obs, entry.get("contrast"), f"{where}.contrast")
    sets = gene_sets.join(collections, entry["gene_sets"], entry["prefixes"], f"{where}.gene_sets")
    every_gene, _ = symbols.translate(raw.var_names, entry["symbols"], orthologs)
    match = symbols.describe_match(raw.var, sets, entry["symbols"], orthologs)

    counts, steps, zeroed = select_counts(raw, obs, contrast, entry, where)
    obs = pd.DataFrame(
        {label: values.cat.remove_unused_categories() for label, values in obs.iloc[counts.cells].items()},
        index=obs.index[counts.cells],
    )
    check_classes(obs, contrast, f"{where}.contrast")
    check_donors(obs, entry["donor"], f"{where}.donor")
    variable = select_genes(counts, steps["genes"], entry, where)
    genes = every_gene[counts.genes[variable]]
    member = gene_sets.mask(sets, genes)
    planted = json.loads(raw.uns["truth"]) if has_truth(raw) else []
    always = [programme["name"] for programme in planted if programme["kind"] == "gene set"]
    kept = select_sets(member, sets, every_gene, match, entry, where, always)
    annotated = np.flatnonzero(member[:, kept].getnnz(axis=1))
    steps["genes"]["in a kept gene set"] = len(annotated)
    held_out = None
    if entry["hold_out"]:
        obs[HELD_OUT] = hold_out(obs, entry["hold_out"], f"{where}.hold_out")
        held_out = {**entry["hold_out"], "cells": int(obs[HELD_OUT].sum())}

    zeroed = every_gene[zeroed]
    sizes = pd.Series(member.sum(axis=0).A1, index=list(sets))
    record = {
        "dataset": name,
        "labels": entry["labels"],
        "contrast": contrast,
        "donor": entry["donor"],
        "hold_out": held_out,
        "missing": entry["missing"],
        "inputs": inputs or {},
        "params": entry,
        **steps,
        "zeroed": {
            "by": entry["zeroed_by"],
            "n": len(zeroed),
            "n_in_gene_sets": len(set().union(*sets.values()).intersection(zeroed)),
            "genes": sorted(zeroed),
        },
        "symbols": match,
        "sets": {
            "in the collection": len(sets),
            "kept": int(kept.sum()),
            "dropped": sizes[~kept].to_dict(),
        },
        "reader": json.loads(raw.uns.get("reader", "{}")),
        "versions": {package: version(package) for package in ("anndata", "numpy", "scanpy", "scipy")},
    }
    selected = variable[annotated]
    names, mask = gene_sets.merge(np.array(list(sets), object)[kept], member[annotated][:, kept], entry["merge_above"])
    record["sets"]["after merging"] = len(names)
    varm = {"mask": mask}
    if entry["permute_sets"] is not None or entry["corrupt"]:
        varm = {"mask": alter(mask, counts, selected, entry, where), TRUE_MASK: mask}
    var = pd.DataFrame(index=genes[annotated])
    ids = raw.var[GENE_ID] if GENE_ID in raw.var else raw.var_names.to_series()
    var[GENE_ID] = ids.to_numpy(object)[counts.genes[selected]]
    uns = {"gene_sets": names, "factorbench": json.dumps(record)}
    if has_truth(raw):
        varm["weights"] = np.asarray(raw.varm["weights"])[counts.genes[selected]]
        uns["truth"] = raw.uns["truth"]
    start = 0
    for block in counts:
        stop = start + block.shape[0]
        rows = counts.cells[start:stop]
        yield AnnData(
            log_normalise(block, entry["target_sum"])[:, selected],
            obs=obs.iloc[start:stop].copy(),
            var=var,
            varm=varm,
            obsm={"activity": sparse.csr_matrix(raw.obsm["activity"][rows])} if has_truth(raw) else None,
            layers={"counts": block[:, selected].astype(np.int32)},
            uns=uns,
        )
        start = stop


def alter(mask: np.ndarray, counts: Counts, genes: np.ndarray, entry: dict[str, Any], where: str) -> np.ndarray:
    """Return the mask, shape (n_genes, n_sets), with permuted or with wrong genes, or both, as the entry says.

    ``genes`` are the positions of its genes among those of ``counts``.
    """
    if entry["corrupt"]:
        mask = altered_sets.corrupt(mask, **entry["corrupt"])
    if entry["permute_sets"] is not None:
        expression = (log_normalise(block, entry["target_sum"])[:, genes] for block in counts)
        mask = altered_sets.permute(
            mask, altered_sets.expression_strata(expression, f"{where}.permute_sets"), entry["permute_sets"]
        )
    return mask


def select_counts(
    raw: AnnData, obs: pd.DataFrame, contrast: dict[str, str] | None, entry: dict[str, Any], where: str
) -> tuple[Counts, dict[str, Any], np.ndarray]:
    """Select the cells of the contrast or of the subset, and the genes that are seen in enough of them.

    Features of `NO_GENES` are left out, so that they are not part of the cells' totals. Return the counts; ``cells``
    and ``genes``, how many are left after each step, with the range of the totals and the largest count; and
    `zeroed_genes`.
    """
    n_cells, n_genes = {"raw": raw.n_obs}, {"raw": raw.n_vars}
    labelled = obs[contrast["label"]].notna().to_numpy() if contrast else np.ones(raw.n_obs, bool)
    cells = np.flatnonzero(labelled)
    n_cells["with a value of the contrast's label"] = len(cells)
    if entry["n_cells"] is not None:
        cells = cells[subset(obs.iloc[cells], entry["n_cells"], entry["subset_seed"], f"{where}.n_cells")]
        n_cells["in the subset"] = len(cells)
    groups = [np.isin(np.arange(raw.n_obs), cells)]
    if entry["zeroed_by"]:  # in all cells, because a rare gene is absent from a class of a small subset by chance
        label = obs[entry["zeroed_by"]]
        groups += [labelled & (label == value).to_numpy() for value in label[labelled].dropna().unique()]
    is_gene = np.ones(raw.n_vars, bool)
    for step, names in NO_GENES.items():
        others = raw.var_names.str.match(names)
        if others.any():
            is_gene &= ~others
            n_genes[step] = int(is_gene.sum())
    seen = seen_in(checked_counts(raw, where), groups)
    zeroed = is_gene & zeroed_genes(seen[1:], entry["min_cells"])
    n_genes["not zeroed in one class"] = int((is_gene & ~zeroed).sum())
    genes = np.flatnonzero(is_gene & ~zeroed & (seen[0] >= entry["min_cells"]))
    n_genes["seen in enough cells"] = len(genes)
    totals, largest = [], 0
    for block in Counts(raw.X, cells, genes):
        totals.append(block.sum(axis=1, dtype=np.float64).A1)
        largest = max(largest, int(block.data.max(initial=0)))
    totals = np.concatenate(totals)
    cells, totals = cells[totals > 0], totals[totals > 0]
    n_cells["with counts"] = len(cells)
    if not len(cells):
        raise UserError(f"{where}.min_cells: no gene is seen in {entry['min_cells']} cells; lower min_cells")
    per_cell = {"minimum": int(totals.min()), "median": float(np.median(totals)), "maximum": int(totals.max())}
    steps = {"cells": n_cells, "genes": n_genes, "counts per cell": per_cell, "largest count": largest}
    return Counts(raw.X, cells, genes), steps, zeroed


def zeroed_genes(seen: np.ndarray, min_cells: int) -> np.ndarray:
    """Return which genes have no count in exactly one class, bool, shape (n_genes,).

    A filter on the number of cells leaves such genes if it is applied to each class separately. Genes that are seen in
    fewer than ``min_cells`` cells are not among them: another step drops them because they are rare. ``seen`` counts
    the cells of each class in which each gene has a count, shape (n_classes, n_genes).
    """
    return ((seen == 0).sum(axis=0) == 1) & (seen.sum(axis=0) >= min_cells)


def log_normalise(counts: sparse.csr_matrix, target_sum: float) -> sparse.csr_matrix:
    """Return ln(1 + c target_sum / sum of the cell) of each count c, float32 CSR, shape (n_cells, n_genes)."""
    import scanpy as sc

    data = AnnData(counts.astype(np.float32))
    sc.pp.normalize_total(data, target_sum=target_sum)
    sc.pp.log1p(data)
    return data.X


def varying(expression: Iterable[sparse.csr_matrix]) -> np.ndarray:
    """Return whether each gene differs between cells (in blocks), bool, shape (n_genes,)."""
    low, high = np.inf, -np.inf
    for block in expression:
        low = np.minimum(low, block.min(axis=0).toarray().ravel())
        high = np.maximum(high, block.max(axis=0).toarray().ravel())
    return high > low


def select_genes(counts: Counts, n_genes: dict[str, int], entry: dict[str, Any], where: str) -> np.ndarray:
    """Select the highly variable genes; return their positions among the genes of ``counts``.

    ``seurat_v3`` ranks genes by their counts, the other flavours by log-normalised values. All varying genes are
    selected if there are at most ``n_top_genes``. The numbers of genes after each step are added to ``n_genes``.
    """
    flavor, n_top_genes = entry["hvg_flavor"], entry["n_top_genes"]
    genes = np.flatnonzero(varying(log_normalise(block, entry["target_sum"]) for block in counts))
    n_genes["not constant"] = len(genes)
    if n_top_genes < len(genes):
        try:
            if flavor == "seurat_v3":
                chosen = variable_genes.seurat_v3(replace(counts, genes=counts.genes[genes]), n_top_genes)
            else:
                expression = (log_normalise(block, entry["target_sum"])[:, genes] for block in counts)
                chosen = variable_genes.by_scanpy(expression, flavor, n_top_genes)
        except ValueError as error:  # there are too few cells, or too few distinct means
            reason = " ".join(str(error).split())[:120]
            raise UserError(f"{where}.hvg_flavor: {flavor} fails ({reason}); choose another flavour") from None
        genes = genes[chosen]
    n_genes["highly variable"] = len(genes)
    return genes


def select_sets(
    member: sparse.csc_matrix,
    sets: gene_sets.GeneSets,
    genes: pd.Index,
    match: dict[str, Any],
    entry: dict[str, Any],
    where: str,
    planted: Iterable[str] = (),
) -> np.ndarray:
    """Select gene sets by size and, if ``n_sets`` is given, at random; bool, shape (n_sets,).

    ``member`` says which selected gene is in which set, shape (n_selected, n_sets); ``genes`` are all of the data, and
    ``match`` is what `symbols.describe_match` says of them. Of simulated data, ``planted`` sets are always drawn.
    """
    sizes = member.sum(axis=0).A1
    kept = (sizes >= entry["min_genes"]) & (sizes <= (entry["max_genes"] or np.inf))
    enough = sizes >= entry["min_share"] * np.array([len(members) for members in sets.values()])
    if kept.any() and not (kept & enough).any():
        raise UserError(
            f"{where}.min_share: of no gene set {entry['min_share']:.0%} of the genes are selected; lower min_share or "
            "raise n_top_genes"
        )
    kept &= enough
    if not kept.any():
        advice = symbols.advice(match)
        if not gene_sets.mask(sets, genes).nnz:
            raise gene_sets.no_match(sets, genes, advice, f"{where}.gene_sets")
        raise UserError(
            f"{where}.min_genes: no gene set has {entry['min_genes']} to {entry['max_genes'] or 'any number'} of the "
            f"{member.shape[0]} selected genes (the largest has {sizes.max()}); "
            + "; ".join(["change min_genes, max_genes or n_top_genes", *advice])
        )
    if entry["n_sets"] is None:
        return kept
    always = [*entry["keep_sets"], *sets.keys() & set(planted)]
    return gene_sets.draw(kept, list(sets), entry["n_sets"], always, entry["subset_seed"], where)
