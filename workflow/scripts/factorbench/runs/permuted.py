"""A method fitted to permuted gene sets: how random sets of the same size and expression do, fitted in the same way."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import registry
from ..contracts.budget import Budget
from ..contracts.files import row_blocks
from ..data.altered_sets import expression_strata, permute

if TYPE_CHECKING:
    from anndata import AnnData


def permuted_masks(data: AnnData, where: str) -> Iterator[np.ndarray]:
    """Yield masks of prepared ``data`` with permuted genes, with the seeds 0, 1, ... of a dataset's `permute_sets`."""
    strata = expression_strata((data.X[rows] for rows in row_blocks(data.n_obs)), where)
    mask = np.asarray(data.varm["mask"])
    return (permute(mask, strata, seed) for seed in itertools.count())


def scores_for(
    masks: Iterable[np.ndarray],
    use: str,
    data: AnnData,
    params: dict[str, Any],
    seed: int,
    threads: int,
    budget: Budget,
) -> Iterator[np.ndarray]:
    """Fit a method to ``data`` with one mask after another; yield the scores of the annotated factors.

    A method that can share work between masks defines ``fit_masks`` beside its ``fit``, with these arguments:
    data, masks, params, seed, threads. It returns ``None`` where it cannot.

    Yields
    ------
    ndarray, shape (n_cells, n_sets)
        0 for factors that are switched off. A fit that the budget stopped is not among them.
    """
    method = registry.load("method", use)
    many = method.fit_masks(data, masks, params, seed, threads) if hasattr(method, "fit_masks") else None
    if many is not None:
        yield from many
        return
    for mask in masks:
        left = None if budget.seconds is None else max(budget.seconds - budget.elapsed(), 0.0)
        factors = method.fit(with_mask(data, mask), dict(params), seed, "cpu", Budget(left))
        if factors.status not in ("ok", "max_iterations"):
            return
        annotated = (factors.table["kind"] == "annotated").to_numpy()
        yield factors.scores[:, annotated] * factors.table["active"].to_numpy(bool)[annotated]


def with_mask(data: AnnData, mask: np.ndarray) -> AnnData:
    """Return prepared ``data`` with other gene sets of the same names; expression and counts are shared."""
    import anndata

    parts = {"obs": data.obs, "var": data.var, "layers": dict(data.layers), "uns": dict(data.uns)}
    return anndata.AnnData(X=data.X, varm={"mask": mask}, **parts)
