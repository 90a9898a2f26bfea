"""Control: the truth itself, where it is known. No method can do better."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..contracts.budget import Budget
from ..contracts.errors import UserError
from ..contracts.factors import Factors
from ..contracts.prepared import TRUE_MASK
from ..contracts.truth import has_truth, read_truth
from ..registry import MethodSpec
from . import gene_set_mean

if TYPE_CHECKING:
    from anndata import AnnData

SPEC = MethodSpec(name="oracle", title="Oracle (the truth)", control=True, sees_truth=True)
KINDS = {"unannotated": "sparse", "technical": "dense"}


def fit(data: AnnData, params: dict[str, Any], seed: int, device: str, budget: Budget) -> Factors:
    """Return the planted activities and weights as scores and loadings.

    Where only the true gene sets are known, because the given ones were altered: the means of the true sets.

    Raises
    ------
    UserError
        If nothing of the truth is known.
    """
    given, names = np.asarray(data.varm["mask"], bool), pd.Index(map(str, data.uns["gene_sets"]))
    if not has_truth(data):
        if TRUE_MASK not in data.varm:
            raise UserError(
                "oracle: these data have no truth; run it on simulated data or with corrupt or permute_sets"
            )
        factors = gene_set_mean.means(data, np.asarray(data.varm[TRUE_MASK], bool))
        return Factors(**{**vars(factors), "mask": given, "own_scores": None, "project": None})
    programmes, activity, weights = read_truth(data)
    others = programmes.index[programmes["kind"].isin(KINDS)]
    order = [*pd.Index(programmes["name"]).get_indexer(names), *others]
    unknown = np.array(order) < 0
    loadings, scores = np.where(unknown, 0, weights[:, order]), np.where(unknown, 0, activity[:, order])
    kinds = ["annotated"] * len(names) + [KINDS[kind] for kind in programmes.loc[others, "kind"]]
    table = pd.DataFrame(
        {"name": [*names, *programmes.loc[others, "name"]], "kind": kinds, "active": loadings.any(axis=0)}
    )
    mask = np.pad(given, ((0, 0), (0, len(others))))
    return Factors(scores=scores, loadings=loadings, table=table, mask=mask, reason="known, not fitted")
