"""f-scLVM MODIFIED: slalom with one matrix product evaluated in another order. It shows what this product costs.

To update the scores of a factor, slalom needs S W' v: S are the scores and W the weights of the other factors, and v
are its own weights over the noise. slalom evaluates (S W') v, with n_cells x n_genes x n_factors multiplications.
S (W' v) is the same vector, up to rounding, with n_factors x (n_cells + n_genes). All else is slalom's code, run as by
`fsclvm`.
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
    differs_by="one matrix product that is evaluated in another order",
)


def fit(data: AnnData, params: dict[str, Any], seed: int, device: str, budget: Budget) -> Factors:
    """Call `fsclvm.fit` with a model that evaluates S (W' v) instead of (S W') v (`_slalom.reassociate`)."""
    from . import _slalom

    return fsclvm.fit(data, params, seed, device, budget, modify=_slalom.reassociate)
