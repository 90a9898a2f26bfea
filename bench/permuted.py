"""Solve eq. 3 exactly for many masks with permuted genes, on one covariance of the genes (part of ``make bench``)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch
from factorbench.model.covariance import gene_covariance
from factorbench.model.params import check_params
from factorbench.model.prox import penalty_weights
from factorbench.model.solver import Penalty, initial_loadings, solve_many
from factorbench.progress import bar

if TYPE_CHECKING:
    from anndata import AnnData


class Permuted(NamedTuple):
    """What `permuted` returns.

    Attributes
    ----------
    covariance_seconds, seconds
        Seconds of the covariance, and of the solutions for the permuted masks.
    own
        Eq. 3 of the exact solution for the mask itself.
    masks
        One row per permuted mask: ``objective`` (eq. 3) and ``converged``.
    """

    covariance_seconds: float
    seconds: float
    own: float
    masks: pd.DataFrame


def permuted(data: AnnData, n_masks: int, threads: int) -> Permuted:
    """Solve eq. 3 with the paper's lambdas for the mask of ``data`` and for ``n_masks`` permutations of its genes.

    The seeds of the permutations are 0, 1, ..., as in `factorbench.methods.random_mask`. ``threads`` masks are solved
    at the same time.
    """
    params, mask = check_params({"encoder": "linear"}), np.asarray(data.varm["mask"])
    began = time.perf_counter()
    covariance = gene_covariance(data.X, np.zeros((data.n_obs, 0), np.float32), params["center"]).genes
    covariance_seconds = time.perf_counter() - began

    def problem(mask: np.ndarray) -> tuple[np.ndarray, Penalty]:
        weights = penalty_weights(torch.from_numpy(mask), params)
        return initial_loadings(mask.T, 0, covariance), Penalty(weights.genes.T.numpy(), weights.factors.numpy())

    def solved(masks: Iterator[np.ndarray]) -> Iterator[dict[str, float]]:
        limits = {"tolerance": params["optimality"], "max_sweeps": params["max_sweeps"]}
        for solution in solve_many(covariance, map(problem, masks), params["lambda0"], threads=threads, **limits):
            yield {"objective": solution.history[-1]["objective"], "converged": solution.converged}

    (own,) = solved(iter([mask]))
    orders = (np.random.default_rng(seed).permutation(len(mask)) for seed in range(n_masks))
    rows, began = [], time.perf_counter()
    with bar(n_masks, "permuted gene sets", "masks") as progress:
        for row in solved(mask[order] for order in orders):
            rows.append(row)
            progress.update()
    return Permuted(covariance_seconds, time.perf_counter() - began, own["objective"], pd.DataFrame(rows))


def report(data: AnnData, n_masks: int, threads: int) -> None:
    """Print how long the permuted masks took, and their eq. 3 beside that of the mask itself."""
    result = permuted(data, n_masks, threads)
    values = result.masks["objective"]
    print(
        f"\nexact solutions for {n_masks:,} masks with permuted genes, {threads} threads\n"
        f"{result.covariance_seconds:.2f} s for the covariance, {result.seconds:.1f} s for the masks, "
        f"{n_masks / result.seconds:.1f} masks a second; {result.masks['converged'].sum():,} converged\n"
        f"eq. 3: lowest {values.min():.4f}, median {values.median():.4f}, highest {values.max():.4f}; "
        f"with genes that are not permuted {result.own:.4f}"
    )
