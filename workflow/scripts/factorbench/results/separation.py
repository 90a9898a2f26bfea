"""The best factor of each method for each question about the cells. It is chosen in every seed, then summarised.

Factors need not correspond between seeds: a sparse factor, a dense factor or a permuted gene set of one seed has
nothing to do with that of the same name in another. So a mean over seeds of one name says nothing of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pandas as pd

from ..statistics import interval
from .meaning import marked, with_shares
from .seeds import tidy

RUN = ["dataset", "method", "seed", "label"]
COLUMNS = (
    *("dataset", "method", "label", "factor", "factors", "accuracy", "lower", "upper", "cv_accuracy", "auroc"),
    *("baseline", "candidates", "seeds", "n"),
)


def strengths(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of AUROC on the cells of the fit, with ``strength``, the distance of the AUROC from 1/2."""
    scores = tidy(scores)
    area = scores[scores["metric"] == "auroc"].dropna(subset="value")
    return area.assign(strength=(area["value"] - 0.5).abs())


def best_by_seed(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the factor that separates best in each run, for each label.

    Best is the largest distance of the AUROC from 1/2: for a rare class the accuracy of most factors is that of
    guessing the larger class. The factor is chosen among all factors of the run after the fact, which favours methods
    with many factors.

    Returns
    -------
    DataFrame, one row per dataset, method, seed and label
        ``factor``; its ``strength``, training ``accuracy``, ``cv_accuracy``; the ``baseline`` of the label;
        ``candidates``, the number of factors it was chosen from; ``n`` cells.
    """
    area = strengths(scores)
    area = area.assign(candidates=area.groupby(RUN)["factor"].transform("size"), order=area.groupby(RUN).ngroup())
    area = area.sort_values(["strength", "factor"], ascending=[False, True], kind="stable")
    best = area.groupby(RUN, sort=False).head(1).sort_index()[[*RUN, "factor", "strength", "candidates", "n"]]
    scores = tidy(scores)
    for name, metric, split, keys in (
        ("accuracy", "accuracy", "train", [*RUN, "factor"]),
        ("cv_accuracy", "accuracy", "cv", [*RUN, "factor"]),
        ("baseline", "baseline", "", RUN),
    ):
        rows = scores[(scores["metric"] == metric) & (scores["split"] == split)].rename(columns={"value": name})
        best = best.merge(rows[[*keys, name]], how="left", on=keys)
    return best


def separation_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Return how well the best factor of each seed separates (`best_by_seed`), summarised over seeds.

    Returns
    -------
    DataFrame of `COLUMNS`, one row per dataset, method and label
        ``factor``, the one that is best in most seeds; ``factors``, which was best in how many seeds (`tally`), with a
        mark if it is no longer its set (`meaning.marked`); means over seeds of the training ``accuracy`` of each
        seed's best factor with its 95 % interval ``lower`` and ``upper`` (missing below three seeds), of its
        ``cv_accuracy``, of its ``auroc`` (1/2 + strength, whichever class scores higher) and of the ``baseline``;
        ``candidates``, ``seeds``, ``n`` cells.
    """
    rows = []
    best = with_shares(best_by_seed(scores), scores)
    for (dataset, method, label), group in best.groupby(["dataset", "method", "label"], sort=False):
        accuracy, lower, upper = interval(group["accuracy"])
        names = marked(group["factor"], group["in_set_share"])
        rows.append(
            {
                **{"dataset": dataset, "method": method, "label": label},
                **{"factor": Counter(group["factor"]).most_common(1)[0][0], "factors": tally(names)},
                **{"accuracy": accuracy, "lower": lower, "upper": upper, "cv_accuracy": group["cv_accuracy"].mean()},
                **{"auroc": 0.5 + group["strength"].mean(), "baseline": group["baseline"].mean()},
                **{"candidates": int(group["candidates"].max()), "seeds": len(group), "n": int(group["n"].max())},
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def tally(names: Iterable[str]) -> str:
    """Return which name occurs in how many seeds: ``"SET_A"``, or ``"SET_A (3 seeds), SET_B (2)"``."""
    counts = Counter(names).most_common()
    if len(counts) == 1:
        return counts[0][0]
    first, *others = counts
    return ", ".join([f"{first[0]} ({first[1]} seed{'s'[: first[1] > 1]})", *(f"{name} ({n})" for name, n in others)])
