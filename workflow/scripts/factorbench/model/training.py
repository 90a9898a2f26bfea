"""The proximal stochastic gradient of eq. 7."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .. import clock
from .cells import CHUNK
from .network import Network
from .objective import evaluate, objective, smooth_terms
from .prox import proximal_operator


@dataclass
class Outcome:
    """How training ended: ``status`` and ``reason`` as in `contracts.Factors`, ``epochs`` that were completed,
    ``converged`` (``None`` without early stopping) and ``history``, one dict an epoch (see `train`)."""

    status: str = "ok"
    reason: str = ""
    epochs: int = 0
    converged: bool | None = None
    history: list[dict[str, float]] = field(default_factory=list)


def batches(n_cells: int, size: int, device: str | torch.device = "cpu") -> list[Tensor]:
    """All cells, shuffled, as indices in batches of ``size``; the last may be smaller but never a single cell.

    A last batch of one cell has no variance for BatchNorm, so it joins the batch before.
    """
    parts = list(torch.randperm(n_cells).to(device).split(size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def n_epochs(n_cells: int, settings: dict[str, Any]) -> int:
    """``epochs``, or as many as it takes to make ``min_updates`` updates, one a mini-batch."""
    return max(settings["epochs"], math.ceil(settings["min_updates"] / math.ceil(n_cells / settings["batch_size"])))


def make_optimizer(network: Network, name: str, learning_rate: float) -> torch.optim.Optimizer:
    """Adam with its usual settings, or plain gradient descent (eq. 7)."""
    optimizers = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    return optimizers[name](network.parameters(), lr=learning_rate, fused=True)


def step(
    network: Network,
    optimizer: torch.optim.Optimizer,
    expression: Tensor,
    covariates: Tensor | None,
    weights: Tensor,
    settings: dict[str, Any],
) -> Tensor:
    """One update of eq. 7 on one mini-batch: a gradient step on F for all parameters, then the prox of R for W.

    Returns
    -------
    Tensor
        The two terms of F on the batch before the step, not attached to the graph, shape (2,).
    """
    scores, fitted = network(expression, covariates)
    terms = smooth_terms(expression, fitted, scores, settings["lambda0"])
    optimizer.zero_grad()
    terms.sum().backward()
    optimizer.step()
    with torch.no_grad():
        loadings = network.loadings
        loadings.copy_(proximal_operator(loadings, weights, settings["lambda3"], settings["learning_rate"]))
    return terms.detach()


def train(
    network: Network,
    expression: Tensor,
    covariates: Tensor | None,
    weights: Tensor,
    outside: Tensor,
    settings: dict[str, Any],
    budget: clock.Budget,
) -> Outcome:
    """Train ``network`` in place.

    Parameters
    ----------
    expression
        Centred, float32, on the device of the network, shape (n_cells, n_genes).
    covariates
        X of eq. 2, shape (n_cells, n_covariates), or ``None``.
    weights
        `prox.l1_weights`, shape (n_genes, n_factors).
    outside
        True for annotated loadings outside their gene set, bool, shape (n_genes, n_sets).
    settings
        Of `settings.check_settings`.
    budget
        Asked after every batch; when it is spent training ends and the network stays as it is.

    Returns
    -------
    Outcome
        Its history has for each epoch ``epoch``, ``seconds`` (since training began), the terms of eq. 3 and their sum
        (`objective.objective`; the two terms of F are means over the epoch's batches as they were trained on, with
        dropout), ``n_active`` factors, ``outside_zero`` (share of annotated loadings outside the mask that are exactly
        zero) and, with early stopping, ``evaluated`` (eq. 3 on all cells in evaluation mode).
    """
    outcome = Outcome()
    patience, epochs = settings["patience"], n_epochs(len(expression), settings)
    optimizer = make_optimizer(network, settings["optimizer"], settings["learning_rate"])
    kept, best, stale = _snapshot(network), float("inf"), 0
    began = time.perf_counter()
    with clock.bar(epochs, "training", "epoch") as progress:
        for epoch in range(1, epochs + 1):
            smooth, complete = _epoch(network, optimizer, expression, covariates, weights, settings, budget)
            row = {"epoch": epoch, "seconds": time.perf_counter() - began}
            row |= objective(smooth, network.loadings, weights, settings["lambda3"]) | _sparsity(network, outside)
            outcome.history.append(row)
            if not _finite(row, network):
                outcome.status = "diverged"
                outcome.reason = f"not finite in epoch {epoch}; the weights are those before it"
                break
            outcome.epochs += complete
            if patience:
                row["evaluated"] = evaluate(network, _blocks(expression, covariates), weights, settings)["objective"]
                stale = 0 if row["evaluated"] < best * (1 - settings["tolerance"]) else stale + 1
            if not patience or row["evaluated"] < best:
                kept, best = _snapshot(network), row.get("evaluated", best)
            progress.set_postfix_str(_line(row), refresh=False)
            progress.update()
            if patience and stale >= patience:
                outcome.converged, outcome.reason = True, f"no better for {patience} epochs"
                break
            if budget.spent() and not (complete and epoch == epochs):
                outcome.status, outcome.reason = "budget", f"its budget was spent in epoch {epoch} of {epochs}"
                break
        else:
            if patience:
                outcome.status, outcome.converged = "max_iterations", False
                outcome.reason = f"early stopping was not reached in {epochs} epochs"
    if patience or outcome.status == "diverged":
        network.load_state_dict(kept)
    network.eval()
    return outcome


def _epoch(
    network: Network,
    optimizer: torch.optim.Optimizer,
    expression: Tensor,
    covariates: Tensor | None,
    weights: Tensor,
    settings: dict[str, Any],
    budget: clock.Budget,
) -> tuple[Tensor, bool]:
    """One pass over all cells: the two terms of F, means over the cells seen, and whether all of them were."""
    network.train()
    sums, seen = expression.new_zeros(2), 0
    for cells in batches(len(expression), settings["batch_size"], expression.device):
        x = None if covariates is None else covariates[cells]
        sums += len(cells) * step(network, optimizer, expression[cells], x, weights, settings)
        seen += len(cells)
        if budget.spent():
            break
    network.eval()
    return sums / seen, seen == len(expression)


def _blocks(expression: Tensor, covariates: Tensor | None) -> Iterator[tuple[Tensor, Tensor | None]]:
    blocks = expression.split(CHUNK)
    return zip(blocks, [None] * len(blocks) if covariates is None else covariates.split(CHUNK), strict=True)


@torch.no_grad()
def _sparsity(network: Network, outside: Tensor) -> dict[str, float]:
    zero = network.loadings == 0
    annotated = zero[:, : outside.shape[1]]
    n_outside = int(outside.sum())
    return {
        "n_active": int((~zero.all(dim=0)).sum()),
        "outside_zero": int((annotated & outside).sum()) / n_outside if n_outside else float("nan"),
    }


def _finite(row: dict[str, float], network: Network) -> bool:
    return math.isfinite(row["objective"]) and all(bool(t.isfinite().all()) for t in network.state_dict().values())


def _snapshot(network: Network) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def _line(row: dict[str, float]) -> str:
    return (
        f"objective {row['objective']:.1f} = fit {row['reconstruction']:.1f} + scores {row['scores']:.1f} + "
        f"genes {row['genes']:.1f} + factors {row['factors']:.1f}, {row['n_active']} on, "
        f"{row['outside_zero']:.1%} off-mask zeros"
    )
