"""The terms of the objective, eq. 3, as training, evaluation and tests use them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from .prox import Weights, group_penalty, l1_penalty

if TYPE_CHECKING:
    from .network import Network


def smooth_terms(expression: Tensor, fitted: Tensor, scores: Tensor, lambda0: float) -> Tensor:
    """Return the two terms of F, the differentiable part of eq. 3, as means over the given cells.

    These are the squared error of ``fitted``, f(Y) W' (+ covariates), with respect to ``expression``, Y (both centred,
    shape (n_cells, n_genes)), and lambda0 times the squared norm of the scores f(Y), shape (n_cells, n_factors).
    """
    return torch.stack([mse_loss(fitted, expression, reduction="sum"), lambda0 * scores.square().sum()]) / len(scores)


def gram_terms(target: Tensor, scores: Tensor, loadings: Tensor, gram: Tensor, lambda0: float) -> Tensor:
    """Return `smooth_terms` for fitted = scores @ loadings.T, without computing that product.

    |Y - Z W'|^2 = |Y|^2 - 2 <Y W, Z> + <Z W'W, Z> needs one matrix product over all cells and genes instead of two,
    and no further one for the gradient with respect to Z. ``target`` is Y minus what covariates explain, ``gram`` W'W.
    """
    squared = target.square().sum() + (scores * (scores @ gram - 2 * (target @ loadings))).sum()
    return torch.stack([squared, lambda0 * scores.square().sum()]) / len(scores)


def objective(smooth: Tensor, loadings: Tensor, weights: Weights) -> dict[str, float]:
    """Return the terms of eq. 3, multiplied by their lambdas, from `smooth_terms`, W and the weights of R(W).

    Returns
    -------
    dict
        ``reconstruction`` (squared error summed over genes, mean over cells), ``scores`` (lambda0), ``genes`` (lambda1
        and lambda2, R1 of eq. 5), ``factors`` (lambda3, R2 of eq. 6) and ``objective``, their sum.
    """
    with torch.no_grad():
        terms = {
            "reconstruction": smooth[0].item(),
            "scores": smooth[1].item(),
            "genes": l1_penalty(loadings, weights).item(),
            "factors": group_penalty(loadings, weights).item(),
        }
    return terms | {"objective": sum(terms.values())}


@torch.no_grad()
def evaluate(
    network: Network,
    blocks: Iterable[tuple[Tensor, Tensor | None]],
    weights: Weights,
    lambda0: float,
) -> dict[str, float]:
    """Return the terms of eq. 3 (`objective`) over all cells, in evaluation mode.

    ``blocks`` are the centred expression and the covariates (or ``None``) of consecutive cells.
    """
    network.eval()
    sums, n_cells = 0, 0
    for expression, covariates in blocks:
        scores, fitted = network(expression, covariates)
        # In double precision, so that the mean over many cells does not depend on the size of the blocks.
        sums = sums + len(scores) * smooth_terms(expression, fitted, scores, lambda0).double()
        n_cells += len(scores)
    return objective(sums / n_cells, network.loadings, weights)
