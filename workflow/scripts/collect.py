"""All runs and scores in tidy tables."""

import pandas as pd
from factorbench import contracts, scaling, tables
from factorbench.adapter import reporting
from factorbench.report import read_record


def together(paths):
    """Tables one below the other; those without a row have nothing to say of types either."""
    found = [contracts.read_table(path) for path in paths]
    return pd.concat([table for table in found if len(table)] or found[:1], ignore_index=True)


with reporting(snakemake):
    datasets, reference = snakemake.config["datasets"], snakemake.params.reference
    scores = together([*snakemake.input.scores, *snakemake.input.over_seeds])
    contracts.check_scores(scores)
    runs = tables.runs_table([contracts.read_json(path) for path in snakemake.input.runs])
    records = map(read_record, snakemake.input.prepared)
    sized = scaling.families(runs, {record["dataset"]: record["sets"]["kept"] for record in records}, datasets)
    results = {
        "runs": runs,
        "runtime": tables.runtime_table(runs, reference, datasets, snakemake.params.paper),
        "separation": tables.separation_table(scores),
        "top_pathways": tables.top_pathways(scores, snakemake.params.top),
        "comparisons": together(snakemake.input.comparisons),
        "scaling": scaling.laws(sized),
        "full_time": scaling.full_times(sized, reference),
        "scores": scores,
    }
    for name, table in results.items():
        contracts.write_table(snakemake.output[name], tables.say_missing(table, datasets))
