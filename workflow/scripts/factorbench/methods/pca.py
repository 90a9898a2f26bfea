"""Control: principal components, the best linear reconstruction with a given number of factors.

It ignores the gene sets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..contracts.budget import Budget
from ..contracts.errors import UserError
from ..contracts.factors import Factors
from ..registry import MethodSpec, Param

if TYPE_CHECKING:
    from anndata import AnnData

SPEC = MethodSpec(
    name="pca",
    title="PCA",
    url="https://scikit-learn.org/stable/modules/decomposition.html#pca",
    params={"n_factors": Param(30, "principal components", minimum=1)},
    threads=0,
    control=True,
    uses_gene_sets=False,
    projects=True,
    warm_up=("sklearn.decomposition",),
)


def check(n_cells: int, n_genes: int, n_sets: int, params: dict[str, Any]) -> None:
    """Raise `UserError` if the data have fewer principal components than ``n_factors``."""
    most = min(n_cells, n_genes) - 1
    if params["n_factors"] > most:
        raise UserError(
            f"pca: params.n_factors is {params['n_factors']}, but {n_cells} cells x {n_genes} genes have at most "
            f"{most} principal components; set it to {most} or less"
        )


def fit(data: AnnData, params: dict[str, Any], seed: int, device: str, budget: Budget) -> Factors:
    """Compute principal components of the centred expression; ``device`` and ``budget`` are not used.

    Returns
    -------
    Factors
        Dense factors PC1, PC2, ... in order of decreasing variance. Loadings are unit vectors, scores are the
        projections of the centred cells on them, and the offset is the gene means. The table has
        ``explained_variance``, in squared units of X.
    """
    from sklearn.decomposition import PCA

    model = PCA(params["n_factors"], svd_solver="arpack", random_state=seed)
    scores = model.fit_transform(data.X.astype(np.float64))
    loadings = model.components_.T
    return Factors(
        scores=scores,
        loadings=loadings,
        table=pd.DataFrame(
            {
                "name": [f"PC{k + 1}" for k in range(params["n_factors"])],
                "kind": "dense",
                "active": True,
                "explained_variance": model.explained_variance_,
            }
        ),
        mask=np.zeros(loadings.shape, bool),
        reason="solved directly: nothing to converge",
        offset=model.mean_,
        project=lambda cells: model.transform(cells.X.astype(np.float64)),
    )
