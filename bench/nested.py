"""See which factor of nested gene sets takes a programme that only one of them has (part of ``make bench``).

A chain of three nested sets and ten unrelated sets are simulated. A programme raises all genes of one of the three.
The three share genes, so eq. 3 alone decides whose factor follows the programme.
"""

from __future__ import annotations

import itertools
from unittest.mock import patch

import numpy as np
import pandas as pd
from anndata import AnnData
from factorbench.model import InterpretableAutoencoder
from factorbench.progress import bar
from factorbench.statistics import correlation

CHAIN = {"small": 15, "middle": 40, "large": 100}
"""Nested sets -> numbers of genes. Each contains the sets before it."""
N_OTHERS, OTHER_SIZE = 10, 40
"""Number and size of the unrelated sets. They share no genes and have no programme."""
N_CELLS = 1_500
WEIGHTS = ["equal", "size"]
"""Settings of ``group_weights``."""


def simulate(planted: str, seed: int, n_cells: int) -> AnnData:
    """Return log-normalised Poisson counts with a programme in the set ``planted`` of `CHAIN`.

    The log rate of each gene of the set rises by U(0.5, 1) times the activity of the programme, which is N(0, 1) over
    cells (``obsm["activity"]``, shape (n_cells, 1)).
    """
    rng, largest = np.random.default_rng(seed), max(CHAIN.values())
    gene = np.arange(largest + N_OTHERS * OTHER_SIZE)[:, None]
    mask = np.hstack([gene < list(CHAIN.values()), (gene - largest) // OTHER_SIZE == np.arange(N_OTHERS)])
    names = [*CHAIN, *(f"other_{k + 1}" for k in range(N_OTHERS))]
    activity = rng.normal(size=(n_cells, 1))
    effects = rng.uniform(0.5, 1, len(gene)) * mask[:, names.index(planted)]
    counts = rng.poisson(np.exp(rng.normal(0.5, 0.5, len(gene)) + activity * effects))
    totals = counts.sum(axis=1, keepdims=True)
    X = np.log1p(counts / totals * np.median(totals)).astype(np.float32)
    return AnnData(X, varm={"mask": mask}, obsm={"activity": activity}, uns={"gene_sets": names})


def assess(data: AnnData, planted: str, group_weights: str) -> dict[str, float]:
    """Solve eq. 3 exactly with the paper's lambdas; return how the factors follow the programme.

    Returns
    -------
    dict
        ``best``: whether, of all factors, that of the planted set has the largest absolute correlation of its scores
        with the activity. ``correlation``: this value of its factor (0 if it is off). ``n_on``: how many factors of
        `CHAIN` are on.
    """
    model = InterpretableAutoencoder(encoder="linear", group_weights=group_weights).fit(data)
    strength = np.abs(correlation(model.transform(data).astype(float), data.obsm["activity"]))
    own = strength[model.names.index(planted)]
    return {
        "best": own > 0 and own == strength.max(),
        "correlation": own,
        "n_on": model.factors["active"][: len(CHAIN)].sum(),
    }


def nested(n_seeds: int, n_cells: int) -> pd.DataFrame:
    """Return the means over data seeds of what `assess` returns, by ``group_weights`` and planted set."""
    rows = []
    progress = bar(len(CHAIN) * n_seeds, "nested gene sets", "data")
    with progress, patch.dict("os.environ", FACTORBENCH_PROGRESS="off"):  # no bars of the many small fits
        for planted, seed in itertools.product(CHAIN, range(n_seeds)):
            data = simulate(planted, seed, n_cells)
            for weights in WEIGHTS:
                rows.append({"group_weights": weights, "planted": planted, **assess(data, planted, weights)})
            progress.update()
    return pd.DataFrame(rows).groupby(["group_weights", "planted"], sort=False).mean().loc[WEIGHTS]


def report(n_seeds: int) -> None:
    """Print the table of `nested`."""
    words = {"best": "factor is best", "correlation": "|correlation|", "n_on": "nested factors on"}
    print(f"\na programme in one of three nested gene sets, means over {n_seeds} simulated data:")
    print(
        "how often the factor of its set follows it best, their correlation, and how many of the three factors are on"
    )
    print(nested(n_seeds, N_CELLS).rename(columns=words).round(3).to_string())
