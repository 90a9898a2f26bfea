"""Do factors recover what is known to be there: planted programmes, or gene sets that were corrupted?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..contracts.prepared import TRUE_MASK
from ..contracts.truth import Truth, has_truth, read_truth
from ..registry import MetricSpec
from ..statistics import correlation
from ._questions import scores_of
from ._rows import check_same, no_rows, rows

if TYPE_CHECKING:
    from anndata import AnnData

SPEC = MetricSpec(
    name="recovery",
    title="Recovery of what is known to be there",
    measures={
        "activity_correlation": (-1, 1, "up"),
        "matched_correlation": (0, 1, "up"),
        "matched_by_name": (0, 1, "up"),
        "aupr": (0, 1, "up"),
        "aupr_top": (0, 1, "up"),
        "precision": (0, 1, "up"),
        "recall": (0, 1, "up"),
        "aupr_missing": (0, 1, "up"),
        "auroc_added": (0, 1, "up"),
        "decoy_auroc": (0, 1, "up"),
        "decoys_off": (0, 1, "up"),
        "unannotated_correlation": (0, 1, "up"),
        "leakage": (0, 1, "down"),
    },
)


TOP = 200
"""Genes of a factor that ``aupr_top`` ranks, as a published benchmark of corrupted gene sets does (MOFA-FLEX)."""


def score(data: AnnData, factors: AnnData, params: dict[str, Any]) -> pd.DataFrame:
    """Compare factors with the planted truth, or with the gene sets before they were altered.

    A factor is compared with the programme of its name. Genes are ranked by the absolute value of their loading.

    Returns
    -------
    DataFrame; empty if nothing is known
        For each planted gene set whose activity varies (``n``: cells): ``activity_correlation``, Pearson's correlation
        of score and activity, with the sign that makes the right direction positive (0 if the factor is off);
        ``matched_correlation``, its absolute value for the factor of any name that the best assignment of factors to
        programmes gives to it (Hungarian method), and ``matched_by_name``, whether this is the factor of its name.

        For each such set and, if nothing was planted, for each gene set that was altered: ``aupr``, the average
        precision of the genes that respond (or that belong to the set as it was) among all genes (``n``: genes);
        ``aupr_top``, the same among the `TOP` genes with the largest loadings, without those of zero (``n``);
        ``precision`` and ``recall`` of the loadings that are not zero. If sets were altered: ``aupr_missing``, the
        average precision of the genes that were taken out, among the genes outside the given set (``n``), and
        ``auroc_added``, how far the true genes of the given set rank above those that were added (``n``).

        About the run: ``decoy_auroc``, the AUROC of the relevance of annotated factors for active sets against decoys,
        and ``decoys_off``, the share of decoys that are switched off (``n``: decoys); ``unannotated_correlation`` for
        each programme that is no gene set, the largest absolute correlation of any factor with it; ``leakage`` for each
        technical programme, the mean absolute correlation of the scores of annotated factors that are on with it.
    """
    check_same(data, factors)
    table = factors.uns["factors"]
    if table.empty or not (has_truth(data) or TRUE_MASK in data.varm):
        return no_rows()
    parts = [no_rows()]
    given = pd.DataFrame(np.asarray(data.varm["mask"], bool), columns=list(map(str, data.uns["gene_sets"])))
    true = None
    if TRUE_MASK in data.varm:
        true = pd.DataFrame(np.asarray(data.varm[TRUE_MASK], bool), columns=given.columns)
    wanted = true
    if has_truth(data):
        truth = read_truth(data)
        active = truth.programmes["kind"].eq("gene set") & truth.weights.any(axis=0)
        active &= truth.programmes["name"].isin(given.columns)
        active &= np.ptp(truth.activity, axis=0) > 0  # what is the same in all cells cannot be found
        names = truth.programmes.loc[active, "name"]
        wanted = pd.DataFrame(truth.weights[:, active] != 0, columns=list(names))
        parts += _activities(factors, truth, active.to_numpy()) + _programmes(factors, truth, given.columns)
    parts += _genes(factors, wanted, given, true)
    return pd.concat(parts, ignore_index=True)


def _activities(factors: AnnData, truth: Truth, active: np.ndarray) -> list[pd.DataFrame]:
    """Return the rows about scores and activities of active gene sets (``active``: bool, shape (n_programmes,))."""
    from scipy.optimize import linear_sum_assignment

    if not active.any():
        return []
    table = factors.uns["factors"]
    names, activity = truth.programmes.loc[active, "name"].to_numpy(str), truth.activity[:, active]
    direction = np.where(truth.weights[:, active].sum(axis=0) < 0, -1, 1)
    related = correlations(activity, scores_of(factors))
    at = {"n": factors.n_obs}
    annotated = np.flatnonzero(table["kind"] == "annotated")
    own = pd.Series(annotated, index=table["name"].to_numpy(str)[annotated]).reindex(names, fill_value=-1).to_numpy()
    found = own >= 0
    value = direction[found] * related[found, own[found]]
    parts = [rows("activity_correlation", value, factor=names[found], **at)]
    programme, factor = linear_sum_assignment(-np.abs(related))
    matched = np.zeros(len(names))
    matched[programme] = np.abs(related)[programme, factor]
    by_name = np.zeros(len(names))
    by_name[programme] = factor == own[programme]
    parts.append(rows("matched_correlation", matched, factor=names, **at))
    if found.any():
        parts.append(rows("matched_by_name", by_name, factor=names, **at))
    return parts


def _programmes(factors: AnnData, truth: Truth, given: pd.Index) -> list[pd.DataFrame]:
    """Return the rows about decoys, unannotated programmes and technical ones."""
    from sklearn.metrics import roc_auc_score

    table, kinds = factors.uns["factors"], truth.programmes.set_index("name")["kind"]
    annotated = table[table["kind"] == "annotated"]
    kind = annotated["name"].map(kinds)
    compared = annotated[kind.isin(["gene set", "decoy"])]
    is_active = compared["name"].map(kinds) == "gene set"
    parts = []
    if is_active.any() and not is_active.all():
        n = int((~is_active).sum())
        parts.append(rows("decoy_auroc", roc_auc_score(is_active, compared["relevance"].astype(float)), n=n))
        parts.append(rows("decoys_off", 1 - compared.loc[~is_active, "active"].mean(), n=n))
    scores = scores_of(factors)
    on = (table["active"] & (table["kind"] == "annotated")).to_numpy()
    for k, (name, kind_of) in enumerate(zip(kinds.index, kinds, strict=True)):
        related = np.abs(correlations(truth.activity[:, [k]], scores))[0]
        if kind_of == "unannotated":
            parts.append(rows("unannotated_correlation", related.max(), factor=name, n=factors.n_obs))
        elif kind_of == "technical" and on.any():
            parts.append(rows("leakage", related[on].mean(), factor=name, n=int(on.sum())))
    return parts


def _genes(
    factors: AnnData, wanted: pd.DataFrame, given: pd.DataFrame, true: pd.DataFrame | None
) -> list[pd.DataFrame]:
    """Return the rows about genes; columns of the tables, bool, are sets: of ``wanted`` those that are compared."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    table = factors.uns["factors"]
    loadings = np.abs(np.asarray(factors.varm["loadings"], float))
    column = dict(zip(table["name"], range(len(table)), strict=True))
    annotated = set(table.loc[table["kind"] == "annotated", "name"])
    found = []
    for name in wanted.columns.intersection(list(annotated), sort=False):
        loading, genes, inside = loadings[:, column[name]], wanted[name].to_numpy(), given[name].to_numpy()
        if not genes.any():
            continue
        used = loading > 0
        top = np.argsort(-loading, kind="stable")[: min(TOP, used.sum())]
        of_top = average_precision_score(genes[top], loading[top]) if genes[top].any() else 0.0
        found += [
            ("aupr", name, average_precision_score(genes, loading), len(genes)),
            ("aupr_top", name, of_top, len(top)),
            ("precision", name, genes[used].mean() if used.any() else np.nan, int(used.sum())),
            ("recall", name, used[genes].mean(), int(genes.sum())),
        ]
        if true is None:
            continue
        taken_out, kept = genes & true[name].to_numpy() & ~inside, genes[inside]
        if taken_out.any():
            value = average_precision_score(taken_out[~inside], loading[~inside])
            found.append(("aupr_missing", name, value, int((~inside).sum())))
        if kept.any() and not kept.all():
            found.append(("auroc_added", name, roc_auc_score(kept, loading[inside]), int(inside.sum())))
    if not found:
        return []
    metric, name, value, n = zip(*found, strict=True)
    return [rows(np.array(metric, object), value, factor=np.array(name, object), n=n)]


def correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation of each column of ``a`` with each of ``b``, (n_a, n_b); 0 if one is constant."""
    return np.stack([correlation(column[:, None] * np.ones((1, b.shape[1])), b) for column in a.T])
