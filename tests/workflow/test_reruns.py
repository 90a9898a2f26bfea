"""What runs again after a change: everything that depends on it, and nothing else."""

import contextlib
import json

import pytest

from tests.workflow.conftest import jobs_of

EXPENSIVE = {"fetch", "read", "prepare", "check", "fit", "score", "score_seeds", "compare"}
PACKAGE = "workflow/scripts/factorbench"


@contextlib.contextmanager
def changed(bench, path, old, new):
    """Replace ``old`` by ``new`` in a file of the project, for as long as the block lasts."""
    file = bench.folder / path
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    try:
        yield
    finally:
        file.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def with_config(bench, change):
    """Lay ``change`` over the config, for as long as the block lasts."""
    config = json.loads(json.dumps(bench.config))
    change(config)
    bench.write_config(config)
    try:
        yield
    finally:
        bench.write_config(bench.config)


def planned(bench):
    return jobs_of(bench.snakemake("-n"))


def test_the_same_command_again_does_nothing(finished):
    assert "Nothing to be done" in finished.snakemake()


def test_corrected_titles_and_citations_repeat_no_data_and_no_fit(finished):
    """They reach tables, figures and report from the config."""

    def correct(config):
        display = dict.fromkeys(("title", "organism", "doi", "licence", "citation"), "Corrected")
        config["datasets"]["planted"] |= display
        config["gene_sets"]["sets"] |= display
        config["methods"]["ae"]["title"] = "Corrected"

    with with_config(finished, correct):
        jobs = planned(finished)
    assert not EXPENSIVE & set(jobs), jobs
    assert {"collect", "draw", "report", "manifest"} <= set(jobs)


def test_a_change_of_the_preparation_repeats_all_that_follows(finished):
    with with_config(finished, lambda config: config["datasets"]["planted"].update(n_top_genes=150)):
        jobs = planned(finished)
    assert {"prepare", "check", "fit", "score", "compare", "collect", "report"} <= set(jobs)
    assert not {"fetch", "read"} & set(jobs)


def test_one_seed_more_is_one_run_more(finished):
    more = {"datasets": ["planted"], "methods": ["pca"], "seeds": [7]}
    with with_config(finished, lambda config: config["runs"].append(more)):
        jobs = planned(finished)
    assert jobs["fit"] == 1
    assert jobs["report"] == 1


def test_a_method_that_is_added_is_asked_whether_it_can_fit_and_repeats_no_other_fit(finished):
    def add(config):
        config["methods"]["other"] = {"use": "pca", "params": {"n_factors": 3}}
        config["runs"].append({"datasets": ["planted"], "methods": ["other"]})

    with with_config(finished, add):
        jobs = planned(finished)
    assert (jobs["check"], jobs["fit"]) == (1, 1)


@pytest.mark.parametrize(
    ("path", "first", "not_before"),
    [
        ("contracts/factors.py", "fit", "prepare"),  # the sign rule: in no method's own file, and in every result
        ("runs/execute.py", "fit", "prepare"),
        ("metrics/separation.py", "score", "fit"),
        ("data/symbols.py", "prepare", "read"),
        ("results/comparison.py", "compare", "score"),
        ("reporting/claims/tests.py", "test_claims", "collect"),
        ("reporting/facts.py", "report", "draw"),
    ],
)
def test_changed_code_repeats_what_follows_from_it(finished, path, first, not_before):
    with changed(finished, f"{PACKAGE}/{path}", "from __future__ import annotations\n", FUTURE):
        jobs = planned(finished)
    assert {first, "report", "manifest"} <= set(jobs), jobs
    assert not_before not in jobs


FUTURE = "from __future__ import annotations\nCHANGED = True\n"


def test_a_changed_method_repeats_its_own_runs_only(finished):
    with changed(finished, f"{PACKAGE}/methods/pca.py", "from __future__ import annotations\n", FUTURE):
        assert planned(finished)["fit"] == 1


def test_comments_docstrings_and_touched_files_repeat_nothing(finished):
    path = f"{PACKAGE}/contracts/factors.py"
    file = finished.folder / path
    file.write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    with changed(finished, path, '"""Return signs', '# a comment\n    """Return the signs'):
        assert "Nothing to be done" in finished.snakemake("-n")
