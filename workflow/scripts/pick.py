"""Scores of the two factors of a scatter figure, a row a cell."""

from factorbench import contracts, tables
from factorbench.adapter import reporting

with reporting(snakemake):
    figure = snakemake.params.figure
    data = contracts.read_prepared(snakemake.input.prepared)
    factors = contracts.read_factors(snakemake.input.factors)
    scores = contracts.read_table(snakemake.input.scores)
    labels = [label for label in dict.fromkeys((figure["colour"], figure["facet"])) if label]
    cells = tables.cells_table(data, factors, scores, figure["x"], figure["y"], labels)
    contracts.write_table(snakemake.output[0], cells)
