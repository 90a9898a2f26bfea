"""Make slalom_reference.json: the results of slalom on a small planted example.

Run it in the environment slalom was written for (Python 3.7, numpy 1.19.5, scipy 1.5.4, scikit-learn 0.19.2)::

    python make_slalom_reference.py > slalom_reference.json

It calls slalom's public functions and nothing of factorbench, and it is written for Python 3.7.
"""

import contextlib
import json
import platform
import sys

import numpy as np
import scipy
import sklearn

CELLS, GENES, SETS, ITERATIONS, SEED = 60, 40, 5, 60, 3


def example():
    """Return cells x genes, in hundredths so that text is exact, and the mask.

    Three of five gene sets and a dense factor vary in the cells.
    """
    random = np.random.RandomState(7)
    mask = random.rand(GENES, SETS) < 0.3
    mask[np.arange(GENES), random.randint(0, SETS, GENES)] = True
    active = np.array([1, 1, 1, 0, 0])
    weights = mask * random.normal(1.0, 0.3, (GENES, SETS)) * active
    expression = 3 + random.normal(size=(CELLS, SETS)).dot(weights.T) + random.normal(0, 0.4, (CELLS, GENES))
    expression += np.outer(random.normal(size=CELLS), random.normal(0, 1, GENES))
    return np.round(100 * expression).astype(int), mask


def run(slalom, expression, mask, n_dense, n_sparse):
    """Return scores, weights, inclusion probabilities and relevances after `ITERATIONS` updates."""
    np.random.seed(SEED)  # noqa: NPY002
    terms = np.array(["set{}".format(k) for k in range(mask.shape[1])])  # noqa: UP032
    model = slalom.initFA(
        expression / 100.0,
        terms,
        mask.astype(float),
        nHidden=n_dense,
        nHiddenSparse=n_sparse,
        minGenes=0,
        do_preTrain=False,
    )
    np.random.seed(SEED)  # noqa: NPY002
    model.train(nIterations=ITERATIONS, forceIterations=True)
    return {
        "n_dense": n_dense,
        "n_sparse": n_sparse,
        "terms": list(model.terms),
        "scores": model.getX().tolist(),
        "weights": model.getW().tolist(),
        "inclusion": model.getZ().tolist(),
        "relevance": model.getRelevance().tolist(),
        "on": model.doUpdate.tolist(),
    }


def main():
    import slalom

    expression, mask = example()
    with contextlib.redirect_stdout(sys.stderr):
        runs = [run(slalom, expression, mask, *hidden) for hidden in ((0, 0), (2, 1))]
    versions = {"python": platform.python_version(), "slalom": slalom.__version__}
    versions.update({module.__name__: module.__version__ for module in (np, scipy, sklearn)})
    reference = {"versions": versions, "iterations": ITERATIONS, "seed": SEED, "hundredths": expression.tolist()}
    reference["mask"] = mask.astype(int).tolist()
    reference["runs"] = runs
    json.dump(reference, sys.stdout)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
