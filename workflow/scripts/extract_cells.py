"""Scores of the two factors of a scatter figure, one row per cell."""

from factorbench.adapters import reporting
from factorbench.contracts.factors import read_factors
from factorbench.contracts.files import read_table, write_table
from factorbench.contracts.prepared import read_prepared
from factorbench.results.cells import cells_table

with reporting(snakemake):
    figure = snakemake.params.figure
    data, factors = read_prepared(snakemake.input.prepared), read_factors(snakemake.input.factors)
    scores = read_table(snakemake.input.scores)
    labels = [label for label in dict.fromkeys((figure["colour"], figure["facet"])) if label]
    write_table(snakemake.output[0], cells_table(data, factors, scores, figure["x"], figure["y"], labels))
