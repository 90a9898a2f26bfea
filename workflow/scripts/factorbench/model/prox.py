"""The regulariser R(W) of eqs. 4-6 and its proximal operator, eq. 8, as pure functions.

Annotated, sparse and dense factors differ only in the weight of each entry of W in the L1 norm of eq. 5. One matrix of
weights (`l1_weights`) therefore describes any combination of them.
"""

from __future__ import annotations

import torch
from torch import Tensor


def l1_weights(mask: Tensor, n_sparse: int, n_dense: int, lambda1: float, lambda2: float) -> Tensor:
    """Return the weight of every entry of abs(W) in R1 (eq. 5), float32, shape (n_genes, n_factors).

    Annotated factors: lambda1 outside the mask (I, bool, shape (n_genes, n_sets)) and 0 inside; then sparse factors:
    lambda2; then dense factors: 0.
    """
    n_genes = mask.shape[0]
    sparse = mask.new_full((n_genes, n_sparse), lambda2, dtype=torch.float32)
    dense = mask.new_zeros((n_genes, n_dense), dtype=torch.float32)
    return torch.cat([lambda1 * (~mask).float(), sparse, dense], dim=1)


def l1_penalty(loadings: Tensor, weights: Tensor) -> Tensor:
    """Return R1 of eq. 5, sum of weights * abs(W), a scalar; ``weights`` (`l1_weights`) hold the lambdas."""
    return (weights * loadings.abs()).sum()


def group_penalty(loadings: Tensor) -> Tensor:
    """Return R2 of eq. 6, the sum of the L2 norms of the columns of W, a scalar."""
    return torch.linalg.vector_norm(loadings, dim=0).sum()


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


def proximal_operator(loadings: Tensor, weights: Tensor, lambda3: float, step: Tensor | float) -> Tensor:
    """Return the proximal operator of step * R (eq. 8): soft-threshold, then group soft-threshold (Yu 2013).

    ``loadings`` is V of eq. 8, shape (n_genes, n_factors), and ``weights`` its `l1_weights`. ``step`` is the learning
    rate eta: one number, or one per column, shape (n_factors,), because R is a sum over columns.
    """
    return group_soft_threshold(soft_threshold(loadings, step * weights), step * lambda3)
