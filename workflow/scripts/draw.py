"""One figure, as PNG and SVG, from tidy tables."""

from factorbench import registry
from factorbench.adapters import reporting
from factorbench.contracts.files import read_table
from factorbench.reporting.plots import _style

with reporting(snakemake):
    figure = snakemake.params.figure
    tables = {name: read_table(path) for name, path in snakemake.input.items()}
    plot = registry.load("figure", figure["kind"]).plot
    _style.save(plot(tables, figure, snakemake.params.shown), snakemake.output.png, snakemake.output.svg)
