"""All metrics over the seeds of one method on one dataset, as one tidy table; their rows have no seed."""

from factorbench import contracts
from factorbench.adapter import reporting
from factorbench.score import score

with reporting(snakemake):
    data = contracts.without_held_out(contracts.read_prepared(snakemake.input.prepared))
    runs = [contracts.without_held_out(contracts.read_factors(path)) for path in snakemake.input.factors]
    found = [not run.uns["factors"].empty for run in runs]
    statuses = [contracts.read_json(path)["status"] for path in snakemake.input.runs]
    # A table over seeds is as good as the worst of those it is about.
    status = next((s for s, has in zip(statuses, found, strict=True) if has and s != "ok"), "ok")
    runs = [run for run, has in zip(runs, found, strict=True) if has]
    group = {key: snakemake.wildcards[key] for key in ("dataset", "method")}
    scores = score(snakemake.params.metrics, "seeds", lambda metric, params: metric.score(data, runs, params))
    scores = scores.assign(**group, seed=None, status=status)
    contracts.write_table(snakemake.output[0], scores[list(contracts.SCORE_COLUMNS)])
