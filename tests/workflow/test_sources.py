"""Where files come from, with Snakemake around it: asked for before all else, checked, and pinned when first read."""

import shutil
import socket

import pytest

from tests.workflow.conftest import local


def errors(printed):
    return list(dict.fromkeys(line for line in printed.splitlines() if line.startswith("error: ")))


def unknown(name, *sources):
    return {"name": name, "sources": list(sources)}


@pytest.fixture
def dead():
    """An address at which connections are refused."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def two(bench, dead):
    """Two datasets of which no file can be had: one a single file, one two members of an archive."""
    planted = bench.config["datasets"]["planted"]
    planted["files"] = {"counts": {**local(bench.folder / "planted.h5ad"), "sources": ["/nowhere/planted.h5ad"]}}
    other = {**planted, "files": {"counts": unknown("other.h5ad", {"url": f"{dead}/RAW.tar", "member": "other"})}}
    bench.config["datasets"]["other"] = other
    bench.config["runs"] = [{"datasets": ["planted", "other"], "methods": ["gene_set_mean"]}]
    bench.config["figures"] = {}
    bench.write_config(bench.config)
    return bench


def test_all_missing_sources_are_named_and_nothing_is_fetched_or_trained(two, dead):
    printed = two.snakemake(check=False)
    first, second = errors(printed)
    assert first.startswith("error: planted: planted.h5ad: /nowhere/planted.h5ad is not there; put the file into ")
    assert second.startswith(f"error: other: other.h5ad: {dead}/RAW.tar does not answer (Connection")
    assert "Traceback" not in printed
    assert two.files() == set()


def test_mirror_mends_it(two):
    mirror = two.folder / "mirror"
    for group in ("planted", "other"):
        (mirror / group).mkdir(parents=True)
        shutil.copy(two.folder / "planted.h5ad", mirror / group / f"{group}.h5ad")
    two.config["mirrors"] = [str(mirror)]
    two.write_config(two.config)
    targets = ["resources/planted/planted.h5ad", "resources/other/other.h5ad", "results/data/other/raw.h5ad"]
    printed = two.snakemake(*targets)
    assert errors(printed) == []
    assert set(targets) < two.files()
    (pinned,) = (line for line in printed.splitlines() if line.startswith("pinned "))
    sha256 = two.config["datasets"]["planted"]["files"]["counts"]["sha256"]
    assert pinned == f"pinned other/other.h5ad: sha256 {sha256} from a mirror; commit checksums.tsv"
    rows = [line.split("\t") for line in (two.folder / "checksums.tsv").read_text().splitlines()]
    size = (two.folder / "planted.h5ad").stat().st_size
    assert ["other", "other.h5ad", sha256, str(size), "a mirror"] in rows
    assert not [row for row in rows if row[0] == "planted"]  # its hash is in the config

    again = two.snakemake("-n", *targets)
    assert "Nothing to be done" in again  # a pin is no reason to do anything again

    for path in (two.folder / "resources/other/other.h5ad", mirror / "other" / "other.h5ad"):
        path.write_bytes(path.read_bytes()[:-1000])
    (two.folder / "results/data/other/raw.h5ad").unlink()
    (line,) = errors(two.snakemake(*targets, check=False))
    for part in ("resources/other/other.h5ad", f"sha256 pinned {sha256}", "checksums.tsv", "fetched again"):
        assert part in line
    (two.folder / "resources/other/other.h5ad").unlink()
    (line,) = errors(two.snakemake(*targets, check=False))
    for part in ("other/other.h5ad", f"sha256 pinned {sha256}", "delete its line in checksums.tsv"):
        assert part in line
    assert not (two.folder / "resources/other/other.h5ad").exists()


@pytest.mark.parametrize("trouble", ["wrong shape", "not readable"])
def test_what_was_not_read_well_is_not_pinned(bench, trouble):
    planted = bench.config["datasets"]["planted"]
    planted["files"] = {"counts": unknown("planted.h5ad", str(bench.folder / "planted.h5ad"))}
    planted["expect"] = {"cells": 999 if trouble == "wrong shape" else 300}
    if trouble == "not readable":
        (bench.folder / "planted.h5ad").write_bytes(b"\x89HDF\r\n\x1a\n and no more")
    bench.write_config(bench.config)
    before = (bench.folder / "checksums.tsv").read_text()
    (line,) = errors(bench.snakemake("results/data/planted/raw.h5ad", check=False))
    words = ["expected 999 cells, found 300"] if trouble == "wrong shape" else ["not a whole h5ad file"]
    assert all(word in line for word in [*words, "planted", "fetched again"])
    assert (bench.folder / "checksums.tsv").read_text() == before
    assert not bench.result("data/planted/raw.h5ad").exists()


def test_file_of_no_planned_run_can_be_fetched_by_name(bench):
    extra = bench.folder / "extra.h5ad"
    shutil.copy(bench.folder / "planted.h5ad", extra)
    bench.config["datasets"]["extra"] = {"from": "planted", "files": {"counts": local(extra)}}
    bench.write_config(bench.config)
    bench.snakemake("resources/planted/extra.h5ad")
    assert (bench.folder / "resources/planted/extra.h5ad").exists()


def test_a_dataset_added_later_is_asked_for_too(two, dead):
    two.config["runs"] = [{"datasets": ["planted"], "methods": ["gene_set_mean"]}]
    two.config["datasets"]["planted"]["files"]["counts"]["sources"] = [str(two.folder / "planted.h5ad")]
    two.write_config(two.config)
    two.snakemake("results/data/planted/raw.h5ad")
    two.config["runs"].append({"datasets": ["other"], "methods": ["gene_set_mean"]})
    two.write_config(two.config)
    (line,) = errors(two.snakemake(check=False))
    assert line.startswith(f"error: other: other.h5ad: {dead}/RAW.tar does not answer")
    assert not any("runs/" in path for path in two.files())
