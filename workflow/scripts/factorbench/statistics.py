"""Intervals, tests and correlations that metrics and tables share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Z95 = 1.959963984540054
"""The 97.5 % point of the normal distribution."""


def wilson(share: np.ndarray, n: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % interval of a share of ``n`` cells (Wilson 1927, without continuity correction)."""
    share = np.asarray(share, float)
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * np.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean of one value per seed and its 95 % interval, lower and upper (Student's t).

    The interval is NaN below three values.
    """
    from scipy.stats import t

    mean, half = float(np.mean(values)), np.nan
    if len(values) > 2:
        half = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return mean, mean - half, mean + half


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation of the columns of ``a`` and ``b`` (n, k), shape (k,); 0 where one is constant."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    size = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    varies = (np.ptp(a, axis=0) > 0) & (np.ptp(b, axis=0) > 0)
    return np.divide(np.einsum("ij,ij->j", a, b), size, out=np.zeros(len(size)), where=varies).clip(-1, 1)


def mid_p(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return two-sided mid-p values of McNemar's exact test, from the cells that only one of two methods gets right.

    Under the null hypothesis the smaller count k of ``first`` and ``second`` is a draw from Binomial(n, 1/2), where n
    is their sum; p = 2 P(K < k) + P(K = k). The plain exact test is conservative, because the counts are discrete
    (Fagerland et al. 2013, 10.1186/1471-2288-13-91). p is 1 if the two methods never differ.
    """
    from scipy.special import bdtr

    smaller, n = np.minimum(first, second), np.add(first, second)
    fewer = np.where(smaller > 0, bdtr(np.maximum(smaller - 1, 0), n, 0.5), 0)
    return np.clip(fewer + bdtr(smaller, n, 0.5), 0, 1)


def holm(p: np.ndarray) -> np.ndarray:
    """Return p-values corrected for their number.

    Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(steps, 1)
    return corrected
