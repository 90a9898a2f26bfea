"""Every method on a dataset against the reference, factor by factor on the same cells."""

from factorbench import compare, contracts
from factorbench.adapter import reporting
from factorbench.contracts import read_factors, without_held_out
from factorbench.metrics._questions import contrast_question

with reporting(snakemake):
    data = without_held_out(contracts.read_prepared(snakemake.input.prepared))
    asked = contrast_question(data)
    right = {}
    if asked is not None:
        for (method, seed), path in zip(snakemake.params.runs, snakemake.input.factors, strict=True):
            right[method, seed] = compare.right_cells(data, without_held_out(read_factors(path)))
    label = asked[1] if asked else ""
    table = compare.compare(snakemake.wildcards.dataset, label, right, snakemake.params.reference)
    contracts.write_table(snakemake.output[0], table)
