"""The config: defaults, inheritance, and one clear line for every mistake."""

import copy

import pytest
import yaml
from factorbench.config.plan import PREPARE_KEYS, RAW_KEYS, planned_runs, preparation
from factorbench.config.resolve import resolve, seconds
from factorbench.config.schema import read
from factorbench.contracts.errors import UserError

from tests.bad_data.outcome import refused
from tests.planted import ROOT


@pytest.fixture
def config():
    return yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))


def test_the_default_config_resolves_and_is_not_changed(config):
    before = copy.deepcopy(config)
    resolved = resolve(config)
    assert config == before
    assert resolved["datasets"]["kang"]["target_sum"] == 10000
    assert resolved["metrics"]["separation"]
    assert resolved["left_out"] == []


def test_every_default_run_is_planned_once(config):
    config["runs"].append(config["runs"][0])
    runs = planned_runs(resolve(config))
    assert len(runs) == len(set(runs))
    assert ("kang", "ae", 2) in runs


def test_a_derived_dataset_shares_files_and_raw_data(config):
    config["datasets"]["again"] = {"from": "kang_small", "n_cells": 400}
    config["datasets"]["other"] = {"from": "kang", "options": {"layer": "counts"}}
    resolved = resolve(config)["datasets"]
    assert (resolved["again"]["group"], resolved["again"]["raw"]) == ("kang", "kang")
    assert resolved["again"]["n_top_genes"] == resolved["kang_small"]["n_top_genes"]
    assert (resolved["other"]["group"], resolved["other"]["raw"]) == ("kang", "other")


def test_options_are_inherited_one_by_one_unless_the_reader_changes(config):
    config["datasets"]["more"] = {"from": "planted", "options": {"n_cells": 70}}
    config["datasets"]["other"] = {"from": "planted", "reader": "h5ad", "options": {"layer": "counts"}}
    resolved = resolve(config)["datasets"]
    assert resolved["more"]["options"] == resolved["planted"]["options"] | {"n_cells": 70}
    assert resolved["planted"]["options"]["n_cells"] != 70
    assert "n_cells" not in resolved["other"]["options"]


