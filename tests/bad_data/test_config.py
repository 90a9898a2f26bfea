"""Bad configs: they are resolved completely, or refused in one line."""

import copy
import re
import time

import pytest
import yaml
from factorbench.config import schema
from factorbench.config.plan import file_entry, params_of, planned_runs
from factorbench.config.resolve import resolve
from hypothesis import given
from hypothesis import strategies as st

from tests.bad_data.outcome import fuzz, refused, tried
from tests.planted import ROOT

REAL = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def places(value, path=()):
    """Yield the path of every entry of a config."""
    if path:
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


PLACES = list(places(REAL))
HOSTILE = [
    *("../x", "/etc/passwd", "; rm -rf /", "$(reboot)", "<script>alert(1)</script>", "'\"\\", "__proto__", "{}", "-n"),
    *("kang\n", "90s\n", "a\nb", "a\0b", "\ud800", "\x1b[2J", "\u202e\u2028", "ä̈ 日本 🧬", "", " "),
    *("x" * 300, "x" * 5_000),
]
ODD = """
- no
- 1e3
- 1.0e+3
- 0x10
- 010
- 1_000
- 12:30:00
- 2026-01-31
- 2026-01-31T00:00:00Z
- ~
- .inf
- -.inf
- .nan
- -1
- 0
- 5.0
- 123456789012345678901234567890
- !!binary aGk=
- !!set {a, b}
- {1: a, "1": b}
- {no: a}
- {~: a}
- {2026-01-31: a}
- {1.5: a}
- []
- {}
- [[]]
- {h5: [1]}
- {a: 3}
- true
"""
VALUES = st.sampled_from([*HOSTILE, *yaml.safe_load(ODD)]) | st.text(max_size=5) | st.integers() | st.floats()
KEYS = st.sampled_from([*HOSTILE, "params", "options", "labels", "without", "from", False, None, 1, 1.5])


@st.composite
def changed(draw):
    """Draw the real config with one to three changes: a value changed, a key removed, added or renamed."""
    config = copy.deepcopy(REAL)
    for _ in range(draw(st.integers(1, 3))):
        *path, last = draw(st.sampled_from(PLACES))
        part = config
        try:
            for key in path:
                part = part[key]
            inner = part[last]
        except (KeyError, IndexError, TypeError):  # an earlier change removed it
            continue
        if not isinstance(part, dict | list):  # an earlier change made it text
            continue
        change = draw(st.sampled_from(["changed", "removed", "added", "renamed"]))
        if change == "changed":
            part[last] = draw(VALUES)
        elif change == "added" and isinstance(inner, dict):
            inner[draw(KEYS)] = draw(VALUES)
        elif change == "renamed" and isinstance(part, dict):
            part[draw(KEYS)] = part.pop(last)
        else:
            part.pop(last)
    return config


@pytest.mark.slow
@fuzz(150)
@given(changed())
def test_changed_configs_are_resolved_or_refused(config):
    resolved = tried(resolve, config)
    if resolved is None:
        return
    for dataset, method, seed in planned_runs(resolved):
        assert params_of(resolved, dataset, method) is not None
        assert all(NAME.fullmatch(part) for part in (dataset, method, str(seed)))
    for name, dataset in resolved["datasets"].items():
        assert dataset["raw"] in resolved["datasets"]
        for file in dataset["files"].values():
            assert all(NAME.fullmatch(part) for part in (dataset["group"], file["name"])), name
            assert file_entry(resolved, dataset["group"], file["name"])["sha256"] == file["sha256"]


@fuzz(80)
@given(st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)))
def test_values_that_are_not_a_config_are_refused(value):
    assert tried(resolve, value) is None


def put(*path, to):
    def change(config):
        for key in path[:-1]:
            config = config.setdefault(key, {}) if isinstance(config, dict) else config[key]
        config[path[-1]] = to

    return change


def leave_out(samples):
    def change(config):
        config["datasets"]["kang_geo"] |= {"without": ["ctrl"]}
        config["datasets"]["kang_geo"]["options"]["samples"] = samples

    return change


