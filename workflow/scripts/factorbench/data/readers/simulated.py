"""Simulated counts with known (planted) gene sets, conditions and cell types, for tests and for trying things out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...contracts.errors import UserError
from ...registry import Param, Spec

if TYPE_CHECKING:
    from anndata import AnnData

SPEC = Spec(
    name="simulated",
    title="Simulated counts with planted gene sets",
    params={
        "n_cells": Param(400, "number of cells", minimum=2),
        "n_genes": Param(300, "genes, named G0001 and so on", minimum=10),
        "n_sets": Param(12, "gene sets, those of the condition and the cell types included", minimum=1),
        "set_size": Param(20, "genes in each set, drawn at random; sets may overlap", minimum=1),
        "n_types": Param(3, "cell types, each with its own set", minimum=1, maximum=26),
        "n_active": Param(3, "further sets whose activity varies between cells; the rest have no effect", minimum=0),
        "effect": Param(1.0, "mean natural logarithm of the fold change of a gene in an active set", minimum=0.0),
        "depth": Param(2_000.0, "mean counts of a cell", minimum=1.0),
        "dispersion": Param(0.2, "variance = mean + dispersion mean^2 (0: Poisson)", minimum=0.0),
        "seed": Param(0, "seed; the gene sets depend on it, n_genes, n_sets and set_size", minimum=0),
    },
)
CONDITIONS = ("control", "stimulated")

BLOCK = 4_000
"""Cells drawn at a time. It bounds the memory: 4,000 x 2,000 numbers take 64 MB."""


def gene_sets(options: dict[str, Any]) -> dict[str, list[str]]:
    """Return the planted sets: ``CONDITION``, ``TYPE_A`` and so on, then ``SET_01`` and so on, active sets first."""
    if options["n_sets"] < 1 + options["n_types"] + options["n_active"]:
        raise UserError("options.n_sets: should be at least 1 + n_types + n_active")
    if options["set_size"] > options["n_genes"]:
        raise UserError("options.set_size: should be at most n_genes")
    rng = np.random.default_rng([options["seed"], 0])
    types = [f"TYPE_{name}" for name in cell_types(options)]
    names = ["CONDITION", *types, *(f"SET_{i + 1:02d}" for i in range(options["n_sets"] - 1 - len(types)))]
    genes = np.array(gene_names(options))
    return {name: sorted(rng.choice(genes, options["set_size"], replace=False).tolist()) for name in names}


def gene_names(options: dict[str, Any]) -> list[str]:
    return [f"G{i + 1:04d}" for i in range(options["n_genes"])]


def cell_types(options: dict[str, Any]) -> list[str]:
    return [chr(ord("A") + i) for i in range(options["n_types"])]


def read(files: dict[str, Path], options: dict[str, Any]) -> AnnData:
    """Return all cells of `blocks` in memory."""
    import anndata

    return anndata.concat(list(blocks(files, options)), merge="same", uns_merge="same")


def blocks(files: dict[str, Path], options: dict[str, Any]) -> Iterator[AnnData]:
    """Draw the counts, `BLOCK` cells at a time.

    Counts of cell c and gene g are negative binomial with mean depth_c softmax_g(base_g + sum_k activity_ck weight_gk).

    Yields
    ------
    AnnData
        ``X`` CSR int32, shape (n_cells, n_genes); ``obs`` condition and cell_type; the planted truth in
        ``obsm["activity"]`` (CSR, n_cells x n_sets) and ``varm["weights"]`` (n_genes x n_sets), sets as in `gene_sets`.
    """
    import anndata
    import pandas as pd
    from scipy import sparse

    from ..gene_sets import mask

    sets = gene_sets(options)
    genes, types = gene_names(options), cell_types(options)
    member = mask(sets, genes).toarray()
    active = slice(1 + len(types), 1 + len(types) + options["n_active"])

    for number, first in enumerate(range(0, options["n_cells"], BLOCK)):
        n_cells = min(BLOCK, options["n_cells"] - first)
        rng = np.random.default_rng([options["seed"], 1, number])
        condition = rng.permutation(np.arange(n_cells) % 2)
        cell_type = rng.permutation(np.arange(n_cells) % len(types))
        activity = np.zeros((n_cells, len(sets)))
        activity[:, 0] = condition
        activity[np.arange(n_cells), 1 + cell_type] = 1
        activity[:, active] = rng.gamma(4.0, 0.25, activity[:, active].shape)
        if number == 0:  # the same genes in every block
            weights = options["effect"] * member * rng.uniform(0.5, 1.5, member.shape)
            weights[:, active.stop :] = 0
            base = rng.normal(0.0, 1.0, len(genes))
        data = anndata.AnnData(
            sparse.csr_matrix(draw(base + activity @ weights.T, options, rng)),
            obs=pd.DataFrame(
                {
                    "condition": pd.Categorical.from_codes(condition, CONDITIONS),
                    "cell_type": pd.Categorical.from_codes(cell_type, types),
                },
                index=[f"cell_{first + i + 1:05d}" for i in range(n_cells)],
            ),
            var=pd.DataFrame(index=genes),
        )
        data.obsm["activity"], data.varm["weights"] = sparse.csr_matrix(activity), weights
        data.uns["planted_sets"] = np.array(list(sets), dtype=object)
        yield data


def draw(log_mean: np.ndarray, options: dict[str, Any], rng: np.random.Generator) -> np.ndarray:
    """Draw counts with means proportional to exp(``log_mean``) in each cell, int32, shape (n_cells, n_genes)."""
    mean = np.exp(log_mean - log_mean.max(axis=1, keepdims=True))
    mean /= mean.sum(axis=1, keepdims=True)
    mean *= options["depth"] * rng.lognormal(0.0, 0.3, (len(mean), 1))
    if options["dispersion"]:
        shape = 1 / options["dispersion"]
        mean *= rng.gamma(shape, 1 / shape, mean.shape)
    return rng.poisson(mean).astype(np.int32)
