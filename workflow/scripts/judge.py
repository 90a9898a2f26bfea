"""The claims held against the tables."""

from factorbench import claims, contracts, tables
from factorbench.adapter import reporting

with reporting(snakemake) as say:
    results = {name: contracts.read_table(snakemake.input[name]) for name in ("runs", "runtime", "scores")}
    found = claims.claims_table(claims.read(snakemake.config["claims"]), results, snakemake.config)
    say("claims: " + ", ".join(f"{n} {verdict}" for verdict, n in found["verdict"].value_counts().items()))
    contracts.write_table(snakemake.output[0], tables.say_missing(found, snakemake.config["datasets"]))
