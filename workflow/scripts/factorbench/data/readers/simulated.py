"""Simulated counts with known (planted) gene sets, conditions, cell types and donors.

Their expression has the shape of real data (``fit_to``) or is made up.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...contracts.errors import UserError
from ...registry import Param, Spec
from . import _template

if TYPE_CHECKING:
    from anndata import AnnData

SPEC = Spec(
    name="simulated",
    title="Simulated counts with planted gene sets",
    params={
        "fit_to": Param("", "a dataset whose genes, expression and gene sets are used; empty: they are made up"),
        "n_cells": Param(400, "number of cells", minimum=2),
        "n_genes": Param(300, "made-up genes, named G0001 and so on", minimum=10),
        "n_sets": Param(12, "made-up gene sets, those of the condition and the cell types included", minimum=1),
        "set_size": Param(20, "genes in each made-up set, drawn at random; sets may overlap", minimum=1),
        "depth": Param(2_000.0, "mean counts of a cell, if expression is made up", minimum=1.0),
        "dispersion": Param(0.2, "variance = mean + dispersion mean^2, if expression is made up", minimum=0.0),
        "background": Param(
            "shuffled",
            "shuffled: the profiles of genes of about the same mean are exchanged, so that only what is planted has to "
            "do with gene sets; as_is: they are those of the real genes",
            choices=("shuffled", "as_is"),
        ),
        "n_condition": Param(1, "sets that respond to the condition", minimum=0),
        "n_types": Param(3, "cell types, each with a set of its own", minimum=1, maximum=26),
        "n_active": Param(3, "further sets whose activity varies between cells; the rest have no effect", minimum=0),
        "choose": Param(
            "any",
            "which real sets are active, by the overlap of two as a share of the smaller one: any; apart: any two "
            "overlap by less than 0.2; nested: pairs that overlap by 0.8 and more",
            choices=("any", "apart", "nested"),
        ),
        "effect": Param(1.0, "mean natural logarithm of the fold change of a gene in an active set", minimum=0.0),
        "responding": Param(1.0, "share of the genes of an active set that respond", minimum=0.0, maximum=1.0),
        "down": Param(0.0, "share of the active sets whose genes go down", minimum=0.0, maximum=1.0),
        "n_unannotated": Param(0, "programmes of genes that are no set", minimum=0),
        "unannotated_size": Param(30, "genes of such a programme, drawn at random", minimum=1),
        "unannotated_in": Param(
            "cells",
            "where they are active: in cells, at random; condition: in stimulated cells",
            choices=("cells", "condition"),
        ),
        "batch_effect": Param(
            0.0, "standard deviation, over genes, of the log fold change between two batches", minimum=0.0
        ),
        "n_donors": Param(0, "donors; each has cells of both conditions if paired (0: not known)", minimum=0),
        "paired": Param(True, "whether donors have cells of both conditions"),
        "donor_effect": Param(
            0.0, "standard deviation of the activity of each set between samples (a donor in a condition)", minimum=0.0
        ),
        "seed": Param(0, "seed; gene sets that are made up depend on it, n_genes, n_sets and set_size", minimum=0),
    },
)
CONDITIONS = ("control", "stimulated")
DEPTH = "counts of a cell"
"""Where the technical programme of the library size is active."""

APART, NESTED = 0.2, 0.8
"""Overlap of two active gene sets, as a share of the smaller one: below the first, or at least the second."""

BLOCK = 4_000
"""Cells drawn at a time. It bounds the memory: 4,000 x 2,000 numbers take 64 MB."""


class Plan(NamedTuple):
    """What is drawn once for all cells: names and kinds of programmes, and the weights (n_genes, n_programmes)."""

    template: _template.Template
    programmes: list[dict[str, str]]
    weights: np.ndarray
    samples: np.ndarray
    """Change of the log mean of each gene in each sample, a donor in a condition, shape (n_donors, 2, n_genes)."""


def gene_sets(options: dict[str, Any]) -> dict[str, list[str]]:
    """Return made-up sets: ``CONDITION``, ``TYPE_A`` and so on, then ``SET_01`` and so on, active sets first."""
    names = [f"CONDITION_{i + 1}" if i else "CONDITION" for i in range(options["n_condition"])]
    names += [f"TYPE_{name}" for name in cell_types(options)]
    if options["n_sets"] < len(names) + options["n_active"]:
        raise UserError("options.n_sets: should be at least n_condition + n_types + n_active")
    if options["set_size"] > options["n_genes"]:
        raise UserError("options.set_size: should be at most n_genes")
    rng = np.random.default_rng([options["seed"], 0])
    names += [f"SET_{i + 1:02d}" for i in range(options["n_sets"] - len(names))]
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

    Counts of cell c and gene g are negative binomial with mean depth_c softmax_g(template_cg + sum_k activity_ck
    weight_gk), where the template (`_template.Template`) is learned from the prepared file ``files["fit_to"]`` or made
    up.

    Yields
    ------
    AnnData
        ``X`` CSR int32, shape (n_cells, n_genes); ``obs`` condition, cell_type, and donor and batch if there are any;
        the planted truth (`contracts.truth`). Programmes that are gene sets stand in the order of the sets.
    """
    import anndata
    import pandas as pd
    from scipy import sparse

    template = _template.learn(files["fit_to"]) if "fit_to" in files else None
    plan = plant(template, options)
    genes, types = plan.template.genes, cell_types(options)
    for number, first in enumerate(range(0, options["n_cells"], BLOCK)):
        n_cells = min(BLOCK, options["n_cells"] - first)
        rng = np.random.default_rng([options["seed"], 1, number])
        labels = {
            "condition": rng.permutation(np.arange(n_cells) % 2),
            "cell_type": rng.permutation(np.arange(n_cells) % len(types)),
        }
        if options["n_donors"]:
            labels["donor"] = donors(labels["condition"], options, rng)
        if options["batch_effect"]:
            labels["batch"] = rng.integers(0, 2, n_cells)
        activity = activities(plan.programmes, labels, rng)
        log_mean = plan.template.log_mean + activity @ plan.weights.T
        log_mean += rng.normal(size=(n_cells, plan.template.background.shape[1])) @ plan.template.background.T
        if options["n_donors"]:
            log_mean += plan.samples[labels["donor"], labels["condition"]]
        counts = sparse.csr_matrix(draw(log_mean, plan.template, rng))
        activity[:, [programme["where"] == DEPTH for programme in plan.programmes]] = np.log1p(counts.sum(axis=1))
        names = {"condition": CONDITIONS, "cell_type": types, "batch": ["1", "2"]}
        names["donor"] = [f"donor_{i + 1}" for i in range(options["n_donors"])]
        data = anndata.AnnData(
            counts,
            obs=pd.DataFrame(
                {label: pd.Categorical.from_codes(codes, names[label]) for label, codes in labels.items()},
                index=[f"cell_{first + i + 1:05d}" for i in range(n_cells)],
            ),
            var=pd.DataFrame(index=pd.Index(genes, dtype=object).astype(str)),
        )
        data.obsm["activity"], data.varm["weights"] = sparse.csr_matrix(activity), plan.weights
        data.uns["truth"] = json.dumps(plan.programmes)
        yield data


