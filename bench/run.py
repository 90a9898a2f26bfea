"""Compare our autoencoder with its authors' own code on the same cells: time, quality, share of the machine's rate.

``make bench`` runs ``python -m bench.run KANG_PREPARED KANG_NEW_CELLS_PREPARED``. The authors' training, our default
recipe (a network) and the exact solution are run in turn, with the same threads, in one process. Models are evaluated
when no clock runs. Then follow our recipes, permuted gene sets (`permuted`) and nested gene sets (`nested`).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from factorbench.contracts.prepared import prepared_record, read_prepared, seen_cells
from factorbench.metrics import stability
from factorbench.model import InterpretableAutoencoder
from factorbench.model.cells import batch_sizes, dense_matrix
from factorbench.model.objective import objective, smooth_terms
from factorbench.model.params import check_params
from factorbench.model.prox import penalty_weights
from factorbench.model.training import n_epochs
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from . import nested, permuted, rates
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
TO_FINAL, TO_BEST = "seconds to their final eq. 3", "seconds to their best eq. 3"
WHOLE, ENCODER = "seconds of the training", "seconds of the encoder alone"
PERTURB = 0.3
"""Standard deviation of the random relative changes of the initial loadings by which perturbed solutions differ."""


class Snapshot(NamedTuple):
    """A model after an epoch: seconds of training so far, a function that scores cells, and the loadings."""

    seconds: float
    scores: Callable[[AnnData], np.ndarray]
    loadings: np.ndarray


class Trace(NamedTuple):
    """A training: all its seconds, its last model, eq. 3 on all cells over the seconds so far, and more rows."""

    seconds: float
    last: Snapshot
    curve: pd.Series
    more: dict[str, float]


def theirs(data: AnnData, seed: int, epochs: int) -> Trace:
    """Train the authors' code. The clock covers their training steps only."""
    peer = train_peer(data, seed, epochs)
    snapshots = [
        Snapshot(seconds, partial(peer.scores, epoch=epoch), peer.loadings(epoch))
        for epoch, seconds in enumerate(peer.seconds)
    ]
    return Trace(peer.seconds[-1], snapshots[-1], curve(data, snapshots), {})


def network(data: AnnData, seed: int) -> Trace:
    """Train the default recipe. The clock covers ``fit`` without the copies that are made here after every epoch."""
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
    seconds = time.perf_counter() - began - copying
    more = {ENCODER: model.history["seconds"].iloc[-1] - copying}
    return Trace(seconds, snapshots[-1], curve(data, snapshots), more)


def exact(data: AnnData) -> Trace:
    """Solve eq. 3 exactly. The clock covers ``fit``; the curve is that of the solver, one value per sweep.

    The first call in a process is slower. So is the first import on a machine: numba compiles the sweeps then, and
    keeps the code on disk. Make a call before the one that counts.
    """
    model = InterpretableAutoencoder(encoder="linear")
    began = time.perf_counter()
    model.fit(data)
    seconds = time.perf_counter() - began
    sweeps = model.history.set_index("seconds")["objective"]
    more = {
        "seconds of the covariance": sweeps.index[0],
        "seconds of the sweeps": sweeps.index[-1] - sweeps.index[0],
        "sweeps": model.outcome.epochs,
        "converged (1: yes)": int(model.outcome.converged),
    }
    return Trace(seconds, Snapshot(seconds, model.transform, model.loadings().to_numpy()), sweeps, more)


def curve(data: AnnData, snapshots: Sequence[Snapshot]) -> pd.Series:
    """Return eq. 3 on all cells over the seconds of training."""
    return pd.Series([eq3(data, s)["objective"] for s in snapshots], index=[s.seconds for s in snapshots])


