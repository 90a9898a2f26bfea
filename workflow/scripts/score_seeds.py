"""All metrics over the seeds of one method on one dataset, as one tidy table. Its rows have no seed."""

from factorbench.adapters import reporting
from factorbench.contracts.factors import read_factors
from factorbench.contracts.files import read_json, write_table
from factorbench.contracts.prepared import read_prepared, without_held_out
from factorbench.results.scoring import score_seeds

with reporting(snakemake):
    data = without_held_out(read_prepared(snakemake.input.prepared))
    factors = [without_held_out(read_factors(path)) for path in snakemake.input.factors]
    statuses = [read_json(path)["status"] for path in snakemake.input.runs]
    group = {key: snakemake.wildcards[key] for key in ("dataset", "method")}
    write_table(snakemake.output[0], score_seeds(snakemake.params.metrics, data, factors, statuses, group))
