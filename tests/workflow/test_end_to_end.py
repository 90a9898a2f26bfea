"""The workflow on planted data: planted signals are recovered, random sets lose, every promised output exists."""

import json
import re
import xml.etree.ElementTree as xml

import pytest
from factorbench.config.plan import planned_runs
from factorbench.contracts.files import read_json, read_table
from factorbench.contracts.scores import check_scores

from tests.workflow.conftest import local, planted_counts

STANDARD = ["condition", "cell_type", "condition_by_cell_type", "accuracy", "pathways", "runtime"]


@pytest.fixture(scope="module")
def scores(finished):
    table = read_table(finished.result("tables/scores.tsv"))
    check_scores(table.drop(columns="missing"))
    return table


def accuracy(scores, method, factor, label="condition=stimulated", split="cv", dataset="planted"):
    rows = scores[(scores["metric"] == "accuracy") & (scores["method"] == method) & (scores["factor"] == factor)]
    rows = rows[rows["dataset"] == dataset]
    return rows[(rows["label"] == label) & (rows["split"] == split)]["value"].mean()


@pytest.mark.parametrize("method", ["ae", "fsclvm", "gene_set_mean"])
def test_planted_signals_are_recovered(scores, method):
    assert accuracy(scores, method, "SET_0") > 0.9
    assert accuracy(scores, method, "SET_1", "cell_type=B") > 0.9
    assert accuracy(scores, method, "SET_1") < 0.7


def test_permuted_gene_sets_lose(scores):
    assert accuracy(scores, "ae", "SET_0", dataset="planted_permuted") < accuracy(scores, "ae", "SET_0") - 0.1


def test_every_run_has_a_row_with_its_status(finished):
    runs = read_table(finished.result("tables/runs.tsv")).set_index("method")
    assert len(runs) == len(planned_runs(finished.config))
    assert set(runs.loc["ae", "status"]) == {"ok"}
    assert runs.loc["impatient", "status"] == "budget"
    assert runs.loc["impatient", "reason"]
    runtime = read_table(finished.result("tables/runtime.tsv")).set_index(["dataset", "method"])
    assert runtime.loc[("planted", "ae"), "ratio"] == 1
    assert runtime.loc[("planted", "impatient"), "bound"] == "at least"
    assert runtime.loc[("planted_new", "ae"), "extent"] == "held out"


def test_held_out_cells_are_projected_if_the_method_can(finished, scores):
    runs = read_table(finished.result("tables/runs.tsv"))
    (run,) = runs[(runs["dataset"] == "planted_new") & (runs["method"] == "fsclvm")].itertuples()
    assert (run.status, run.fit_seconds) == ("not_applicable", 0)
    rows = scores[(scores["dataset"] == "planted_new") & (scores["label"] == "condition=stimulated")]
    rows = rows[(rows["metric"] == "projected_accuracy") & (rows["factor"] == "SET_0")].set_index("split")
    assert rows.loc["held_out", "n"] == 75
    assert rows.loc["seen", "n"] == 225
    assert rows["value"].loc[["seen", "held_out", "saw_them"]].min() > 0.9


def test_accuracies_come_with_chance_donors_seeds_and_other_methods(finished, scores):
    rows = scores[(scores["dataset"] == "planted") & (scores["method"] == "ae")]
    chance = rows[rows["metric"] == "null_accuracy"]
    best = rows[rows["metric"] == "best_accuracy"]
    assert set(best["factor"]) == {"SET_0"}
    assert chance["upper"].max() < best["value"].min()
    assert set(rows.loc[rows["metric"] == "p_accuracy", "value"].round(6)) == {round(1 / 101, 6)}
    assert accuracy(scores, "ae", "SET_0", split="donor") > 0.9
    agreement = rows[(rows["metric"] == "score_agreement") & (rows["factor"] == "SET_0")]
    assert agreement["seed"].isna().all()
    assert agreement["value"].iloc[0] > 0.8
    table = read_table(finished.result("tables/comparisons.tsv")).set_index(["method", "factor"])
    assert set(table["reference"]) == {"ae"}
    assert table.loc[("strict", "SET_0"), "difference"] < -0.1
    assert table.loc[("strict", "SET_0"), "p"] < 0.05
    assert table.loc[("gene_set_mean", "SET_0"), "p"] > 0.05
    assert (table["p_corrected"] >= table["p"]).all()


