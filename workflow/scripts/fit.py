"""One run: write its job, have it done in a process of its own, say how it ended."""

import sys
from pathlib import Path

from factorbench import config as settings
from factorbench.adapter import reporting
from factorbench.contracts import write_json
from factorbench.run import summary, supervise

terminal = sys.stderr.buffer
with reporting(snakemake) as say:
    dataset, method, seed = (snakemake.wildcards[key] for key in ("dataset", "method", "seed"))
    planned = settings.planned(snakemake.config)
    pattern = str(Path(snakemake.output.run).parents[3] / "{}/{}/{}/run.json")
    done = sum(Path(pattern.format(*run)).exists() for run in planned)
    entry = snakemake.config["methods"][method]
    name = f"run {done + 1} of {len(planned)}: {entry['title']} on {dataset}, seed {seed}"
    job = {
        "dataset": dataset,
        "method": method,
        "use": snakemake.params.use,
        "params": snakemake.params.params,
        "seed": int(seed),
        "device": snakemake.params.device,
        "threads": min(entry["threads"] or snakemake.threads, snakemake.threads),
        "budget_seconds": snakemake.params.budget,
        "timeout_seconds": snakemake.params.timeout,
        "prepared": snakemake.input.prepared,
        **{key: snakemake.output[key] for key in ("factors", "run", "model")},
    }
    write_json(snakemake.output.job, job)
    say(name)

    def echo(chunk: bytes) -> None:
        terminal.write(chunk)
        terminal.flush()
        sys.stdout.write(chunk.decode(errors="replace"))

    record = supervise(snakemake.output.job, echo)
    say(f"{name}: {summary(record)}")
