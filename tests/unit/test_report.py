"""The report: its numbers are those of the tables, nothing in the data can break it, it needs nothing from outside."""

import json
import re
from html.parser import HTMLParser

import jinja2
import numpy as np
import pandas as pd
import pytest
from factorbench import registry
from factorbench.contracts.factors import no_factors
from factorbench.contracts.files import read_table, write_table
from factorbench.contracts.prepared import prepared_record, read_record, write_prepared
from factorbench.contracts.scores import SCORE_COLUMNS
from factorbench.metrics import in_set, relevance, separation
from factorbench.reporting import facts, numbers, page, terminal
from factorbench.reporting.claims import verdicts
from factorbench.results import comparison, meaning, nulls, scaling
from factorbench.results.pathways import top_pathways
from factorbench.results.runtime import runs_table, runtime_table
from factorbench.results.seeds import over_seeds
from factorbench.results.separation import separation_table

from tests.unit import metric_fixtures as toy

SVG = "<svg xmlns='http://www.w3.org/2000/svg'/>"
ASKED = "condition=stimulated"
N_QUESTIONS = 4
"""The condition and three cell types."""


class Page(HTMLParser):
    """A page whose tags are checked to close in order: its links, its text, and the text of each section by id."""

    VOID = ("meta", "img", "br", "wbr")

    def __init__(self, html):
        super().__init__()
        self.open, self.links, self.words, self.section, self.sections = [], [], [], "", {}
        self.feed(html)
        assert not self.open
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag == "section":
            self.section = dict(attributes)["id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] not in (["script"], ["style"]):
            self.words.append(data)
            text = f"{self.sections.get(self.section, '')} {data}"
            self.sections[self.section] = " ".join(text.split())


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Folder, runs and scores: three seeds of ae and of slow (one timed out) on toy data, scored for real."""
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
            tables = [
                metric.score(data, factors, {"folds": 5, "seed": 0}) for metric in (separation, relevance, in_set)
            ]
            if method == "ae":  # 99 draws in which random sets separate nothing
                tables.append(nulls.null_rows(data, factors, np.zeros((99, N_QUESTIONS, 3))))
            scores += [table.assign(dataset="toy", method=method, seed=seed, status=status) for table in tables]
    write_prepared(folder / "prepared.h5ad", data)
    (folder / "figure2.svg").write_text(SVG, encoding="utf-8")
    return folder, runs, [s[list(SCORE_COLUMNS)] for s in scores if len(s)]


def compared():
    """One row of a paired comparison."""
    row = dict.fromkeys(comparison.COLUMNS, np.nan)
    row |= {"dataset": "toy", "label": ASKED, "factor": "A", "method": "slow", "reference": "ae"}
    row |= {"accuracy": 0.5, "reference_accuracy": 0.75, "difference": -0.25, "lower": -0.5, "upper": 0.0, "seeds": 3}
    return pd.DataFrame([row | {"p": 0.0012, "p_corrected": 0.0034}])


def render(world, tmp_path, config=None, keep=lambda run: True, **more):
    """The html of the report, and the tables it was made from, read back from files."""
    folder, runs, scores = world
    config = config or toy.config()
    figure = {"kind": "accuracy", "terms": ["GONE", "A"], "title": "Which <factor>?", "caption": "Dots & lines"}
    config["figures"] = {"figure2": figure}
    runs = runs_table([run for run in runs if keep(run)])
    scores = pd.concat(scores, ignore_index=True)
    results = {
        "runs": runs,
        "scores": scores,
        "runtime": runtime_table(runs, "ae", config["datasets"]),
        "separation": separation_table(scores),
        "gene_sets": meaning.gene_sets_table(scores),
        "top_pathways": meaning.with_shares(top_pathways(scores, 3), scores),
        "comparisons": meaning.with_shares(compared(), scores),
        "scaling": pd.DataFrame(columns=[*scaling.LAW_COLUMNS]),
        "full_time": pd.DataFrame(columns=[*scaling.FULL_COLUMNS]),
        **more,
    }
    for name, table in results.items():
        write_table(tmp_path / f"{name}.tsv", table)
    results = {name: read_table(tmp_path / f"{name}.tsv") for name in results}
    records = {"toy": read_record(folder / "prepared.h5ad")}
    return page.render(page.context(config, results, records, {"figure2": folder / "figure2.svg"})), results


def test_the_record_is_read_without_the_cells(world):
    assert read_record(world[0] / "prepared.h5ad") == prepared_record(toy.prepared())


def test_the_page_is_well_formed_and_needs_nothing_from_outside(world, tmp_path):
    html, _ = render(world, tmp_path)
    allowed = r"#|data:image/svg\+xml;base64,|https://doi\.org/|https://"
    assert all(re.match(allowed, link) for link in Page(html).links)
    assert not re.search(r"<(link|iframe|script[^>]*src)|@import|url\(", html)
    (image,) = re.findall(r'<img src="([^"]*)"', html)
    assert image.startswith("data:image/svg+xml;base64,")


def test_the_page_says_which_gene_sets_beat_random_ones(world, tmp_path):
    html, results = render(world, tmp_path)
    text = Page(html).sections["gene-sets"]
    rows = results["gene_sets"].query("label == @ASKED").set_index(["method", "factor"])
    assert rows.loc["ae", "verdict"].to_dict()["C"] == "switched off"
    beat = [name for name in "AB" if rows.loc[("ae", name), "verdict"] == "more than random sets"]
    assert beat
    assert f"{len(beat)} of 3 gene sets separate stimulated cells" in Page(html).sections["answers"]
    assert f"{len(beat)} of 3 gene sets" in text
    assert "(false discovery rate 5 %, 99 random draws)" in text
    assert "Slow model. Not compared with random sets." in text
    assert f"{100 * rows.loc[('ae', 'A'), 'in_set_share']:.1f} %" in text


def test_a_factor_that_left_its_set_is_marked_wherever_it_is_named(world, tmp_path):
    folder, runs, scores = world
    left = [s.assign(value=s["value"].where(s["metric"] != "in_set_share", 0.4)) for s in scores]
    html, results = render((folder, runs, left), tmp_path)
    assert set(results["gene_sets"]["verdict"]) == {"no longer its set"}
    page_ = Page(html)
    for section in ("separation", "pathways", "certainty", "gene-sets"):
        assert "A †" in page_.sections[section].replace("A (", "A †").replace("††", "†"), section
        assert "†" in page_.sections[section], section
    assert "no longer its set" in page_.sections["answers"]
    html, _ = render(world, tmp_path)
    assert "A †" not in Page(html).text


def test_what_is_recovered_is_a_table_of_means_over_data(world, tmp_path):
    folder, runs, scores = world
    known = [{"metric": "aupr", "label": "", "split": "", "factor": f, "value": v} for f, v in (("A", 0.8), ("B", 0.6))]
    known.append({"metric": "decoys_off", "label": "", "split": "", "factor": "", "method": "slow", "value": 0.25})
    html, _ = render((folder, runs, [*scores, toy.scores(*known)]), tmp_path)
    text = Page(html).sections["recovery"]
    assert "Interpretable AE 0.70 –" in text
    assert "Slow model – 0.25" in text
    assert "recovery" not in Page(render(world, tmp_path)[0]).sections


def test_runs_without_separation_give_a_page(world, tmp_path):
    folder, runs, _ = world
    recovery = toy.scores({"metric": "aupr", "label": "", "split": "", "value": 0.7})
    html, _ = render((folder, runs, [recovery]), tmp_path)
    assert "Interpretable AE 0.70" in Page(html).sections["recovery"]


def test_times_that_cannot_be_compared_are_not_shown(world, tmp_path):
    config = toy.config()
    config["report"]["times"] = False
    shown, hidden = Page(render(world, tmp_path)[0]), Page(render(world, tmp_path, config)[0])
    assert "time" in shown.sections
    assert "time" not in hidden.sections
    assert "as long as" in shown.sections["answers"]
    assert "as long as" not in hidden.text


def test_the_first_answer_shows_the_numbers_of_the_tables(world, tmp_path):
    html, results = render(world, tmp_path)
    text = Page(html).sections["answers"]
    means = over_seeds(results["scores"]).query("factor == 'A' and label == @ASKED")
    means = means.set_index(["method", "metric", "split"])
    train = means.loc[("ae", "accuracy", "train")]
    baseline = results["scores"].query("metric == 'baseline' and label == @ASKED")["value"].iloc[0]
    for share in (
        train["mean"],
        train["lower"],
        min(train["upper"], 1),
        means.loc[("ae", "accuracy", "cv"), "mean"],
        means.loc[("slow", "accuracy", "train"), "mean"],
        baseline,
    ):
        assert f"{100 * share:.1f} %" in text
    assert "34×" in text
    assert "≥ 34×" not in text
    assert "takes 1.7 min, Interpretable AE 3 s" in text


def test_unfinished_runs_are_listed_with_their_reason(world, tmp_path):
    found = Page(render(world, tmp_path)[0])
    assert "6 runs: 5 finished, 1 did not" in found.text
    assert "Toy cells Slow model 2 timeout 1.7 min out of <b>time</b>" in found.sections["unfinished"]
    assert "Figure x: not drawn" in found.sections["unfinished"]
    finished = Page(render(world, tmp_path, keep=lambda run: run["status"] == "ok")[0])
    assert "5 runs: every run finished." in finished.text


def test_data_and_methods_are_described(world, tmp_path):
    text = Page(render(world, tmp_path)[0]).sections["data"]
    for part in (
        *("120 cells, 12 genes, 3 gene sets, mouse", "125 raw → 120 with counts", "doi:10.1000/toy", "CC BY 4.0"),
        *("4 genes had counts", "1 of them", "numpy 2.0", "Quick 1, cpu, 1 thread: 6 runs"),
        "factorbench aaaaaaaaaaaa (with local changes)",
    ):
        assert part in text


def test_parameters_other_than_the_defaults_are_listed():
    entry = {"use": "interpretable_ae", "title": "AE", "params": {"lambda1": 0.5, "lambda3": 0.57}}
    assert page.method_facts("ae", entry)["params"] == "lambda1 = 0.5"


def test_text_from_data_is_escaped(world, tmp_path):
    config = toy.config()
    hostile = "<script>alert(1)</script>"
    config["methods"]["ae"]["title"] = config["datasets"]["toy"]["title"] = config["report"]["title"] = hostile
    config["datasets"]["toy"]["doi"] = '"><script>'
    html, _ = render(world, tmp_path, config)
    assert hostile not in html
    assert html.count("<script>") == 1
    assert "Which &lt;factor&gt;?" in html
    assert "Toy et al. &lt;2020&gt;" in html
    Page(html)


def test_methods_that_were_not_run_on_a_dataset_are_named():
    runs = pd.DataFrame({"dataset": ["toy", "toy", "big"], "method": ["ae", "slow", "ae"]})
    assert facts.not_run_on(runs) == {"toy": [], "big": ["slow"]}


def test_a_dataset_without_a_contrast_has_no_board(world, tmp_path):
    folder, runs, scores = world
    html, _ = render((folder, runs, [s[s["label"] != ASKED] for s in scores]), tmp_path)
    assert "by one factor" not in Page(html).text
    assert "34×" in Page(html).sections["answers"]


def test_a_name_that_the_context_lacks_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "report.html.j2").write_text("{{ nowhere }}", encoding="utf-8")
    monkeypatch.setattr(page, "TEMPLATES", tmp_path)
    with pytest.raises(jinja2.UndefinedError):
        page.render({})


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        *((numbers.percent, 0.9401, "94.0 %"), (numbers.percent, np.nan, "–"), (numbers.percent, None, "–")),
        *((numbers.points, -0.0312, "-3.1"), (numbers.times, 0.0174, "0.017×"), (numbers.times, 41.2, "41×")),
        *((numbers.duration, 0.42, "0.42 s"), (numbers.duration, 250, "4.2 min"), (numbers.duration, 86400, "1.0 d")),
        *((numbers.duration, None, "–"), (numbers.count, 13576.0, "13,576"), (numbers.decimals, 0.98765, "0.99")),
    ],
)
def test_numbers_as_people_write_them(function, value, text):
    assert function(value) == text


@pytest.mark.parametrize(
    ("lower", "upper", "text"),
    [(26, 41, "26× to 41×"), (26, 26.2, "26×"), (26, np.nan, "at least 26×"), (26, None, "at least 26×")],
)
def test_a_range_of_ratios(lower, upper, text):
    assert numbers.times_range(lower, upper) == text


def test_versions_that_differ_between_runs_are_all_named():
    runs = runs_table([toy.run(versions={"numpy": v}, git_commit=None) for v in ("2.0", "1.26")])
    assert page.versions(runs) == {"numpy": "1.26, 2.0"}
    assert json.loads(runs["versions"].iloc[0]) == {"numpy": "2.0"}


# ------------------------------------------------------------------------------------------------------- best factors


def test_a_method_without_gene_sets_that_separates_as_well_is_put_beside_ours(world, tmp_path):
    folder, runs, scores = world
    pca = [s.assign(method="pca") for s in scores if (s["method"] == "ae").all()]
    runs = [*runs, *(run | {"method": "pca", "use": "pca"} for run in runs if run["method"] == "ae")]
    html, results = render((folder, runs, [*scores, *pca]), tmp_path)
    best = results["separation"].query("method == 'pca' and label == @ASKED").iloc[0]
    assert f"PCA {100 * best['cv_accuracy']:.1f} %" in Page(html).sections["separation"]
    assert "PCA" not in Page(render(world, tmp_path)[0]).sections["separation"]


def measured(*rows, dataset="toy"):
    keys = ("method", "seed", "metric", "factor", "label", "split", "value", "upper", "n")
    table = pd.DataFrame([dict(zip(keys, row, strict=True)) for row in rows])
    return table.assign(dataset=dataset, lower=np.nan, status="ok")[list(SCORE_COLUMNS)]


def test_the_best_factor_of_each_seed_is_compared_with_chance_donors_and_other_seeds():
    scores = measured(
        ("ae", 0, "best_accuracy", "A", ASKED, "train", 0.9, np.nan, 100),
        ("ae", 1, "best_accuracy", "A", ASKED, "train", 0.8, np.nan, 100),
        ("ae", 2, "best_accuracy", "B", ASKED, "train", 0.95, np.nan, 100),
        *(("ae", s, "null_accuracy", "", ASKED, "train", 0.5, 0.55, 99) for s in range(3)),
        *(("ae", s, "p_accuracy", "", ASKED, "train", p, np.nan, 99) for s, p in enumerate((0.01, 0.03, 0.02))),
        *(("ae", s, "accuracy", "A", ASKED, "donor", 0.7, np.nan, 100) for s in range(3)),
        *(("ae", s, "accuracy", "B", ASKED, "donor", 0.4, np.nan, 100) for s in range(3)),
        ("ae", np.nan, "score_agreement", "A", "", "", 0.66, np.nan, 3),
        ("ae", np.nan, "score_agreement", "C", "", "", 0.1, np.nan, 3),
        ("ae", np.nan, "top_agreement", "", "", "", 0.5, np.nan, 3),
    )
    (row,) = facts.certainty(over_seeds(scores), scores, {"toy": {}}, ["ae", "slow"])["toy"]
    assert row["factors"] == "A (2 seeds), B (1)"
    np.testing.assert_allclose(
        [row[key] for key in ("accuracy", "chance", "p", "donor", "scores", "top")],
        [(0.9 + 0.8 + 0.95) / 3, 0.55, 0.03, 0.6, 0.66, 0.5],
    )
    assert row["active"] is None


def test_methods_are_compared_on_the_same_cells(world, tmp_path):
    text = Page(render(world, tmp_path)[0]).sections["certainty"]
    assert "A Slow model 50.0 % 75.0 % -25.0 -50.0 to +0.0 3 0.0012 0.0034" in text


def test_accuracy_on_new_cells_is_compared_with_a_model_that_saw_them():
    scores = measured(
        *(
            ("ae", s, "projected_accuracy", "A", ASKED, split, value, np.nan, 40)
            for s in range(2)
            for split, value in (("seen", 0.9), ("held_out", 0.8 + s / 10), ("saw_them", 0.88))
        ),
        ("ae", 0, "score_correlation", "A", "", "held_out", 0.9, np.nan, 40),
        ("ae", 0, "score_correlation", "B", "", "held_out", 0.5, np.nan, 40),
        ("ae", 0, "score_correlation", "A", "", "seen", 0.95, np.nan, 60),
    )
    dataset = {"held_out": {"cells": 40}, "contrast": {"label": "condition", "positive": "stimulated"}}
    means = over_seeds(scores)
    (row,) = facts.new_cells(means, {"toy": dataset}, ["GONE", "A"], ["ae", "slow"])["toy"]
    np.testing.assert_allclose(
        [row[key] for key in ("seen", "held_out", "saw_them", "alike_held_out", "all_held_out", "alike_seen")],
        [0.9, 0.85, 0.88, 0.9, 0.7, 0.95],
    )
    assert facts.new_cells(means, {"toy": dataset | {"held_out": None}}, ["A"], ["ae"]) == {}


# ----------------------------------------------------------------------------------------------------------- machines


def on(machines, world):
    """``world`` with the runs of each seed on another of ``machines``, the second ten times slower."""
    folder, runs, scores = world
    moved = [
        {**run, "host": machines[run["seed"] % 2], "fit_seconds": run["fit_seconds"] * 10 ** (run["seed"] % 2)}
        for run in runs
    ]
    return folder, moved, scores


def test_several_machines_are_named_and_never_compared(world, tmp_path):
    found = Page(render(on(["new", "old"], world), tmp_path)[0])
    assert "made on 2 machines; ratios are within a machine" in found.sections["time"]
    assert "Interpretable AE old 5 1 ok" in found.sections["time"]
    assert "new: Quick 1, cpu, 1 thread: 4 runs" in found.sections["data"]
    # Seeds 0 and 2 are new (2 s and 4 s, 100 s and at least 102 s), seed 1 is old (30 s, 1,010 s): medians of all are
    # 4 s and at least 102 s.
    assert "≥ 34×" in found.sections["answers"]
    assert "on new" in found.sections["answers"]
    assert "takes at least 1.7 min, Interpretable AE 3 s" in found.sections["answers"]


def test_one_machine_is_not_reported_as_several(world, tmp_path):
    found = Page(render(world, tmp_path)[0])
    assert "machines; ratios" not in found.text
    assert "Made on node by factorbench aaaaaaaaaaaa (with local changes)." in found.sections["data"]
    folder, runs, scores = world
    unknown = folder, [run | {"git_commit": None, "git_dirty": None} for run in runs], scores
    assert "Made on node." in Page(render(unknown, tmp_path)[0]).sections["data"]


def test_the_summary_names_machines_if_there_are_several(world, tmp_path):
    for machines in (["node", "node"], ["new", "old"]):
        (tmp_path / "tables").mkdir(exist_ok=True)
        render(on(machines, world), tmp_path / "tables")
        (tmp_path / "report.html").touch()
        lines = terminal.summary(tmp_path).splitlines()
        assert any("2 machines" in line for line in lines) == (machines[0] != machines[1])
        assert ("machine" in lines[0]) == (machines[0] != machines[1])
        assert lines[-1].endswith("report.html")


# ------------------------------------------------------------------------------------------------------------- claims


def claim(**more):
    row = dict.fromkeys(verdicts.COLUMNS)
    row |= {"claim": "one", "where": "Figure 1", "says": "A & B differ.", "verdict": "reproduced", "seeds": 3}
    row |= {"taken_as": "a difference above <0>", "threshold": "above 0", "differs": "Data <differ>.", "unit": "share"}
    row |= {"quantity": "difference", "value": 0.4, "lower": 0.3, "upper": 0.5, "cells": 120, "extent": "full"}
    return row | {"dataset": "toy", "missing": None} | more


VERDICTS = {"yes": "reproduced", "no": "not reproduced", "open": "not tested"}


def test_claims_show_their_verdict_and_numbers_whether_they_hold_or_fail(world, tmp_path):
    beside = {"beside": "with our training", "beside_verdict": "not reproduced", "beside_value": 0.1, "beside_seeds": 5}
    table = pd.DataFrame(
        [
            claim(runs="ae/0, ae/1", **beside, beside_lower=0.05, beside_upper=0.15),
            claim(claim="two", verdict="not reproduced", says="It <b>fails</b>.", lower=None, upper=None, seeds=1),
            claim(claim="three", verdict="not tested", value=None, why="on toy: ae was not run", missing="S1, S2"),
        ]
    )
    html, _ = render(world, tmp_path, claims=table)
    text = Page(html).sections["claims"]
    assert "1 reproduced 1 not reproduced 1 not tested" in text
    assert "120 cells of Toy cells (full)" in text
    assert "40.0 % (3 seeds, 95 % interval 30.0 % to 50.0 %)" in text
    assert "Data <differ>." in text
    assert "With our training: 10.0 % (5 seeds, 95 % interval 5.0 % to 15.0 %), not reproduced." in text
    assert "40.0 % (1 seed, no interval)" in text
    assert "Not tested: on toy: ae was not run." in text
    assert "Without samples S1, S2" in text
    assert "Runs: ae/0, ae/1." in text
    shown = [html.count(f'<span class="verdict {kind}">{words}</span>') for kind, words in VERDICTS.items()]
    assert shown == [1, 1, 1]


def test_claims_about_other_data_are_one_line_at_most(world, tmp_path):
    config = toy.config() | {"other_claims": ["a", "b"]}
    html, _ = render(world, tmp_path, config, claims=pd.DataFrame([claim()]))
    assert "2 other claims" in Page(html).sections["claims"]
    for more in ({}, {"claims": pd.DataFrame(columns=[*verdicts.COLUMNS])}):
        assert "claims" not in Page(render(world, tmp_path, config, **more)[0]).sections


# ---------------------------------------------------------------------------------------------------------------- time


def test_a_study_of_growth_shows_measured_and_extrapolated_times_apart(world, tmp_path):
    assert "How time grows" not in render(world, tmp_path)[0]
    fit = {"dataset": "toy", "method": "slow", "of": "fit", "runs": 2, "sizes": 2, "reason": "2 numbers of cells"}
    each = fit | {"of": "iteration", "runs": 6, "sizes": 6, "cells_exponent": 1.04, "cells_lower": 0.97, "reason": ""}
    each |= {"cells_upper": 1.11, "terms_exponent": 1.9, "terms_lower": 1.8, "terms_upper": 2.0, "seconds": 0.25}
    size = {"family": "toy", "dataset": "toy", "cells": 120, "genes": 12, "terms": 3, "statuses": "1 ok"}
    own = size | {"method": "ae", "ran": 2.0, "how": "measured", "seconds": 2.0, "lower": 2.0, "upper": 2.0}
    slow = size | {"method": "slow", "ran": 50.0, "how": "extrapolated", "lower": 7200.0, "upper": 14400.0}
    slow |= {"seconds": 9000.0, "iteration_seconds": 9.0, "iterations_lower": 800, "iterations_upper": 1600}
    slow |= {"converged": 5, "ratio_lower": 3600.0, "ratio_upper": 7200.0}
    studied = {
        "scaling": pd.DataFrame([fit, each], columns=list(scaling.LAW_COLUMNS)),
        "full_time": pd.DataFrame([own, slow], columns=list(scaling.FULL_COLUMNS)),
    }
    found = Page(render(world, tmp_path, **studied)[0])
    answers = found.sections["answers"]
    assert "3,600× to 7,200×" in answers
    assert "takes 2.0 h to 4.0 h (extrapolated), Interpretable AE 2 s (measured)" in answers
    assert "9 s per iteration" in answers
    assert "800 to 1,600 iterations" in answers
    assert "34×" not in answers, "a dataset of the study is answered once"
    laws = found.sections["time"]
    assert "Slow model one iteration 6 6 1.04 0.97 to 1.11 1.90 1.80 to 2.00 0.25 s" in laws
    assert "Slow model the fit 2 2 – – – – 2 numbers of cells" in laws


# ------------------------------------------------------------------------------------------------- kinds of encoders


def of_encoders():
    """Scores of a network (two seeds) and an exact solution (one) with other terms of eq. 3."""
    terms = {"residual": 10.0, "scores_norm": 2.0, "l1_outside": 3.0, "l1_sparse": 0.0, "group_norm": 4.0}
    return measured(
        *(("ae", s, name, "", "", "", value + s, np.nan, 9) for s in range(2) for name, value in terms.items()),
        *(("exact", 0, name, "", "", "", value / 2, np.nan, 9) for name, value in terms.items()),
        ("exact", 0, "residual", "", "", "held_out", 6.5, np.nan, 3),
        *(("ae", s, "accuracy", "A", ASKED, "train", 0.9 - s / 10, np.nan, 9) for s in range(2)),
        *(("ae", s, "accuracy", "B", ASKED, "train", 0.95, np.nan, 9) for s in range(2)),
        ("exact", 0, "accuracy", "A", ASKED, "train", 0.7, np.nan, 9),
        ("exact", 0, "accuracy", "A", ASKED, "cv", 0.7, np.nan, 9),
        ("exact", 0, "auroc", "A", ASKED, "", 0.7, np.nan, 9),
        *(
            ("ae", np.nan, "score_agreement", f, "", "", value, np.nan, 1)
            for f, value in (("A", 0.2), ("B", 0.6), ("C", 1))
        ),
    )


def config_of_encoders(**linear):
    config = toy.config()
    for name, params in {"ae": {"lambda2": 0.5}, "exact": {"lambda2": 0.5, "encoder": "linear", **linear}}.items():
        params = registry.method_params("interpretable_ae", params, name)
        config["methods"][name] = {"use": "interpretable_ae", "title": name, "params": params}
    return config


def test_kinds_of_encoders_are_compared_by_eq_3():
    runtime = pd.DataFrame({"dataset": "toy", "method": ["ae", "exact"], "seconds": [9.0, 0.5]})
    dataset = {"contrast": {"label": "condition", "positive": "stimulated"}}
    means = over_seeds(of_encoders())
    network, exact = facts.encoders(means, runtime, config_of_encoders(), {"toy": dataset}, ["GONE", "A", "B"])["toy"]
    assert (network["encoder"], exact["encoder"]) == ("network", "linear")
    assert network["objective"] == pytest.approx(10.5 + 0.1 * 2.5 + 0.93 * 3.5 + 0.5 * 0.5 + 0.57 * 4.5)
    assert exact["objective"] == pytest.approx(5 + 0.1 + 0.93 * 1.5 + 0.57 * 2)
    expected = {"term": "A", "accuracy": 0.85, "lowest": 0.8, "highest": 0.9, "best": "B", "best_accuracy": 0.95}
    expected |= {"agreement": 0.6, "seconds": 9.0, "seeds": 2, "residual": 10.5, "new_residual": None}
    assert {key: network[key] for key in expected} == pytest.approx(expected)
    assert (exact["new_residual"], exact["agreement"], exact["best"]) == (6.5, None, "A")
    without = facts.encoders(means, runtime, config_of_encoders(), {"toy": {"contrast": None}}, ["A"])["toy"]
    assert without[0]["term"] is None


def test_models_with_another_objective_are_not_compared():
    runtime, data = pd.DataFrame({"dataset": [], "method": [], "seconds": []}), {"toy": {"contrast": None}}
    for linear in ({"lambda3": 0.1}, {"n_dense": 2}, {"group_weights": "size"}):
        assert facts.encoders(over_seeds(of_encoders()), runtime, config_of_encoders(**linear), data, []) == {}


def test_the_section_on_encoders_shows_each_model(world, tmp_path):
    folder, runs, scores = world
    assert "encoder" not in Page(render(world, tmp_path)[0]).sections
    runs = [*runs, toy.run(method="exact", use="interpretable_ae", seed=0, seconds=0.5, n_factors=3)]
    html = render((folder, runs, [*scores, of_encoders()]), tmp_path, config_of_encoders())[0]
    text = Page(html).sections["encoder"]
    assert "no encoder, however non-linear, can have a lower objective" in text
    assert "ae network 16.8 10.5 – 89.3 % (80.0–93.3 %) A 89.3 % 0.60 2 3 s" in text
    assert "exact linear 7.6 5.0 6.5 70.0 % A 70.0 % – 1 0.5 s" in text
