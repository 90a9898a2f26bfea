"""``python -m factorbench.results.verify [results]``: are the results those of the manifest, and do runs give them?

Every file is compared with its hash in the manifest. Then all scores, tables and figures are made again from the runs,
in a temporary folder, and compared.
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

from ..config.plan import PROJECT, needed_files
from ..contracts.errors import UserError
from ..contracts.files import read_json, write_json
from ..contracts.process import begin
from ..runs.machine import git_state
from .provenance import files_in, packages, size_and_hash

RULES = ("score", "score_seeds", "compare", "collect", "test_claims", "extract_cells", "draw", "report")
"""The rules between the runs and the report. Only they may run here."""
MADE = ("results/scores/", "results/comparisons/", "results/tables/", "results/figures/", "results/report.html")
"""The files that these rules make."""
NOT_LISTED = ("logs/*", "benchmarks/*", "data/*/raw.h5ad", "data/*/checked.json", "data/*/description.txt")
"""Intermediate files below results/ that no table or figure reads."""


def verify(results: Path) -> tuple[list[str], list[str], str]:
    """Return faults, notes and a summary, one line each.

    Parameters
    ----------
    results
        The folder ``results`` of a working directory, with its manifest.

    Raises
    ------
    UserError
        If there is no manifest, or the tables cannot be made again.
    """
    if not (results / "manifest.json").exists():
        raise UserError(f"{results}: there is no manifest.json; a finished benchmark has one: make run")
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
    """Return the files of the manifest ``record`` that are missing below ``root`` or have changed, a line each."""
    lines = []
    for path, expected in (record["inputs"] | record["outputs"]).items():
        if not (root / path).is_file():
            lines.append(f"{path}: is missing")
        elif size_and_hash(root / path) != expected:
            lines.append(f"{path}: is not the file that the manifest lists")
    return lines


def make_again(record: dict[str, Any], root: Path, folder: Path) -> None:
    """Make scores, tables, figures and report from the data and runs below ``root``, in the empty ``folder``.

    Raises
    ------
    UserError
        If that fails; Snakemake's output goes to stderr.
    """
    (folder / "results").mkdir()
    for part in ("data", "runs", "nulls"):
        (folder / "results" / part).symlink_to(root / "results" / part)
    write_json(folder / "config.yaml", record["given"])  # json is valid YAML
    # No rule here reads the downloads, but Snakemake would look for them.
    for group, name in needed_files(record["config"], record["config"]["datasets"]):
        (folder / "resources" / group).mkdir(parents=True, exist_ok=True)
        (folder / "resources" / group / name).touch()
    command = [sys.executable, "-m", "snakemake", "results/report.html", "--snakefile", str(PROJECT / "Snakefile")]
    command += ["--directory", str(folder), "--cores", "all", "--allowed-rules", *RULES]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        print(done.stdout.decode(errors="replace"), file=sys.stderr)
        raise UserError("scores, tables and figures could not be made again from these runs; the lines above say why")


def differing(record: dict[str, Any], root: Path, folder: Path) -> list[str]:
    """Return scores, tables, figures and report below ``root`` that differ from those in ``folder``, a line each."""
    again = {os.path.relpath(path, folder) for path in files_in(folder / "results")}
    lines = []
    for path in sorted({path for path in again | set(record["outputs"]) if path.startswith(MADE)}):
        if path not in again:
            lines.append(f"{path}: these runs do not give this file")
        elif not (root / path).is_file():
            lines.append(f"{path}: is missing, although these runs give it")
        elif content(root / path) != content(folder / path):
            lines.append(f"{path}: differs from what these runs give")
    return lines


def content(path: Path) -> bytes:
    """Return the bytes of a file; of a compressed table, its content (there are several ways to compress it)."""
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def notes(record: dict[str, Any], results: Path) -> list[str]:
    """Return what helps to understand the faults, a line each: unlisted files, another commit, other packages."""
    names = sorted(path.relative_to(results).as_posix() for path in files_in(results))
    known = {path.removeprefix("results/") for path in record["outputs"]} | {"manifest.json"}
    extra = [n for n in names if n not in known and not any(fnmatch.fnmatch(n, pattern) for pattern in NOT_LISTED)]
    lines = [f"results/{name}: is not in the manifest" for name in extra]
    then, now = record["git"]["commit"], git_state()[0]
    if then != now:
        lines.append(f"these results were made by commit {then}, this is commit {now}")
    before, here = record["packages"], packages()
    moved = [
        f"{name} {before.get(name)} -> {here.get(name)}"
        for name in sorted(before.keys() | here.keys())
        if before.get(name) != here.get(name)
    ]
    return lines + ([f"packages have changed since: {', '.join(moved)}"] if moved else [])


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
    begin()
    sys.exit(main(sys.argv[1:]))
