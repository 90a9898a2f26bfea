"""Describe a prepared dataset, in a file and on the terminal."""

from factorbench.adapters import reporting
from factorbench.contracts.files import atomic
from factorbench.contracts.prepared import prepared_record, read_prepared
from factorbench.data.description import describe

with reporting(snakemake) as say:
    data = read_prepared(snakemake.input.prepared)
    text = describe(data, prepared_record(data), snakemake.params.entry, snakemake.params.runs)
    with atomic(snakemake.output[0]) as part:
        part.write_text(text, encoding="utf-8")
    say(text)
