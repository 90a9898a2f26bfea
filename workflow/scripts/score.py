"""All metrics of one run, as one tidy table."""

from factorbench.adapters import reporting
from factorbench.contracts.factors import read_factors
from factorbench.contracts.files import read_json, write_table
from factorbench.contracts.prepared import read_prepared
from factorbench.results.scoring import score_run

with reporting(snakemake):
    data, factors = read_prepared(snakemake.input.prepared), read_factors(snakemake.input.factors)
    seen = next(map(read_factors, snakemake.input.seen), None)
    run = {key: snakemake.wildcards[key] for key in ("dataset", "method", "seed")}
    run["status"] = read_json(snakemake.input.run)["status"]
    write_table(snakemake.output[0], score_run(snakemake.params.metrics, data, factors, seen, run))
