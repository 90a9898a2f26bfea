"""Import the unmodified ``slalom==1.0.0.dev11`` with versions of scipy and scikit-learn that are years newer.

slalom uses numpy's functions through scipy (``scipy.array``, ``scipy.randn``, ...; removed in scipy 1.12) and imports
``sklearn.decomposition.RandomizedPCA``, which it never uses. Both are provided while slalom is imported, and only to
slalom: the rest of the process keeps the real modules. No line of slalom is replaced, with two exceptions. The
principal components that slalom starts from get the signs of its time, which later versions of scikit-learn choose
differently (`OldSignPCA`), and models given to `reassociate` compute one product differently.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import warnings
from collections.abc import Iterator
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import scipy
import sklearn.decomposition

FROM_EMATH = ("log", "log2", "sqrt")
"""Names that old versions of scipy took from `numpy.emath`."""

IMPORTED_FIRST = (
    *("scipy.special", "scipy.linalg", "sklearn.linear_model", "sklearn.metrics", "pandas", "h5py", "pylab"),
    "brewer2mpl",
)
"""Modules that slalom imports. They are loaded first, so that they and what they load get the real scipy."""


class OldSignPCA(sklearn.decomposition.PCA):
    """PCA with the signs of scikit-learn before 1.5: the score of largest magnitude of each component is positive.

    slalom starts its factors from these components, so their signs determine where it ends.
    """

    def fit_transform(self, X: np.ndarray, y: None = None) -> np.ndarray:
        """Return the scores of the components, shape (n_cells, n_components)."""
        scores = super().fit_transform(X, y)
        largest = np.abs(scores).argmax(axis=0)
        return scores * np.where(scores[largest, np.arange(scores.shape[1])] < 0, -1.0, 1.0)


class _OldScipy(ModuleType):
    """scipy as slalom knows it: the real one, with numpy's functions for names that it no longer has."""

    def __init__(self) -> None:
        super().__init__("scipy")
        old = {name: getattr(np.emath, name) for name in FROM_EMATH}
        self.__dict__.update(old, randn=np.random.randn, __path__=scipy.__path__, __spec__=scipy.__spec__)

    def __getattr__(self, name: str) -> Any:
        return getattr(scipy if hasattr(scipy, name) else np, name)


@contextlib.contextmanager
def _old_modules() -> Iterator[None]:
    """Provide the modules that slalom expects inside the ``with`` block."""
    for module in IMPORTED_FIRST:
        importlib.import_module(module)
    sys.modules["scipy"] = _OldScipy()
    sklearn.decomposition.RandomizedPCA = sklearn.decomposition.PCA
    try:
        yield
    finally:
        sys.modules["scipy"] = scipy
        del sklearn.decomposition.RandomizedPCA


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed numpy's global generator, the only one that slalom uses; restore its state after the ``with`` block."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


class _Product:
    """The product of two matrices, not evaluated. It can only be multiplied by a vector."""

    def __init__(self, left: np.ndarray, right: np.ndarray) -> None:
        self.left, self.right = left, right


class _FromTheRight:
    """Replacement for the module that slalom calls ``SP``: its ``dot`` evaluates (A B) v as A (B v)."""

    def __init__(self, scipy_of_slalom: Any) -> None:
        self._scipy = scipy_of_slalom

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scipy, name)

    def dot(self, left: np.ndarray | _Product, right: np.ndarray) -> np.ndarray | _Product:
        if isinstance(left, _Product):
            return self.dot(left.left, self.dot(left.right, right))
        return _Product(left, right) if left.ndim == right.ndim == 2 else self._scipy.dot(left, right)


def reassociate(model: Any) -> None:
    """Make one model of slalom compute S (W' v) instead of (S W') v when it updates its scores.

    The model gets a copy of slalom's function ``updateS`` in which only the name ``SP`` has another value. slalom and
    other models stay unchanged.
    """
    original = type(model).updateS
    names = original.__globals__ | {"SP": _FromTheRight(original.__globals__["SP"])}
    model.updateS = MethodType(FunctionType(original.__code__, names), model)


with warnings.catch_warnings():
    # pkg_resources is deprecated, and slalom's regular expressions are not raw strings.
    warnings.simplefilter("ignore")
    with _old_modules():
        slalom = importlib.import_module("slalom")
sys.modules["slalom.core"].PCA = OldSignPCA
