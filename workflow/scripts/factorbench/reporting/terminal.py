"""``python -m factorbench.reporting.terminal [results]``: the most important numbers, at the end of ``make run``."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from ..contracts.files import read_table
from ..contracts.process import begin
from ..results.runtime import hosts, several_hosts


def summary(results: Path) -> str:
    """Return a table of time and best factor by dataset and method, the claims by verdict, the path of the report."""
    if not (results / "report.html").exists():
        return f"no report yet in {results}"
    tables = {path.stem: read_table(path) for path in (results / "tables").glob("*.tsv")}
    runtime, separation = tables["runtime"], tables["separation"]
    runtime = pd.concat([rows for _, rows in runtime.groupby("dataset", sort=False)], ignore_index=True)
    questions = separation.drop_duplicates("dataset")[["dataset", "label"]]
    best = separation.merge(questions, on=["dataset", "label"]).rename(columns={"factors": "best"})
    table = runtime.merge(best[["dataset", "method", "best", "accuracy"]], how="left", on=["dataset", "method"])
    at_least = (table["bound"] == "at least").map({True: ">= ", False: ""})
    several = several_hosts(runtime)
    columns = {
        "dataset": table["dataset"] + " (" + table["cells"].astype(str) + " cells)",
        **({"machine": hosts(table)} if several else {}),
        "method": table["method"],
        "runs": table["statuses"],
        "seconds": at_least + table["seconds"].map(lambda seconds: "" if pd.isna(seconds) else f"{seconds:.1f}"),
        "ratio": table["ratio"].map(lambda ratio: "" if pd.isna(ratio) else f"{ratio:.2g}"),
        "accuracy": table["accuracy"].map(lambda value: "" if pd.isna(value) else f"{value:.3f}"),
        "best factor": table["best"].fillna("").map(lambda names: names if len(names) < 60 else names[:57] + "..."),
    }
    shown = pd.DataFrame(columns)
    for name in {"dataset", "machine", "method", "runs", "best factor"} & {*columns}:
        width = max(map(len, [name, *shown[name]]))
        shown = shown.assign(**{name: shown[name].str.ljust(width)}).rename(columns={name: name.ljust(width)})
    lines = [shown.to_string(index=False), ""]
    labels = "; ".join(f"{row.label} in {row.dataset}" for row in questions.itertuples())
    lines.append(f"best factor: it separates best among all factors, chosen in every seed ({labels})")
    if several:
        lines.append(f"runs were {several}")
    if "claims" in tables:
        for verdict, claims in tables["claims"].groupby("verdict", sort=False)["claim"]:
            lines.append(f"claims {verdict}: {', '.join(claims)}")
    return "\n".join([*lines, f"report: {(results / 'report.html').resolve()}"])


if __name__ == "__main__":
    begin()
    print(summary(Path(sys.argv[1] if len(sys.argv) > 1 else "results")))