def eq3(data: AnnData, snapshot: Snapshot) -> dict[str, float]:
    """Return the terms of eq. 3 on all cells of ``data``, those of the fit, in evaluation mode."""
    expression = dense_matrix(data.X)
    expression = torch.from_numpy(expression - expression.mean(axis=0, dtype=np.float64).astype(np.float32))
    scores, loadings = torch.from_numpy(snapshot.scores(data)), torch.from_numpy(snapshot.loadings)
    smooth = smooth_terms(expression, scores @ loadings.T, scores, LAMBDAS["lambda0"])
    mask = torch.from_numpy(np.asarray(data.varm["mask"]))
    return objective(smooth, loadings, penalty_weights(mask, check_params(LAMBDAS)))


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
    """Run theirs and both of ours on ``data`` in turn; return the columns of the printed table.

    The network and the exact solution have rows of their own (`Trace.more`), which are missing in the other columns.
    """
    traces = {"theirs": theirs(data, seed, epochs), "network": network(data, seed), "exact": exact(data)}
    target, columns = traces["theirs"].curve, {}
    for side, trace in traces.items():
        terms = eq3(data, trace.last)
        columns[side] = {
            TO_FINAL: first_time(trace.curve, target.iloc[-1]),
            TO_BEST: first_time(trace.curve, target.min()),
            WHOLE: trace.seconds,
            "eq. 3": terms["objective"],
            "lowest eq. 3 after any epoch": trace.curve.min(),
            "reconstruction": terms["reconstruction"],
            **quality(data, trace.last),
            **trace.more,
        }
    return pd.DataFrame(columns)


def ratios(table: pd.DataFrame) -> pd.DataFrame:
    """Return how many times faster each of ours is than theirs, from the table of a `pair`."""
    return pd.DataFrame(
        {
            side: {
                "whole training": table.loc[WHOLE, "theirs"] / ours[WHOLE],
                "their training to our time to their final eq. 3": table.loc[WHOLE, "theirs"] / ours[TO_FINAL],
                "time to their best eq. 3": table.loc[TO_BEST, "theirs"] / ours[TO_BEST],
            }
            for side, ours in table.drop(columns="theirs").items()
        }
    )


def share_of_rate(data: AnnData, seconds: float) -> dict[str, float]:
    """Return the rate of the matrix products in the encoder's training and the machine's own for them, in GFLOP/s.

    ``share`` is the time that the machine needs for the products alone, divided by the ``seconds`` of that training.
    """
    model = InterpretableAutoencoder()
    sizes = batch_sizes(data.n_obs, model.params["batch_size"])
    shape = (sizes[0], data.n_vars, model.params["hidden"], data.varm["mask"].shape[1])
    products, n_updates = rates.encoder_products(*shape), len(sizes) * n_epochs(data.n_obs, model.params)
    flops = n_updates * sum(product.flops for product in products)
    least = n_updates * sum(rates.seconds(product) for product in products)
    return {"training": flops / seconds / 1e9, "machine": flops / least / 1e9, "share": least / seconds}


def recipes(data: AnnData, seeds: Sequence[int]) -> tuple[pd.DataFrame, pd.Series]:
    """Fit our code in every way on the seen cells of ``data``.

    Returns
    -------
    table
        One row per recipe and seed. The exact solution, "linear", has one row, because it has no seed.
    agreement
        Of each recipe with several seeds, the `agreement` between them.
    """
    seen = seen_cells(data)
    fitted, new = data[seen].copy(), data[~seen].copy()
    ways: dict[str, tuple[dict[str, Any], Sequence[int]]] = {
        "authors": ({"recipe": "authors"}, seeds),
        "fast": ({"recipe": "fast"}, seeds),
        "linear": ({"encoder": "linear"}, [0]),
        "linear, perturbed": ({"encoder": "linear", "perturb": PERTURB}, seeds),
    }
    rows, agreements = [], {}
    for recipe, (params, its_seeds) in ways.items():
        models = []
        for seed in its_seeds:
            began = time.perf_counter()
            model = InterpretableAutoencoder(seed=seed, **params).fit(fitted)
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
            models.append(model)
        agreements[recipe] = agreement(fitted, models)
    return pd.DataFrame(rows), pd.Series(agreements).dropna()


