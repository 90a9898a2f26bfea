"""The network of eqs. 1 and 2: a nonlinear encoder, a linear decoder, and the part of covariates."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


class Network(nn.Module):
    """Y ~ f(Y) W' + d(e(X)).

    Parameters
    ----------
    n_genes, n_factors, n_covariates
        Numbers of columns of Y, W and X.
    hidden
        Widths of the hidden layers of the encoder f. Each is Linear, BatchNorm, ELU, Dropout; the last layer is linear.
    dropout
        Share of hidden units dropped in training.
    covariate_hidden
        Widths of the layers of the encoder e; the decoder d mirrors them. Empty: d(e(X)) = X Phi'.
    subtract
        Whether the encoder gets Y - d(e(X)) instead of Y, as the exact solution requires.
    """

    def __init__(
        self,
        n_genes: int,
        n_factors: int,
        hidden: Sequence[int] = (400, 400),
        dropout: float = 0.2,
        n_covariates: int = 0,
        covariate_hidden: Sequence[int] = (),
        subtract: bool = False,
    ):
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise([n_genes, *hidden]):
            # BatchNorm subtracts the mean, so a bias before it would have a gradient of rounding errors only, and Adam
            # would turn them into steps of full size.
            layers += [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ELU(), nn.Dropout(dropout)]
        self.encoder = nn.Sequential(*layers, nn.Linear([n_genes, *hidden][-1], n_factors))
        self.decoder = nn.Linear(n_factors, n_genes, bias=False)
        nn.init.normal_(self.decoder.weight, std=n_factors**-0.5)
        self.covariates = covariate_network(n_covariates, n_genes, covariate_hidden) if n_covariates else None
        self.subtract = subtract

    @property
    def loadings(self) -> nn.Parameter:
        """W of eq. 1, shape (n_genes, n_factors)."""
        return self.decoder.weight

    def scores(self, expression: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Return the scores f(Y), shape (n_cells, n_factors)."""
        return self.encoder(self.encoded(expression, covariates))

    def encoded(self, expression: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Return what the encoder gets: Y, or Y - d(e(X)) if ``subtract``; shape (n_cells, n_genes)."""
        if self.subtract and self.covariates is not None:
            return expression - self.covariates(covariates)
        return expression

    def forward(self, expression: Tensor, covariates: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the `scores` f(Y), and f(Y) W' + d(e(X)), shape (n_cells, n_genes)."""
        scores = self.scores(expression, covariates)
        fitted = self.decoder(scores)
        if self.covariates is not None:
            fitted = fitted + self.covariates(covariates)
        return scores, fitted


def covariate_network(n_covariates: int, n_genes: int, hidden: Sequence[int]) -> nn.Module:
    """Return d(e(X)) of eq. 2: X Phi' if ``hidden`` is empty, else an encoder and a decoder with ELU between layers."""
    if not hidden:
        return nn.Linear(n_covariates, n_genes, bias=False)
    return nn.Sequential(_elu_layers([n_covariates, *hidden]), nn.ELU(), _elu_layers([*hidden[::-1], n_genes]))


def _elu_layers(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ELU()]
    return nn.Sequential(*layers[:-1])
