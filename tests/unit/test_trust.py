"""Promises of SECURITY.md for all code: no pickle is read, data become neither code nor commands, files have hashes."""

import ast
import json
import re
import subprocess
import sys
import textwrap

import pytest
import yaml
from factorbench import registry
from factorbench.config import claims, schema
from factorbench.config.resolve import resolve
from factorbench.contracts.errors import UserError
from factorbench.contracts.prepared import write_prepared

from tests.planted import ROOT, planted

CODE = sorted(p for top in ("workflow", "bench", "envs") for p in (ROOT / top).rglob("*.py"))
TEMPLATES = sorted((ROOT / "workflow/scripts/factorbench/reporting/templates").glob("*.j2"))
CAPTIONS = sorted((ROOT / "workflow/report").glob("*.rst"))
RULES = [ROOT / "Snakefile", *sorted((ROOT / "workflow/rules").glob("*.smk"))]
UNPICKLE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
UNSAFE = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load", "pandas.read_pickle"),
    *("pd.read_pickle", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "subprocess.getoutput"),
    *("subprocess.getstatusoutput", "jinja2.Template", "markupsafe.Markup", "Markup"),
}


def unsafe(source):
    """Yield the imports and calls in Python ``source`` that could run data as code."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            yield from (f"import {name}" for name in names if name and name.split(".")[0] in UNPICKLE)
        if isinstance(node, ast.Call):
            if ast.unparse(node.func) in UNSAFE:
                yield ast.unparse(node.func)
            for keyword in node.keywords:
                text = ast.unparse(keyword)
                if text in ("shell=True", "allow_pickle=True", "weights_only=False", "autoescape=False"):
                    yield text


@pytest.mark.parametrize(
    "line",
    ["import pickle", "from joblib import load", "torch.load(f)", "yaml.load(f)", "run(x, shell=True)", "eval('1')"],
)
def test_unsafe_lines_are_recognised(line):
    assert list(unsafe(line))


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_has_no_unsafe_line(path):
    assert not list(unsafe(path.read_text(encoding="utf-8")))


def test_no_rule_has_a_command():
    for path in RULES:
        assert not re.search(r"^\s+(shell|run|notebook|wrapper|cwl)\s*:", path.read_text(encoding="utf-8"), re.M), path
    assert sum(len(re.findall(r"^\s+script:", path.read_text(encoding="utf-8"), re.M)) for path in RULES) > 9


def test_no_template_switches_escaping_off():
    assert TEMPLATES
    assert CAPTIONS
    for path in TEMPLATES + CAPTIONS:
        assert not re.search(r"\|\s*safe\b|autoescape", path.read_text(encoding="utf-8")), path


@pytest.mark.slow
def test_a_run_from_data_to_saved_model_reads_no_pickle(tmp_path):
    """Python calls an audit hook for every class that a pickle names: there is none until the test reads one itself."""
    write_prepared(tmp_path / "prepared.h5ad", planted())
    job = {
        **{"dataset": "planted", "method": "ae", "use": "interpretable_ae", "seed": 0, "device": "cpu", "threads": 1},
        **{"budget_seconds": None, "timeout_seconds": None, "prepared": str(tmp_path / "prepared.h5ad")},
        "params": registry.method_params("interpretable_ae", {"hidden": [8], "epochs": 2, "min_updates": 0}, "ae"),
        **{key: str(tmp_path / name) for key, name in (("factors", "f.h5ad"), ("run", "run.json"), ("model", "model"))},
    }
    (tmp_path / "job.json").write_text(json.dumps(job), encoding="utf-8")
    code = """
        import sys
        seen = []
        armed = False
        def hook(event, details):
            if armed and event == "pickle.find_class":
                seen.append(details)
        sys.addaudithook(hook)
        import json, torch, anndata, pandas, scipy.stats
        import torch._dynamo
        from factorbench.contracts.errors import UserError
        from factorbench.contracts.factors import read_factors
        from factorbench.model import InterpretableAutoencoder
        from factorbench.runs.execute import execute
        folder = sys.argv[1]
        armed = True
        execute(json.load(open(f"{folder}/job.json")))
        InterpretableAutoencoder.load(f"{folder}/model")
        read_factors(f"{folder}/f.h5ad")
        print(seen)
        import pickle
        pickle.loads(pickle.dumps(UserError("x")))
        print(len(seen))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
        env={"PYTHONPATH": str(ROOT / "workflow/scripts"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    lines = done.stdout.splitlines()
    assert lines[-2:-1] == ["[]"], done.stdout + done.stderr
    assert int(lines[-1]) > 0, "the hook does not work"


def test_yaml_cannot_create_objects(tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text(f"claims: !!python/object/apply:os.system ['touch {tmp_path}/made']\n", encoding="utf-8")
    with pytest.raises(UserError, match="not YAML"):
        claims.read(path)
    assert not (tmp_path / "made").exists()


def test_unencrypted_sources_have_a_hash():
    """Sources by http:// or ftp:// in config.yaml: a change on the way would be detected."""
    resolved = resolve(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")))
    files = [f for d in resolved["datasets"].values() for f in d["files"].values()]
    files += [entry["file"] for kind in ("gene_sets", "orthologs") for entry in resolved[kind].values()]
    assert len(files) > 20
    for file in files:
        for source in file["sources"]:
            address = source if isinstance(source, str) else source.get("url", "")
            assert not re.match(r"(http|ftp):", address) or file["sha256"], f"{file['name']}: {address}"


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a b", "$(x)", "x;y", "x\ny"])
def test_names_of_files_cannot_leave_their_folder(name):
    pattern = schema.read("config")["$defs"]["file"]["properties"]["name"]["pattern"]
    assert not re.search(pattern, name)
