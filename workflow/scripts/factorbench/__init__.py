"""factorbench: which interpretable model explains single-cell data in terms of known gene sets?

Imports run downwards only (``make lint`` checks it)::

    reporting -> results -> runs -> methods, metrics -> data, model -> config -> registry -> contracts

Heavy packages, such as torch and scanpy, are imported inside the functions that use them.
"""

__version__ = "0.1.0"
