"""Describe a prepared dataset, in a file and on the terminal."""

from factorbench.adapter import reporting
from factorbench.contracts import atomic, prepared_record, read_prepared
from factorbench.describe import describe

with reporting(snakemake) as say:
    data = read_prepared(snakemake.input.prepared)
    entry = snakemake.config["datasets"][snakemake.wildcards.dataset]
    text = describe(data, prepared_record(data), entry, snakemake.params.runs)
    with atomic(snakemake.output[0]) as part:
        part.write_text(text)
    say(text)
