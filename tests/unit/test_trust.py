"""What SECURITY.md promises of the code as a whole: nothing is unpickled, no command is made of data, all is hashed."""

import ast
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml
from factorbench.config import schema
from factorbench.config.resolve import resolve
from factorbench.contracts.errors import UserError
from factorbench.contracts.prepared import write_prepared
from factorbench.reporting.claims import verdicts

from tests.planted import ROOT, planted

CODE = sorted(p for top in ("workflow", "bench", "envs") for p in (ROOT / top).rglob("*.py"))
RULES = [ROOT / "Snakefile", *sorted((ROOT / "workflow/rules").glob("*.smk"))]
UNPICKLE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
UNSAFE = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load", "pandas.read_pickle"),
    *("pd.read_pickle", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "subprocess.getoutput"),
    *("subprocess.getstatusoutput", "jinja2.Template", "markupsafe.Markup", "Markup"),
}


def faults(source):
    """What in Python ``source`` could run what it reads."""
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
def test_what_could_run_data_is_seen(line):
    assert list(faults(line))


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_runs_nothing_that_it_reads(path):
    assert not list(faults(path.read_text()))


def test_no_rule_has_a_command():
    for path in RULES:
        assert not re.search(r"^\s+(shell|run|notebook|wrapper|cwl)\s*:", path.read_text(), re.M), path
    assert sum(len(re.findall(r"^\s+script:", path.read_text(), re.M)) for path in RULES) > 9


def test_the_template_switches_off_no_escaping():
    for path in (ROOT / "workflow/report").iterdir():
        assert not re.search(r"\|\s*safe\b|autoescape", path.read_text()), path


def test_a_run_from_data_to_model_unpickles_nothing(tmp_path):
    """Python tells hooks when a pickle names a class: none does, from reading data to a saved and loaded model."""
    write_prepared(tmp_path / "prepared.h5ad", planted())
    job = {
        **{"dataset": "planted", "method": "ae", "use": "interpretable_ae", "seed": 0, "device": "cpu", "threads": 1},
        **{"budget_seconds": None, "timeout_seconds": None, "prepared": str(tmp_path / "prepared.h5ad")},
        **{"params": {"hidden": [8], "epochs": 2, "min_updates": 0}},
        **{key: str(tmp_path / name) for key, name in (("factors", "f.h5ad"), ("run", "run.json"), ("model", "model"))},
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    code = """
        import sys
        seen = []
        armed = False
        def hook(event, details):
            if armed and event == "pickle.find_class":
                seen.append(details)
        sys.addaudithook(hook)
        import json, torch, anndata, pandas, sklearn.linear_model, scipy.stats
        import torch._dynamo
        from factorbench import registry
        from factorbench.contracts.errors import UserError
        from factorbench.contracts.factors import read_factors
        from factorbench.results import scoring
        from factorbench.runs.execute import execute
        from factorbench.model import InterpretableAutoencoder
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
    )
    lines = done.stdout.splitlines()
    assert lines[-2:-1] == ["[]"], done.stdout + done.stderr
    assert int(lines[-1]) > 0, "the hook would have seen one"


def test_yaml_can_make_no_objects(tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text("claims: !!python/object/apply:os.system ['touch made']\n")
    with pytest.raises((UserError, yaml.YAMLError)):
        verdicts.read(str(path))
    assert not Path("made").exists()


def test_every_file_has_a_hash_or_is_pinned_and_comes_by_https_where_it_can():
    """http:// only with a hash of the file in the config: who changes it on the way is found out."""
    given = yaml.safe_load((ROOT / "config.yaml").read_text())
    resolved = resolve(given)
    files = [f for d in resolved["datasets"].values() for f in d["files"].values()]
    files += [entry["file"] for kind in ("gene_sets", "orthologs") for entry in resolved[kind].values()]
    assert len(files) > 20
    for file in files:
        for source in file["sources"]:
            address = source if isinstance(source, str) else source.get("url", "")
            assert not re.match(r"(http|ftp):", address) or file["sha256"], f"{file['name']}: {address}"
    pattern = schema.read("config")["$defs"]["file"]["properties"]["name"]["pattern"]
    for name in ("../x", "a/b", "", ".hidden", "a b", "$(x)", "x;y", "x\ny"):
        assert not re.fullmatch(pattern, name), name
