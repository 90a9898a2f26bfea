"""Claims: every one can hold, can fail, and says why it was not tested."""

import copy

import numpy as np
import pandas as pd
import pytest
import yaml
from factorbench.config import claims, schema
from factorbench.contracts.errors import UserError
from factorbench.contracts.run import RUN_KEYS
from factorbench.contracts.scores import SCORE_COLUMNS
from factorbench.reporting.claims.tests import TESTS
from factorbench.reporting.claims.verdicts import claims_table

from tests.planted import ROOT

CONTENT = claims.read("workflow/claims.yaml")
ALL, BESIDE = CONTENT["claims"], CONTENT["beside"]
METHODS = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["methods"]
SEEDS = range(5)


def by_id(name):
    return next(claim for claim in ALL if claim["id"] == name)


def run(dataset, method, seed, **changes):
    record = dict.fromkeys(RUN_KEYS)
    record |= {"dataset": dataset, "method": method, "seed": seed, "status": "ok", "fit_seconds": 10.0}
    return record | {"n_cells": 13_000, "n_factors": 130, "n_active": 90, "threads": 1, "device": "cpu"} | changes


def score(dataset, method, seed, metric, value, factor="", label="", split=""):
    row = {"dataset": dataset, "method": method, "seed": seed, "metric": metric, "factor": factor, "label": label}
    return row | {"split": split, "value": value, "lower": np.nan, "upper": np.nan, "n": 100, "status": "ok"}


class World:
    """Tables in which a claim holds or does not, seed by seed."""

    def __init__(self, claim, dataset, holds, wobble=0.0):
        self.claim, self.dataset, self.runs, self.scores = claim, dataset, [], []
        ((self.test, self.params),) = claim["test"].items()
        for seed in SEEDS:
            # Seeds differ a little, or so much that some of them say the contrary.
            getattr(self, self.test)(seed, holds, wobble * (-1) ** seed + 0.001 * seed)

    def tables(self):
        runs = pd.DataFrame(self.runs, columns=list(RUN_KEYS))
        scores = pd.DataFrame(self.scores, columns=list(SCORE_COLUMNS))
        runtime = runs.groupby("dataset", sort=False)["n_cells"].max().rename("cells").reset_index()
        return {"runs": runs, "scores": scores, "runtime": runtime.assign(extent="full")}

    def add(self, method, seed, **changes):
        self.runs.append(run(self.dataset, method, seed, **changes))

    def say(self, method, seed, metric, value, *, factor="", label="", split=""):
        self.scores.append(score(self.dataset, method, seed, metric, value, factor, label, split))

    def time_ratio(self, seed, holds, noise):
        ratio = self.params["at_least"] * np.exp((1 if holds else -1) + 10 * noise)
        self.add(self.params["reference"], seed, fit_seconds=60.0)
        self.add(self.params["method"], seed, fit_seconds=60.0 * ratio)

    def auroc(self, seed, holds, noise):
        s = self.params
        self.add(s["method"], seed)
        # Lower in the class counts as well: what matters is how far from one half.
        area = 1 - s["at_least"] - (0.05 if holds else -0.05) - noise
        self.say(s["method"], seed, "auroc", area, factor=s["term"], label=s["label"])
        self.say(s["method"], seed, "accuracy", 0.9, factor=s["term"], label=s["label"], split="train")
        self.say(s["method"], seed, "baseline", 0.5, label=s["label"])

    def accuracies(self, seed, found):
        for (method, term), value in found.items():
            self.say(method, seed, "accuracy", value, factor=term, label=self.params["label"], split="train")

    def beats_all(self, seed, holds, noise):
        s = self.params
        methods = [s["method"], *s["others"]]
        for method in methods:
            self.add(method, seed)
        found = {(method, term): 0.7 for method in methods for term in s["terms"]}
        found |= {(s["method"], term): 0.8 + noise for term in s["terms"]}
        found[s["method"], s["but"][0]] = 0.1  # the exception must not count
        if not holds:  # one term, one setup is enough
            found[s["others"][1], s["terms"][2]] = 0.85
        self.accuracies(seed, found)

    def is_beaten(self, seed, holds, noise):
        s = self.params
        found = {(method, s["term"]): 0.7 for method in s["others"]} | {(s["method"], s["term"]): 0.8}
        if holds:  # by one setup is enough
            found[s["others"][0], s["term"]] = 0.9 + noise
        for method, _ in found:
            self.add(method, seed)
        self.accuracies(seed, found)

    def best_of(self, seed, holds, noise):
        s = self.params
        self.add(s["method"], seed)
        found = {(s["method"], term): 0.7 for term in s["terms"]}
        found[s["method"], s["term"]] = 0.8 + noise
        if not holds:
            found[s["method"], next(t for t in s["terms"] if t != s["term"])] = 0.9
        self.accuracies(seed, found)

    def switched_off(self, seed, holds, noise):
        self.add(self.params["method"], seed, n_active=130 - (40 + round(300 * noise) if holds else 0))

    def measure(self, seed, holds, noise):
        s = self.params
        self.add(s["method"], seed)
        self.say(s["method"], seed, s["metric"], s["at_least"] + (0.005 if holds else -0.1) + noise / 10)

    def top_terms(self, seed, holds, noise):
        s, published = self.params, self.claim["terms"]
        self.add(s["method"], seed)
        kept = (8 if holds else 3) + round(20 * noise)
        first = [*published[:kept], *(f"OTHER_{i}" for i in range(len(published) - kept))]
        last = [*published[kept:], *(f"LAST_{i}" for i in range(40))]
        for rank, term in enumerate([*first, *last]):
            self.say(s["method"], seed, "relevance", 100.0 - rank, factor=term, label="kind=annotated")

    def new_cells(self, seed, holds, noise):
        s = self.params
        self.add(s["method"], seed)
        at = {"factor": s["term"], "label": s["label"]}
        unseen = 0.95 + s["at_least"] + (0.01 if holds else -0.1) + noise
        self.say(s["method"], seed, "projected_accuracy", unseen, split="held_out", **at)
        self.say(s["method"], seed, "projected_accuracy", 0.95, split="saw_them", **at)
        self.say(s["method"], seed, "score_correlation", 0.9, factor=s["term"], split="held_out")

    def time_grows(self, seed, holds, noise):
        s, top = self.params, self.dataset
        for cells in (500, 2000, 13_000):
            self.dataset = top if cells == 13_000 else f"{top}_{cells}"
            slope = (0.5 if holds else -0.5) + 10 * noise
            self.add(s["reference"], seed, n_cells=cells, fit_seconds=10.0)
            self.add(s["method"], seed, n_cells=cells, fit_seconds=10.0 * (cells / 500) ** slope)
        self.dataset = top


