"""One module a metric: ``SPEC`` and ``score(data, factors, params) -> table`` (see `factorbench.registry`)."""
