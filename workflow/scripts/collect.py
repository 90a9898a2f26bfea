"""All runs and scores in tidy tables."""

import pandas as pd
from factorbench import contracts, tables
from factorbench.adapter import reporting

with reporting(snakemake):
    scores = pd.concat([contracts.read_table(path) for path in snakemake.input.scores], ignore_index=True)
    contracts.check_scores(scores)
    runs = tables.runs_table([contracts.read_json(path) for path in snakemake.input.runs])
    results = {
        "runs": runs,
        "runtime": tables.runtime_table(runs, snakemake.params.reference, snakemake.config["datasets"]),
        "separation": tables.separation_table(scores),
        "top_pathways": tables.top_pathways(scores, snakemake.params.top),
        "scores": scores,
    }
    for name, table in results.items():
        contracts.write_table(snakemake.output[name], table)
