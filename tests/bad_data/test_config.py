"""Settings: whatever YAML says, it is resolved to something whole or refused in one line."""

import copy
import re
import time

import pytest
import yaml
from factorbench.config.plan import file_entry, params, planned
from factorbench.config.resolve import resolve
from factorbench.contracts.errors import UserError
from hypothesis import given
from hypothesis import strategies as st

from tests.bad_data.outcome import fuzz, one_line, tried
from tests.planted import ROOT

REAL = yaml.safe_load((ROOT / "config.yaml").read_text())
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def places(value, path=()):
    """The path of everything in a config."""
    if path:
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


PLACES = list(places(REAL))
HOSTILE = [
    *("../x", "/etc/passwd", "; rm -rf /", "$(reboot)", "<script>alert(1)</script>", "'\"\\", "x" * 300, "x" * 5_000),
    *(
        "ä̈ 日本 🧬",
        "\u202e\u2028",
        "a\nb",
        "kang\n",
        "90s\n",
        "a\0b",
        "\ud800",
        "\x1b[2J",
        "",
        " ",
        "-n",
        "__proto__",
        "{}",
    ),
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
    """The real config with one to three changes: another value, a key less, a key more, a key called otherwise."""
    config = copy.deepcopy(REAL)
    for _ in range(draw(st.integers(1, 3))):
        *path, last = draw(st.sampled_from(PLACES))
        part = config
        try:
            for key in path:
                part = part[key]
            inner = part[last]
        except (KeyError, IndexError, TypeError):  # what an earlier change took away
            continue
        if not isinstance(part, dict | list):  # what an earlier change made text
            continue
        change = draw(st.sampled_from(["other", "less", "more", "renamed"]))
        if change == "other":
            part[last] = draw(VALUES)
        elif change == "more" and isinstance(inner, dict):
            inner[draw(KEYS)] = draw(VALUES)
        elif change == "renamed" and isinstance(part, dict):
            part[draw(KEYS)] = part.pop(last)
        else:
            part.pop(last)
    return config


@fuzz(150)
@given(changed())
def test_a_changed_config_is_resolved_or_refused(config):
    resolved = tried(resolve, config)
    if resolved is None:
        return
    for dataset, method, seed in planned(resolved):
        assert params(resolved, dataset, method) is not None
        assert all(NAME.fullmatch(part) for part in (dataset, method, str(seed)))
    for name, dataset in resolved["datasets"].items():
        assert dataset["raw"] in resolved["datasets"]
        for file in dataset["files"].values():
            assert all(NAME.fullmatch(part) for part in (dataset["group"], file["name"])), name
            assert file_entry(resolved, dataset["group"], file["name"])["sha256"] == file["sha256"]


@fuzz(80)
@given(st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)))
def test_anything_at_all_is_refused(value):
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
    "a duration without end": (put("methods", "ae", "budget", to="9" * 400 + "d"), "methods.ae.budget"),
    "a length with a point": (put(*KANG, "n_cells", to=500.0), "kang.n_cells: 500.0 should be of type integer"),
    "a seed with a point": (put("runs", 0, "seeds", to=[1.0]), r"seeds\[0\]: 1.0 should be of type integer"),
    "a seed beyond what generators take": (put("runs", 0, "seeds", to=[2**32]), r"seeds\[0\]: .*maximum 4294967295"),
    "a number that is none": (put(*KANG, "target_sum", to=float("nan")), "kang.target_sum: is not finite"),
    "a number without end": (put(*KANG, "target_sum", to=float("inf")), "kang.target_sum: is not finite"),
    "a number beyond float32": (put(*KANG, "target_sum", to=1e300), "kang.target_sum: .*maximum"),
    "a parameter that is none": (
        put("methods", "ae", "params", to={"lambda1": float("nan")}),
        "lambda1: is not finite",
    ),
    "a number too large": (put("methods", "ae", "params", to={"epochs": 10**30}), r"params.epochs: .*2\^53"),
    "a date": (put(*KANG, "title", to=yaml.safe_load("2026-01-31")), "kang.title: '2026-01-31' is taken for a date"),
    "no": (put(*KANG, "labels", to=yaml.safe_load("{no: cell_type}")), "kang.labels: the key 'False'"),
    "1e3": (put(*KANG, "n_cells", to=yaml.safe_load("1e3")), "kang.n_cells: '1e3' should be of type integer"),
    "a number and its text": (put(*KANG, "labels", to={1: "a", "1": "b"}), "kang.labels: the key 1 is there twice"),
    "samples that are none": (put("datasets", "kang_geo", "options", "samples", to=None), "options.samples: None"),
    "a sample that is a number": (leave_out({"ctrl": 3, "stim": {}}), "options.samples.ctrl: should name keys"),
    "a sample without keys": (leave_out({"ctrl": {"h5": ["x"]}, "stim": {}}), "options.samples.ctrl: should name keys"),
    "a label called as held-out cells": (put(*KANG, "labels", "held_out", to="x"), "labels.held_out: .*rename the"),
    "a circle": (circle, "is an alias"),
    "claims in two lines": (put("claims", to="a\nb"), "claims: 'a.nb' is not accepted"),
    "claims with a byte that no name has": (put("claims", to="a\0b"), "claims: .* cannot be printed"),
    "text that no terminal takes": (put(*KANG, "title", to="\ud800"), "kang.title: .* cannot be printed"),
    "text without end": (put(*KANG, "title", to="x" * 3_000), "kang.title: .* has over 2000 characters"),
    "no room to unpack": (put("limits", "unpacked", to=0), "limits.unpacked: 0 is not accepted"),
    "too many units": (put("methods", "ae", "params", to={"n_dense": 10**9}), "n_dense: .* at most 10000"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_one_line(name):
    change, says = MISTAKES[name]
    config = copy.deepcopy(REAL)
    change(config)
    with pytest.raises(UserError, match=says) as error:
        resolve(config, "mine.yaml")
    assert one_line(error.value).startswith("mine.yaml: ")
    assert len(str(error.value)) < 500


def test_aliases_that_multiply_are_refused_at_once():
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for name, inner in zip("bcdefghij", "abcdefghi", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{inner}'] * 9)}]\n"
    began = time.perf_counter()
    with pytest.raises(UserError, match="more than 100,000 entries") as error:
        resolve({**REAL, **yaml.safe_load(bomb)})
    one_line(error.value)
    assert time.perf_counter() - began < 5


def test_what_shares_an_alias_shares_nothing_else():
    """Two datasets from one alias are two datasets: each has its own raw data."""
    text = "x: &x {from: kang, options: {layer: counts}}\ndatasets: {one: *x, two: *x}"
    two = yaml.safe_load(text)["datasets"]
    assert two["one"] is two["two"]
    resolved = resolve({**REAL, "datasets": REAL["datasets"] | two})["datasets"]
    assert [resolved[name]["raw"] for name in two] == ["one", "two"]


def test_keys_that_are_numbers_are_their_text():
    config = copy.deepcopy(REAL)
    config["datasets"]["kang_geo"]["options"]["samples"] = {
        51: {"matrix": "control", "barcodes": "control_barcodes"},
        52: {"matrix": "stimulated", "barcodes": "stimulated_barcodes"},
    }
    config["datasets"]["kang_geo"]["without"] = [51]
    found = resolve(config)["datasets"]["kang_geo"]
    assert (list(found["options"]["samples"]), found["missing"]) == (["52"], ["51"])
    assert set(found["files"]) == {"genes", "cells", "stimulated", "stimulated_barcodes"}


def test_the_limit_reaches_every_reader_and_a_dataset_may_have_its_own():
    config = {**copy.deepcopy(REAL), "limits": {"unpacked": 2}}
    config["datasets"]["macosko"]["options"]["unpacked"] = 3
    found = resolve(config)["datasets"]
    assert {name: found[name]["options"]["unpacked"] for name in ("kang", "kang_geo", "macosko")} == {
        "kang": 2.0,
        "kang_geo": 2.0,
        "macosko": 3.0,
    }
    assert resolve(REAL)["limits"] == {"unpacked": 16}
