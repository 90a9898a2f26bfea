"""The regulariser R(W) of eqs. 4-6 and its proximal operator, eq. 8, as pure functions.

Annotated, sparse and dense factors differ only in the weights of the entries of W in the L1 norm of eq. 5. `Weights`
therefore describes any combination of them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Weights(NamedTuple):
    """The weights in R(W), lambdas included, float32.

    Attributes
    ----------
    genes
        The weight of every entry of abs(W) in R1 (eq. 5), shape (n_genes, n_factors).
    factors
        The weight of the L2 norm of every column of W in R2 (eq. 6), shape (n_factors,).
    """

    genes: Tensor
    factors: Tensor


def penalty_weights(mask: Tensor, params: dict[str, Any]) -> Weights:
    """Return the weights of R(W) for gene sets, ``mask`` (I, bool, shape (n_genes, n_sets)), and `params.PARAMS`.

    R1: for annotated factors lambda1 outside the mask and 0 inside; then for sparse factors lambda2; then for dense
    factors 0. R2: lambda3 for every factor. With ``group_weights="size"``, that of an annotated factor is multiplied by
    the square root of the size of its set, divided by the mean of these roots over all sets.
    """
    n_genes, n_others = mask.shape[0], params["n_sparse"] + params["n_dense"]
    sparse = mask.new_full((n_genes, params["n_sparse"]), params["lambda2"], dtype=torch.float32)
    dense = mask.new_zeros((n_genes, params["n_dense"]), dtype=torch.float32)
    roots = mask.sum(dim=0).sqrt() if params["group_weights"] == "size" else mask.new_ones(mask.shape[1]).float()
    roots = roots / roots.mean().clamp(min=torch.finfo(roots.dtype).tiny)
    return Weights(
        torch.cat([params["lambda1"] * (~mask).float(), sparse, dense], dim=1),
        params["lambda3"] * torch.cat([roots, roots.new_ones(n_others)]),
    )


def l1_penalty(loadings: Tensor, weights: Weights) -> Tensor:
    """Return R1 of eq. 5 with its lambdas, sum of weights.genes * abs(W), a scalar."""
    return (weights.genes * loadings.abs()).sum()


def group_penalty(loadings: Tensor, weights: Weights) -> Tensor:
    """Return R2 of eq. 6 with lambda3, the sum of weights.factors * the L2 norms of the columns of W, a scalar."""
    return (weights.factors * torch.linalg.vector_norm(loadings, dim=0)).sum()


def soft_threshold(loadings: Tensor, threshold: Tensor | float) -> Tensor:
    """Return the proximal operator of threshold * abs(W): sign(w) max(abs(w) - threshold, 0) for every entry w.

    An entry with threshold 0 is returned unchanged, bit for bit.
    """
    threshold = torch.as_tensor(threshold, dtype=loadings.dtype, device=loadings.device)
    return loadings - loadings.clamp(-threshold, threshold)


def group_soft_threshold(loadings: Tensor, threshold: Tensor | float) -> Tensor:
    """Return the proximal operator of threshold * R2 (eq. 6): every column w becomes max(1 - threshold / |w|, 0) w.

    ``threshold`` is one number, or one per column, shape (n_factors,).
    """
    norms = torch.linalg.vector_norm(loadings, dim=0).clamp(min=torch.finfo(loadings.dtype).tiny)
    return loadings * (1 - threshold / norms).clamp(min=0)


def proximal_operator(loadings: Tensor, weights: Weights, step: float) -> Tensor:
    """Return the proximal operator of step * R (eq. 8): soft-threshold, then group soft-threshold (Yu 2013).

    ``loadings`` is V of eq. 8, shape (n_genes, n_factors), and ``step`` the learning rate eta.
    """
    return group_soft_threshold(soft_threshold(loadings, step * weights.genes), step * weights.factors)
