"""Where files come from, with Snakemake around it: sources are checked first, files are pinned when they are read."""

import os
import shutil
import socket
import subprocess
import sys

import anndata
import pytest
from factorbench.contracts.files import sha256

from tests.workflow.conftest import clean_environment, jobs_of, local


def errors(printed):
    return list(dict.fromkeys(line for line in printed.splitlines() if line.startswith("error: ")))


def unknown(name, *sources):
    """A file without a hash in the config."""
    return {"name": name, "sources": list(sources)}


@pytest.fixture
def dead():
    """An address that refuses connections."""
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{port.getsockname()[1]}"


@pytest.fixture
def two(bench, dead):
    """Two datasets without a source that works: a single file, and a member of an archive."""
    planted = bench.config["datasets"]["planted"]
    planted["files"] = {"counts": {**local(bench.folder / "planted.h5ad"), "sources": ["/nowhere/planted.h5ad"]}}
    other = {**planted, "files": {"counts": unknown("other.h5ad", {"url": f"{dead}/RAW.tar", "member": "other"})}}
    bench.config["datasets"]["other"] = other
    bench.config["runs"] = [{"datasets": ["planted", "other"], "methods": ["gene_set_mean"]}]
    bench.config["figures"] = {}
    bench.write_config(bench.config)
    return bench


def test_all_missing_files_are_reported_before_anything_is_downloaded_or_trained(two, dead):
    printed = two.snakemake(check=False)
    first, second = errors(printed)
    assert first.startswith("error: planted: planted.h5ad: /nowhere/planted.h5ad is not there; put ")
    assert second.startswith(f"error: other: other.h5ad: {dead}/RAW.tar does not answer (Connection")
    assert "Traceback" not in printed
    assert two.files() == set()


def test_a_file_from_a_mirror_is_pinned_and_refused_when_it_changes(two):
    mirror = two.folder / "mirror"
    for group in ("planted", "other"):
        (mirror / group).mkdir(parents=True)
        shutil.copy(two.folder / "planted.h5ad", mirror / group / f"{group}.h5ad")
    two.config["mirrors"] = [str(mirror)]
    two.write_config(two.config)
    committed, pins = two.folder / "checksums.tsv", two.folder / "resources/checksums.tsv"
    before = committed.read_text(encoding="utf-8")
    targets = ["resources/planted/planted.h5ad", "resources/other/other.h5ad", "results/data/other/raw.h5ad"]
    printed = two.snakemake(*targets)
    assert errors(printed) == []
    assert set(targets) < two.files()
    (line,) = (line for line in printed.splitlines() if line.startswith("pinned "))
    sha256 = two.config["datasets"]["planted"]["files"]["counts"]["sha256"]
    assert line == f"pinned other/other.h5ad: sha256 {sha256} from a mirror (in resources/checksums.tsv)"
    size = (two.folder / "planted.h5ad").stat().st_size
    (pin,) = pins.read_text(encoding="utf-8").splitlines()[2:]  # the hash of the other file is in the config
    assert pin.split("\t") == ["other", "other.h5ad", sha256, str(size), "a mirror"]
    assert committed.read_text(encoding="utf-8") == before
    assert "Nothing to be done" in two.snakemake("-n", *targets)

    raw, path = two.folder / "results/data/other/raw.h5ad", two.folder / "resources/other/other.h5ad"
    for file in (path, mirror / "other" / "other.h5ad"):
        file.write_bytes(file.read_bytes()[:-1000])
    raw.unlink()
    (line,) = errors(two.snakemake(*targets, check=False))
    for part in ("resources/other/other.h5ad: wrong file", sha256, "delete its line in resources/checksums.tsv"):
        assert part in line

    environment = clean_environment() | {"PYTHONPATH": "workflow/scripts"}
    command = [sys.executable, "-m", "factorbench.data.checksums"]  # make pin
    subprocess.run(command, cwd=two.folder, env=environment, check=True)
    assert committed.read_text(encoding="utf-8") == before + pin + "\n"
    path.unlink()
    (line,) = errors(two.snakemake(*targets, check=False))
    for part in ("other/other.h5ad: no source has it", sha256, f"delete its line in {committed}"):
        assert part in line
    assert not path.exists()


def test_files_that_were_not_read_completely_are_not_pinned(bench):
    (bench.folder / "broken.h5ad").write_bytes(b"\x89HDF\r\n\x1a\n and no more")
    planted = bench.config["datasets"]["planted"]
    for name, expect in {"planted": {"cells": 999}, "broken": {}}.items():
        files = {"counts": unknown(f"{name}.h5ad", str(bench.folder / f"{name}.h5ad"))}
        bench.config["datasets"][name] = {**planted, "files": files, "expect": expect}
    bench.write_config(bench.config)
    targets = [f"results/data/{name}/raw.h5ad" for name in ("planted", "broken")]
    lines = sorted(errors(bench.snakemake("--keep-going", *targets, check=False)))
    assert len(lines) == 2
    assert all(part in lines[0] for part in ("datasets.planted.expect", "999 cells, not 300", "delete"))
    assert all(part in lines[1] for part in ("broken.h5ad", "cannot be read", "delete"))
    assert not (bench.folder / "resources/checksums.tsv").exists()
    assert not any(bench.result(f"data/{name}/raw.h5ad").exists() for name in ("planted", "broken"))


