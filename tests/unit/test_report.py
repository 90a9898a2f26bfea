"""The page: what it says follows from the tables, nothing in it can break it, and it needs nothing from outside."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
import pytest
from factorbench.contracts.factors import no_factors
from factorbench.contracts.files import read_table, write_table
from factorbench.contracts.prepared import prepared_record, write_prepared
from factorbench.contracts.scores import SCORE_COLUMNS
from factorbench.metrics import relevance, separation
from factorbench.reporting import facts, numbers, page, terminal
from factorbench.reporting.claims import verdicts
from factorbench.results import comparison, scaling
from factorbench.results.pathways import top_pathways
from factorbench.results.runtime import runs_table, runtime_table
from factorbench.results.seeds import over_seeds
from factorbench.results.separation import separation_table

from tests.unit import metric_fixtures as toy

TEMPLATE = Path(page.__file__).parents[2] / "report" / "report.html.j2"
SVG = "<svg xmlns='http://www.w3.org/2000/svg'/>"


class Page(HTMLParser):
    """Tags of a page, checked to be closed in order, and its text."""

    VOID = ("meta", "img", "br", "wbr")

    def __init__(self, html):
        super().__init__()
        self.open, self.links, self.words = [], [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] not in (["script"], ["style"]):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Three seeds of ae and of slow (one killed) on toy, scored for real."""
    folder = tmp_path_factory.mktemp("results")
    data, scores, runs = toy.prepared(), [], []
    for method in ("ae", "slow"):
        for seed in range(3):
            killed = method == "slow" and seed == 2
            factors = toy.factors(data, seed, off=["C"])
            if killed:
                factors = no_factors(data.n_obs, data.n_vars, "timeout", "")
            factors = toy.written(factors, data, folder / "factors.h5ad")
            status = "timeout" if killed else "ok"
            seconds = {"ae": 2.0, "slow": 100.0}[method] + seed
            more = {"status": status, "seconds": seconds, "n_factors": len(factors.uns["factors"])}
            runs.append(toy.run(method=method, seed=seed, **more, reason="out of <b>time</b>" if killed else ""))
            for metric in (separation, relevance):
                table = metric.score(data, factors, {"folds": 5, "seed": 0})
                scores.append(table.assign(dataset="toy", method=method, seed=seed, status=status))
    write_prepared(folder / "prepared.h5ad", data)
    (folder / "figure2.svg").write_text(SVG)
    return folder, runs, [s[list(SCORE_COLUMNS)] for s in scores if len(s)]


def compared():
    """One row of a paired comparison."""
    row = dict.fromkeys(comparison.COLUMNS, np.nan)
    row |= {"dataset": "toy", "label": "condition=stimulated", "factor": "A", "method": "slow", "reference": "ae"}
    row |= {"accuracy": 0.5, "reference_accuracy": 0.75, "difference": -0.25, "lower": -0.5, "upper": 0.0, "seeds": 3}
    return pd.DataFrame([row | {"p": 0.0012, "p_corrected": 0.0034}])


def page(world, tmp_path, config=None, keep=lambda run: True, **more):
    folder, runs, scores = world
    config = config or toy.config()
    config["figures"] = {
        "figure2": {"kind": "accuracy", "terms": ["GONE", "A"], "title": "Which <factor>?", "caption": "Dots & lines"}
    }
    runs = runs_table([run for run in runs if keep(run)])
    scores = pd.concat(scores, ignore_index=True)
    results = {
        "runs": runs,
        "scores": scores,
        "runtime": runtime_table(runs, "ae", config["datasets"]),
        "separation": separation_table(scores),
        "top_pathways": top_pathways(scores, 3),
        "comparisons": compared(),
        "scaling": pd.DataFrame(columns=[*scaling.LAW_COLUMNS]),
        "full_time": pd.DataFrame(columns=[*scaling.FULL_COLUMNS]),
        **more,
    }
    for name, table in results.items():
        write_table(tmp_path / f"{name}.tsv", table)
    results = {name: read_table(tmp_path / f"{name}.tsv") for name in results}
    records = {"toy": page.read_record(folder / "prepared.h5ad")}
    context = page.context(config, results, records, {"figure2": folder / "figure2.svg"})
    return page.render(TEMPLATE, context), results


def test_the_record_is_read_without_the_cells(world):
    assert page.read_record(world[0] / "prepared.h5ad") == prepared_record(toy.prepared())


def test_the_page_is_well_formed_and_needs_nothing_from_outside(world, tmp_path):
    html, _ = page(world, tmp_path)
    links = Page(html).links
    assert not [
        link for link in links if not re.match(r"#|data:image/svg\+xml;base64,|https://doi\.org/|https://", link)
    ]
    assert not re.search(r"<(link|iframe|script[^>]*src)|@import|url\(", html)
    images = re.findall(r'<img src="([^"]*)"', html)
    assert len(images) == 1
    assert images[0].startswith("data:image/svg+xml;base64,")


