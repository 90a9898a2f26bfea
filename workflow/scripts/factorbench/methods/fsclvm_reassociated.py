"""f-scLVM MODIFIED: slalom with one product re-associated. The baseline as fast as its own mathematics allows.

To update the scores of a factor, slalom projects what the other factors explain onto it: S W' v, with S the scores
and W the weights of the others, v its own weights over the noise. It evaluates (S W') v, n_cells x n_genes x n_factors
multiplications; S (W' v) is the same vector, up to rounding, for n_factors x (n_cells + n_genes). Everything else is
slalom's, run as by `fsclvm`: the two side by side tell how much of a ratio of run times this line is worth.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ..contracts.budget import Budget
from ..contracts.factors import Factors
from . import fsclvm
from .fsclvm import check, memory

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["SPEC", "check", "fit", "memory"]

SPEC = dataclasses.replace(
    fsclvm.SPEC,
    name="fsclvm_reassociated",
    title="f-scLVM (slalom, modified: one product re-associated)",
    same_model_as="fsclvm",
    differs_by="one product re-associated",
)


def fit(data: AnnData, params: dict[str, Any], seed: int, device: str, budget: Budget) -> Factors:
    """`fsclvm.fit` of a model that evaluates S (W' v) instead of (S W') v (`_slalom.reassociate`)."""
    from . import _slalom

    return fsclvm.fit(data, params, seed, device, budget, modify=_slalom.reassociate)
