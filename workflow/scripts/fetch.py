"""Download one file from the first of its sources that has it."""

from factorbench.adapters import reporting
from factorbench.config.plan import file_entry
from factorbench.data import archives, checksums
from factorbench.data.download import fetch

with reporting(snakemake) as say:
    group, name = snakemake.wildcards.group, snakemake.wildcards.file
    entry = file_entry(snakemake.config, group, name)
    say(f"fetch  {group}/{name}")
    pinned = checksums.known(entry, group)[0]
    limit = int(snakemake.config["limits"]["unpacked"] * archives.GIB)
    source = fetch(entry, snakemake.output[0], group, snakemake.config["mirrors"], limit=limit)
    state = "its sha256 is right"
    if not checksums.known(entry, group)[0]:
        state = f"it has changed, its sha256 was {pinned}" if pinned else "its sha256 is not known yet"
    say(f"fetch  {group}/{name}: from {source}, {state}")
