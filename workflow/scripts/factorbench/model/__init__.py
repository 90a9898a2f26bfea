"""The interpretable autoencoder of Rybakov et al. 2020 as a small library.

>>> from factorbench.model import InterpretableAutoencoder
>>> ae = InterpretableAutoencoder(lambda1=0.93, lambda3=0.57, seed=0).fit(adata)
>>> scores, loadings = ae.transform(adata), ae.loadings()

Modules: `params` (all parameters), `network` (eqs. 1 and 2), `objective` (eq. 3), `prox` (eqs. 4-6 and 8), `solver`
(the exact solution of eq. 3) on the `covariance` of the genes, `training` (eq. 7), `covariates` (X of eq. 2), `cells`
(matrices and genes), `files` (saved models), `autoencoder` (the estimator).
"""

from typing import Any

__all__ = ["InterpretableAutoencoder"]  # noqa: F822 - see __getattr__


def __getattr__(name: str) -> Any:
    # Imported on first use, so that the workflow can read `params` without torch.
    if name == "InterpretableAutoencoder":
        from .autoencoder import InterpretableAutoencoder

        return InterpretableAutoencoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