def circle(config):
    config["datasets"]["kang"]["options"] = config["datasets"]


KANG = ("datasets", "kang")
MISTAKES = {
    "a name with a line break": (put("datasets", "kang\n", to={}), "datasets: the key 'kang.n' should be a line"),
    "a file name with a line break": (put(*KANG, "files", "counts", "name", to="a.h5ad\n"), "files.counts.name"),
    "a file name that is a path": (put(*KANG, "files", "counts", "name", to="../a"), "files.counts.name"),
    "a name too long for a path": (put("datasets", "x" * 101, to={}), "datasets: .* maxLength 100"),
    "a duration with a line break": (put("methods", "ae", "budget", to="90s\n"), "methods.ae.budget"),
    "a duration that is too long": (put("methods", "ae", "budget", to="9" * 400 + "d"), "methods.ae.budget"),
    "a length with a point": (put(*KANG, "n_cells", to=500.0), "kang.n_cells: 500.0 should be of type integer"),
    "a seed with a point": (put("runs", 0, "seeds", to=[1.0]), r"seeds\[0\]: 1.0 should be of type integer"),
    "a seed too large for generators": (put("runs", 0, "seeds", to=[2**32]), r"seeds\[0\]: .*maximum 4294967295"),
    "not a number": (put(*KANG, "target_sum", to=float("nan")), "kang.target_sum: the number is not finite"),
    "an infinite number": (put(*KANG, "target_sum", to=float("inf")), "kang.target_sum: the number is not finite"),
    "a number too large for float32": (put(*KANG, "target_sum", to=1e300), "kang.target_sum: .*maximum"),
    "a parameter that is not a number": (
        put("methods", "ae", "params", to={"lambda1": float("nan")}),
        "lambda1: the num",
    ),
    "a number too large": (put("methods", "ae", "params", to={"epochs": 10**30}), r"params.epochs: .*2\^53"),
    "a date": (put(*KANG, "title", to=yaml.safe_load("2026-01-31")), "kang.title: '2026-01-31' was read as a date"),
    "no": (put(*KANG, "labels", to=yaml.safe_load("{no: cell_type}")), "kang.labels: the key 'False'"),
    "1e3": (put(*KANG, "n_cells", to=yaml.safe_load("1e3")), "kang.n_cells: '1e3' should be of type integer"),
    "a number and its text": (put(*KANG, "labels", to={1: "a", "1": "b"}), "kang.labels: the key 1 occurs twice"),
    "samples without a value": (put("datasets", "kang_geo", "options", "samples", to=None), "options.samples: None"),
    "a sample that is a number": (leave_out({"ctrl": 3, "stim": {}}), "options.samples.ctrl: should name keys"),
    "a sample without keys": (leave_out({"ctrl": {"h5": ["x"]}, "stim": {}}), "options.samples.ctrl: should name keys"),
    "a donor that is not a label": (put(*KANG, "donor", to="person"), "kang.donor: 'person' is not defined"),
    "a label to hold out that does not exist": (
        put(*KANG, "hold_out", to={"label": "typ", "value": "a"}),
        "kang.hold_out.label: 'typ' is not defined",
    ),
    "a label called as held-out cells": (put(*KANG, "labels", "held_out", to="x"), "labels.held_out: .*rename the"),
    "an alias that contains itself": (circle, "does an alias .* contain itself"),
    "claims in two lines": (put("claims", to="a\nb"), "claims: 'a.nb' is not accepted"),
    "claims with a zero byte": (put("claims", to="a\0b"), "claims: .* cannot be printed"),
    "text that cannot be printed": (put(*KANG, "title", to="\ud800"), "kang.title: .* cannot be printed"),
    "text that is too long": (put(*KANG, "title", to="x" * 3_000), "kang.title: .* has over 2000 characters"),
    "no room to unpack": (put("limits", "unpacked", to=0), "limits.unpacked: 0 is not accepted"),
    "too many factors": (put("methods", "ae", "params", to={"n_dense": 10**9}), "n_dense: .* at most 10000"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_refused(name):
    change, pattern = MISTAKES[name]
    config = copy.deepcopy(REAL)
    change(config)
    with refused(pattern, start="mine.yaml: "):
        resolve(config, "mine.yaml")


def test_aliases_that_multiply_are_refused_within_seconds():
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for name, inner in zip("bcdefghij", "abcdefghi", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{inner}'] * 9)}]\n"
    began = time.perf_counter()
    with refused("more than 100,000 entries"):
        resolve({**REAL, **yaml.safe_load(bomb)})
    assert time.perf_counter() - began < 5


def test_two_datasets_from_one_alias_have_separate_raw_data():
    text = "x: &x {from: kang, options: {layer: counts}}\ndatasets: {one: *x, two: *x}"
    two = yaml.safe_load(text)["datasets"]
    assert two["one"] is two["two"]
    resolved = resolve({**REAL, "datasets": REAL["datasets"] | two})["datasets"]
    assert [resolved[name]["raw"] for name in two] == ["one", "two"]


def test_keys_that_are_numbers_become_text():
    config = copy.deepcopy(REAL)
    config["datasets"]["kang_geo"]["options"]["samples"] = {
        51: {"matrix": "control", "barcodes": "control_barcodes"},
        52: {"matrix": "stimulated", "barcodes": "stimulated_barcodes"},
    }
    config["datasets"]["kang_geo"]["without"] = [51]
    resolved = resolve(config)["datasets"]["kang_geo"]
    assert (list(resolved["options"]["samples"]), resolved["missing"]) == (["52"], ["51"])
    assert set(resolved["files"]) == {"genes", "cells", "stimulated", "stimulated_barcodes"}


def test_the_limit_of_size_reaches_every_reader_unless_a_dataset_sets_another():
    config = {**copy.deepcopy(REAL), "limits": {"unpacked": 2}}
    config["datasets"]["macosko"]["options"]["unpacked"] = 3
    resolved = resolve(config)["datasets"]
    assert {name: resolved[name]["options"]["unpacked"] for name in ("kang", "kang_geo", "macosko")} == {
        "kang": 2.0,
        "kang_geo": 2.0,
        "macosko": 3.0,
    }
    assert resolve(REAL)["limits"] == {"unpacked": 16}


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        ("runs: 1\ndatasets: {}\nruns: 2\n", r"the key runs occurs twice \(lines 1 and 3\); remove one of them"),
        ("datasets:\n  mine: {}\n  mine:\n    labels: {}\n", r"the key mine occurs twice \(lines 2 and 3\)"),
        ("a:\n- labels: {}\n  title: x\n  labels: {}\n", r"the key labels occurs twice \(lines 2 and 4\)"),
        ("'a': 1\na: 2\n", r"the key a occurs twice \(lines 1 and 2\)"),
    ],
)
def test_a_key_that_occurs_twice_is_refused(tmp_path, content, pattern):
    """Readers of YAML, Snakemake's too, take the last one without a word."""
    path = tmp_path / "mine.yaml"
    path.write_text(content, encoding="utf-8")
    with refused(pattern, start="mine.yaml: "):
        schema.check_keys(path)


@pytest.mark.parametrize("content", ["", "a: &x {k: 1}\nb: {<<: *x, k: 2}\nc: [*x, *x]\n", "a: {k: 1}\nb: {k: 1}\n"])
def test_a_key_may_occur_in_several_mappings(tmp_path, content):
    (tmp_path / "mine.yaml").write_text(content, encoding="utf-8")
    schema.check_keys(tmp_path / "mine.yaml")


def test_the_configs_of_the_project_have_each_key_once():
    for path in [ROOT / "config.yaml", *(ROOT / "workflow").glob("*/*.yaml"), ROOT / "workflow/claims.yaml"]:
        schema.check_keys(path)
