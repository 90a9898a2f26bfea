"""Solve eq. 3 exactly for many masks with permuted genes, on one covariance of the genes (part of ``make bench``)."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from factorbench.model import InterpretableAutoencoder
from factorbench.progress import bar
from factorbench.runs.permuted import permuted_masks

if TYPE_CHECKING:
    from anndata import AnnData


class Permuted(NamedTuple):
    """What `permuted` returns.

    Attributes
    ----------
    seconds
        Seconds of the covariance and of all solutions.
    own
        Eq. 3 of the exact solution for the mask itself.
    masks
        One row per permuted mask: ``objective`` (eq. 3) and ``converged``.
    """

    seconds: float
    own: float
    masks: pd.DataFrame


def permuted(data: AnnData, n_masks: int, threads: int) -> Permuted:
    """Solve eq. 3 with the paper's lambdas for the mask of ``data`` and for ``n_masks`` permutations of its genes.

    ``threads`` masks are solved at the same time.
    """
    masks = itertools.islice(permuted_masks(data, "bench"), n_masks)
    masks = itertools.chain([np.asarray(data.varm["mask"])], masks)
    rows, began = [], time.perf_counter()
    with bar(n_masks + 1, "permuted gene sets", "masks") as progress:
        for ae in InterpretableAutoencoder(encoder="linear").fit_many(data, masks, threads=threads):
            objective = ae.outcome.history[-1]["objective"]
            rows.append({"objective": objective, "converged": ae.outcome.converged})
            progress.update()
    seconds = time.perf_counter() - began
    return Permuted(seconds, rows[0]["objective"], pd.DataFrame(rows[1:]))


def report(data: AnnData, n_masks: int, threads: int) -> None:
    """Print how long the permuted masks took, and their eq. 3 beside that of the mask itself."""
    result = permuted(data, n_masks, threads)
    values = result.masks["objective"]
    print(
        f"\nexact solutions for {n_masks:,} masks with permuted genes, {threads} threads\n"
        f"{result.seconds:.1f} s, {n_masks / result.seconds:.1f} masks a second; "
        f"{result.masks['converged'].sum():,} converged\n"
        f"eq. 3: lowest {values.min():.4f}, median {values.median():.4f}, highest {values.max():.4f}; "
        f"with genes that are not permuted {result.own:.4f}"
    )