@pytest.mark.parametrize(
    ("text", "value"), [(90, 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("1d", 86400), (None, None)]
)
def test_durations(text, value):
    assert seconds(text) == value


def change(*path, to):
    def mistake(config):
        entry = config
        for key in path[:-1]:
            entry = entry[key]
        entry[path[-1]] = to

    return mistake


MISTAKES = {
    "unknown key": (change("datasets", "kang", "lables", to={}), ["datasets.kang.lables", "unknown key", "labels"]),
    "unknown key at the top": (change("dataset", to={}), ["dataset", "unknown key", "datasets"]),
    "missing key": (change("gene_sets", "reactome", to={}), ["gene_sets.reactome", "'file' is missing"]),
    "wrong type": (change("datasets", "kang", "n_top_genes", to="many"), ["datasets.kang.n_top_genes", "integer"]),
    "wrong choice": (change("device", to="gpu"), ["device", "cuda"]),
    "bad hash": (change("datasets", "kang", "files", "counts", "sha256", to="abc"), ["files.counts.sha256"]),
    "name that is a path": (change("datasets", "../kang", to={}), ["../kang", "letters"]),
    "empty runs": (change("runs", to=[]), ["runs", "empty"]),
    "unknown dataset": (change("runs", 0, "datasets", to=["kamg"]), ["runs[0].datasets", "kang"]),
    "unknown method": (change("runs", 0, "methods", to=["aee"]), ["runs[0].methods", "ae"]),
    "unknown implementation": (
        change("methods", "ae", "use", to="interpretable"),
        ["methods.ae.use", "interpretable_ae"],
    ),
    "unknown parameter": (
        change("methods", "ae", "params", to={"lamda1": 1.0}),
        ["methods.ae.params.lamda1", "lambda1"],
    ),
    "parameter of a wrong type": (change("methods", "ae", "params", to={"lambda1": "a"}), ["lambda1", "float"]),
    "parameter out of range": (change("methods", "ae", "params", to={"lambda1": -1}), ["lambda1", "at least"]),
    "unknown reader": (change("datasets", "kang", "reader", to="h5"), ["datasets.kang.reader", "h5ad"]),
    "unknown reader option": (change("datasets", "kang", "options", to={"x": 1}), ["datasets.kang.options.x"]),
    "unknown metric": (change("metrics", to={"separate": {}}), ["metrics.separate", "separation"]),
    "unknown gene sets": (change("datasets", "kang", "gene_sets", to="reactom"), ["kang.gene_sets", "reactome"]),
    "contrast on no label": (
        change("datasets", "kang", "contrast", "label", to="stim"),
        ["contrast.label", "condition"],
    ),
    "zeroed_by no label": (change("datasets", "kang", "zeroed_by", to="stim"), ["zeroed_by", "condition"]),
    "corrupted by more than all": (
        change("datasets", "kang", "corrupt", to={"missing": 1.5}),
        ["datasets.kang.corrupt.missing", "1.5"],
    ),
    "random sets of an unknown method": (
        change("nulls", to=[{"datasets": ["kang"], "methods": ["aee"]}]),
        ["nulls[0].methods", "ae"],
    ),
    "from nowhere": (change("datasets", "kang_small", "from", to="kan"), ["kang_small.from", "kang"]),
    "from itself": (change("datasets", "kang", "from", to="kang_small"), ["circle"]),
    "two of a name": (change("datasets", "reactome", to={"from": "kang"}), ["gene_sets.reactome", "rename"]),
    "figure of an unknown dataset": (change("figures", "figure1a", "dataset", to="kong"), ["figure1a.dataset", "kang"]),
    "figure of an unknown label": (
        change("figures", "figure1a", "colour", to="donor"),
        ["figure1a.colour", "condition"],
    ),
    "figure of an unknown kind": (change("figures", "figure1a", "kind", to="pie"), ["figure1a.kind", "scatter"]),
    "unknown key of a figure": (change("figures", "figure1a", "color", to="x"), ["figure1a.color", "colour"]),
    "figure of no dataset": (change("figures", "figure2", "datasets", to=[]), ["figure2.datasets", "is empty"]),
    "figure without a dataset": (change("figures", "runtime", to={"kind": "runtime"}), ["runtime", "'datasets'"]),
    "bad duration": (change("methods", "fsclvm", "budget", to="soon"), ["methods.fsclvm.budget"]),
    "unknown reference": (change("report", to={"reference": "aee"}), ["report.reference", "ae"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_reported_in_one_line(config, name):
    mistake, words = MISTAKES[name]
    mistake(config)
    with pytest.raises(UserError) as error:
        resolve(config, "mine.yaml")
    message = str(error.value)
    assert message.startswith("mine.yaml: ")
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_what_is_not_run_is_left_out_of_figures_with_a_note(config):
    config["runs"] = [{"datasets": ["kang_small"], "methods": ["ae", "fsclvm"]}]
    resolved = resolve(config)
    assert set(resolved["figures"]) == {"figure2", "runtime"}
    assert resolved["figures"]["figure2"]["tables"] == ["scores"]
    assert resolved["figures"]["figure2"]["methods"] == ["ae", "fsclvm"]
    assert any("figure1a" in line and "not drawn" in line for line in resolved["left_out"])
    assert any("figure2" in line and "gene_set_mean" in line for line in resolved["left_out"])


DISPLAY = {"from", "group", "raw", "title", "piece", "params", "organism", "doi", "licence", "citation"}
"""Keys of a dataset that no number in its prepared data depends on."""


def test_every_key_of_a_dataset_is_numeric_or_for_display(config):
    """A new key must be sorted into one of the three: an allow-list that forgets one would leave results outdated."""
    entry = resolve(config)["datasets"]["kang_small"]
    assert set(entry) == {*RAW_KEYS, *PREPARE_KEYS, *DISPLAY}
    assert not DISPLAY & {*RAW_KEYS, *PREPARE_KEYS}


NUMERIC = {
    "labels": {"condition": "other"}, "contrast": {"label": "condition", "positive": "control"}, "donor": "cell_type",
    "hold_out": {"share": 0.5}, "n_cells": 400, "subset_seed": 7, "min_cells": 5, "zeroed_by": "cell_type",
    "target_sum": 1e5, "hvg_flavor": "seurat", "n_top_genes": 99, "gene_sets": ["reactome_v97"], "min_genes": 2,
    "max_genes": 50, "n_sets": 41, "keep_sets": [], "min_share": 0.1, "merge_above": 0.8, "permute_sets": 7,
    "corrupt": {"missing": 0.3}, "symbols": "upper",
}  # fmt: skip
"""Another value of every key that the prepared data depend on and that a config gives."""


def test_a_change_of_a_numeric_key_prepares_again_and_of_a_display_key_does_not(config):
    """`preparation` is the parameter of the rule prepare, and Snakemake repeats a rule whose parameter changed."""
    before = preparation(resolve(config)["datasets"]["kang_small"])
    for key, value in NUMERIC.items():
        changed = copy.deepcopy(config)
        changed["datasets"]["kang_small"][key] = value
        assert preparation(resolve(changed)["datasets"]["kang_small"]) != before, key
    assert set(PREPARE_KEYS) - set(NUMERIC) == {"missing", "prefixes", "descriptions", "orthologs"}, (
        "these follow from other keys"
    )
    for key in ("title", "organism", "doi", "licence", "citation"):
        changed = copy.deepcopy(config)
        changed["datasets"]["kang_small"][key] = "Corrected"
        changed["gene_sets"]["reactome"][key] = "Corrected"
        assert preparation(resolve(changed)["datasets"]["kang_small"]) == before, key


@pytest.mark.parametrize(("method", "optimizer"), [("ae", "encoder"), ("ae_authors", "adam")])
def test_the_resolved_config_says_how_a_model_is_trained(config, method, optimizer):
    params = resolve(config)["methods"][method]["params"]
    assert params["optimizer"] == optimizer
    assert params["learning_rate"] > 0
    assert None not in params.values()


def test_parameters_of_one_dataset_keep_those_that_the_method_gives(config):
    params = resolve(config)["datasets"]["macosko"]["params"]["ae_authors"]
    assert (params["recipe"], params["epochs"], params["lambda1"]) == ("authors", 40, 0.95)
    assert params["optimizer"] == "adam"


def test_claims_about_other_data_are_known(config):
    assert resolve(config)["other_claims"] == ["runtime_macosko", "top_pathways_liao", "covid_cells"]
    config["runs"] = [{"datasets": ["kang_geo"], "methods": ["ae"]}]
    config["report"] = {}
    resolved = resolve(config)
    assert len(resolved["other_claims"]) == 15
    assert resolved["claims"] == ""


def test_every_key_is_documented():
    """Every key a user can write has a description, or a name that the schema's own text explains."""
    schema = read("config")
    plain = {"title", "datasets", "methods", "sha256", "url"}

    def undocumented(rules, path):
        for key, rule in rules.get("properties", {}).items():
            target = schema["$defs"].get(rule.get("$ref", "").rsplit("/", 1)[-1], {})
            if key not in plain and not rule.get("description") and not target.get("description"):
                yield f"{path}.{key}"
            yield from undocumented(rule, f"{path}.{key}")
            items = rule.get("items", {})
            yield from undocumented(items, f"{path}.{key}[]")

    missing = [*undocumented(schema, "")]
    for name, rules in schema["$defs"].items():
        missing += undocumented(rules, name)
    assert not missing


@pytest.mark.parametrize("kind", ["gene_sets", "orthologs"])
def test_the_default_of_a_collection_is_named_and_does_not_follow_the_order(config, kind):
    """Snakemake puts the keys of a file that is laid over the config first."""
    name = config[f"default_{kind}"]
    config["datasets"]["macosko"]["symbols"] = "orthologs"
    config["datasets"]["macosko"].pop("gene_sets", None)
    before = resolve(copy.deepcopy(config))["datasets"]["macosko"]
    assert name in before[kind]
    config[kind] = {"mine": copy.deepcopy(config[kind][name]), **config[kind]}
    assert resolve(copy.deepcopy(config))["datasets"]["macosko"][kind] == before[kind]
    del config[f"default_{kind}"]
    with refused(f"datasets.[a-z_]+.{kind}: names none of mine, {name}.*default_{kind}"):
        resolve(copy.deepcopy(config))
    config[kind] = {"mine": config[kind]["mine"]}
    for dataset in config["datasets"].values():
        dataset.pop(kind, None)
    assert "mine" in resolve(config)["datasets"]["macosko"][kind]


# ------------------------------------------------------------------------------------------------- files of one name


def h5(*sources, **keys):
    return {"name": "filtered_feature_bc_matrix.h5", "sources": list(sources), **keys}


ONE_NAME = "mine.files.s2: datasets.mine.files.s1 has this name and other sources; rename one of the files"


@pytest.mark.parametrize(
    ("files", "more", "pattern"),
    [
        ({"s1": h5("/d/S1/f.h5"), "s2": h5("/d/S2/f.h5")}, {}, ONE_NAME),
        (
            {"s1": h5("/d/S1/f.h5"), "s2": h5("/d/S2/f.h5", name="Filtered_feature_bc_matrix.h5")},
            {},
            "s1 is called filt",
        ),
        ({"s1": h5("/d/S1/f.h5", sha256="a" * 64), "s2": h5("/d/S2/f.h5")}, {}, "has this name and other sources"),
        ({"s1": h5("/d/S1/f.h5")}, {"files": {"s1": h5("/d/S2/f.h5")}}, "part.files.s1: datasets.mine.files.s1 has"),
        (
            {f"s{i}": h5({"url": f"/d/S{i}/RAW.tar", "member": "f.h5"}, name=f"{i}.h5") for i in (1, 2)},
            {},
            r"s2.sources\[0\]: datasets.mine.files.s1.sources\[0\] has this name .*give the archive another name",
        ),
        ({"s1": h5({"url": "/d/a.tar", "member": "x"}, name="a.tar")}, {}, r"sources\[0\]: datasets.mine.files.s1 has"),
    ],
    ids=["samples", "capitals", "one hash", "from", "archives", "archive and file"],
)
def test_two_files_of_one_name_are_refused(config, files, more, pattern):
    """Both would be one copy below resources/, and the first would be read for both."""
    config["datasets"]["mine"] = {"files": files}
    config["datasets"]["part"] = {"from": "mine", **more}
    with refused(pattern, start="config.yaml: datasets."):
        resolve(config)


def test_entries_of_the_same_file_are_accepted(config):
    tar = {"url": "/d/S2/RAW.tar", "archive": "S2_RAW.tar", "member": "b.h5"}
    config["datasets"]["mine"] = {
        "files": {
            "s1": h5("/d/S1/f.h5"),
            "again": h5("/d/S1/f.h5"),
            "b": h5({**tar, "url": "/d/S1/RAW.tar", "archive": "S1_RAW.tar"}, name="b.h5"),
            "c": h5(tar, name="c.h5"),
            "d": h5("/d/d.h5", sha256="a" * 64, name="d.h5"),
            "e": h5("/e/d.h5", sha256="a" * 64, name="d.h5"),
        }
    }
    config["datasets"]["part"] = {"from": "mine", "title": "Part"}
    assert resolve(config)["datasets"]["mine"]["files"]["s1"]["sources"] == ["/d/S1/f.h5"]


def test_two_groups_whose_names_differ_in_capitals_are_refused(config):
    config["gene_sets"]["Kang"] = config["gene_sets"]["reactome"]
    with refused("gene_sets.Kang: datasets.kang has this name too; rename one of them"):
        resolve(config)
