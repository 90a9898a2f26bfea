"""All parameters of the autoencoder: default, meaning, range.

The parameters of the model (lambdas, layers) default to the authors' values for the Kang data. The parameters of its
training default to a recipe: ``fast``, ours, or ``authors``, which trains as the authors did.
"""

from __future__ import annotations

import math
from typing import Any

from ..contracts.errors import UserError
from ..registry import Param, Spec, resolve

RECIPES: dict[str, dict[str, Any]] = {
    "fast": {
        "dropout": 0.0,
        "init": "mask",
        "optimizer": "alternating",
        "learning_rate": 1e-2,
        "batch_size": 256,
        "epochs": 20,
        "min_updates": 1080,  # 20 epochs of the Kang data
    },
    "authors": {
        "dropout": 0.2,
        "init": "normal",
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "batch_size": 62,
        "epochs": 30,
        "min_updates": 6570,  # 30 epochs of the Kang data
    },
}
"""Recipe -> the training parameters that it sets. A value that the user gives overrides the recipe."""

MOST_FACTORS, WIDEST, LONGEST = 10_000, 100_000, 10**9
"""Limits that catch typing errors: factors of a kind, units of a layer, and epochs, updates or cells of a batch."""


def _trained(doc: str, *types: type, **limits: Any) -> Param:
    """Return a parameter of the training. Its default, ``None``, stands for the recipe's value."""
    return Param(None, f"{doc}; null: the recipe's value", types=(*types, type(None)), **limits)


PARAMS: dict[str, Param] = {
    "recipe": Param(
        "fast",
        "how the model is trained: fast, with alternating steps on a schedule, or authors, as the authors did",
        choices=tuple(RECIPES),
    ),
    "n_sparse": Param(0, "number of sparse unannotated factors", minimum=0, maximum=MOST_FACTORS),
    "n_dense": Param(0, "number of dense factors", minimum=0, maximum=MOST_FACTORS),
    "lambda0": Param(0.1, "weight of the squared L2 norm of the scores, eq. 3", minimum=0),
    "lambda1": Param(0.93, "weight of the L1 norm of annotated loadings outside their gene set, eq. 5", minimum=0),
    "lambda2": Param(0.43, "weight of the L1 norm of the loadings of sparse factors, eq. 5", minimum=0),
    "lambda3": Param(0.57, "weight of the group lasso on the loadings of every factor, eqs. 4 and 6", minimum=0),
    "hidden": Param(
        [400, 400], "widths of the hidden layers of the encoder; empty: a linear encoder", types=(list, tuple)
    ),
    "dropout": _trained("share of hidden units dropped in training", float, minimum=0, maximum=0.99),
    "init": _trained(
        "initial loadings. normal: N(0, 1/n_factors). mask: for annotated factors n_factors^-1/2 inside the gene set "
        "and 0 outside, for others as normal",
        str,
        choices=("normal", "mask", None),
    ),
    "optimizer": _trained(
        "alternating: Adam with one cycle of learning rates for the encoder, a proximal gradient step for W; "
        "adam: Adam for both, as the authors; sgd: the plain update of eq. 7",
        str,
        choices=("alternating", "adam", "sgd", None),
    ),
    "learning_rate": _trained(
        "step size eta. alternating: the highest of the cycle; adam and sgd: also that of the prox (threshold "
        "eta * lambda)",
        float,
        minimum=1e-12,
    ),
    "batch_size": _trained("largest number of cells in a mini-batch", int, minimum=2, maximum=LONGEST),
    "epochs": _trained("passes over all cells, more if min_updates needs more", int, minimum=1, maximum=LONGEST),
    "min_updates": _trained(
        "least number of updates (mini-batches) of a full training; small data take more epochs to reach it",
        int,
        minimum=0,
        maximum=LONGEST,
    ),
    "center": Param(True, "whether genes are centred by their means over the cells of the fit (never scaled)"),
    "patience": Param(
        0,
        "epochs without a better objective after which training stops at the best epoch; 0: no early stopping",
        minimum=0,
    ),
    "tolerance": Param(1e-3, "relative decrease of the objective that counts as better", minimum=0, maximum=1),
    "covariates": Param([], "columns of obs explained additively, eq. 2: categories or numbers", types=(list, tuple)),
    "covariate_hidden": Param(
        [],
        "widths of the layers of the covariates' encoder, which their decoder mirrors; empty: a linear map",
        types=(list, tuple),
    ),
}


def check_params(given: dict[str, Any], where: str = "InterpretableAutoencoder") -> dict[str, Any]:
    """Return all parameters: the ``given`` ones checked, the others at their defaults or at the recipe's values.

    Raises
    ------
    UserError
        If a parameter is unknown, of the wrong type or out of its range.
    """
    params = resolve(Spec(name="the autoencoder", title="", params=PARAMS), given, where)
    params |= {key: value for key, value in RECIPES[params["recipe"]].items() if params[key] is None}
    for key, value in params.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{where}.{key}: {value!r} should be finite")
    for key in ("hidden", "covariate_hidden"):
        if not all(type(width) is int and 0 < width <= WIDEST for width in params[key]):
            raise UserError(
                f"{where}.{key}: {params[key]!r} should be a list of whole numbers above zero, at most {WIDEST:,}"
            )
    if not all(isinstance(name, str) for name in params["covariates"]):
        raise UserError(f"{where}.covariates: {params['covariates']!r} should be a list of names of columns of obs")
    # Copies, so that models do not share lists with each other or with PARAMS.
    return params | {key: list(params[key]) for key in ("hidden", "covariates", "covariate_hidden")}


def check_size(n_cells: int, n_genes: int, n_sets: int, params: dict[str, Any]) -> None:
    """Raise `UserError` if data of this size cannot be fitted with these parameters."""
    if n_genes == 0:
        raise UserError("the data have no genes")
    if n_sets + params["n_sparse"] + params["n_dense"] == 0:
        raise UserError("no factors: give gene sets, or set n_sparse or n_dense above zero")
    if n_cells < 2:
        raise UserError(f"the data have {n_cells} cell{'s'[: n_cells != 1]}; training needs two")
