"""What the results follow from, and what they are."""

from factorbench.adapters import reporting
from factorbench.contracts.files import read_json, write_json
from factorbench.results.provenance import inputs, manifest

with reporting(snakemake):
    runs = [read_json(path) for path in snakemake.input.runs]
    files = inputs(snakemake.config, dict.fromkeys(run["dataset"] for run in runs))
    write_json(snakemake.output[0], manifest(snakemake.config, snakemake.params.given, runs, files, snakemake.input))