def test_the_first_answers_are_the_numbers_of_the_tables(world, tmp_path):
    html, results = page(world, tmp_path)
    text = Page(html).text
    means = over_seeds(results["scores"]).query("factor == 'A' and label == 'condition=stimulated'")
    means = means.set_index(["method", "metric", "split"])
    train = means.loc[("ae", "accuracy", "train")]
    assert f"{100 * train['mean']:.1f} % of cells are put into the right class, stimulated or control" in text
    assert f"95 % interval {100 * train['lower']:.1f} to {100 * min(train['upper'], 1):.1f} %" in text
    assert f"{100 * means.loc[('ae', 'accuracy', 'cv'), 'mean']:.1f} % when cross-validated" in text
    baseline = results["scores"].query("metric == 'baseline' and label == 'condition=stimulated'")["value"].iloc[0]
    assert f"Guessing the larger class gives {100 * baseline:.1f} %" in text
    assert (
        f"Best of the other models: Slow model, {100 * means.loc[('slow', 'accuracy', 'train'), 'mean']:.1f} %" in text
    )
    assert " 34× the time of Interpretable AE is what Slow model needs on the same 120 cells and 12 genes" in text
    assert "≥ 34×" not in text
    assert "1.7 min against 3 s" in text


def test_what_did_not_finish_is_named_with_its_reason(world, tmp_path):
    text = Page(page(world, tmp_path)[0]).text
    assert "6 runs: 5 finished, 1 did not" in text
    assert "Toy cells Slow model 2 timeout was killed when its time was up; no result 1.7 min" in text
    assert "out of <b>time</b>" in text


def test_it_says_so_when_every_run_finished(world, tmp_path):
    text = Page(page(world, tmp_path, keep=lambda run: run["status"] == "ok")[0]).text
    assert "5 runs: every run finished." in text
    assert "Nothing: every run finished." in text


def test_what_was_compared_on_what(world, tmp_path):
    text = Page(page(world, tmp_path)[0]).text
    for said in (
        *("120 cells, 12 genes, 3 gene sets, mouse", "125 raw → 120 with counts", "doi:10.1000/toy", "CC BY 4.0"),
        *("4 genes had counts in one class of condition only", "1 of them are in gene sets", "numpy 2.0"),
        *("Quick 1, cpu, 1 thread: 6 runs", "factorbench aaaaaaaaaaaa (with local changes)"),
    ):
        assert said in text


def test_text_from_data_is_escaped(world, tmp_path):
    config = toy.config()
    hostile = "<script>alert(1)</script>"
    config["methods"]["ae"]["title"] = config["datasets"]["toy"]["title"] = config["report"]["title"] = hostile
    config["datasets"]["toy"]["doi"] = '"><script>'
    html, _ = page(world, tmp_path, config)
    assert hostile not in html
    assert html.count("<script>") == 1
    assert "Which &lt;factor&gt;?" in html
    assert "Toy et al. &lt;2020&gt;" in html
    Page(html)


def test_methods_that_did_not_meet_a_dataset_are_named():
    runs = pd.DataFrame({"dataset": ["toy", "toy", "big"], "method": ["ae", "slow", "ae"]})
    assert facts.absent(runs) == {"toy": [], "big": ["slow"]}


def test_what_was_left_out_of_figures_is_said(world, tmp_path):
    assert "figure x: not drawn" in Page(page(world, tmp_path)[0]).text


def test_a_dataset_without_a_contrast_has_no_board(world, tmp_path):
    folder, runs, scores = world
    results = [s[s["label"] != "condition=stimulated"] for s in scores]
    text = Page(page((folder, runs, results), tmp_path)[0]).text
    assert "of cells are put into the right class" not in text
    assert "34×" in text


def test_a_name_the_template_lacks_is_an_error(tmp_path):
    (tmp_path / "t.j2").write_text("{{ nowhere }}")
    with pytest.raises(jinja2.UndefinedError):
        page.render(tmp_path / "t.j2", {})


@pytest.mark.parametrize(("share", "text"), [(0.9401, "94.0 %"), (np.nan, "–"), (None, "–")])
def test_percent(share, text):
    assert numbers.percent(share) == text


def test_versions_that_differ_between_runs_are_all_named():
    runs = runs_table([toy.run(versions={"numpy": v}, git_commit=None) for v in ("2.0", "1.26")])
    assert page.versions(runs) == {"numpy": "1.26, 2.0"}
    assert json.loads(runs["versions"].iloc[0]) == {"numpy": "2.0"}


