"""The benchmark through a real Slurm: all jobs run there; those that fail are reported, retried and recovered."""

import contextlib
import datetime
import itertools
import re
import signal
from pathlib import Path

import pandas as pd
import pytest
from factorbench.results.provenance import without_timings

from tests.slurm.cluster import lines_of, wait_for
from tests.slurm.conftest import PROFILE, SITE, Run, running_job

NODES = {"node1", "node2"}


def start_and_end(row):
    return [datetime.datetime.fromisoformat(row[key]) for key in ("StartTime", "EndTime")]


def overlap(one, other):
    (a, b), (c, d) = start_and_end(one), start_and_end(other)
    return min(b, d) > max(a, c)


def test_every_job_except_the_downloads_ran_on_the_cluster(first, cluster):
    """By the controller's own log, not by Snakemake's output."""
    assert set(first.jobs) <= cluster.submitted()
    assert set(first.ended) == set(first.jobs)
    assert {row["NodeList"] for row in first.ended.values()} <= NODES
    assert {rule for rule, _ in first.jobs.values()} == {"read", "prepare", "fit", "null", "score"}
    assert len(re.findall(r"^localrule fetch:|^rule fetch:", first.printed, re.M)) == 2


def test_a_timed_run_has_a_node_of_its_own_and_other_nodes_are_used_meanwhile(first):
    fits = [first.ended[number] for number in first.of("fit")]
    assert {row["ProcCnt"] for row in fits} == {"4"}
    for fit in fits:
        beside = [row for row in first.ended.values() if row is not fit and row["NodeList"] == fit["NodeList"]]
        assert not [row for row in beside if overlap(fit, row)]
    assert any(overlap(*pair) for pair in itertools.combinations(fits, 2))


def test_only_a_method_that_can_use_a_gpu_requests_one(first):
    for number, shown in first.shown.items():
        rule, wildcards = first.jobs[number]
        assert ("TresPerJob=gres:gpu:1" in shown) is ((rule, wildcards) == ("fit", "planted_ae_0"))
    assert {row["NodeList"] for row in first.fits("ae")} == {"node2"}


@pytest.mark.parametrize(
    ("method", "states"),
    [
        ("stumbles", ["FAILED", "COMPLETED"]),
        ("breaks", ["FAILED", "FAILED", "FAILED"]),
        ("cancelled", ["CANCELLED", "COMPLETED"]),
        ("over_time", ["TIMEOUT", "COMPLETED"]),
        ("ae", ["COMPLETED"]),
    ],
)
def test_a_failed_job_is_reported_and_tried_again(first, method, states):
    assert [row["JobState"] for row in first.fits(method)] == states
    for number in first.of("fit", f"planted_{method}_0"):
        state = first.ended[number]["JobState"]
        reported = f"SLURM-job '{number}' failed, SLURM status is: '{state}'" in first.printed
        assert reported is (state != "COMPLETED")


def test_the_next_attempt_has_more_time_and_memory(first):
    """The time-out of 10 minutes and 15 more, then twice that."""
    for method in ("stumbles", "over_time"):
        before, after = first.fits(method)
        assert after["TimeLimit"] == "50"
        memory = [int(re.search(r"mem=(\d+)M", row["Tres"])[1]) for row in (before, after)]
        assert memory[1] == pytest.approx(2 * memory[0], abs=2)
    assert first.fits("over_time")[0]["TimeLimit"] == "1"
    assert first.fits("stumbles")[0]["TimeLimit"] == "25"


def test_a_job_requests_the_threads_of_the_config(first):
    for method, threads in {"over_time": "2", "ae": "1"}.items():
        number = first.of("fit", f"planted_{method}_0")[0]
        assert f"CPUs/Task={threads} " in first.shown[number]


def test_no_process_of_a_run_outlives_its_job(bench, again):
    """Also not of a cancelled or killed job, although a run is a process in a session of its own."""
    left = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").readlink().is_relative_to(bench.folder):
                left.append((process / "cmdline").read_bytes())
    assert left == []


def test_a_job_that_always_fails_ends_the_command_with_its_reason(first):
    assert first.code != 0
    assert "breaks by design" in first.printed
    assert not first.of("collect")


def test_the_same_command_recovers_and_runs_nothing_twice(again, cluster):
    assert again.code == 0, again.printed[-3000:]
    assert set(again.jobs) <= cluster.submitted()
    assert {row["JobState"] for row in again.ended.values()} == {"COMPLETED"}
    assert again.of("fit") == again.of("fit", "planted_breaks_0")
    assert len(again.of("fit")) == len(again.of("score")) == 1
    assert len(again.of("collect")) == 1


def test_tables_are_those_of_a_run_without_cluster_and_faults(bench, again, reference):
    printed = reference.finish(reference.process, 300)
    assert reference.code == 0, printed[-3000:]
    tables = {path.name for path in reference.result("tables").glob("*.tsv")}
    assert {"scores.tsv", "runs.tsv", "comparisons.tsv"} <= tables
    for name in ("scores.tsv", "comparisons.tsv", "separation.tsv", "top_pathways.tsv"):
        assert bench.result(f"tables/{name}").read_bytes() == reference.result(f"tables/{name}").read_bytes(), name
    ours, expected = (
        without_timings("runs", pd.read_csv(each.result("tables/runs.tsv"), sep="\t")) for each in (bench, reference)
    )
    pd.testing.assert_frame_equal(ours, expected)


def test_an_interrupted_command_leaves_no_job_in_the_queue(bench, again, cluster):
    """Ctrl-C, once."""
    (bench.folder / "faults/cancelled").write_text("hang", encoding="utf-8")
    target = "results/runs/planted/cancelled/0/run.json"
    with bench.started(*PROFILE, *SITE, "--force", target) as process:
        wait_for(lambda: running_job(bench, "cancelled"), 60, cluster.last_errors)
        process.send_signal(signal.SIGINT)
        printed = bench.finish(process, 60)
    wait_for(lambda: not lines_of("squeue", "--noheader"), 20, cluster.last_errors)
    (number,) = Run(printed, bench.code, cluster).jobs
    assert bench.code != 0
    assert cluster.jobs()[number]["JobState"] == "CANCELLED"
