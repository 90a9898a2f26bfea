"""The interpretable autoencoder of Rybakov et al. 2020."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..contracts.budget import Budget
from ..contracts.factors import Factors, no_factors
from ..model.params import PARAMS, check_params, check_size
from ..registry import MethodSpec

if TYPE_CHECKING:
    from anndata import AnnData

SPEC = MethodSpec(
    name="interpretable_ae",
    title="Interpretable autoencoder",
    url="https://github.com/theislab/InterpretableAutoencoders",
    params=PARAMS,
    # More threads do not pay: batches of 256 cells are too small.
    threads=4,
    gpu="optional",
    projects=True,
    warm_up=("factorbench.model.autoencoder", "torch._dynamo"),  # torch's optimizers import the latter at first use
)


def complete(params: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the parameters with those that are null set to the values of the training recipe."""
    return check_params(params, where)


def check(n_cells: int, n_genes: int, n_sets: int, params: dict[str, Any]) -> None:
    """Raise `UserError` if data of this size cannot be fitted."""
    check_size(n_cells, n_genes, n_sets, check_params(params, SPEC.name))


def fit(data: AnnData, params: dict[str, Any], seed: int, device: str, budget: Budget) -> Factors:
    """Train on all cells and return scores, loadings and the model (`factorbench.model`)."""
    import numpy as np

    from ..model import InterpretableAutoencoder

    ae = InterpretableAutoencoder(seed=seed, device=device, **params).fit(data, budget=budget)
    scores, outcome = ae.transform(data), ae.outcome
    if not np.isfinite(scores).all():
        return no_factors(data.n_obs, data.n_vars, "diverged", "scores are not finite; lower learning_rate")
    unannotated = np.zeros((data.n_vars, len(ae.names) - ae.mask.shape[1]), bool)
    return Factors(
        scores=scores,
        loadings=ae.loadings().to_numpy(),
        table=ae.factors,
        mask=np.hstack([ae.mask, unannotated]),
        status=outcome.status,
        reason=outcome.reason,
        iterations=outcome.epochs,
        converged=outcome.converged,
        history=outcome.history,
        covariates=ae.explained_by_covariates(data),
        offset=ae.offset,
        model=ae,
        project=ae.transform,
    )
