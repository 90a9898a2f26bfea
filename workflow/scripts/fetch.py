"""Fetch one file from the first of its sources that has it."""

from factorbench import archives, pins
from factorbench import config as settings
from factorbench.adapter import reporting
from factorbench.fetch import fetch

with reporting(snakemake) as say:
    group, name = snakemake.wildcards.group, snakemake.wildcards.file
    entry = settings.file_entry(snakemake.config, group, name)
    say(f"fetch  {group}/{name}")
    limit = int(snakemake.config["limits"]["unpacked"] * archives.GIB)
    source = fetch(entry, snakemake.output[0], group, snakemake.config["mirrors"], limit=limit)
    known = pins.known(entry, group).sha256
    say(f"fetch  {group}/{name}: from {source}, its hash is {'right' if known else 'not known yet'}")