def agreement(data: AnnData, models: Sequence[InterpretableAutoencoder]) -> float:
    """Return how closely the scores of the same factor agree between models, as a median over factors.

    For each factor it is the mean absolute correlation over pairs of models (``score_agreement`` of
    `factorbench.metrics.stability`). Factors that are off in both models of all pairs are left out.
    """
    from anndata import AnnData

    runs = []
    for model in models:
        loadings = model.loadings().to_numpy()
        table = model.factors.assign(relevance=np.linalg.norm(loadings, axis=0))
        arrays = {"obsm": {"scores": model.transform(data)}, "varm": {"loadings": loadings}}
        runs.append(AnnData(obs=data.obs[[]], var=data.var[[]], **arrays, uns={"factors": table}))
    table = stability.score(data, runs, {})
    return float(table.loc[table["metric"] == "score_agreement", "value"].median())


def spread(values: pd.Series) -> str:
    """Return the text ``median (lowest to highest)``; empty if all values are missing."""
    return f"{values.median():.4g} ({values.min():.4g} to {values.max():.4g})" if values.notna().any() else ""


def over_pairs(tables: Sequence[pd.DataFrame]) -> str:
    """Return the text of one table with the `spread` of every entry of ``tables``."""
    rows = pd.concat(tables, keys=range(len(tables))).groupby(level=1, sort=False)
    return rows.agg(spread).to_string()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prepared", type=Path, help="prepared Kang data")
    parser.add_argument("held_out", type=Path, help="the same data, with cells held out of the fit")
    parser.add_argument("--pairs", type=int, default=3, help="trainings of theirs and ours; 0: do not compare them")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of each recipe; 0: do not compare recipes")
    parser.add_argument("--masks", type=int, default=1000, help="permuted masks; 0: none")
    parser.add_argument("--data-seeds", type=int, default=20, help="simulated data with nested sets; 0: none")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--epochs", type=int, default=30, help="epochs of the authors' code")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    threadpool_limits(given.threads)  # numpy's
    data = read_prepared(given.prepared)
    n_genes, n_sets = data.varm["mask"].shape
    print(f"{data.n_obs:,} cells, {n_genes:,} genes, {n_sets} gene sets, {given.threads} threads", flush=True)
    if given.pairs:
        compare(data, given.pairs, given.epochs)
    if given.seeds:
        table, agreements = recipes(read_prepared(given.held_out), range(given.seeds))
        print(f"\nour code by recipe, fitted without the held-out cells\n{table.round(4).to_string(index=False)}")
        print(table.drop(columns="seed").groupby("recipe", sort=False).agg(["mean", "std"]).T.round(4).to_string())
        print(f"\nagreement of scores between seeds, median over factors\n{agreements.round(4).to_string()}")
    if given.masks:
        permuted.report(data, given.masks, given.threads)
    if given.data_seeds:
        nested.report(given.data_seeds)


def compare(data: AnnData, n_pairs: int, epochs: int) -> None:
    """Run every `pair` and print what they show."""
    theirs(data, 0, epochs=2)  # the first training of each is slower
    network(data[:2000].copy(), 0)
    exact(data[:2000].copy())
    pairs = []
    for seed in range(n_pairs):
        print(f"pair {seed + 1} of {n_pairs}", flush=True)
        pairs.append(pair(data, seed, epochs))
    print(f"\nmedian (lowest to highest), theirs: intercode 0.0.7\n{over_pairs(pairs)}")
    print(f"\nratios, theirs to ours\n{over_pairs([ratios(table) for table in pairs])}")
    rate = share_of_rate(data, statistics.median(table.loc[ENCODER, "network"] for table in pairs))
    print(
        f"matrix products in the encoder's training: {rate['training']:.0f} GFLOP/s, {rate['share']:.0%} of the "
        f"{rate['machine']:.0f} GFLOP/s that this machine reaches with the same products alone"
    )


if __name__ == "__main__":
    main()
