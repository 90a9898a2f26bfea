"""The interpretable autoencoder of Rybakov et al. 2020, as a small library.

>>> from factorbench.model import InterpretableAutoencoder
>>> ae = InterpretableAutoencoder(lambda1=0.93, lambda3=0.57, seed=0).fit(adata)
>>> scores, loadings = ae.transform(adata), ae.loadings()

Its parts: `params` (every setting), `prox` (eqs. 5-8), `objective` (eq. 3), `network` (eqs. 1-2), `covariates`,
`training` (eq. 7), `cells` (matrices and genes of new cells), `autoencoder` (the estimator) and `io` (files).
"""

from typing import Any

__all__ = ["InterpretableAutoencoder"]


def __getattr__(name: str) -> Any:
    # On demand, so that the workflow can read `params` without torch.
    if name == "InterpretableAutoencoder":
        from .autoencoder import InterpretableAutoencoder

        return InterpretableAutoencoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