def test_claims_get_their_verdicts(finished):
    claims = read_table(finished.result("tables/claims.tsv")).set_index("claim")
    assert claims["verdict"].to_dict() == {
        "true_one": "reproduced",
        "false_one": "not reproduced",
    }
    assert claims.loc["true_one", "runs"] == "ae/0, ae/1"
    page = finished.result("report.html").read_text(encoding="utf-8")
    for claim in claims.itertuples():
        assert claim.says in page
    assert "Nothing differs from &lt;what&gt; was planted" in page
    assert "claims: 1 reproduced, 1 not reproduced" in finished.printed()
    assert "Elsewhere" not in page, "a claim about data that were not run is not listed"
    assert "1 other claim" in page


def test_every_figure_is_a_png_and_an_svg(finished):
    names = {*finished.config["figures"], *(f"all_{kind}" for kind in STANDARD)} - {"all"}
    assert {path.stem for path in finished.result("figures").glob("*.png")} == names
    for name in names:
        assert finished.result(f"figures/{name}.png").read_bytes().startswith(b"\x89PNG")
        assert xml.parse(finished.result(f"figures/{name}.svg")).getroot().tag.endswith("svg")
    assert "SET_99" in finished.result("tables/cells_scatter.tsv.gz").parent.joinpath(
        "../figures/scatter.svg"
    ).read_text(encoding="utf-8")


def test_the_report_stands_alone_and_escapes_text_from_data(finished):
    page = finished.result("report.html").read_text(encoding="utf-8")
    assert "Planted &amp; &lt;b&gt;true&lt;/b&gt;" in page
    assert "<b>true</b>" not in page
    loaded = re.findall(r"""<(?:img|script|iframe|source)[^>]*\ssrc=["']?([^"'\s>]+)""", page)
    assert loaded
    assert all(address.startswith("data:") for address in loaded)
    assert not re.search(r"""<link\b|@import|url\(["']?(?:https?:)?//|\bfetch\(""", page)
    assert "f-scLVM, impatient" in page


def test_progress_numbers_the_runs(finished):
    total = len(planned_runs(finished.config))
    for number in (1, total):
        assert f"run {number} of {total}: " in finished.printed()


def test_snakemake_report_works_with_captions(finished):
    finished.snakemake("--report", "page.html")
    page = (finished.folder / "page.html").read_text(encoding="utf-8")
    assert "figures/accuracy.png" in page


def test_every_run_can_be_replayed_from_its_job(finished):
    job = read_json(finished.result("runs/planted/ae/1/job.json"))
    assert job["seed"] == 1
    run = read_json(finished.result("runs/planted/ae/1/run.json"))
    assert job["params"] == run["params"]
    assert run["params"]["optimizer"] == "encoder", "the record says how the model was trained"


METHOD = '''
"""The planted answer itself, as a perfect method would give it."""

from ..contracts.factors import Factors
from ..registry import MethodSpec, Param

SPEC = MethodSpec(name="first_set", title="First set only", params={"scale": Param(1.0, "factor of the score")})


def fit(data, params, seed, device, budget):
    import numpy as np
    import pandas as pd

    mask = np.asarray(data.varm["mask"])[:, :1]
    table = pd.DataFrame({"name": data.uns["gene_sets"][:1], "kind": "annotated", "active": True})
    return Factors(scores=params["scale"] * (data.X @ mask), loadings=mask.astype(float), table=table, mask=mask)
'''


def test_one_entry_adds_a_dataset_and_one_file_a_method(finished):
    """Neither repeats a run."""
    before = finished.result("runs/planted/ae/0/factors.h5ad").stat().st_mtime_ns
    data, _ = planted_counts(n_cells=150, seed=1)
    data.write_h5ad(finished.folder / "mine.h5ad")
    (finished.folder / "workflow/scripts/factorbench/methods/first_set.py").write_text(METHOD, encoding="utf-8")
    config = json.loads(json.dumps(finished.config))
    config["datasets"]["mine"] = {
        "files": {"counts": local(finished.folder / "mine.h5ad")},
        "labels": {"condition": "stim"},
        "contrast": {"label": "condition", "positive": "stimulated"},
        "n_top_genes": 200,
    }
    config["methods"]["first"] = {"use": "first_set", "params": {"scale": 2.0}}
    config["runs"].append({"datasets": ["planted", "mine"], "methods": ["first", "gene_set_mean"]})
    finished.write_config(config)
    finished.snakemake()
    scores = read_table(finished.result("tables/scores.tsv"))
    assert finished.result("runs/planted/ae/0/factors.h5ad").stat().st_mtime_ns == before
    assert accuracy(scores, "first", "SET_0", dataset="mine") > 0.9
    assert accuracy(scores, "gene_set_mean", "SET_0", dataset="mine") > 0.9
    assert "First set only" in finished.result("report.html").read_text(encoding="utf-8")