def claim(**more):
    row = dict.fromkeys(verdicts.COLUMNS)
    row |= {"claim": "one", "where": "Figure 1", "says": "A & B differ.", "verdict": "reproduced"}
    row |= {"taken_as": "a difference above <0>", "why": "claimed above 0", "discussion": "It is so. It was so."}
    row |= {"dataset": "toy", "missing": None}
    return row | more


def on(machines, world):
    """``world`` with the runs of each seed made on another of ``machines``, the second ten times slower."""
    folder, runs, scores = world
    return (
        folder,
        [
            {**run, "host": machines[run["seed"] % 2], "fit_seconds": run["fit_seconds"] * 10 ** (run["seed"] % 2)}
            for run in runs
        ],
        scores,
    )


def test_several_machines_are_told_and_never_compared(world, tmp_path):
    text = Page(page(on(["new", "old"], world), tmp_path)[0]).text
    assert "Runs of this dataset were made on 2 machines; ratios are within a machine." in text
    assert "Ratios are to Interpretable AE on the same dataset and machine" in text
    assert "Interpretable AE old 5 1 ok" in text
    assert "new: Quick 1, cpu, 1 thread: 4 runs" in text
    assert "Made on new, old by factorbench" in text
    # Seeds 0 and 2 are new (2 s and 4 s, 100 s and at least 102 s), seed 1 is old (30 s, 1,010 s): medians of all are
    # 4 s and at least 102 s.
    assert "34× the time of Interpretable AE is what Slow model needs" in text
    assert "(Toy cells) on new: at least 1.7 min against 3 s, medians." in text


def test_one_machine_is_not_told_of_as_several(world, tmp_path):
    text = Page(page(world, tmp_path)[0]).text
    assert "machines; ratios" not in text
    assert "on the same dataset, nothing in these tables" in text
    assert "Made on node by factorbench aaaaaaaaaaaa (with local changes). Config, every package" in text


def test_a_page_of_code_without_a_commit_names_none(world, tmp_path):
    folder, runs, scores = world
    world = folder, [run | {"git_commit": None, "git_dirty": None} for run in runs], scores
    assert "Made on node. Config, every package" in Page(page(world, tmp_path)[0]).text


def test_the_summary_names_machines_where_there_are_several(world, tmp_path):
    for machines in (["node", "node"], ["new", "old"]):
        (tmp_path / "tables").mkdir(exist_ok=True)
        page(on(machines, world), tmp_path / "tables")
        (tmp_path / "report.html").touch()
        said = terminal.summary(tmp_path)
        assert ("runs were made on 2 machines; ratios are within a machine" in said) == (machines[0] != machines[1])
        assert ("machine" in said.splitlines()[0]) == (machines[0] != machines[1])


def test_claims_that_fail_are_as_plain_as_those_that_hold(world, tmp_path):
    table = pd.DataFrame(
        [
            claim(runs="ae/0, ae/1"),
            claim(claim="two", verdict="not reproduced", says="It <b>fails</b>."),
            claim(claim="three", verdict="not tested", missing="S1, S2"),
        ]
    )
    html, _ = page(world, tmp_path, claims=table)
    text = Page(html).text
    assert "1 reproduced 1 not reproduced 1 not tested" in text
    assert "Figure 1 A & B differ. It is so. It was so. Taken as: a difference above <0>. Claimed above 0." in text
    assert "From runs on Toy cells: ae/0, ae/1." in text
    assert "It <b>fails</b>." in text
    assert "Without samples S1, S2, which were not available." in text
    shown = [html.count(f'<span class="verdict {kind}">{words}</span>') for kind, words in VERDICTS.items()]
    assert shown == [1, 1, 1]
    assert "The paper's claims" not in Page(page(world, tmp_path)[0]).text


VERDICTS = {"yes": "reproduced", "no": "not reproduced", "open": "not tested"}


def test_methods_are_compared_on_the_same_cells(world, tmp_path):
    text = Page(page(world, tmp_path)[0]).text
    assert "A Slow model 50.0 % 75.0 % -25.0 -50.0 to +0.0 3 0.0012 0.0034" in text


def measured(*rows, dataset="toy"):
    keys = ("method", "seed", "metric", "factor", "label", "split", "value", "upper", "n")
    table = pd.DataFrame([dict(zip(keys, row, strict=True)) for row in rows])
    return table.assign(dataset=dataset, lower=np.nan, status="ok")[list(SCORE_COLUMNS)]


