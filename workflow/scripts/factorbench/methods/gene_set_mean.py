"""Control: the score of a gene set is the mean expression of its genes. Nothing is learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..contracts.budget import Budget
from ..contracts.factors import Factors
from ..registry import MethodSpec

if TYPE_CHECKING:
    from anndata import AnnData

SPEC = MethodSpec(
    name="gene_set_mean", title="Mean of the gene set", control=True, projects=True, warm_up=("scipy.sparse",)
)


def fit(data: AnnData, params: dict[str, Any], seed: int, device: str, budget: Budget) -> Factors:
    """Average log-normalised expression over each gene set; ``params``, ``seed``, ``device``, ``budget`` are not used.

    Returns
    -------
    Factors
        One annotated factor per gene set: scores in the units of X, loadings 1 / size inside the set. The method does
        not reconstruct X (no offset) and does not iterate.
    """
    return means(data, np.asarray(data.varm["mask"], bool))


def means(data: AnnData, mask: np.ndarray) -> Factors:
    """Return the `fit` for gene sets of any ``mask``, bool, shape (n_genes, n_sets)."""
    from scipy import sparse

    loadings = mask / mask.sum(axis=0)
    weights = sparse.csr_matrix(loadings)

    def project(cells: AnnData) -> np.ndarray:
        return (cells.X @ weights).toarray()

    scores = project(data)
    return Factors(
        scores=scores,
        own_scores=scores,
        loadings=loadings,
        table=pd.DataFrame({"name": np.asarray(data.uns["gene_sets"], str), "kind": "annotated", "active": True}),
        mask=mask,
        reason="one pass: nothing to converge",
        project=project,
    )
