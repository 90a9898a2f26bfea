"""Read a dataset's raw files with the reader its entry names; pin those whose hash was not known."""

from pathlib import Path

from factorbench import pins, registry
from factorbench.adapter import reporting
from factorbench.contracts import on_disk
from factorbench.prepare import write_raw

with reporting(snakemake) as say:
    dataset, reader = snakemake.wildcards.dataset, snakemake.params.reader
    entry = snakemake.config["datasets"][dataset]
    files = {key: Path(path) for key, path in snakemake.input.items() if key != "code"}
    unpinned = pins.verify(entry["files"], files, entry["group"])
    module = registry.load("reader", reader)
    read = getattr(module, "blocks", module.read)  # block by block, where the reader can
    write_raw(snakemake.output[0], read(files, snakemake.params.options))
    with on_disk(snakemake.output[0]) as data:
        say(f"read   {dataset}: {data.n_obs:,} cells, {data.n_vars:,} genes")
        pins.check_shape(dataset, data.n_obs, data.n_vars, entry["expect"])
    for pin in pins.pin(unpinned):
        say(f"pinned {pin.group}/{pin.file}: sha256 {pin.sha256} from {pin.source}; commit {pins.TABLE.name}")
