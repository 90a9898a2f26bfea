"""Ask whether every file that the planned runs need can be had, before the first is fetched."""

from pathlib import Path

from factorbench import config as settings
from factorbench import sources
from factorbench.adapter import reporting
from factorbench.contracts import UserError, write_json

with reporting(snakemake) as say:
    config = snakemake.config
    files = [(group, settings.file_entry(config, group, name)) for group, name in snakemake.params.files]
    seen, missing = sources.ask(files, config["mirrors"], Path("resources"))
    for line in missing[:-1]:
        say(f"error: {line}")
    if missing:
        raise UserError(missing[-1])
    write_json(snakemake.output[0], seen)
