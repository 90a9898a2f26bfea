"""One figure, as PNG and SVG, from tidy tables."""

import importlib

from factorbench import contracts
from factorbench.adapter import reporting
from factorbench.plots import style

with reporting(snakemake):
    figure = snakemake.params.figure
    tables = {name: contracts.read_table(path) for name, path in snakemake.input.items() if name != "code"}
    plot = importlib.import_module(f"factorbench.plots.{figure['kind']}").plot
    style.save(plot(tables, figure, snakemake.config), snakemake.output.png, snakemake.output.svg)
