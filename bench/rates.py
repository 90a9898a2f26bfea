"""Measure how fast this machine multiplies matrices of the shapes that training needs: the limit for training."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

REPETITIONS = 9
SECONDS = 0.02
"""Shortest duration of a repetition. It contains many products, so that reading the clock hardly matters."""


class Product(NamedTuple):
    """A product of matrices, (rows x inner) times (inner x columns); each may be stored transposed in memory."""

    name: str
    rows: int
    inner: int
    columns: int
    left_transposed: bool = False
    right_transposed: bool = False

    @property
    def flops(self) -> int:
        """Number of operations: rows x inner x columns multiplications and as many additions."""
        return 2 * self.rows * self.inner * self.columns


def step_products(n_cells: int, n_genes: int, hidden: Sequence[int], n_factors: int) -> list[Product]:
    """Return the products of one training step, with the memory layout of torch's linear layers.

    Parameters
    ----------
    n_cells
        Cells of the batch, B.
    hidden
        Widths of the encoder's hidden layers.

    Returns
    -------
    list of Product
        For each layer of the encoder and for the decoder, from a inputs to b outputs with weights stored b x a:
        forward (B, a) x (a, b); gradient of the weights (b, B) x (B, a); except in the first layer, gradient of the
        inputs (B, b) x (b, a).
    """
    products = []
    for layer, (inputs, outputs) in enumerate(pairwise([n_genes, *hidden, n_factors, n_genes])):
        name = f"{inputs} to {outputs}"
        products.append(Product(f"{name}, forward", n_cells, inputs, outputs, right_transposed=True))
        products.append(Product(f"{name}, gradient of weights", outputs, n_cells, inputs, left_transposed=True))
        if layer:
            products.append(Product(f"{name}, gradient of inputs", n_cells, outputs, inputs))
    return products


def alternating_products(n_cells: int, n_genes: int, hidden: Sequence[int], n_factors: int) -> list[Product]:
    """Return the products of one alternating step (`factorbench.model.training.Alternating`); see `step_products`.

    They are the products of the encoder and, with W (genes x factors), scores Z and cells Y: W'W, Y W, Z W'W and its
    gradient. The last three, Z'Z, Y'Z and W Z'Z, occur only in steps that change W.
    """
    B, G, K = n_cells, n_genes, n_factors
    encoder = [p for p in step_products(B, G, hidden, K) if not p.name.startswith(f"{K} to {G},")]
    return [
        *encoder,
        Product("W'W", K, G, K, left_transposed=True),
        Product("Y W", B, G, K),
        Product("Z W'W", B, K, K),
        Product("Z W'W, gradient of Z", B, K, K, right_transposed=True),
        Product("Z'Z", K, B, K, left_transposed=True),
        Product("Y'Z", G, B, K, left_transposed=True),
        Product("W Z'Z", G, K, K),
    ]


def step_flops(n_cells: int, n_genes: int, hidden: Sequence[int], n_factors: int) -> int:
    """Return the floating-point operations of the products of one training step. All others are of lower order.

    With layers from a_i to b_i, i = 0 ... L, the decoder last: 2 B (3 sum_i a_i b_i - a_0 b_0). For the authors'
    network, G genes to H to H to K factors to G genes: 2 B (2 G H + 3 H^2 + 3 H K + 3 K G).
    """
    return sum(product.flops for product in step_products(n_cells, n_genes, hidden, n_factors))


def matrix_rates(products: Sequence[Product], threads: int, dtype: torch.dtype) -> dict[Product, float]:
    """Return the rate of each product alone, with its matrices in the cache as far as they fit.

    Returns
    -------
    dict
        Product -> floating-point operations per second, the median of `REPETITIONS`.
    """
    with torch_threads(threads), torch.inference_mode():
        return {product: product.flops / statistics.median(_seconds(product, dtype)) for product in products}


def seconds_at(rates: dict[Product, float], products: Iterable[Product]) -> float:
    """Return the seconds that the products take one after another, each at its rate (`matrix_rates`)."""
    return sum(product.flops / rates[product] for product in products)


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Set the number of torch's threads for the ``with`` block; restore it afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _seconds(product: Product, dtype: torch.dtype) -> list[float]:
    """Return the seconds of one product, measured `REPETITIONS` times."""
    left = _matrix(product.rows, product.inner, product.left_transposed, dtype)
    right = _matrix(product.inner, product.columns, product.right_transposed, dtype)
    out = torch.empty(product.rows, product.columns, dtype=dtype)

    def timed(times: int) -> float:
        start = time.perf_counter()
        for _ in range(times):
            torch.mm(left, right, out=out)
        return time.perf_counter() - start

    timed(1)  # the first call chooses a kernel and starts the threads
    times = 1
    while timed(times) < SECONDS:
        times *= 2
    return [timed(times) / times for _ in range(REPETITIONS)]


def _matrix(rows: int, columns: int, transposed: bool, dtype: torch.dtype) -> Tensor:
    return torch.randn(columns, rows).to(dtype).T if transposed else torch.randn(rows, columns).to(dtype)
