"""Where everything comes from."""

from factorbench import contracts, provenance
from factorbench.adapter import reporting

with reporting(snakemake):
    made = [path for name, path in snakemake.input.items() if name != "code"]
    paths = [path for part in made for path in ([part] if isinstance(part, str) else part)]
    runs = [contracts.read_json(path) for path in snakemake.input.runs]
    inputs = provenance.inputs(snakemake.config, dict.fromkeys(run["dataset"] for run in runs))
    record = provenance.manifest(snakemake.config, snakemake.params.given, runs, inputs, paths)
    contracts.write_json(snakemake.output[0], record)
