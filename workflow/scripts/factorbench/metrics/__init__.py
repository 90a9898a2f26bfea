"""One file per metric: ``SPEC`` and ``score(data, factors, params) -> table`` (`factorbench.registry`).

``data`` are prepared (`contracts.prepared`), ``factors`` are those of a run on the same cells (`contracts.factors`; one
entry per seed if the metric is over seeds), and ``params`` are those of ``SPEC``. The table has the columns
`contracts.scores.METRIC_COLUMNS`; it is empty if there is nothing to measure. Every metric raises `ContractError` if
data and factors are not of the same cells and genes.
"""
