"""One file per method: ``SPEC`` and ``fit(data, params, seed, device, budget) -> Factors`` (`factorbench.registry`)."""
