"""The one-page report."""

from pathlib import Path

from factorbench.adapters import reporting
from factorbench.contracts.files import atomic, read_table
from factorbench.contracts.prepared import read_record
from factorbench.reporting.page import context, render

with reporting(snakemake):
    tables = {Path(path).stem: read_table(path) for path in snakemake.input.tables}
    records = {record["dataset"]: record for record in map(read_record, snakemake.input.prepared)}
    figures = {Path(path).stem: path for path in snakemake.input.figures}
    page = render(context(snakemake.params.shown, tables, records, figures))
    with atomic(snakemake.output[0]) as part:
        part.write_text(page, encoding="utf-8")