def config_for(world):
    names = {record["dataset"] for record in world.runs}
    datasets = {name: {} if name == world.claim["dataset"] else {"from": world.claim["dataset"]} for name in names}
    return {"methods": METHODS, "datasets": datasets, "other_claims": []}


def verdict(world, beside=None):
    content = {"claims": [world.claim], "beside": beside}
    return claims_table(content, world.tables(), config_for(world)).iloc[0]


@pytest.mark.parametrize("name", [claim["id"] for claim in ALL])
def test_every_claim_can_hold_and_can_fail(name):
    claim = by_id(name)
    row = verdict(World(claim, claim["dataset"], holds=True))
    assert row["verdict"] == "reproduced", row["why"]
    assert row["lower"] <= row["value"] <= row["upper"]
    assert row["seeds"] == len(SEEDS)
    assert row["runs"]
    row = verdict(World(claim, claim["dataset"], holds=False))
    assert row["verdict"] == "not reproduced", row["why"]


@pytest.mark.parametrize("name", [claim["id"] for claim in ALL])
def test_seeds_that_disagree_do_not_reproduce_a_claim(name):
    claim = by_id(name)
    row = verdict(World(claim, claim["dataset"], holds=True, wobble=0.15))
    assert row["verdict"] == "not reproduced"


@pytest.mark.parametrize("name", [claim["id"] for claim in ALL])
def test_a_claim_without_its_data_is_not_tested_and_says_why(name):
    claim = by_id(name)
    other = World(by_id("factors_switched_off"), "elsewhere", holds=True)
    content = {"claims": [claim], "beside": None}
    row = claims_table(content, other.tables(), config_for(other)).iloc[0]
    assert row["verdict"] == "not tested"
    assert row["why"].startswith(f"on {claim['dataset']}: ")
    assert pd.isna(row["value"])


