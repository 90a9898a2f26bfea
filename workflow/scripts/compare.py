"""Every method on a dataset against the reference, factor by factor on the same cells."""

from factorbench.adapters import reporting
from factorbench.contracts.factors import read_factors
from factorbench.contracts.files import write_table
from factorbench.contracts.prepared import read_prepared, without_held_out
from factorbench.results.comparison import compare

with reporting(snakemake):
    data = without_held_out(read_prepared(snakemake.input.prepared))
    runs = zip(map(tuple, snakemake.params.runs), snakemake.input.factors, strict=True)
    factors = ((run, without_held_out(read_factors(path))) for run, path in runs)
    table = compare(snakemake.wildcards.dataset, data, factors, snakemake.params.reference)
    write_table(snakemake.output[0], table)
