"""All runs and scores in tidy tables."""

from factorbench.adapters import reporting
from factorbench.contracts.files import read_json, read_table, write_table
from factorbench.contracts.prepared import read_record
from factorbench.results.tables import stack, tables

with reporting(snakemake):
    runs = [read_json(path) for path in snakemake.input.runs]
    scores = stack(map(read_table, [*snakemake.input.scores, *snakemake.input.over_seeds, *snakemake.input.nulls]))
    comparisons = stack(map(read_table, snakemake.input.comparisons))
    records = map(read_record, snakemake.input.prepared)
    for name, table in tables(runs, scores, comparisons, records, snakemake.params.shown).items():
        write_table(snakemake.output[name], table)
