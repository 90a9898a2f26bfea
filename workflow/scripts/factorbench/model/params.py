"""All parameters of the autoencoder: default, meaning, range.

The parameters of the model (lambdas, layers) default to the authors' values for the Kang data. With the encoder
``network``, the parameters of its training default to a recipe: ``fast``, ours, or ``authors``, which trains as the
authors did. The encoder ``linear`` is not trained: it is the exact solution (`solver`).
"""

from __future__ import annotations

import math
from typing import Any

from ..contracts.errors import UserError
from ..registry import Param, Spec, resolve

RECIPES: dict[str, dict[str, Any]] = {
    "fast": {
        "dropout": 0.0,
        "init": "exact",
        "optimizer": "encoder",
        "learning_rate": 1e-2,
        "batch_size": 256,
        "epochs": 10,
        "min_updates": 540,  # 10 epochs of the Kang data
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
    "encoder": Param(
        "network",
        "what gives the scores. network: a non-linear encoder, which is trained; linear: the best scores for W, and "
        "the W for which eq. 3 is then lowest (the exact solution)",
        choices=("network", "linear"),
    ),
    "recipe": Param(
        "fast",
        "how a network is trained: fast, the encoder alone for the exact W, or authors, as the authors did",
        choices=tuple(RECIPES),
    ),
    "n_sparse": Param(0, "number of sparse unannotated factors", minimum=0, maximum=MOST_FACTORS),
    "n_dense": Param(0, "number of dense factors", minimum=0, maximum=MOST_FACTORS),
    "lambda0": Param(0.1, "weight of the squared L2 norm of the scores, eq. 3", minimum=0),
    "lambda1": Param(0.93, "weight of the L1 norm of annotated loadings outside their gene set, eq. 5", minimum=0),
    "lambda2": Param(0.43, "weight of the L1 norm of the loadings of sparse factors, eq. 5", minimum=0),
    "lambda3": Param(0.57, "weight of the group lasso on the loadings of every factor, eqs. 4 and 6", minimum=0),
    "group_weights": Param(
        "equal",
        "weights of the factors in the group lasso. equal: lambda3 for all; size: for annotated factors lambda3 times "
        "the square root of the size of the set, relative to its mean over sets",
        choices=("equal", "size"),
    ),
    "hidden": Param([400, 400], "widths of the hidden layers of a network; empty: a linear one", types=(list, tuple)),
    "dropout": _trained("share of hidden units dropped in training", float, minimum=0, maximum=0.99),
    "init": _trained(
        "initial loadings. normal: N(0, 1/n_factors). exact: the W of the exact solution",
        str,
        choices=("normal", "exact", None),
    ),
    "optimizer": _trained(
        "encoder: Adam with one cycle of learning rates for the encoder alone, W stays as it starts; "
        "adam: Adam for both, as the authors; sgd: the plain update of eq. 7",
        str,
        choices=("encoder", "adam", "sgd", None),
    ),
    "learning_rate": _trained(
        "step size eta. encoder: the highest of the cycle; adam and sgd: also that of the prox (threshold "
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
    "optimality": Param(
        1e-3,
        "exact solution: largest violation of the optimality conditions at which it has converged, as a share of the "
        "largest gradient of the squared error",
        minimum=1e-12,
        maximum=1,
    ),
    "max_sweeps": Param(1000, "exact solution: largest number of sweeps over the factors", minimum=1, maximum=LONGEST),
    "perturb": Param(
        0.0,
        "exact solution: standard deviation of random relative changes of the initial loadings; 0: none, and the seed "
        "changes nothing",
        minimum=0,
        maximum=1,
    ),
    "covariates": Param([], "columns of obs explained additively, eq. 2: categories or numbers", types=(list, tuple)),
    "covariate_hidden": Param(
        [],
        "widths of the layers of the covariates' encoder, which their decoder mirrors; empty: a linear map",
        types=(list, tuple),
    ),
}


OF_NETWORKS = ("recipe", "hidden", *RECIPES["fast"], "patience", "tolerance", "covariate_hidden")
OF_EXACT = ("optimality", "max_sweeps", "perturb")
"""Parameters that only a network, or only the exact solution, uses."""


def check_params(given: dict[str, Any], where: str = "InterpretableAutoencoder") -> dict[str, Any]:
    """Return all parameters: the ``given`` ones checked, the others at their defaults or at the recipe's values.

    Raises
    ------
    UserError
        If a parameter is unknown, of the wrong type, out of its range, or not used by this encoder.
    """
    params = resolve(Spec(name="the autoencoder", title="", params=PARAMS), given, where)
    params |= {key: value for key, value in RECIPES[params["recipe"]].items() if params[key] is None}
    # Copies, so that models do not share lists with each other or with PARAMS.
    params |= {key: list(params[key]) for key in ("hidden", "covariates", "covariate_hidden")}
    exact = params["init"] == "exact"
    unused = {"encoder: network": OF_NETWORKS} if params["encoder"] == "linear" else {}
    unused |= {} if exact else {"the exact solution (init: exact)": OF_EXACT}
    for user, keys in unused.items():
        for key in keys:
            if params[key] != (default := RECIPES["fast"].get(key, PARAMS[key].default)):
                raise UserError(f"{where}.{key}: only {user} uses it; leave it out (or at {default!r})")
    if exact and params["lambda0"] == 0:
        raise UserError(
            f"{where}.lambda0: 0 has no exact solution, since scores of any size cost nothing; give a larger value, or "
            f"recipe: authors"
        )
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
    return params


def check_size(n_cells: int, n_genes: int, n_sets: int, params: dict[str, Any]) -> None:
    """Raise `UserError` if data of this size cannot be fitted with these parameters."""
    if n_genes == 0:
        raise UserError("the data have no genes")
    if n_sets + params["n_sparse"] + params["n_dense"] == 0:
        raise UserError("no factors: give gene sets, or set n_sparse or n_dense above zero")
    if n_cells < 2:
        raise UserError(f"the data have {n_cells} cell{'s'[: n_cells != 1]}; training needs two")
