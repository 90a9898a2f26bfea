"""All metrics of one run, as one tidy table."""

import pandas as pd
from factorbench import contracts, registry
from factorbench.adapter import reporting

with reporting(snakemake):
    data = contracts.read_prepared(snakemake.input.prepared)
    factors = contracts.read_factors(snakemake.input.factors)
    status = contracts.read_json(snakemake.input.run)["status"]
    tables = []
    for name, params in snakemake.params.metrics.items():
        table = registry.load("metric", name).score(data, factors, params)
        contracts.check_scores(table, contracts.METRIC_COLUMNS)
        tables.append(table)
    scores = pd.concat([table for table in tables if len(table)], ignore_index=True)
    run = {key: snakemake.wildcards[key] for key in ("dataset", "method", "seed")}
    scores = scores.assign(**run, status=status)[list(contracts.SCORE_COLUMNS)]
    contracts.write_table(snakemake.output[0], scores)
