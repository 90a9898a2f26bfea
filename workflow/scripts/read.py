"""Read the files of a dataset with the reader that its entry names, and check that they hold counts.

Files whose hash is not known are pinned after the last check, so that a file that is refused is not pinned.
"""

from pathlib import Path

from factorbench import registry
from factorbench.adapters import reporting
from factorbench.contracts.errors import UserError
from factorbench.contracts.files import on_disk, write_raw
from factorbench.data import checksums
from factorbench.data.counts import check_counts

with reporting(snakemake) as say:
    dataset, reader = snakemake.wildcards.dataset, snakemake.params.reader
    entry = snakemake.config["datasets"][dataset]
    files = {key: Path(path) for key, path in snakemake.input.items()}
    downloads = {key: path for key, path in files.items() if key in entry["files"]}
    unpinned = checksums.verify(entry["files"], downloads, entry["group"])
    module = registry.load("reader", reader)
    read = getattr(module, "blocks", module.read)  # in blocks of cells if the reader can
    try:
        write_raw(snakemake.output[0], read(files, snakemake.params.options))
        with on_disk(snakemake.output[0]) as data:
            say(f"read   {dataset}: {data.n_obs:,} cells, {data.n_vars:,} genes")
            checksums.check_shape(dataset, data.n_obs, data.n_vars, entry["expect"])
            check_counts(data, f"datasets.{dataset}")
    except UserError as error:
        raise UserError(f"{error}{checksums.read_from(files.values(), str(error))}") from None
    for pin in checksums.pin(unpinned):
        say(f"pinned {pin.group}/{pin.file}: sha256 {pin.sha256} from {pin.source} (in {checksums.LOCAL})")
