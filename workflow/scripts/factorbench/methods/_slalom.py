"""Imports the unmodified ``slalom==1.0.0.dev11`` beside a scipy and a scikit-learn that are years younger.

slalom reaches numpy's functions through scipy (``scipy.array``, ``scipy.randn``, ...; gone since scipy 1.12) and
imports the name ``sklearn.decomposition.RandomizedPCA``, which it never uses. Both are offered to it while it is being
imported, and only then: the rest of the process keeps the real modules. Not a line of slalom is replaced, but for the
sign of the principal components it starts from, which scikit-learn has since come to choose otherwise (`OldSignPCA`),
and in models given to `reassociate`.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
import warnings
from collections.abc import Iterator
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import scipy
import sklearn.decomposition

FROM_NUMPY = (
    *("absolute", "arange", "argsort", "array", "ceil", "diag", "dot", "double", "errstate", "exp", "eye", "floor"),
    *("hstack", "int32", "int_", "isnan", "isscalar", "mean", "median", "mod", "nan", "newaxis", "ones", "outer", "pi"),
    *("random", "repeat", "reshape", "setxor1d", "shape", "sum", "tile", "unique", "vstack", "where", "zeros"),
)
"""What slalom expects scipy to pass on from numpy."""

FROM_EMATH = ("log", "log2", "sqrt")
"""What old versions of scipy took from `numpy.emath` rather than from numpy."""

_lock = threading.Lock()


class OldSignPCA(sklearn.decomposition.PCA):
    """PCA with the signs of scikit-learn before 1.5: the score of largest magnitude of each component is positive.

    slalom starts its factors from such components, so their signs decide where it ends.
    """

    def fit_transform(self, X: np.ndarray, y: None = None) -> np.ndarray:
        """Scores of the components, shape (n_cells, n_components)."""
        scores = super().fit_transform(X, y)
        largest = np.abs(scores).argmax(axis=0)
        return scores * np.where(scores[largest, np.arange(scores.shape[1])] < 0, -1.0, 1.0)


class _OldScipy(ModuleType):
    """scipy as slalom knows it: numpy's functions first, the real scipy for all else, also when written to."""

    def __init__(self) -> None:
        super().__init__("scipy")
        offered = {name: getattr(np, name) for name in FROM_NUMPY}
        offered |= {name: getattr(np.emath, name) for name in FROM_EMATH}
        self.__dict__.update(offered, randn=np.random.randn, __path__=scipy.__path__, __spec__=scipy.__spec__)

    def __getattr__(self, name: str) -> Any:
        return getattr(scipy, name)

    def __setattr__(self, name: str, value: Any) -> None:
        # The import system hangs a submodule on its parent when it loads one: that parent is the real scipy.
        setattr(scipy, name, value)


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    """The modules that slalom expects to find, for as long as the block lasts."""
    for module in (
        "scipy.special",
        "scipy.linalg",
        "sklearn.linear_model",
        "sklearn.metrics",
        "pandas",
        "h5py",
        "pylab",
    ):
        importlib.import_module(module)
    sys.modules["scipy"] = _OldScipy()
    sklearn.decomposition.RandomizedPCA = sklearn.decomposition.PCA
    try:
        yield
    finally:
        sys.modules["scipy"] = scipy
        del sklearn.decomposition.RandomizedPCA


def load() -> ModuleType:
    """The module slalom; calling it again returns the same one.

    Raises
    ------
    ImportError
        If slalom is not installed.
    """
    with _lock:
        if "slalom" not in sys.modules:
            with warnings.catch_warnings():
                # pkg_resources is deprecated, and slalom's regular expressions are not raw strings.
                warnings.simplefilter("ignore")
                importlib.import_module("brewer2mpl")
                with _as_it_was():
                    importlib.import_module("slalom")
            sys.modules["slalom.core"].PCA = OldSignPCA
        return sys.modules["slalom"]


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Numpy's global generator, the only one slalom draws from, seeded; afterwards it is as it was before."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


class _Product:
    """A product of two matrices, not evaluated: it can only be multiplied by a vector."""

    def __init__(self, left: np.ndarray, right: np.ndarray) -> None:
        self.left, self.right = left, right


class _FromTheRight:
    """Stands for what slalom calls ``SP``; its ``dot`` evaluates a product of three, (A B) v, as A (B v)."""

    def __init__(self, scipy_of_slalom: Any) -> None:
        self._scipy = scipy_of_slalom

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scipy, name)

    def dot(self, left: np.ndarray | _Product, right: np.ndarray) -> np.ndarray | _Product:
        if isinstance(left, _Product):
            return self.dot(left.left, self.dot(left.right, right))
        return _Product(left, right) if left.ndim == right.ndim == 2 else self._scipy.dot(left, right)


def reassociate(model: Any) -> None:
    """Make one model of slalom update its scores by S (W' v) where slalom evaluates (S W') v.

    The code that runs is slalom's own ``updateS``. This model is given a copy of that function to which ``SP`` means
    something else; neither slalom nor any other model is touched, so there is nothing to put back.
    """
    original = type(model).updateS
    seen = original.__globals__ | {"SP": _FromTheRight(original.__globals__["SP"])}
    model.updateS = MethodType(FunctionType(original.__code__, seen), model)


# What MethodSpec.imports asks for by importing this module: slalom itself, before the clock starts.
load()
