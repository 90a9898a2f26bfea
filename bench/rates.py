"""How fast this machine multiplies matrices of the shapes that training needs: the limit that training is held to."""

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
"""What a repetition takes at least: many products, so that the clock and a switch of tasks weigh little."""


class Product(NamedTuple):
    """A product of matrices, (rows x inner) times (inner x columns), and which of the two lie transposed in memory."""

    name: str
    rows: int
    inner: int
    columns: int
    left_transposed: bool = False
    right_transposed: bool = False

    @property
    def flops(self) -> int:
        """A multiplication and an addition for each of rows x inner x columns."""
        return 2 * self.rows * self.inner * self.columns


def step_products(n_cells: int, n_genes: int, hidden: Sequence[int], n_factors: int) -> list[Product]:
    """The products of one training step, laid out in memory as torch's linear layers have them.

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
        forward (B, a) x (a, b); the weights' gradient (b, B) x (B, a); the inputs' gradient (B, b) x (b, a), which the
        first layer does not need.
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
    """The products of one alternating step (`factorbench.model.training.Alternating`), as `step_products` has them.

    Those of the encoder; and with W genes x factors, scores Z and cells Y: W'W, Y W, Z W'W and its gradient, and the
    last three, of a step that moves W, Z'Z, Y'Z and W Z'Z; instead of the decoder's three products of the size of the
    data.
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
    """Floating-point operations of the products of one training step (all else is of lower order).

    With layers from a_i to b_i, i = 0 ... L, the decoder last: 2 B (3 sum_i a_i b_i - a_0 b_0). For the authors'
    network, G genes to H to H to K factors to G genes: 2 B (2 G H + 3 H^2 + 3 H K + 3 K G).
    """
    return sum(product.flops for product in step_products(n_cells, n_genes, hidden, n_factors))


def matrix_rates(products: Sequence[Product], threads: int, dtype: torch.dtype) -> dict[Product, float]:
    """Rate of each product by itself, its matrices in the cache as far as they fit.

    Returns
    -------
    dict
        Product -> floating-point operations a second, the median of `REPETITIONS`.
    """
    with torch_threads(threads), torch.inference_mode():
        return {product: product.flops / statistics.median(_seconds(product, dtype)) for product in products}


def seconds_at(rates: dict[Product, float], products: Iterable[Product]) -> float:
    """What the products take one after another, each at its own rate of `matrix_rates`."""
    return sum(product.flops / rates[product] for product in products)


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Torch with so many threads; afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _seconds(product: Product, dtype: torch.dtype) -> list[float]:
    """Seconds of one product, repeatedly."""
    left = _matrix(product.rows, product.inner, product.left_transposed, dtype)
    right = _matrix(product.inner, product.columns, product.right_transposed, dtype)
    out = torch.empty(product.rows, product.columns, dtype=dtype)

    def timed(times: int) -> float:
        start = time.perf_counter()
        for _ in range(times):
            torch.mm(left, right, out=out)
        return time.perf_counter() - start

    timed(1)  # the first one chooses a kernel and starts the threads
    times = 1
    while timed(times) < SECONDS:
        times *= 2
    return [timed(times) / times for _ in range(REPETITIONS)]


def _matrix(rows: int, columns: int, transposed: bool, dtype: torch.dtype) -> Tensor:
    return torch.randn(columns, rows).to(dtype).T if transposed else torch.randn(rows, columns).to(dtype)
