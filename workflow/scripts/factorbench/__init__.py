"""factorbench: which interpretable model explains single-cell data in terms of known gene sets?

Imports run one way (a test holds this)::

    scripts -> run, fetch, prepare -> methods, metrics, plots, readers -> model, genesets -> contracts

Heavy packages (torch, scanpy, slalom, scikit-learn) are imported inside the functions that use them.
"""

__version__ = "0.1.0"
