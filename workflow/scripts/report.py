"""The one-page report."""

from pathlib import Path

from factorbench import contracts, report
from factorbench.adapter import reporting

with reporting(snakemake):
    tables = {Path(path).stem: contracts.read_table(path) for path in snakemake.input.tables}
    records = {record["dataset"]: record for record in map(report.read_record, snakemake.input.prepared)}
    figures = {Path(path).stem: path for path in snakemake.input.figures}
    page = report.render(snakemake.input.template, report.context(snakemake.config, tables, records, figures))
    with contracts.atomic(snakemake.output[0]) as part:
        part.write_text(page)