def plant(template: _template.Template | None, options: dict[str, Any]) -> Plan:
    """Choose the active sets, and draw the weights of all programmes."""
    from ..gene_sets import mask

    rng = np.random.default_rng([options["seed"], 2])
    if template is None:
        sets = gene_sets(options)
        template = _template.made_up(gene_names(options), options["depth"], options["dispersion"], rng)
        order = np.arange(len(sets))
    else:
        sets = template.sets
        if options["background"] == "shuffled":
            template = template.shuffled(rng)
        order = choose(mask(sets, template.genes).toarray(), options, rng)
    member, n_genes = mask(sets, template.genes).toarray(), len(template.genes)
    wheres = ["condition"] * options["n_condition"]
    wheres += [f"cell_type={name}" for name in cell_types(options)] + ["cells"] * options["n_active"]
    active = dict(zip(order, wheres, strict=False))
    programmes = [
        {"name": name, "kind": "gene set" if k in active else "decoy", "where": active.get(k, "")}
        for k, name in enumerate(sets)
    ]
    size = options["effect"] * rng.uniform(0.5, 1.5, member.shape)
    weights = size * member * (rng.random(member.shape) < options["responding"])
    weights[:, [k for k in range(len(sets)) if k not in active]] = 0
    weights *= np.where(rng.random(len(sets)) < options["down"], -1, 1)
    deviation = rng.normal(0, options["donor_effect"], (options["n_donors"], 2, len(sets)))
    samples = deviation @ (member * rng.uniform(0.5, 1.5, member.shape)).T
    programmes.append({"name": "library size", "kind": "technical", "where": DEPTH})
    others = [np.zeros(n_genes)]
    for i in range(options["n_unannotated"]):
        programmes.append({"name": f"unannotated_{i + 1}", "kind": "unannotated", "where": options["unannotated_in"]})
        column = np.zeros(n_genes)
        chosen = rng.choice(n_genes, min(options["unannotated_size"], n_genes), replace=False)
        column[chosen] = options["effect"] * rng.uniform(0.5, 1.5, len(chosen))
        others.append(column)
    if options["batch_effect"]:
        programmes.append({"name": "batch", "kind": "technical", "where": "batch"})
        others.append(rng.normal(0, options["batch_effect"], n_genes))
    return Plan(template, programmes, np.column_stack([weights, *others]), samples)


