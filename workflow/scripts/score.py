"""All metrics of one run, as one tidy table."""

import pandas as pd
from factorbench import contracts, registry
from factorbench.adapter import reporting
from factorbench.metrics._rows import no_rows

with reporting(snakemake):
    data = contracts.read_prepared(snakemake.input.prepared)
    factors = contracts.read_factors(snakemake.input.factors)
    status = contracts.read_json(snakemake.input.run)["status"]
    seen = next(map(contracts.read_factors, snakemake.input.seen), None)
    fitted = contracts.without_held_out(data), contracts.without_held_out(factors)
    tables = [no_rows()]
    for name, params in snakemake.params.metrics.items():
        metric = registry.load("metric", name)
        if metric.SPEC.over != "run":
            continue
        if metric.SPEC.held_out:
            table = metric.score(data, factors, params, seen)
        else:
            table = metric.score(*fitted, params)
        contracts.check_scores(table, contracts.METRIC_COLUMNS)
        tables.append(table)
    run = {key: snakemake.wildcards[key] for key in ("dataset", "method", "seed")}
    scores = pd.concat(tables, ignore_index=True).assign(**run, status=status)[list(contracts.SCORE_COLUMNS)]
    contracts.write_table(snakemake.output[0], scores)
