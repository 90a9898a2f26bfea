"""What ``make run`` ends with: the most important numbers on the terminal, and where the report is.

``python -m factorbench.summary [results]``
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from ..contracts.files import read_table
from ..results.runtime import hosts, several_hosts


def summary(results: Path) -> str:
    """A short table of time and best separating factor by dataset and method, the claims, the path of the report."""
    if not (results / "report.html").exists():
        return f"no report yet in {results}"
    runtime = read_table(results / "tables" / "runtime.tsv")
    separation = read_table(results / "tables" / "separation.tsv")
    questions = separation.drop_duplicates("dataset")[["dataset", "label"]]
    best = separation.merge(questions, on=["dataset", "label"])
    table = runtime.merge(best[["dataset", "method", "factor", "accuracy"]], how="left", on=["dataset", "method"])
    least = (table["bound"] == "at least").map({True: ">= ", False: ""})
    several = several_hosts(runtime)
    columns = {
        "dataset": table["dataset"] + " (" + table["cells"].astype(str) + " cells)",
        **({"machine": hosts(table)} if several else {}),
        "method": table["method"],
        "runs": table["statuses"],
        "seconds": least + table["seconds"].map("{:.1f}".format),
        "ratio": table["ratio"].map(lambda ratio: "" if pd.isna(ratio) else f"{ratio:.2g}"),
        "best factor": table["factor"].fillna("").str.slice(0, 44),
        "accuracy": table["accuracy"].map(lambda value: "" if pd.isna(value) else f"{value:.3f}"),
    }
    lines = pd.DataFrame(columns).to_string(index=False, justify="left")
    asked = "; ".join(f"{row.label} in {row.dataset}" for row in questions.itertuples())
    note = f"best factor: of all factors the one that tells best ({asked}), mean accuracy over seeds"
    note += f"\nruns were {several}" if several else ""
    if (results / "tables" / "claims.tsv").exists():
        claims = read_table(results / "tables" / "claims.tsv")
        for verdict, names in claims.groupby("verdict", sort=False)["claim"]:
            note += f"\nclaims {verdict}: {', '.join(names)}"
    return f"{lines}\n\n{note}\nreport: {(results / 'report.html').resolve()}"


if __name__ == "__main__":
    print(summary(Path(sys.argv[1] if len(sys.argv) > 1 else "results")))
