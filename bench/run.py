"""Compare our autoencoder with its authors' own code on the same cells: time, quality, share of the machine's rate.

``make bench`` runs ``python -m bench.run KANG_PREPARED KANG_NEW_CELLS_PREPARED``. Both are trained in turn, with the
same threads, in one process. Everything is evaluated afterwards, when no clock runs.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch
from factorbench.contracts.prepared import prepared_record, read_prepared, seen_cells
from factorbench.model import InterpretableAutoencoder
from factorbench.model.cells import batch_sizes, dense_matrix
from factorbench.model.objective import objective, smooth_terms
from factorbench.model.prox import l1_weights
from factorbench.model.training import n_epochs, n_held
from sklearn.linear_model import LogisticRegression

from . import rates
from .peer import LAMBDAS, train_peer

if TYPE_CHECKING:
    from anndata import AnnData

INTERFERON = {  # short name -> gene set
    "INTERFERON_SIGNALING": "INTERFERON_SIGNALING",
    "ALPHA_BETA": "INTERFERON_ALPHA_BETA_SIGNALING",
    "GAMMA": "INTERFERON_GAMMA_SIGNALING",
    "ANTIVIRAL": "ANTIVIRAL_MECHANISM_BY_IFN_STIMULATED_GENES",
    "CYTOKINE": "CYTOKINE_SIGNALING_IN_IMMUNE_SYSTEM",
    "RIG_I_MDA5": "RIG_I_MDA5_MEDIATED_INDUCTION_OF_IFN_ALPHA_BETA_PATHWAYS",
}
TO_FINAL, WHOLE = "seconds to their final eq. 3", "seconds of the training"


class Snapshot(NamedTuple):
    """A model after an epoch: seconds of training so far, a function that scores cells, and the loadings."""

    seconds: float
    scores: Callable[[AnnData], np.ndarray]
    loadings: np.ndarray


def theirs(data: AnnData, seed: int, epochs: int) -> list[Snapshot]:
    """Train the authors' code; return a snapshot per epoch. The clock covers their training steps only."""
    network = train_peer(data, seed, epochs)
    return [
        Snapshot(seconds, partial(network.scores, epoch=epoch), network.loadings(epoch))
        for epoch, seconds in enumerate(network.seconds)
    ]


def ours(data: AnnData, seed: int) -> list[Snapshot]:
    """Train the default recipe; return a snapshot per epoch. The clock covers ``fit`` without the copies made here."""
    snapshots: list[Snapshot] = []
    model, copying = InterpretableAutoencoder(seed=seed), 0.0

    def watch() -> None:
        nonlocal copying
        now = time.perf_counter()
        state = {name: value.clone() for name, value in model.network.state_dict().items()}
        snapshots.append(Snapshot(now - began - copying, lambda cells: at(state, cells), model.loadings().to_numpy()))
        copying += time.perf_counter() - now

    def at(state: dict[str, torch.Tensor], cells: AnnData) -> np.ndarray:
        model.network.load_state_dict(state)
        return model.transform(cells)

    began = time.perf_counter()
    model.fit(data, watch=watch)
    return snapshots


def eq3(data: AnnData, snapshot: Snapshot, mean: np.ndarray) -> dict[str, float]:
    """Return the terms of eq. 3 on all cells of ``data``, in evaluation mode.

    ``mean`` is the mean expression over the cells of the fit, shape (n_genes,).
    """
    expression = torch.from_numpy(dense_matrix(data.X) - mean)
    scores, loadings = torch.from_numpy(snapshot.scores(data)), torch.from_numpy(snapshot.loadings)
    smooth = smooth_terms(expression, scores @ loadings.T, scores, LAMBDAS["lambda0"])
    mask = torch.from_numpy(np.asarray(data.varm["mask"]))
    weights = l1_weights(mask, 0, 0, LAMBDAS["lambda1"], LAMBDAS["lambda2"])
    return objective(smooth, loadings, weights, LAMBDAS["lambda3"])


def quality(data: AnnData, snapshot: Snapshot) -> dict[str, float]:
    """Return the share of zeros outside the mask, the number of active factors, and the accuracy of each factor.

    The accuracy is that of a regression of the condition on the scores, on the training data.
    """
    mask = np.asarray(data.varm["mask"])
    contrast = prepared_record(data)["contrast"]
    positive = (data.obs[contrast["label"]] == contrast["positive"]).to_numpy()
    names, scores = list(data.uns["gene_sets"]), snapshot.scores(data)
    return {
        "off-mask zeros": float((snapshot.loadings[~mask] == 0).mean()),
        "active factors": int(snapshot.loadings.any(axis=0).sum()),
        **{short: accuracy(scores[:, names.index(name)], positive) for short, name in INTERFERON.items()},
    }


def accuracy(score: np.ndarray, positive: np.ndarray) -> float:
    """Return the training accuracy of a logistic regression on one standardised score, as in the metric separation."""
    x = (score / (score.std() or 1)).astype(float)[:, None]
    return float(LogisticRegression().fit(x, positive).score(x, positive))


def first_time(curve: pd.Series, target: float) -> float:
    """Return the first seconds (index) at which ``curve`` is at or below ``target``; infinite if it never is."""
    return min(curve.index[curve <= target], default=float("inf"))


