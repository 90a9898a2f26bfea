"""Read a dataset's raw files with the reader its entry names; pin those whose hash was not known."""

from pathlib import Path

from factorbench import pins, registry
from factorbench.adapter import reporting
from factorbench.prepare import write_raw

with reporting(snakemake) as say:
    dataset, reader = snakemake.wildcards.dataset, snakemake.params.reader
    entry = snakemake.config["datasets"][dataset]
    files = {key: Path(path) for key, path in snakemake.input.items() if key != "code"}
    unpinned = pins.verify(entry["files"], files, entry["group"])
    data = registry.load("reader", reader).read(files, snakemake.params.options)
    say(f"read   {dataset}: {data.n_obs:,} cells, {data.n_vars:,} genes")
    pins.check_shape(dataset, data.n_obs, data.n_vars, entry["expect"])
    write_raw(snakemake.output[0], data)
    for pin in pins.pin(unpinned):
        say(f"pinned {pin.group}/{pin.file}: sha256 {pin.sha256} from {pin.source}; commit {pins.TABLE.name}")
