"""All metrics of one run, as one tidy table."""

from factorbench import contracts
from factorbench.adapter import reporting
from factorbench.score import score

with reporting(snakemake):
    data = contracts.read_prepared(snakemake.input.prepared)
    factors = contracts.read_factors(snakemake.input.factors)
    status = contracts.read_json(snakemake.input.run)["status"]
    seen = next(map(contracts.read_factors, snakemake.input.seen), None)
    fitted = contracts.without_held_out(data), contracts.without_held_out(factors)

    def measure(metric, params):
        if metric.SPEC.held_out:
            return metric.score(data, factors, params, seen)
        return metric.score(*fitted, params)

    run = {key: snakemake.wildcards[key] for key in ("dataset", "method", "seed")}
    scores = score(snakemake.params.metrics, "run", measure).assign(**run, status=status)
    contracts.write_table(snakemake.output[0], scores[list(contracts.SCORE_COLUMNS)])
