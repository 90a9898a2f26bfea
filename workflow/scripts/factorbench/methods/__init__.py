"""One file per method: ``SPEC`` and ``fit(data, params, seed, device, budget) -> Factors`` (`factorbench.registry`).

``data`` are prepared (`contracts.prepared`) and are not changed; ``params`` are all of ``SPEC.params``; ``device`` is
cpu or cuda. When ``budget`` is spent, a method that iterates stops and keeps its results so far. A file may also define
``check(n_cells, n_genes, n_sets, params)``, which raises `UserError` if such data cannot be fitted, ``memory`` with the
same arguments, which returns the peak memory of a fit in bytes, and ``complete`` (`registry.method_params`).
"""