def pair(data: AnnData, seed: int, epochs: int) -> pd.DataFrame:
    """Train theirs and ours on ``data`` in turn; return the columns ``theirs`` and ``ours`` of the printed table."""
    mean = dense_matrix(data.X).mean(axis=0, dtype=np.float64).astype(np.float32)
    traces = {"theirs": theirs(data, seed, epochs), "ours": ours(data, seed)}
    terms = {
        side: pd.DataFrame([eq3(data, snapshot, mean) for snapshot in trace], index=[s.seconds for s in trace])
        for side, trace in traces.items()
    }
    target, columns = terms["theirs"]["objective"], {}
    for side, trace in traces.items():
        curve = terms[side]["objective"]
        columns[side] = {
            TO_FINAL: first_time(curve, target.iloc[-1]),
            "seconds to their best eq. 3": first_time(curve, target.min()),
            WHOLE: curve.index[-1],
            "eq. 3": curve.iloc[-1],
            "lowest eq. 3 after any epoch": curve.min(),
            "reconstruction": terms[side]["reconstruction"].iloc[-1],
            **quality(data, trace[-1]),
        }
    return pd.DataFrame(columns)


def share_of_rate(data: AnnData, seconds: float) -> dict[str, float]:
    """Return the rate of the matrix products of our training and the machine's own rate for them, both in GFLOP/s.

    ``share`` is the time that the machine needs for the products alone, divided by ``seconds``.
    """
    model = InterpretableAutoencoder()
    sizes = batch_sizes(data.n_obs, model.params["batch_size"])
    shape = (sizes[0], data.n_vars, model.params["hidden"], data.varm["mask"].shape[1])
    products = rates.alternating_products(*shape)
    n_updates = len(sizes) * n_epochs(data.n_obs, model.params)
    changes_w = n_updates - n_held(n_updates)
    times = [n_updates] * len(products[:-3]) + [changes_w] * 3
    flops = sum(n * product.flops for n, product in zip(times, products, strict=True))
    least = sum(n * rates.seconds(product) for n, product in zip(times, products, strict=True))
    return {"training": flops / seconds / 1e9, "machine": flops / least / 1e9, "share": least / seconds}


def recipes(data: AnnData, seeds: Sequence[int]) -> pd.DataFrame:
    """Train our code with both recipes on the seen cells of ``data``; return one row per recipe and seed."""
    seen = seen_cells(data)
    fitted, new = data[seen].copy(), data[~seen].copy()
    rows = []
    for recipe, seed in itertools.product(("authors", "fast"), seeds):
        began = time.perf_counter()
        model = InterpretableAutoencoder(seed=seed, recipe=recipe).fit(fitted)
        seconds = time.perf_counter() - began
        terms = model.objective(fitted)
        rows.append(
            {
                "recipe": recipe,
                "seed": seed,
                "seconds": seconds,
                "eq. 3": terms["objective"],
                "reconstruction": terms["reconstruction"],
                "reconstruction of held-out cells": model.objective(new)["reconstruction"],
                **quality(fitted, Snapshot(seconds, model.transform, model.loadings().to_numpy())),
            }
        )
    return pd.DataFrame(rows)


def spread(values: pd.Series) -> str:
    """Return the text ``median (lowest to highest)``."""
    return f"{values.median():.4g} ({values.min():.4g} to {values.max():.4g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prepared", type=Path, help="prepared Kang data")
    parser.add_argument("held_out", type=Path, help="the same data, with cells held out of the fit")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=5, help="seeds of each recipe; 0: do not compare recipes")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--epochs", type=int, default=30, help="epochs of the authors' code")
    given = parser.parse_args()
    if given.pairs < 1:
        parser.error("--pairs should be at least 1")
    torch.set_num_threads(given.threads)
    data = read_prepared(given.prepared)
    n_genes, n_sets = data.varm["mask"].shape
    print(f"{data.n_obs:,} cells, {n_genes:,} genes, {n_sets} gene sets, {given.threads} threads", flush=True)
    theirs(data, 0, epochs=2)  # the first training of each is slower
    ours(data[:2000].copy(), 0)
    pairs = []
    for seed in range(given.pairs):
        print(f"pair {seed + 1} of {given.pairs}", flush=True)
        pairs.append(pair(data, seed, given.epochs))
    rows = pd.concat(pairs, keys=range(given.pairs), names=["pair", ""]).groupby(level=1, sort=False)
    print(f"\nmedian (lowest to highest), theirs: intercode 0.0.7\n{rows.agg(spread).to_string()}")
    ratios = pd.concat([p["theirs"] / p["ours"] for p in pairs], axis=1).filter(like="seconds", axis=0)
    ratios.loc["their training to our time to their final"] = [p["theirs"][WHOLE] / p["ours"][TO_FINAL] for p in pairs]
    print(f"\nratios\n{ratios.agg(spread, axis=1).to_string()}")
    rate = share_of_rate(data, statistics.median(p["ours"][WHOLE] for p in pairs))
    print(
        f"matrix products in training: {rate['training']:.0f} GFLOP/s, {rate['share']:.0%} of the "
        f"{rate['machine']:.0f} GFLOP/s that this machine reaches with the same products alone"
    )
    if given.seeds:
        table = recipes(read_prepared(given.held_out), range(given.seeds))
        print(f"\nour code by recipe, fitted without the held-out cells\n{table.round(4).to_string(index=False)}")
        print(table.drop(columns="seed").groupby("recipe").agg(["mean", "std"]).T.round(4).to_string())


if __name__ == "__main__":
    main()
