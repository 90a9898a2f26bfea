"""The regulariser R(W) of eqs. 4-6 and its proximal operator, eq. 8, as pure functions.

What distinguishes annotated, sparse and dense factors is only the weight that the L1 norm of eq. 5 gives to each entry
of W, so one matrix of weights (`l1_weights`) describes any combination of them.
"""

from __future__ import annotations

import torch
from torch import Tensor


def l1_weights(mask: Tensor, n_sparse: int, n_dense: int, lambda1: float, lambda2: float) -> Tensor:
    """Weight of every entry of |W| in R1 (eq. 5).

    Parameters
    ----------
    mask
        The annotation matrix I, bool, shape (n_genes, n_sets).
    n_sparse, n_dense
        Numbers of sparse and dense factors; their columns follow the annotated ones.

    Returns
    -------
    Tensor
        float32, shape (n_genes, n_factors): lambda1 outside the mask and 0 inside it for annotated factors, lambda2 for
        sparse ones, 0 for dense ones.
    """
    n_genes = mask.shape[0]
    sparse = mask.new_full((n_genes, n_sparse), lambda2, dtype=torch.float32)
    dense = mask.new_zeros((n_genes, n_dense), dtype=torch.float32)
    return torch.cat([lambda1 * (~mask).float(), sparse, dense], dim=1)


def l1_penalty(loadings: Tensor, weights: Tensor) -> Tensor:
    """R1 of eq. 5, its lambdas in ``weights`` (`l1_weights`): sum of weights * abs(W). A scalar."""
    return (weights * loadings.abs()).sum()


def group_penalty(loadings: Tensor) -> Tensor:
    """R2 of eq. 6, the sum of the L2 norms of the columns of W. A scalar."""
    return torch.linalg.vector_norm(loadings, dim=0).sum()


def soft_threshold(loadings: Tensor, threshold: Tensor | float) -> Tensor:
    """Proximal operator of threshold * abs(W), entry by entry: sign(w) max(abs(w) - threshold, 0).

    An entry whose threshold is 0 is returned unchanged to the last bit.
    """
    threshold = torch.as_tensor(threshold, dtype=loadings.dtype, device=loadings.device)
    return loadings - loadings.clamp(-threshold, threshold)


def group_soft_threshold(loadings: Tensor, threshold: Tensor | float) -> Tensor:
    """Proximal operator of threshold * R2 (eq. 6): columns shortened by ``threshold``, to exactly 0 where shorter.

    ``threshold`` is one number or one a column, shape (n_factors,).
    """
    norms = torch.linalg.vector_norm(loadings, dim=0).clamp(min=torch.finfo(loadings.dtype).tiny)
    return loadings * (1 - threshold / norms).clamp(min=0)


def proximal_operator(loadings: Tensor, weights: Tensor, lambda3: float, step: Tensor | float) -> Tensor:
    """Proximal operator of step * R (eq. 8) in closed form: soft-threshold, then group soft-threshold (Yu 2013).

    Parameters
    ----------
    loadings
        V of eq. 8, shape (n_genes, n_factors).
    weights
        `l1_weights`, of the same shape.
    lambda3
        Weight of the group lasso.
    step
        eta, the learning rate: one number, or one a column, shape (n_factors,), since R is a sum over columns.
    """
    return group_soft_threshold(soft_threshold(loadings, step * weights), step * lambda3)
