"""Results against their manifest, and every score, table and figure against the runs it is made from.

``python -m factorbench.verify [results]``
"""

from __future__ import annotations

import fnmatch
import gzip
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from . import pins, provenance, sources
from .contracts import UserError, read_json, write_json
from .run import git_state

RULES = ("score", "score_seeds", "compare", "collect", "judge", "pick", "draw", "report")
"""The rules that make what is looked at from runs: no others are run."""
MADE = ("results/scores/", "results/comparisons/", "results/tables/", "results/figures/", "results/report.html")
"""What they make."""
UNTOLD = ("logs/*", "benchmarks/*", "data/*/raw.h5ad", "data/*/checked.json", "data/*/description.txt", "manifest.json")
"""Files under results/ that nothing shown is made from but by way of others."""


def verify(results: Path) -> tuple[list[str], list[str], str]:
    """Faults, notes and a summary, a line each.

    Parameters
    ----------
    results
        The folder ``results`` of a project, with its manifest. Its config must be one that this code understands.

    Raises
    ------
    UserError
        If there is no manifest, or nothing could be made again.
    """
    if not (results / "manifest.json").exists():
        raise UserError(f"{results}: there is no manifest.json; snakemake makes it, last of all")
    root = results.resolve().parent
    record = read_json(results / "manifest.json")
    faults = changed(record, root)
    with tempfile.TemporaryDirectory(prefix="factorbench-verify-") as folder:
        make_again(record, root, Path(folder))
        faults += differing(record, root, Path(folder))
    made = sum(path.startswith(MADE) for path in record["outputs"])
    summary = (
        f"{len(record['inputs']) + len(record['outputs'])} files are those of {results / 'manifest.json'}; {made} of "
        f"them were made again from {record['runs']['number']} runs and are the same"
    )
    return faults, notes(record, results), summary


def changed(record: dict[str, Any], root: Path) -> list[str]:
    """Files of the manifest ``record`` that are missing below ``root`` or are not what they were, a line each."""
    lines = []
    for path, was in (record["inputs"] | record["outputs"]).items():
        if not (root / path).is_file():
            lines.append(f"{path}: is missing")
        elif provenance.described(root / path) != was:
            lines.append(f"{path}: is not the file that the manifest was made with")
    return lines


def make_again(record: dict[str, Any], root: Path, folder: Path) -> None:
    """Make scores, tables, figures and the report from the data and runs below ``root``, in the empty ``folder``.

    Raises
    ------
    UserError
        If that fails; what Snakemake said is on stderr.
    """
    (folder / "results").mkdir()
    for part in ("data", "runs"):
        (folder / "results" / part).symlink_to(root / "results" / part)
    write_json(folder / "config.yaml", record["given"])  # json is YAML
    # Nothing reads the downloads, but Snakemake would ask their sources for them.
    for group, name in sources.planned(record["config"], record["config"]["datasets"]):
        (folder / "resources" / group).mkdir(parents=True, exist_ok=True)
        (folder / "resources" / group / name).touch()
    command = [sys.executable, "-m", "snakemake", "results/report.html", "--snakefile", str(pins.ROOT / "Snakefile")]
    command += ["--directory", str(folder), "--cores", "all", "--allowed-rules", *RULES]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        raise UserError("the scores, tables and figures cannot be made again from these runs; the lines above say why")


def differing(record: dict[str, Any], root: Path, folder: Path) -> list[str]:
    """Scores, tables, figures and report below ``root`` that are not those made again in ``folder``, a line each."""
    again = {os.path.relpath(path, folder) for path in provenance.inside(folder / "results")}
    lines = []
    for path in sorted({path for path in again | set(record["outputs"]) if path.startswith(MADE)}):
        if path not in again:
            lines.append(f"{path}: nothing makes it from these runs")
        elif not (root / path).is_file():
            lines.append(f"{path}: is missing, although these runs give it")
        elif content(root / path) != content(folder / path):
            lines.append(f"{path}: is not what these runs give")
    return lines


def content(path: Path) -> bytes:
    """The bytes of a file; of a compressed table what it holds: equal tables may be compressed in several ways."""
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def notes(record: dict[str, Any], results: Path) -> list[str]:
    """What a reader of the faults wants to know: files nobody made, other code and other packages, a line each."""
    names = sorted(path.relative_to(results).as_posix() for path in provenance.inside(results))
    told = [name for name in names if not any(fnmatch.fnmatch(name, pattern) for pattern in UNTOLD)]
    lines = [f"results/{name}: is not in the manifest" for name in told if f"results/{name}" not in record["outputs"]]
    then, now = record["git"]["commit"], git_state()[0]
    if then != now:
        lines.append(f"these results were completed by commit {then}, and are looked at by {now}")
    before, here = record["packages"], provenance.packages()
    names = sorted(before.keys() | here.keys())
    moved = [f"{name} {before.get(name)} -> {here.get(name)}" for name in names if before.get(name) != here.get(name)]
    return lines + ([f"packages were others then: {', '.join(moved)}"] if moved else [])


def main(arguments: list[str]) -> int:
    results = Path(arguments[0] if arguments else "results")
    try:
        faults, remarks, summary = verify(results)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for line in remarks:
        print(f"note: {line}")
    for line in faults:
        print(f"wrong: {line}")
    print(f"verify: {len(faults)} faults" if faults else f"verify: {summary}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
