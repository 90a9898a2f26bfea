"""Read the files of a dataset with the reader that its entry names. Pin the files whose hash is not known."""

from pathlib import Path

from factorbench import registry
from factorbench.adapters import reporting
from factorbench.contracts.files import on_disk, write_raw
from factorbench.data import checksums

with reporting(snakemake) as say:
    dataset, reader = snakemake.wildcards.dataset, snakemake.params.reader
    entry = snakemake.config["datasets"][dataset]
    files = {key: Path(path) for key, path in snakemake.input.items()}
    unpinned = checksums.verify(entry["files"], files, entry["group"])
    module = registry.load("reader", reader)
    read = getattr(module, "blocks", module.read)  # in blocks of cells if the reader can
    write_raw(snakemake.output[0], read(files, snakemake.params.options))
    with on_disk(snakemake.output[0]) as data:
        say(f"read   {dataset}: {data.n_obs:,} cells, {data.n_vars:,} genes")
        checksums.check_shape(dataset, data.n_obs, data.n_vars, entry["expect"])
    for pin in checksums.pin(unpinned):
        say(f"pinned {pin.group}/{pin.file}: sha256 {pin.sha256} from {pin.source} (in {checksums.LOCAL})")
