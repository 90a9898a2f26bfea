"""Control: the interpretable autoencoder with gene sets of permuted genes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ..contracts.budget import Budget
from ..contracts.factors import Factors
from . import interpretable_ae
from .interpretable_ae import check, complete

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["SPEC", "check", "complete", "fit"]

SPEC = dataclasses.replace(
    interpretable_ae.SPEC,
    name="random_mask",
    title="Interpretable autoencoder, random gene sets",
    control=True,
    uses_gene_sets=False,
)


def fit(data: AnnData, params: dict[str, Any], seed: int, device: str, budget: Budget) -> Factors:
    """Call `interpretable_ae.fit` with the genes of the mask permuted: sets keep their sizes, overlaps and names."""
    import anndata
    import numpy as np

    order = np.random.default_rng(seed).permutation(data.n_vars)
    permuted = anndata.AnnData(
        X=data.X,
        obs=data.obs,
        var=data.var,
        varm={"mask": np.asarray(data.varm["mask"])[order]},
        uns={"gene_sets": data.uns["gene_sets"]},
    )
    return interpretable_ae.fit(permuted, params, seed, device, budget)
