"""Test the claims of the paper against the tables."""

from factorbench.adapters import reporting
from factorbench.config.claims import read
from factorbench.contracts.files import read_table, write_table
from factorbench.reporting.claims.verdicts import claims_table

with reporting(snakemake) as say:
    results = {name: read_table(snakemake.input[name]) for name in ("runs", "runtime", "scores")}
    table = claims_table(read(snakemake.params.shown["claims"]), results, snakemake.params.shown)
    say("claims: " + ", ".join(f"{n} {verdict}" for verdict, n in table["verdict"].value_counts().items()))
    write_table(snakemake.output[0], table)
