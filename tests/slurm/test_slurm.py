"""The benchmark through a real Slurm: jobs run there and nowhere else; what fails is reported, retried, recovered."""

import contextlib
import datetime
import itertools
import re
import signal
from pathlib import Path

import pandas as pd
import pytest

from tests.slurm.cluster import ask, wait
from tests.slurm.conftest import HERE, PROFILE, Run, running

TIMED = ["fit_seconds", "start_seconds", "seconds_per_iteration", "peak_memory_mb", "started"]
NODES = {"node1", "node2"}


def when(row):
    """First and last second of a job."""
    return [datetime.datetime.fromisoformat(row[key]) for key in ("StartTime", "EndTime")]


def overlap(one, other):
    (a, b), (c, d) = when(one), when(other)
    return min(b, d) > max(a, c)


def test_every_job_but_the_downloads_ran_on_the_cluster(first, cluster):
    """By the controller's own log, not by what Snakemake says."""
    assert set(first.jobs) <= cluster.submitted()
    assert set(first.ended) == set(first.jobs)
    assert {row["NodeList"] for row in first.ended.values()} <= NODES
    assert {rule for rule, _ in first.jobs.values()} == {"read", "prepare", "check", "fit", "score"}
    assert len(re.findall(r"^localrule fetch:|^rule fetch:", first.printed, re.M)) == 2


def test_a_timed_run_has_a_node_of_its_own_and_runs_do_not_wait_for_other_nodes(first):
    fits = [first.ended[number] for number in first.of("fit")]
    assert {row["ProcCnt"] for row in fits} == {"4"}
    for fit in fits:
        beside = [row for row in first.ended.values() if row is not fit and row["NodeList"] == fit["NodeList"]]
        assert not [row for row in beside if overlap(fit, row)]
    assert any(overlap(*pair) for pair in itertools.combinations(fits, 2))


def test_a_method_that_can_use_a_card_asks_for_one(first):
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
def test_what_fails_is_reported_and_tried_again(first, method, states):
    assert [row["JobState"] for row in first.fits(method)] == states
    for number in first.of("fit", f"planted_{method}_0"):
        state = first.ended[number]["JobState"]
        reported = f"SLURM-job '{number}' failed, SLURM status is: '{state}'" in first.printed
        assert reported is (state != "COMPLETED")


def test_the_next_attempt_has_more_time_and_memory(first):
    """10 minutes of time-out and a quarter of an hour, then twice that."""
    for method in ("stumbles", "over_time"):
        before, after = first.fits(method)
        assert after["TimeLimit"] == "50"
        memory = [int(re.search(r"mem=(\d+)M", row["Tres"])[1]) for row in (before, after)]
        assert memory[1] == pytest.approx(2 * memory[0], abs=2)
    assert first.fits("over_time")[0]["TimeLimit"] == "1"
    assert first.fits("stumbles")[0]["TimeLimit"] == "25"


def test_threads_are_what_slurm_was_asked_for(first):
    for method, threads in {"over_time": "2", "ae": "1"}.items():
        number = first.of("fit", f"planted_{method}_0")[0]
        assert f"CPUs/Task={threads} " in first.shown[number]


def test_no_run_outlives_its_job(bench, again):
    """Nor one that was cancelled or killed, although it is a process of its own session."""
    left = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").readlink().is_relative_to(bench.folder):
                left.append((process / "cmdline").read_bytes())
    assert left == []


def test_what_always_fails_ends_the_command_with_an_error_and_its_reason(first):
    assert first.code != 0
    assert "breaks, as it was asked to" in first.printed
    assert not first.of("collect")


def test_the_same_command_recovers_and_runs_nothing_twice(again, cluster):
    assert again.code == 0, again.printed[-3000:]
    assert set(again.jobs) <= cluster.submitted()
    assert {row["JobState"] for row in again.ended.values()} == {"COMPLETED"}
    assert again.of("fit") == again.of("fit", "planted_breaks_0")
    assert len(again.of("fit")) == len(again.of("score")) == 1
    assert len(again.of("collect")) == 1


def test_the_tables_are_those_of_a_run_without_cluster_and_faults(bench, again, reference):
    printed = reference.finish(reference.process, 300)
    assert reference.code == 0, printed[-3000:]
    tables = sorted(path.name for path in reference.result("tables").glob("*.tsv"))
    assert {"scores.tsv", "runs.tsv", "comparisons.tsv"} <= set(tables)
    for name in ("scores.tsv", "comparisons.tsv", "separation.tsv", "top_pathways.tsv"):
        assert bench.result(f"tables/{name}").read_bytes() == reference.result(f"tables/{name}").read_bytes(), name
    ours, theirs = (
        pd.read_csv(each.result("tables/runs.tsv"), sep="\t").drop(columns=TIMED, errors="ignore")
        for each in (bench, reference)
    )
    pd.testing.assert_frame_equal(ours, theirs)


def test_an_interrupted_command_leaves_nothing_in_the_queue(bench, again, cluster):
    """Ctrl-C, once."""
    (bench.folder / "faults/cancelled").write_text("hang")
    wanted = "results/runs/planted/cancelled/0/run.json"
    with bench.started(*PROFILE, *HERE, "--force", wanted) as process:
        wait(lambda: running(bench, "cancelled"), 60, cluster.complaint)
        process.send_signal(signal.SIGINT)
        printed = bench.finish(process, 60)
    wait(lambda: not ask("squeue", "--noheader"), 20, cluster.complaint)
    (number,) = Run(printed, bench.code, cluster).jobs
    assert bench.code != 0
    assert cluster.jobs()[number]["JobState"] == "CANCELLED"
