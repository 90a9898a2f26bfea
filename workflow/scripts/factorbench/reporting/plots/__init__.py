"""One file per kind of figure: ``SPEC``, and ``plot(tables, params, config)``, which draws it from tidy tables."""
