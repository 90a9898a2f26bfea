"""Read a dataset's raw files with the reader its entry names."""

from pathlib import Path

from factorbench import registry
from factorbench.adapter import reporting
from factorbench.prepare import write_raw

with reporting(snakemake) as say:
    dataset, reader = snakemake.wildcards.dataset, snakemake.params.reader
    files = {key: Path(path) for key, path in snakemake.input.items() if key != "code"}
    data = registry.load("reader", reader).read(files, snakemake.params.options)
    say(f"read   {dataset}: {data.n_obs:,} cells, {data.n_vars:,} genes")
    write_raw(snakemake.output[0], data)