def test_a_file_that_no_run_needs_can_be_downloaded_by_its_name(bench):
    extra = bench.folder / "extra.h5ad"
    shutil.copy(bench.folder / "planted.h5ad", extra)
    bench.config["datasets"]["extra"] = {"from": "planted", "files": {"counts": local(extra)}}
    bench.write_config(bench.config)
    bench.snakemake("resources/planted/extra.h5ad")
    assert (bench.folder / "resources/planted/extra.h5ad").exists()


def test_the_sources_of_a_dataset_added_later_are_checked_too(two, dead):
    two.config["runs"] = [{"datasets": ["planted"], "methods": ["gene_set_mean"]}]
    two.config["datasets"]["planted"]["files"]["counts"]["sources"] = [str(two.folder / "planted.h5ad")]
    two.write_config(two.config)
    two.snakemake("resources/planted/planted.h5ad")
    two.config["runs"].append({"datasets": ["other"], "methods": ["gene_set_mean"]})
    two.write_config(two.config)
    (line,) = errors(two.snakemake(check=False))
    assert line.startswith(f"error: other: other.h5ad: {dead}/RAW.tar does not answer")
    assert not any("runs/" in path for path in two.files())


def test_a_local_source_that_was_corrected_or_replaced_is_read_again(bench):
    """Without a hash in the config. A file that is refused is not pinned, and the copy that was read is named."""
    source, copy = bench.folder / "planted.h5ad", bench.folder / "resources/planted/planted.h5ad"
    right, pins = source.read_bytes(), bench.folder / "resources/checksums.tsv"
    data = anndata.read_h5ad(source)
    data.var_names = ["GENE1", *data.var_names[1:]]
    data.write_h5ad(source)
    bench.config["datasets"]["planted"]["files"] = {"counts": unknown("planted.h5ad", str(source))}
    bench.write_config(bench.config)
    target = "results/data/planted/raw.h5ad"
    (line,) = errors(bench.snakemake(target, check=False))
    assert "1 names of genes occur more than once ('GENE1')" in line
    assert line.endswith(f"(read from resources/planted/planted.h5ad, a copy of {source})")
    assert not pins.exists()

    source.write_bytes(right)
    bench.snakemake(target)
    assert copy.read_bytes() == right
    assert sha256(source) in pins.read_text(encoding="utf-8")

    os.utime(source, (2e9, 2e9))  # the same content with a new time is the same file
    assert "Nothing to be done" in bench.snakemake("-n", target)

    data = anndata.read_h5ad(source)[:250]
    data.write_h5ad(source)
    printed = bench.snakemake(target)
    assert "it has changed, its sha256 was" in printed
    assert "250 cells" in printed
    assert copy.read_bytes() == source.read_bytes()
    (pin,) = pins.read_text(encoding="utf-8").splitlines()[2:]
    assert sha256(source) in pin

    environment = clean_environment() | {"PYTHONPATH": "workflow/scripts"}
    subprocess.run([sys.executable, "-m", "factorbench.data.checksums"], cwd=bench.folder, env=environment, check=True)
    source.write_bytes(right)  # now the pin is in the committed table
    (line,) = errors(bench.snakemake(target, check=False))
    assert "checksums.tsv has sha256" in line


def test_a_local_source_that_differs_from_the_config_is_reported(bench):
    target = "results/data/planted/raw.h5ad"
    bench.snakemake(target)
    source = bench.folder / "planted.h5ad"
    source.write_bytes(source.read_bytes() + b"more")
    printed = bench.snakemake(target)
    assert "Nothing to be done" in printed
    note = f"note: {source} has not the sha256 of the config any more; resources/planted/planted.h5ad is used"
    assert printed.count(note) == 1


def test_a_zarr_store_is_a_local_source(bench):
    folder = bench.folder / "planted.zarr"
    data = anndata.read_h5ad(bench.folder / "planted.h5ad")
    data.write_zarr(folder)
    bench.config["datasets"]["planted"]["files"] = {"counts": unknown("planted.zarr", str(folder))}
    bench.write_config(bench.config)
    target = "results/data/planted/raw.h5ad"
    assert "300 cells, 240 genes" in bench.snakemake(target)
    assert "Nothing to be done" in bench.snakemake("-n", target)
    shutil.rmtree(folder)
    data[:200].copy().write_zarr(folder)
    assert jobs_of(bench.snakemake("-n", target)) == {"fetch": 1, "read": 1}