def choose(member: np.ndarray, options: dict[str, Any], rng: np.random.Generator) -> np.ndarray:
    """Return the sets that are to be active, in random order: those of the condition, the types, the others.

    ``member``: bool, shape (n_genes, n_sets).
    """
    n_wanted = options["n_condition"] + options["n_types"] + options["n_active"]
    counts = member.astype(float)
    sizes = counts.sum(axis=0)
    overlap = counts.T @ counts / np.minimum(sizes[:, None], sizes)
    np.fill_diagonal(overlap, 0)
    left, chosen = rng.permutation(len(sizes)), []
    while len(left) and len(chosen) < n_wanted:
        first, left = left[0], left[1:]
        if options["choose"] == "apart":
            left = left[overlap[first, left] < APART]
            chosen.append(first)
        elif options["choose"] == "any":
            chosen.append(first)
        elif len(partners := left[overlap[first, left] >= NESTED]):
            chosen += [first, partners[0]]
            left = left[left != partners[0]]
    if len(chosen) < n_wanted:
        raise UserError(
            f"options.choose: {options['choose']}: {len(chosen)} such gene sets were found, and {n_wanted} are to be "
            "active; choose any, or lower n_types or n_active"
        )
    return np.array(chosen[:n_wanted], int)


def activities(programmes: list[dict[str, str]], labels: dict[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Return the activity of each programme in each cell, shape (n_cells, n_programmes).

    It is 1 where its condition, cell type or batch is, and Gamma(4, 1/4), with mean 1, where it is in all ``cells``.
    That of the library size, the logarithm of the counts, is 0 until they are drawn.
    """
    n_cells = len(labels["condition"])
    activity = np.zeros((n_cells, len(programmes)))
    for k, programme in enumerate(programmes):
        label, _, value = programme["where"].partition("=")
        if label == "cells":
            activity[:, k] = rng.gamma(4.0, 0.25, n_cells)
        elif label == "cell_type":
            activity[:, k] = labels[label] == ord(value) - ord("A")
        elif label != DEPTH and label:
            activity[:, k] = labels[label]
    return activity


def donors(condition: np.ndarray, options: dict[str, Any], rng: np.random.Generator) -> np.ndarray:
    """Return the donor of each cell, about equally many of each; if not paired, each has cells of one condition."""
    n = options["n_donors"]
    if options["paired"]:
        return rng.integers(0, n, len(condition))
    first = (n + 1) // 2
    if first == n:
        raise UserError("options.n_donors: should be at least 2 if donors are not paired")
    return np.where(condition == 0, rng.integers(0, first, len(condition)), rng.integers(first, n, len(condition)))


def draw(log_mean: np.ndarray, template: _template.Template, rng: np.random.Generator) -> np.ndarray:
    """Draw counts with means proportional to exp(``log_mean``) in each cell, int32, shape (n_cells, n_genes)."""
    mean = np.exp(log_mean - log_mean.max(axis=1, keepdims=True))
    mean *= (rng.choice(template.depths, len(mean)) / mean.sum(axis=1))[:, None]
    varies = template.dispersion > 0
    if varies.any():
        shape = 1 / template.dispersion[varies]
        mean[:, varies] *= rng.gamma(shape, 1 / shape, (len(mean), varies.sum()))
    return rng.poisson(mean).astype(np.int32)
