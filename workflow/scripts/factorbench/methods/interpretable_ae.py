"""The interpretable autoencoder of Rybakov et al. 2020."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..contracts.budget import Budget
from ..contracts.factors import Factors, no_factors
from ..model.params import PARAMS
from ..model.params import check_params as complete
from ..model.params import check_size as check
from ..registry import MethodSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from anndata import AnnData

__all__ = ["SPEC", "check", "complete", "fit", "fit_masks"]

SPEC = MethodSpec(
    name="interpretable_ae",
    title="Interpretable autoencoder",
    url="https://github.com/theislab/InterpretableAutoencoders",
    params=PARAMS,
    # More threads do not make it faster: batches of 256 cells are too small.
    threads=4,
    gpu="optional",
    projects=True,
    warm_up=("factorbench.model.autoencoder", "torch._dynamo"),  # torch's optimizers import the second on first use
)


def fit_masks(
    data: AnnData, masks: Iterable[np.ndarray], params: dict[str, Any], seed: int, threads: int
) -> Iterator[np.ndarray] | None:
    """Return an iterator over the scores of the exact solution for each mask; ``None`` if a network is trained."""
    if params["encoder"] == "network":
        return None
    from ..model import InterpretableAutoencoder

    model, n_sets = InterpretableAutoencoder(seed=seed, **params), len(data.uns["gene_sets"])
    return (ae.transform(data)[:, :n_sets] for ae in model.fit_many(data, masks, threads=threads))


def fit(data: AnnData, params: dict[str, Any], seed: int, device: str, budget: Budget) -> Factors:
    """Train on all cells and return their scores, the loadings and the model (`factorbench.model`)."""
    import numpy as np

    from ..model import InterpretableAutoencoder

    ae = InterpretableAutoencoder(seed=seed, device=device, **params).fit(data, budget=budget)
    scores, outcome = ae.transform(data), ae.outcome
    if not np.isfinite(scores).all():
        return no_factors(data.n_obs, data.n_vars, "diverged", "scores are not finite; lower learning_rate")
    return Factors(
        scores=scores,
        loadings=ae.loadings().to_numpy(),
        table=ae.factors,
        mask=np.pad(ae.mask, ((0, 0), (0, len(ae.names) - ae.mask.shape[1]))),
        status=outcome.status,
        reason=outcome.reason,
        iterations=outcome.epochs,
        converged=outcome.converged,
        history=outcome.history,
        covariates=ae.explained_by_covariates(data),
        own_scores=ae.own_scores(data),
        offset=ae.offset,
        model=ae,
        project=ae.transform,
    )
