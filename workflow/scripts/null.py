"""The factors of a method on a dataset, all its seeds, against random gene sets of the same size and expression."""

from factorbench import registry
from factorbench.adapters import reporting
from factorbench.contracts.factors import read_factors
from factorbench.contracts.files import read_json, write_table
from factorbench.contracts.prepared import read_prepared
from factorbench.results.nulls import null_table
from factorbench.runs.execute import ready

with reporting(snakemake) as say:
    dataset, method = snakemake.wildcards
    null, wanted = snakemake.params.null, snakemake.params.null["permutations"]
    records = list(map(read_json, snakemake.input.runs))
    runs = [
        ({key: record[key] for key in ("dataset", "method", "seed", "status")}, read_factors(path))
        for record, path in zip(records, snakemake.input.factors, strict=True)
    ]
    fit = {"use": snakemake.params.use, "params": snakemake.params.params, "seed": records[0]["seed"]}
    fit |= {"threads": snakemake.threads, "permutations": wanted, "budget": null["budget"]}
    with ready(registry.load("method", fit["use"]).SPEC, fit["seed"], snakemake.threads):
        table, done = null_table(read_prepared(snakemake.input.prepared), runs, fit)
    write_table(snakemake.output[0], table)
    say(f"null   {method} on {dataset}: {done} of {wanted} permutations, the smallest p is {1 / (1 + done):.2g}")
