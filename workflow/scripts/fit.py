"""One run: write its job, have it done in a process of its own, report how it ended."""

import sys
from pathlib import Path

from factorbench.adapters import reporting
from factorbench.contracts.files import write_json
from factorbench.runs.execute import outcome_line
from factorbench.runs.supervise import both, supervise

with reporting(snakemake) as say:
    run, planned = snakemake.wildcards, snakemake.config["planned"]
    entry = snakemake.config["methods"][run.method]
    keys = ("use", "params", "device", "budget_seconds", "timeout_seconds")
    job = {"dataset": run.dataset, "method": run.method, "seed": int(run.seed)}
    job |= {key: snakemake.params[key] for key in keys} | {"prepared": snakemake.input.prepared}
    job |= {"threads": min(entry["threads"] or snakemake.threads, snakemake.threads)}
    job |= {key: snakemake.output[key] for key in ("factors", "run", "model")}
    write_json(snakemake.output.job, job)
    folder = Path(snakemake.output.run).parents[3]
    done = sum(folder.joinpath(*map(str, other), "run.json").exists() for other in planned)
    name = f"run {done + 1} of {len(planned)}: {entry['title']} on {run.dataset}, seed {run.seed}"
    say(name)
    record = supervise(snakemake.output.job, both(sys.__stderr__.buffer, sys.stdout))
    say(f"{name}: {outcome_line(record)}")
