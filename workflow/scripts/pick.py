"""Scores of the two factors of a scatter figure, a row a cell."""

from factorbench import contracts, tables
from factorbench.adapter import reporting

with reporting(snakemake):
    figure = snakemake.params.figure
    data = contracts.read_prepared(snakemake.input.prepared)
    factors = contracts.read_factors(snakemake.input.factors)
    cells = tables.cells_table(data, factors, figure["x"], figure["y"], [figure["colour"]])
    contracts.write_table(snakemake.output[0], cells)
