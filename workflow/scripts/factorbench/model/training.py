"""Training: the proximal stochastic gradient of eq. 7 for all weights, as the authors', or the encoder alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from ..contracts.budget import Budget
from ..progress import bar
from .cells import Cells, batch_sizes
from .network import Network
from .objective import evaluate, gram_terms, objective, smooth_terms
from .prox import Weights, proximal_operator

RISE = 0.4
"""`EncoderAlone`: share of the updates during which the learning rate rises. Afterwards it falls to zero."""


@dataclass
class Outcome:
    """How a fit ended: ``status`` and ``reason`` as in `contracts.factors.Factors`, and the completed ``epochs``.

    ``converged`` says whether early stopping was reached (``None``: training was without it). ``history`` has one dict
    per epoch (`train`). For the exact solution, epochs are sweeps, and ``converged`` and ``history`` as in
    `solver.Solution`.
    """

    status: str = "ok"
    reason: str = ""
    epochs: int = 0
    converged: bool | None = None
    history: list[dict[str, float]] = field(default_factory=list)


def n_epochs(n_cells: int, params: dict[str, Any]) -> int:
    """Return ``epochs``, or more if ``min_updates`` updates (one per mini-batch) need more."""
    updates = len(batch_sizes(n_cells, params["batch_size"]))
    return max(params["epochs"], math.ceil(params["min_updates"] / updates))


class Together:
    """Eq. 7 as the authors use it: a gradient step on F for all parameters (Adam or SGD), then the prox of R for W.

    ``n_updates`` is the number of steps of a full training. The other parameters are those of `train`.
    """

    def __init__(self, network: Network, weights: Weights, params: dict[str, Any], n_updates: int):
        optimizers = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
        self.network, self.weights, self.params = network, weights, params
        self.optimizer = optimizers[params["optimizer"]](network.parameters(), lr=params["learning_rate"], fused=True)

    def step(self, expression: Tensor, covariates: Tensor | None) -> Tensor:
        """Do one update on one mini-batch; return the two terms of F on it before the step, shape (2,)."""
        scores, fitted = self.network(expression, covariates)
        terms = smooth_terms(expression, fitted, scores, self.params["lambda0"])
        self.optimizer.zero_grad()
        terms.sum().backward()
        self.optimizer.step()
        with torch.no_grad():
            W, eta = self.network.loadings, self.params["learning_rate"]
            W.copy_(proximal_operator(W, self.weights, eta))
        return terms.detach()


class EncoderAlone:
    """Adam with one cycle of learning rates for the encoder; W stays as it is.

    W comes from the exact solution, which assumes the best scores. The encoder only has to come close to these.
    """

    def __init__(self, network: Network, weights: Weights, params: dict[str, Any], n_updates: int):
        self.network, self.params = network, params
        W = network.loadings.detach()
        self.loadings, self.gram = W, W.T @ W
        others = [p for p in network.parameters() if p is not network.loadings]
        self.optimizer = torch.optim.Adam(others, lr=params["learning_rate"], fused=True)
        up = max(1, round(RISE * n_updates))
        rise = LinearLR(self.optimizer, start_factor=1e-3, total_iters=up)
        fall = CosineAnnealingLR(self.optimizer, T_max=max(1, n_updates - up))
        self.schedule = SequentialLR(self.optimizer, [rise, fall], milestones=[up])

    def step(self, expression: Tensor, covariates: Tensor | None) -> Tensor:
        """Do one update on one mini-batch (`Together.step`)."""
        scores = self.network.encoder(expression)
        target = expression if covariates is None else expression - self.network.covariates(covariates)
        terms = gram_terms(target, scores, self.loadings, self.gram, self.params["lambda0"])
        self.optimizer.zero_grad()
        terms.sum().backward()
        self.optimizer.step()
        self.schedule.step()
        return terms.detach()


UPDATES = {"adam": Together, "sgd": Together, "encoder": EncoderAlone}
"""Value of the parameter ``optimizer`` -> what an update changes, and how."""


def train(
    network: Network,
    cells: Cells,
    weights: Weights,
    outside: Tensor,
    params: dict[str, Any],
    budget: Budget,
    watch: Callable[[], None] | None = None,
) -> Outcome:
    """Train ``network`` in place.

    Parameters
    ----------
    cells
        Centred expression and covariates, on the device of the network.
    weights
        `prox.penalty_weights`.
    outside
        True for annotated loadings outside their gene set, bool, shape (n_genes, n_sets).
    params
        From `params.check_params`.
    budget
        Checked after every batch. When it is spent, training ends and the network stays as it is.
    watch
        Called after every epoch, before its results are checked.

    Returns
    -------
    Outcome
        Its history has per epoch ``epoch``, ``seconds`` (since training began), the terms of eq. 3 and their sum
        (`objective.objective`; the two terms of F are means over the epoch's batches during training, with dropout),
        ``n_active`` factors, ``outside_zero`` (share of annotated loadings outside the mask that are exactly zero) and,
        with early stopping, ``evaluated`` (eq. 3 on all cells in evaluation mode).
    """
    outcome = Outcome()
    patience, epochs = params["patience"], n_epochs(len(cells), params)
    n_updates = epochs * len(batch_sizes(len(cells), params["batch_size"]))
    updates = UPDATES[params["optimizer"]](network, weights, params, n_updates)
    kept, best, stale = _snapshot(network), math.inf, 0
    began = time.perf_counter()
    with bar(epochs, "training", "epoch") as progress:
        for epoch in range(1, epochs + 1):
            smooth, complete = _epoch(network, updates, cells, params["batch_size"], budget)
            if watch is not None:
                watch()
            row = {"epoch": epoch, "seconds": time.perf_counter() - began}
            terms = objective(smooth, network.loadings, weights) | _sparsity(network, outside)
            row |= terms
            outcome.history.append(row)
            if not _finite(row, network):
                outcome.status = "diverged"
                outcome.reason = f"values were not finite in epoch {epoch}; the weights are from before that epoch"
                break
            outcome.epochs += complete
            if patience:
                row["evaluated"] = evaluate(network, cells.blocks(), weights, params["lambda0"])["objective"]
                stale = 0 if row["evaluated"] < best * (1 - params["tolerance"]) else stale + 1
            if not patience or row["evaluated"] < best:
                kept, best = _snapshot(network), row.get("evaluated", best)
            progress.set_postfix(terms, refresh=False)
            progress.update()
            if patience and stale >= patience:
                outcome.converged, outcome.reason = True, f"the objective was no better for {patience} epochs"
                break
            if budget.spent() and not (complete and epoch == epochs):
                outcome.status, outcome.reason = "budget", f"the budget was spent in epoch {epoch} of {epochs}"
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
    network: Network, updates: Together | EncoderAlone, cells: Cells, batch_size: int, budget: Budget
) -> tuple[Tensor, bool]:
    """Pass over all cells; return the two terms of F, means over the cells used, and whether all cells were used."""
    network.train()
    sums, n_used = network.loadings.new_zeros(2), 0
    for expression, covariates in cells.batches(batch_size):
        sums += len(expression) * updates.step(expression, covariates)
        n_used += len(expression)
        if budget.spent():
            break
    network.eval()
    return sums.detach() / n_used, n_used == len(cells)


@torch.no_grad()
def _sparsity(network: Network, outside: Tensor) -> dict[str, float]:
    zero = network.loadings == 0
    zero_outside = zero[:, : outside.shape[1]][outside]
    share = int(zero_outside.sum()) / len(zero_outside) if len(zero_outside) else math.nan
    return {"n_active": int((~zero.all(dim=0)).sum()), "outside_zero": share}


def _finite(row: dict[str, float], network: Network) -> bool:
    return math.isfinite(row["objective"]) and all(bool(t.isfinite().all()) for t in network.state_dict().values())


def _snapshot(network: Network) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}
