"""Scores of two factors in every cell, for a scatter plot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..contracts.prepared import prepared_record
from .meaning import in_set_shares, lost, marked
from .separation import strengths

if TYPE_CHECKING:
    from anndata import AnnData


def cells_table(
    data: AnnData, factors: AnnData, scores: pd.DataFrame, x_terms: list[str], y_terms: list[str], labels: list[str]
) -> pd.DataFrame:
    """Return the scores of two factors in every cell, for a scatter plot.

    Each axis shows the first of its terms that is a gene set of the data and switched on. An axis without terms shows
    the factor that separates best by the run's ``scores`` (`best_factor`): x for the first question of the dataset
    (`questions`), y for the second; if there is one question, y shows the runner-up.

    Returns
    -------
    DataFrame, one row per cell
        ``cell``, ``x``, ``y``, one column for each of ``labels`` (``unknown`` if a cell has none); and, equal in all
        rows, ``x_term``, ``y_term`` (missing if no gene set is left, like the scores) and ``note``: which terms were
        not shown and why, which were chosen after the fact and how.
    """
    active = dict(zip(factors.uns["factors"]["name"], factors.uns["factors"]["active"], strict=True))
    sets = set(data.uns["gene_sets"])
    asked = questions(scores, prepared_record(data))
    table = pd.DataFrame({"cell": data.obs_names})
    given = {"x": x_terms, "y": y_terms}
    chosen, notes = dict.fromkeys(given, ""), dict.fromkeys(given, "")
    # The axis with terms comes first: the other must not take a term that was asked for.
    for axis in sorted(given, key=lambda axis: not given[axis]):
        if given[axis]:
            chosen[axis], skipped = choose_term(given[axis], active, sets)
            notes[axis] = "" if not skipped else "; ".join(skipped) + ("" if chosen[axis] else "; no gene set is left")
        else:
            rows = asked[0 if axis == "x" else -1] if asked else strengths(scores)
            chosen[axis], notes[axis] = best_factor(rows, set(chosen.values()))
    share = in_set_shares(scores).droplevel(["dataset", "method"])
    for axis, term in chosen.items():
        if lost(share.get(term)):
            words = f"{term} is no longer its set ({share[term]:.0%} of its squared loadings lie inside)"
            notes[axis] = "; ".join(filter(None, [notes[axis], words]))
        values = np.full(data.n_obs, np.nan)
        if term:
            values = np.asarray(factors.obsm["scores"])[:, list(active).index(term)]
        table[axis], table[f"{axis}_term"] = values, marked([term], [share.get(term)])[0] or None
    for label in labels:
        classes = data.obs[label].astype(object)
        table[label] = classes.where(classes.notna(), "unknown").to_numpy()
    note = ". ".join(f"{axis} axis: {text}" for axis, text in notes.items() if text)
    return table.assign(note=note or None)[["cell", "x", "y", *labels, "x_term", "y_term", "note"]]


def questions(scores: pd.DataFrame, record: dict[str, Any]) -> list[pd.DataFrame]:
    """Return the `strengths` of one run's ``scores`` for the first two questions of a dataset, fewer if it has fewer.

    The contrast comes first, then every other label in order (each class against all others), then the donors.
    ``record`` is that of the prepared data.
    """
    area = strengths(scores)
    contrast = (record["contrast"] or {}).get("label")
    labels = sorted(record["labels"], key=lambda label: (label != contrast, label == record.get("donor")))
    asked = [area[area["label"].str.startswith(f"{label}=")] for label in labels]
    return [rows for rows in asked if len(rows)][:2]


def best_factor(rows: pd.DataFrame, taken: set[str]) -> tuple[str, str]:
    """Return the factor outside ``taken`` that separates best by the `strengths` ``rows``, and how it was chosen.

    The name is empty if no factor separates at all (for example because none is on).
    """
    rows = rows[~rows["factor"].isin(taken) & (rows["strength"] > 0)]
    if rows.empty:
        return "", "no factor separates any classes"
    best = rows.sort_values(["strength", "factor", "label"], ascending=[False, True, True], kind="stable").iloc[0]
    return best["factor"], (
        f"chosen after the fact: of {rows['factor'].nunique():,} factors the one that separates {best['label']} best "
        f"(AUROC {best['value']:.2f})"
    )


def choose_term(terms: list[str], active: dict[str, bool], sets: set[str]) -> tuple[str, list[str]]:
    """Return the first of ``terms`` that is an active factor (``""``: none), and why each term before it is not.

    ``active`` says of each factor of the run whether it is on; ``sets`` are the gene sets of the prepared data.
    """
    skipped = []
    for term in terms:
        if active.get(term):
            return term, skipped
        why = "was switched off by the method" if term in active else "is not a factor of this run"
        skipped.append(f"{term} {why if term in active or term in sets else 'is not among the gene sets kept'}")
    return "", skipped