@pytest.mark.parametrize("name", [claim["id"] for claim in ALL if claim["stand_in"]])
def test_a_stand_in_decides_or_shows_its_numbers_only(name):
    claim = by_id(name)
    row = verdict(World(claim, claim["stand_in"], holds=True))
    assert row["dataset"] == claim["stand_in"]
    assert np.isfinite([row["value"], row["lower"], row["upper"]]).all()
    assert row["verdict"] == ("reproduced" if claim["decides"] else "not tested")
    assert f"on {claim['dataset']}: this dataset was not run" in row["why"]


def test_the_interval_of_ratios_is_that_of_their_logarithms():
    world = World(by_id("runtime_kang"), "kang", holds=True)
    row = verdict(world)
    log = np.log([r["fit_seconds"] / 60 for r in world.runs if r["method"] == "fsclvm"])
    half = 2.7764451051977987 * log.std(ddof=1) / np.sqrt(5)
    np.testing.assert_allclose(
        [row["value"], row["lower"], row["upper"]], np.exp(log.mean() + half * np.array([0, -1, 1]))
    )


def on_two_machines(world, moved):
    """Every run on a new machine, but those ``moved`` (method, seed), which were on one ten times slower."""
    for record in world.runs:
        old = (record["method"], record["seed"]) in moved
        record["host"] = "old" if old else "new"
        record["fit_seconds"] *= 10 if old else 1
    return verdict(world)


def test_times_of_two_machines_are_never_compared():
    claim = by_id("runtime_kang")
    ((_, params),) = claim["test"].items()
    method, reference = params["method"], params["reference"]
    alone = verdict(World(claim, "kang", holds=True))
    row = on_two_machines(World(claim, "kang", holds=True), {(method, 1), (reference, 1)})
    assert row["value"] == pytest.approx(alone["value"])  # both of seed 1 on the old one: its ratio holds
    row = on_two_machines(World(claim, "kang", holds=True), {(method, 1)})
    assert (row["seeds"], f"{method}/1" in row["runs"]) == (4, False)
    assert "without seed 1" in row["details"]
    assert row["value"] == pytest.approx(alone["value"], rel=0.01)
    row = on_two_machines(World(claim, "kang", holds=False), {(method, seed) for seed in SEEDS})
    assert row["verdict"] == "not tested"
    assert "different machines" in row["why"]


def test_growth_is_that_on_one_machine():
    claim = next(claim for claim in ALL if "time_grows" in claim["test"])
    ((_, params),) = claim["test"].items()
    world = World(claim, claim["dataset"], holds=False)
    alone = verdict(world)
    for record in world.runs:  # the largest data, on a machine where the method is ten times slower
        record["host"] = "old" if record["n_cells"] == 13_000 and record["method"] == params["method"] else "new"
        record["fit_seconds"] *= 10 if record["host"] == "old" else 1
    row = verdict(world)
    assert (alone["verdict"], row["verdict"]) == ("not reproduced", "not tested")
    assert "finished on 2 sizes of these data at one number of gene sets on one machine" in row["why"]


def test_two_seeds_decide_without_an_interval_and_say_so():
    world = World(by_id("stimulated_cells"), "kang", holds=True)
    world.scores = [row for row in world.scores if row["seed"] < 2]
    row = verdict(world)
    assert row["verdict"] == "reproduced"
    assert "2 seeds, too few for an interval" in row["why"]


def test_a_stopped_run_can_show_a_claim_but_not_refute_it():
    claim = by_id("runtime_kang")
    for holds, expected in ((True, "reproduced"), (False, "not tested")):
        world = World(claim, "kang", holds)
        for record in world.runs:
            record["status"] = "budget" if record["method"] == "fsclvm" else "ok"
        row = verdict(world)
        assert row["verdict"] == expected
        assert row["quantity"].startswith("lower bound")
    for record in world.runs:
        record["status"] = "budget" if record["method"] == "ae_authors" else "ok"
    assert "its time is unknown" in verdict(world)["why"]


def test_a_term_that_was_filtered_out_is_named():
    world = World(by_id("antiviral_is_the_exception"), "kang", holds=True)
    world.scores = [row | {"factor": "SOMETHING_ELSE"} for row in world.scores]
    row = verdict(world)
    assert row["verdict"] == "not tested"
    assert "ANTIVIRAL_MECHANISM" in row["why"]


