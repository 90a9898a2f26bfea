"""The tidy tables of a benchmark, from the records of its runs and their scores."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from ..contracts.scores import SCORE_COLUMNS, check_scores
from . import meaning, scaling
from .pathways import top_pathways
from .runtime import runs_table, runtime_table
from .separation import separation_table


def tables(
    runs: list[dict[str, Any]],
    scores: pd.DataFrame,
    comparisons: pd.DataFrame,
    records: Iterable[dict[str, Any]],
    config: dict[str, Any],
) -> dict[str, pd.DataFrame]:
    """Return every table of ``results/tables/`` but the claims, by name.

    Parameters
    ----------
    runs
        Every run.json.
    scores, comparisons
        Those of all runs and datasets, one below the other (`stack`).
    records
        How each dataset was prepared (`contracts.prepared.read_record`).
    config
        The resolved config.
    """
    check_scores(scores)
    datasets, report = config["datasets"], config["report"]
    table = runs_table(runs)
    sized = scaling.families(table, {record["dataset"]: record["sets"]["kept"] for record in records}, datasets)
    result = {
        "runs": table,
        "runtime": runtime_table(table, report["reference"], datasets, report["paper_minutes"]),
        "separation": separation_table(scores),
        "gene_sets": meaning.gene_sets_table(scores),
        "top_pathways": meaning.with_shares(top_pathways(scores, report["top"]), scores),
        "comparisons": meaning.with_shares(comparisons, scores),
        "scaling": scaling.laws(sized),
        "full_time": scaling.full_times(sized, report["reference"]),
        "scores": scores[list(SCORE_COLUMNS)],
    }
    return {name: add_missing(table, datasets) for name, table in result.items()}


def stack(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return tables one below the other. Empty ones are left out: their columns have no types."""
    parts = list(parts)
    return pd.concat([table for table in parts if len(table)] or parts[:1], ignore_index=True)


def add_missing(table: pd.DataFrame, datasets: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Add a last column ``missing``: the samples that the row's dataset lacks (``"C51, C52"``), or nothing."""
    names = {name: ", ".join(map(str, entry.get("missing", ()))) for name, entry in datasets.items()}
    return table.assign(missing=table["dataset"].map(names).fillna(""))
