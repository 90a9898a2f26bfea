"""Measure how fast this machine multiplies matrices of the shapes that training needs: the limit for training."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

REPETITIONS = 9
SECONDS = 0.02
"""Shortest duration of a repetition. It contains many products, so that reading the clock hardly matters."""


class Product(NamedTuple):
    """A product of matrices, (rows x inner) times (inner x columns); each may be stored transposed in memory."""

    rows: int
    inner: int
    columns: int
    left_transposed: bool = False
    right_transposed: bool = False

    @property
    def flops(self) -> int:
        """Number of operations: rows x inner x columns multiplications and as many additions."""
        return 2 * self.rows * self.inner * self.columns


def linear_products(n_cells: int, widths: Sequence[int]) -> list[Product]:
    """Return the products of one training step of torch's linear layers, for a batch of ``n_cells``.

    For each layer, from a inputs to b outputs with weights stored b x a: forward (B, a) x (a, b); gradient of the
    weights (b, B) x (B, a); except in the first layer, gradient of the inputs (B, b) x (b, a).
    """
    products = []
    for layer, (inputs, outputs) in enumerate(pairwise(widths)):
        products.append(Product(n_cells, inputs, outputs, right_transposed=True))
        products.append(Product(outputs, n_cells, inputs, left_transposed=True))
        if layer:
            products.append(Product(n_cells, outputs, inputs))
    return products


def encoder_products(n_cells: int, n_genes: int, hidden: Sequence[int], n_factors: int) -> list[Product]:
    """Return the products of one step of the encoder's training (`factorbench.model.training.EncoderAlone`).

    They are the products of the encoder and, with W (genes x factors), scores Z and cells Y: Y W, Z W'W and its
    gradient. W'W is computed once per training. All else is of lower order.
    """
    B, G, K = n_cells, n_genes, n_factors
    return [
        *linear_products(B, [G, *hidden, K]),
        Product(B, G, K),
        Product(B, K, K),
        Product(B, K, K, right_transposed=True),
    ]


@torch.inference_mode()
def seconds(product: Product) -> float:
    """Return the seconds of a product alone, with its matrices in the cache as far as they fit: a median."""
    left = _matrix(product.rows, product.inner, product.left_transposed)
    right = _matrix(product.inner, product.columns, product.right_transposed)
    out = torch.empty(product.rows, product.columns)

    def timed(times: int) -> float:
        start = time.perf_counter()
        for _ in range(times):
            torch.mm(left, right, out=out)
        return time.perf_counter() - start

    timed(1)  # the first call chooses a kernel and starts the threads
    times = 1
    while timed(times) < SECONDS:
        times *= 2
    return statistics.median(timed(times) / times for _ in range(REPETITIONS))


def _matrix(rows: int, columns: int, transposed: bool) -> Tensor:
    return torch.randn(columns, rows).T if transposed else torch.randn(rows, columns)
