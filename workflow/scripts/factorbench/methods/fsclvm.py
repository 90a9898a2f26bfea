"""f-scLVM (Buettner et al. 2017) as its authors published it: the unmodified ``slalom==1.0.0.dev11``.

Variational Bayes for Y = X (W * Z)' + noise, with an inclusion variable Z for each gene and factor, whose prior is the
gene set, and a precision alpha for each factor that switches off those the data do not need. Called as the authors of
the interpretable autoencoder called it (Rybakov et al. 2020): Gaussian noise, no pre-training.

Two things are added around slalom's ``initFA`` and ``train``, without a change of their numbers:

- Numpy's generator is seeded before each. ``initFA`` draws the genes that sparse factors start from (it seeds the rest
  of the start itself), and ``train`` draws a new order of the factors in every iteration.
- ``train`` is stopped between two iterations when the budget is spent.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..contracts.budget import Budget
from ..contracts.errors import UserError
from ..contracts.factors import KINDS, Factors, no_factors
from ..progress import bar
from ..registry import MethodSpec, Param

if TYPE_CHECKING:
    from anndata import AnnData

SPEC = MethodSpec(
    name="fsclvm",
    title="f-scLVM (slalom)",
    doi="10.1186/s13059-017-1334-8",
    url="https://github.com/bioFAM/slalom",
    params={
        "n_dense": Param(0, "dense factors beside the annotated ones (slalom's own default is 3)", minimum=0),
        "n_sparse": Param(0, "sparse factors beside the annotated ones", minimum=0),
        "max_iterations": Param(
            10_000, "largest number of iterations (slalom's own default, 2000, is often too few)", minimum=1
        ),
        "tolerance": Param(
            1e-8, "converged when the mean absolute residual changes by less than this in 100 iterations", minimum=0
        ),
    },
    threads=1,
    warm_up=("factorbench.methods._slalom",),
    packages=("slalom",),
)

CHECK_EVERY = 100
"""Iterations between two convergence checks of slalom."""

GENES_OF_A_SPARSE_FACTOR = 20
"""Number of the most variable genes from which slalom starts each sparse factor."""


def check(n_cells: int, n_genes: int, n_sets: int, params: dict[str, Any]) -> None:
    """Raise `UserError` if there are too few genes for sparse factors, or too little memory.

    slalom allocates n_cells x n_factors^2 doubles, which it never uses.
    """
    if params["n_sparse"] and n_genes < GENES_OF_A_SPARSE_FACTOR:
        raise UserError(
            f"fsclvm: params.n_sparse needs {GENES_OF_A_SPARSE_FACTOR} genes, but the data have {n_genes}; set it to 0"
        )
    n_factors = n_sets + params["n_dense"] + params["n_sparse"]
    needed = 8 * n_cells * n_factors**2
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > available:
        raise UserError(
            f"fsclvm: {n_cells} cells x {n_factors} factors need {needed / 2**30:.0f} GiB of memory, this machine has "
            f"{available / 2**30:.0f}; use a dataset with a smaller n_cells, or fewer gene sets by a larger min_genes"
        )


def memory(n_cells: int, n_genes: int, n_sets: int, params: dict[str, Any]) -> float:
    """Return the peak memory of a fit in bytes, data included, without the 230 MiB of the libraries.

    It is that of eight copies of dense expression in doubles and of the array that `check` describes. Measured peaks
    were 0.9 to 1.1 times this, on 250 to 13,576 cells and 25 to 130 gene sets.
    """
    n_factors = n_sets + params["n_dense"] + params["n_sparse"]
    return 8 * n_cells * (8 * n_genes + n_factors**2)


def fit(
    data: AnnData,
    params: dict[str, Any],
    seed: int,
    device: str,
    budget: Budget,
    modify: Callable[[Any], None] | None = None,
) -> Factors:
    """Fit f-scLVM to prepared data.

    ``seed`` determines the order of updates and the genes that sparse factors start from. ``modify`` is called with
    slalom's model before it is trained, by methods that change how it computes. ``device`` is not used.

    Returns
    -------
    Factors
        Scores E[X]. Loadings E[W] * E[Z], the posterior mean of the effective weights; zero for factors that slalom
        switched off and for genes in no set, which slalom leaves out. The table has ``native_relevance``, 1 / E[alpha].
        Status ``ok`` (converged), ``max_iterations``, ``budget`` or ``diverged``.
    """
    from . import _slalom

    mask = np.asarray(data.varm["mask"], bool)
    expression = data.X.toarray().astype(np.float64)
    # slalom treats some names ("hidden1", "bias") specially, so it does not get those of the gene sets.
    annotated = [f"set{k}" for k in range(mask.shape[1])]
    with _slalom.seeded(seed), contextlib.redirect_stdout(io.StringIO()):
        model = _slalom.slalom.initFA(
            expression,
            np.array(annotated),
            mask.astype(np.float64),
            nHidden=params["n_dense"],
            nHiddenSparse=params["n_sparse"],
            noise="gauss",
            minGenes=0,
            pruneGenes=True,
            do_preTrain=False,
        )
    if modify is not None:
        modify(model)
    start_seconds = budget.elapsed()
    with _slalom.seeded(seed):
        status, reason, history = train(model, params["max_iterations"], params["tolerance"], budget)
    if status == "diverged":
        failed = no_factors(data.n_obs, data.n_vars, status, reason)
        failed.iterations, failed.converged, failed.history = model.iterationCount, False, history
        return failed

    n_sparse, n_dense = params["n_sparse"], params["n_dense"]
    unannotated = [*(f"hiddenSparse{k}" for k in range(n_sparse)), *(f"hidden{k}" for k in range(n_dense))]
    columns = model.getTermIndex([*annotated, *unannotated])
    active = model.doUpdate[columns] == 1
    loadings = np.zeros((data.n_vars, len(columns)))
    loadings[model.idx_genes] = np.where(active, (model.getW() * model.getZ())[:, columns], 0)
    return Factors(
        scores=model.getX()[:, columns],
        loadings=loadings,
        table=pd.DataFrame(
            {
                "name": [
                    *map(str, data.uns["gene_sets"]),
                    *(f"sparse_{k + 1}" for k in range(n_sparse)),
                    *(f"dense_{k + 1}" for k in range(n_dense)),
                ],
                "kind": np.repeat(KINDS, (len(annotated), n_sparse, n_dense)),
                "active": active,
                "native_relevance": model.getRelevance()[columns],
            }
        ),
        mask=np.pad(mask, ((0, 0), (0, len(unannotated)))),
        status=status,
        reason=reason,
        iterations=model.iterationCount,
        start_seconds=start_seconds,
        converged=status == "ok",
        history=history,
        offset=expression.mean(axis=0),
    )


class _Stop(Exception):
    """Stops ``train`` between two updates. Its text is the status of the run."""


def train(model: Any, max_iterations: int, tolerance: float, budget: Budget) -> tuple[str, str, list[dict[str, float]]]:
    """Call slalom's ``train`` on ``model``; stop it before an update if the budget is spent.

    A stopped model is, bit for bit, a model that was trained for that many iterations.

    Returns
    -------
    status, reason, history
        One of `contracts.run.STATUSES`; one sentence on why training ended; and, for every check of slalom (after
        iterations 1, 101, 201, ...), ``iteration``, ``residual`` (mean absolute) and ``active``, the number of factors
        that are on.
    """
    update = model.update
    history: list[dict[str, float]] = []
    # The bar has no total, because most runs converge long before max_iterations.
    progress = bar(None, "f-scLVM")

    def watched() -> None:
        if budget.spent():
            raise _Stop("budget")
        update()
        progress.update()
        if model.iterationCount % CHECK_EVERY == 0:
            history.append(_state(model))
            progress.set_postfix(history[-1], refresh=False)
            if not np.isfinite(history[-1]["residual"]):
                raise _Stop("diverged")

    output = io.StringIO()
    model.update = watched
    try:
        with contextlib.redirect_stdout(output), np.errstate(all="ignore"), progress:
            model.train(nIterations=max_iterations, tolerance=tolerance)
    except _Stop as stop:
        status = str(stop)
    else:
        # train() prints whether it converged, but does not return it.
        status = "ok" if "Converged after" in output.getvalue() else "max_iterations"
    finally:
        del model.update
    if not all(np.isfinite(values).all() for values in (model.getX(), model.getW(), model.getZ())):
        status = "diverged"
    return status, _reason(status, model.iterationCount, tolerance, history, budget), history


def _state(model: Any) -> dict[str, float]:
    """Return the iteration, the mean absolute residual that ``train`` checks, and the number of factors on."""
    reconstruction = np.dot(model.getX(), (model.getW() * model.getZ()).T)
    return {
        "iteration": model.iterationCount + 1,
        "residual": float(np.abs(model.Z.E1 - reconstruction).mean()),
        "active": int(model.doUpdate.sum()),
    }


def _reason(status: str, iterations: int, tolerance: float, history: list[dict[str, float]], budget: Budget) -> str:
    """Return why training ended, and how close it was to convergence."""
    causes = {"ok": "converged", "diverged": "values were not finite"}
    if status == "budget":
        causes["budget"] = f"the budget of {budget.seconds:g} s was spent"
    reason = f"{causes.get(status, 'max_iterations was reached')} after {iterations} iterations"
    if len(history) < 2:
        return reason
    change = abs(history[-1]["residual"] - history[-2]["residual"])
    return (
        f"{reason}; the mean absolute residual last changed by {change:.1e} in {CHECK_EVERY} iterations "
        f"(converged: less than {tolerance:g})"
    )