def test_a_factor_that_left_its_set_is_named():
    world = World(by_id("stimulated_cells"), "kang", holds=True)
    assert "no longer" not in verdict(world)["details"]
    for seed in SEEDS:
        world.say("ae_authors", seed, "in_set_share", 0.3, factor="INTERFERON_SIGNALING")
    details = verdict(world)["details"]
    assert "no longer its gene set in Interpretable AE (authors' training): INTERFERON_SIGNALING" in details


def test_a_run_that_gave_nothing_is_named_with_its_end():
    world = World(by_id("best_factor_fsclvm"), "kang", holds=True)
    world.runs = [record | {"status": "timeout", "n_factors": 0} for record in world.runs]
    assert "5 timeout" in verdict(world)["why"]


def test_numbers_come_from_the_seeds_that_all_methods_have():
    world = World(by_id("better_on_every_term"), "kang", holds=True)
    world.scores = [r for r in world.scores if r["method"] != "fsclvm_dense3" or r["seed"] in (1, 2, 3)]
    row = verdict(world)
    assert row["seeds"] == 3
    assert "ae_authors/0" not in row["runs"]


def test_the_second_method_can_hold_where_the_first_fails():
    claim = by_id("stimulated_cells")
    world = World(claim, "kang", holds=False)
    better = World(claim, "kang", holds=True)
    world.runs += [run | {"method": "ae"} for run in better.runs]
    world.scores += [row | {"method": "ae"} for row in better.scores]
    row = verdict(world, BESIDE)
    assert (row["verdict"], row["beside_verdict"]) == ("not reproduced", "reproduced")
    assert row["beside_lower"] <= row["beside_value"] <= row["beside_upper"]
    assert row["value"] < 0.9 <= row["beside_value"]


def test_claims_about_another_method_have_nothing_beside_them():
    row = verdict(World(by_id("best_factor_fsclvm"), "kang", holds=True), BESIDE)
    assert row[["beside", "beside_verdict", "beside_value"]].isna().all()


def test_claims_about_data_that_were_not_run_are_left_out():
    world = World(by_id("stimulated_cells"), "kang", holds=True)
    config = config_for(world) | {"other_claims": ["top_pathways_liao", "covid_cells"]}
    table = claims_table(CONTENT, world.tables(), config)
    assert len(table) == len(ALL) - 2
    assert "covid_cells" not in set(table["claim"])


def test_the_schema_documents_every_test_and_what_it_needs():
    rules = schema.read("claims")["properties"]["claims"]["items"]["properties"]["test"]["properties"]
    assert set(rules) == set(TESTS)
    for name, rule in rules.items():
        assert rule["description"], name
        assert set(rule["required"]) | {"above", "at_least"} == set(rule["properties"]), name


MISTAKES = {
    "unknown key": (lambda c: c["claims"][0].update(dataste="kang"), ["claims[0].dataste", "dataset"]),
    "unknown test": (lambda c: c["claims"][0].update(test={"ratio": {}}), ["claims[0].test.ratio", "time_ratio"]),
    "no threshold": (
        lambda c: c["claims"][0]["test"]["time_ratio"].pop("at_least"),
        ["runtime_kang.test.time_ratio", "above or at_least"],
    ),
    "two thresholds": (
        lambda c: c["claims"][0]["test"]["time_ratio"].update(above=1),
        ["runtime_kang.test.time_ratio", "above or at_least"],
    ),
    "parameter missing": (
        lambda c: c["claims"][0]["test"]["time_ratio"].pop("method"),
        ["claims[0].test.time_ratio", "'method' is missing"],
    ),
    "parameter too many": (
        lambda c: c["claims"][0]["test"]["time_ratio"].update(term="A"),
        ["claims[0].test.time_ratio.term", "unknown key"],
    ),
    "twice": (lambda c: c["claims"].append(c["claims"][0]), ["same id"]),
    "nothing": (lambda c: c.pop("claims"), ["claims", "missing"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_reported_in_one_line(tmp_path, name):
    change, words = MISTAKES[name]
    content = copy.deepcopy(yaml.safe_load((ROOT / "workflow/claims.yaml").read_text(encoding="utf-8")))
    change(content)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(UserError) as error:
        claims.read(tmp_path / "mine.yaml")
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_a_file_that_is_missing_or_not_yaml(tmp_path):
    with pytest.raises(UserError, match="no file"):
        claims.read(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("claims: [", encoding="utf-8")
    with pytest.raises(UserError, match="not YAML"):
        claims.read(tmp_path / "bad.yaml")