def test_a_best_factor_stands_beside_chance_donors_and_other_seeds():
    asked = "condition=stimulated"
    found = measured(
        ("ae", 0, "best_accuracy", "A", asked, "train", 0.9, np.nan, 100),
        ("ae", 1, "best_accuracy", "A", asked, "train", 0.8, np.nan, 100),
        ("ae", 2, "best_accuracy", "B", asked, "train", 0.95, np.nan, 100),
        *(("ae", s, "null_accuracy", "", asked, "train", 0.5, 0.55, 99) for s in range(3)),
        *(("ae", s, "p_accuracy", "", asked, "train", p, np.nan, 99) for s, p in enumerate((0.01, 0.03, 0.02))),
        *(("ae", s, "accuracy", "A", asked, "donor", 0.7, np.nan, 100) for s in range(3)),
        ("ae", np.nan, "score_agreement", "A", "", "", 0.66, np.nan, 3),
        ("ae", np.nan, "top_agreement", "", "", "", 0.5, np.nan, 3),
    )
    (row,) = facts.certainty(over_seeds(found), found, {"toy": {}}, {"ae": "AE"})["toy"]
    assert (row["factor"], row["of"]) == ("A", "2 of 3")
    np.testing.assert_allclose(
        [row[key] for key in ("accuracy", "chance", "p", "donor", "scores", "top")],
        [0.85, 0.55, 0.03, 0.7, 0.66, 0.5],
    )
    assert row["active"] is None


def test_new_cells_are_judged_beside_a_model_that_saw_them():
    asked = "condition=stimulated"
    found = measured(
        *(
            ("ae", s, "projected_accuracy", "A", asked, split, value, np.nan, 40)
            for s in range(2)
            for split, value in (("seen", 0.9), ("held_out", 0.8 + s / 10), ("saw_them", 0.88))
        ),
        ("ae", 0, "score_correlation", "A", "", "held_out", 0.9, np.nan, 40),
        ("ae", 0, "score_correlation", "B", "", "held_out", 0.5, np.nan, 40),
        ("ae", 0, "score_correlation", "A", "", "seen", 0.95, np.nan, 60),
    )
    facts = {"held_out": {"cells": 40}, "contrast": {"label": "condition", "positive": "stimulated"}}
    means = over_seeds(found)
    (row,) = facts.new_cells(means, {"toy": facts}, ["GONE", "A"], {"ae": "AE", "slow": "Slow"})["toy"]
    np.testing.assert_allclose(
        [row[key] for key in ("seen", "held_out", "saw_them", "alike_held_out", "all_held_out", "alike_seen")],
        [0.9, 0.85, 0.88, 0.9, 0.7, 0.95],
    )
    assert facts.new_cells(means, {"toy": facts | {"held_out": None}}, ["A"], {"ae": "AE"}) == {}


def test_how_time_grows_is_told_where_it_was_studied(world, tmp_path):
    html, _ = page(world, tmp_path)
    assert "How time grows" not in html
    fit = {"dataset": "toy", "method": "slow", "of": "fit", "runs": 2, "sizes": 2, "reason": "2 numbers of cells"}
    each = fit | {"of": "iteration", "runs": 6, "sizes": 6, "cells_exponent": 1.04, "cells_lower": 0.97, "reason": ""}
    each |= {"cells_upper": 1.11, "terms_exponent": 1.9, "terms_lower": 1.8, "terms_upper": 2.0, "seconds": 0.25}
    size = {"family": "toy", "dataset": "toy", "cells": 120, "genes": 12, "terms": 3, "statuses": "1 ok"}
    own = size | {"method": "ae", "ran": 2.0, "how": "measured", "seconds": 2.0, "lower": 2.0, "upper": 2.0}
    slow = size | {"method": "slow", "ran": 50.0, "how": "extrapolated", "lower": 7200.0, "upper": 14400.0}
    slow |= {"seconds": 9000.0, "iteration_seconds": 9.0, "iterations_lower": 800, "iterations_upper": 1600}
    slow |= {"converged": 5, "ratio_lower": 3600.0, "ratio_upper": 7200.0}
    studied = {
        "scaling": pd.DataFrame([fit, each], columns=[*scaling.LAW_COLUMNS]),
        "full_time": pd.DataFrame([own, slow], columns=[*scaling.FULL_COLUMNS]),
    }
    text = Page(page(world, tmp_path, **studied)[0]).text
    assert "3,600× to 7,200× the time of Interpretable AE is what Slow model needs on 120 cells" in text
    assert "2.0 h to 4.0 h (extrapolated) against 2 s (measured)" in text
    assert "9 s an iteration, measured there, times the 800 to 1,600 iterations" in text
    assert " 34× the time" not in text  # one answer a dataset is enough
    assert "one iteration 6 6 1.04 0.97 to 1.11 1.90 1.80 to 2.00 0.25 s" in text
    assert "the fit 2 2 – – – – 2 numbers of cells" in text
