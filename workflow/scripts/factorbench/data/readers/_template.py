"""The shape of expression that simulated counts take: learned from prepared data, or made up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...contracts.files import on_disk, row_blocks

RANK = 20
"""Dimensions of the background that genes share."""
PSEUDO = 10.0
"""Cells that are added to the observed and to the expected number of pairs of counts, against rare genes."""
N_CELLS, ROUNDS = 2_000, 20
"""Cells and rounds of the correction of means."""
STRATUM = 20
"""Genes of about the same mean that a shuffled background exchanges."""


@dataclass(frozen=True)
class Template:
    """Counts of cell c and gene g have the mean depth_c softmax_g(log_mean_g + background_g F_c) with F_c ~ N(0, I).

    Attributes
    ----------
    genes
        Names, shape (n_genes,).
    log_mean
        Natural logarithm of the typical share of the counts of a cell, shape (n_genes,).
    background
        How strongly each gene follows each of the dimensions that genes share, shape (n_genes, n_dimensions).
    dispersion
        Variance = mean + dispersion mean^2 beyond the background, shape (n_genes,).
    depths
        Counts of cells to draw from.
    sets
        Gene sets with their genes; empty if it is made up.
    """

    genes: np.ndarray
    log_mean: np.ndarray
    background: np.ndarray
    dispersion: np.ndarray
    depths: np.ndarray
    sets: dict[str, list[str]]

    def shuffled(self, rng: np.random.Generator) -> Template:
        """Exchange the genes at random among those of about the same mean, in all but their names and sets.

        So the background has nothing to do with the gene sets.
        """
        order = np.argsort(self.log_mean, kind="stable")
        source = np.empty(len(order), int)
        for genes in np.array_split(order, max(1, len(order) // STRATUM)):
            source[genes] = rng.permutation(genes)
        return replace(
            self,
            log_mean=self.log_mean[source],
            background=self.background[source],
            dispersion=self.dispersion[source],
        )


def made_up(genes: list[str], depth: float, dispersion: float, rng: np.random.Generator) -> Template:
    """Return a template without background: logarithms of means are N(0, 1), depths log-normal around ``depth``."""
    n_genes = len(genes)
    return Template(
        np.array(genes, object),
        rng.normal(0.0, 1.0, n_genes),
        np.zeros((n_genes, 0)),
        np.full(n_genes, dispersion),
        depth * rng.lognormal(0.0, 0.3, 10_000),
        {},
    )


def learn(path: Path) -> Template:
    r"""Learn a template from the counts of a prepared.h5ad, by moments.

    Counts of a Poisson log-normal model with depths L have :math:`E c_i c_j = E L^2 m_i m_j \exp \Sigma_{ij}` for
    different genes, and the same for :math:`E c_i (c_i - 1)` (Aitchison and Ho 1989, 10.1093/biomet/76.4.643). The
    background is the part of rank `RANK` of :math:`\Sigma`; what is left of its diagonal is dispersion.
    """
    with on_disk(path) as data:
        genes, mask = data.var_names.to_numpy(object), np.asarray(data.varm["mask"])
        names = list(map(str, data.uns["gene_sets"]))
        pairs, total, depths = 0.0, 0.0, []
        for rows in row_blocks(data.n_obs):
            counts = data.layers["counts"][rows].astype(np.float64)
            pairs = pairs + (counts.T @ counts).toarray()
            total = total + np.asarray(counts.sum(axis=0)).ravel()
            depths.append(np.asarray(counts.sum(axis=1)).ravel())
    depths = np.concatenate(depths)
    depths = depths[depths > 0]
    pairs[np.diag_indices(len(total))] -= total
    mean = np.maximum(total, 0.5) / depths.sum()
    expected = (depths**2).sum() * np.outer(mean, mean)
    sigma = np.log((pairs + PSEUDO) / (expected + PSEUDO))
    values, axes = np.linalg.eigh(sigma)
    background = axes[:, -RANK:] * np.sqrt(np.maximum(values[-RANK:], 0))
    own = np.maximum(np.diag(sigma), 0)
    size = (background**2).sum(axis=1)
    background *= np.sqrt(np.minimum(1, np.divide(own, size, out=np.ones_like(size), where=size > 0)))[:, None]
    size = (background**2).sum(axis=1)
    sets = {name: list(genes[mask[:, k]]) for k, name in enumerate(names)}
    log_mean, dispersion = fit_moments(mean, mean**2 * np.exp(own), background)
    return Template(genes, log_mean, background, dispersion, depths, sets)


def fit_moments(mean: np.ndarray, square: np.ndarray, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log means and dispersions with which counts have the first two moments of the data.

    ``mean`` and ``square``: E m and E m^2 (1 + dispersion) for the share m of each gene in the counts of a cell, shape
    (n_genes,). The softmax over genes changes both. They are corrected until they are right in `N_CELLS` drawn cells.
    """
    factors = np.random.default_rng(0).normal(size=(N_CELLS, background.shape[1])) @ background.T
    log_mean = np.log(mean) - (background**2).sum(axis=1) / 2
    for _ in range(ROUNDS):
        share = np.exp(log_mean + factors)
        share /= share.sum(axis=1, keepdims=True)
        log_mean += np.log(mean / mean.sum()) - np.log(share.mean(axis=0))
    return log_mean, np.maximum(square / mean.sum() ** 2 / (share**2).mean(axis=0) - 1, 0)
