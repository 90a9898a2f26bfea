# Puts the package on the path, completes the config, and defines the functions by which rules read it.
import math
import os
import re
import sys
from collections import Counter
from pathlib import Path

SCRIPTS = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent / "scripts"
sys.path.insert(0, str(SCRIPTS))

from factorbench import registry
from factorbench.config import plan, schema
from factorbench.config.resolve import resolve
from factorbench.contracts.errors import UserError
from factorbench.contracts.prepared import prepared_size
from factorbench.data import sources
from factorbench.fingerprint import code


def check_paths():
    """End Snakemake with one line if it cannot run jobs here.

    It gives the path of Python to a shell as it is, and takes braces in the path of a rule's environment for wildcards.
    """
    environment = "name another folder for the environment (make run VENV=/a/folder/.venv)"
    places = [
        (sys.executable, r"""[\s'"`\\$&;|<>(){}*?]""", f"{environment}, or move the project and delete its .venv"),
        (str(SCRIPTS.parents[1]), "[{}]", "move the project to a folder without"),
    ]
    for path, special, remedy in places:
        if found := re.search(special, path):
            character = "a space" if found[0].isspace() else found[0]
            print(
                f"error: {path}: the path has {character}, so Snakemake cannot run its jobs; {remedy}", file=sys.stderr
            )
            sys.exit(1)


def resolved_config():
    """The config with all its defaults. A mistake in it ends Snakemake with one line."""
    files = list(map(Path, dict.fromkeys([*workflow.configfiles, *workflow.overwrite_configfiles])))
    try:
        for file in files:
            if workflow.is_main_process and file.suffix in (".yaml", ".yml") and file.is_file():
                schema.check_keys(file)
        return resolve(dict(config), " + ".join(dict.fromkeys(file.name for file in files)) or "config")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


check_paths()
config = resolved_config()
for line in config["left_out"]:
    print(f"note: {line}", file=sys.stderr)

ENVIRONMENT = "../../envs/factorbench.yaml"
RUNS = plan.planned_runs(config)
NULLS = plan.planned_nulls(config)
CLAIMS = [SCRIPTS.parents[1] / config["claims"]] if config["claims"] else []
TABLES = ["runs", "runtime", "separation", "gene_sets", "top_pathways", "comparisons", "scaling", "full_time", "scores"]
TABLES += ["claims"] if CLAIMS else []
SHOWN = {key: config[key] for key in config if key not in ("mirrors", "describe", "limits", "device")}
"""The part of the config that tables, figures and the report show or depend on."""


# --- runs


def planned_datasets():
    return list(dict.fromkeys(d for d, _, _ in RUNS))


def runs(pattern):
    """``pattern`` filled in for every planned run."""
    return [pattern.format(dataset=d, method=m, seed=s) for d, m, s in RUNS]


def runs_on(wildcards):
    """[method, seed] of every run planned on a dataset."""
    return [[m, s] for d, m, s in RUNS if d == wildcards.dataset]


def over_seeds(pattern):
    """``pattern`` filled in for every dataset and method with several seeds, if a metric compares seeds."""
    if not any(registry.load("metric", name).SPEC.over == "seeds" for name in config["metrics"]):
        return []
    pairs = Counter((d, m) for d, m, _ in RUNS)
    return [pattern.format(dataset=d, method=m) for (d, m), seeds in pairs.items() if seeds > 1]


def nulls(pattern):
    """``pattern`` filled in for every dataset and method whose factors are compared with random gene sets."""
    return [pattern.format(dataset=d, method=m) for d, m in NULLS]


def seeds_of(pattern):
    """A function that fills in ``pattern`` for every seed of a method on a dataset."""
    return lambda w: [
        pattern.format(dataset=w.dataset, method=w.method, seed=s) for m, s in runs_on(w) if m == w.method
    ]


def run_that_saw(wildcards):
    """The run of the same method and seed on the dataset from which cells were held out, if it is planned."""
    entry = dataset(wildcards)
    run = (entry.get("from"), wildcards.method, int(wildcards.seed))
    if not entry["hold_out"] or "projection" not in config["metrics"] or run not in RUNS:
        return []
    return ["results/runs/{}/{}/{}/factors.h5ad".format(*run)]


# --- data


def dataset(wildcards):
    """The config's entry of a dataset."""
    return config["datasets"][wildcards.dataset]


def raw_files(wildcards):
    """Paths of the files a dataset is read from, by the keys its reader knows."""
    entry = dataset(wildcards)
    paths = {key: f"resources/{entry['group']}/{file['name']}" for key, file in entry["files"].items()}
    if entry["options"].get("fit_to"):  # simulated data of the shape of another dataset
        paths["fit_to"] = f"results/data/{entry['options']['fit_to']}/prepared.h5ad"
    return paths


def raw_data(wildcards):
    return f"results/data/{dataset(wildcards)['raw']}/raw.h5ad"


def expected_hash(wildcards):
    """The sha256 that a file must have: that of the config, or that of a local source, which may be replaced."""
    entry = plan.file_entry(config, wildcards.group, wildcards.file)
    return entry["sha256"] or sources.watched(entry)


def gene_set_files(wildcards):
    """Paths of a dataset's collections of gene sets, in the order in which it names them."""
    return [f"resources/{name}/{config['gene_sets'][name]['file']['name']}" for name in dataset(wildcards)["gene_sets"]]


def ortholog_file(wildcards):
    """Path of the table of orthologs, if the dataset uses one."""
    name = dataset(wildcards)["orthologs"]
    if dataset(wildcards)["symbols"] != "orthologs":
        return []
    return [f"resources/{name}/{config['orthologs'][name]['file']['name']}"]


def ortholog_columns(wildcards):
    """The columns of the table of orthologs."""
    if dataset(wildcards)["symbols"] != "orthologs":
        return {}
    entry = config["orthologs"][dataset(wildcards)["orthologs"]]
    return {key: entry[key] for key in ("from", "to", "kind")}


def needed_files():
    """Group, name and entry of every file that the planned runs, or the dataset to describe, need."""
    datasets = [config["describe"]] if config["describe"] else planned_datasets()
    return [(g, n, plan.file_entry(config, g, n)) for g, n in plan.needed_files(config, datasets)]


def note_replaced_files():
    """Print a line for each file that is read from its copy although its local source has changed."""
    for group, name, entry in needed_files():
        copy, source = Path("resources", group, name), sources.replaced(entry)
        if source and copy.exists():
            print(f"note: {source} has not the sha256 of the config any more; {copy} is used", file=sys.stderr)


def ask_for_files():
    """End Snakemake with one line for each source of a needed file that no source has."""
    files = [(group, entry) for group, name, entry in needed_files() if not Path("resources", group, name).exists()]
    missing = sources.ask(files, config["mirrors"], Path("resources"))
    for line in missing:
        print(f"error: {line}", file=sys.stderr)
    if missing:
        sys.exit(1)


# --- fits


def method(wildcards):
    """The config's entry of a method."""
    return config["methods"][wildcards.method]


def method_file(name):
    return f"factorbench/methods/{config['methods'][name]['use']}.py"


def methods_on(wildcards):
    """``use`` and parameters of every method planned on a dataset."""
    names = dict.fromkeys(m for m, _ in runs_on(wildcards))
    return {
        name: {"use": config["methods"][name]["use"], "params": plan.params_of(config, wildcards.dataset, name)}
        for name in names
    }


def fit_threads(wildcards):
    """Threads of a run: what its method can use. Snakemake reduces "all there are" to what it may give."""
    return method(wildcards)["threads"] or sys.maxsize


def fit_gpu(wildcards):
    """GPUs that a run asks a scheduler for: one if it would use it (`runs.machine.choose_device`)."""
    gpu = registry.load("method", method(wildcards)["use"]).SPEC.gpu
    return 1 if gpu == "required" or (gpu == "optional" and config["device"] != "cpu") else None


def fit_memory(wildcards, input, attempt):
    """MiB that a run asks a scheduler for: that of the libraries and of the method; twice as much on each retry.

    A method that needs more than a few dense copies of the data defines ``memory`` beside its ``fit``, in bytes.
    """
    cells, genes, sets = prepared_size(input.prepared)
    implementation = registry.load("method", method(wildcards)["use"])
    needed = 24 * cells * genes
    if hasattr(implementation, "memory"):
        needed = implementation.memory(cells, genes, sets, plan.params_of(config, wildcards.dataset, wildcards.method))
    return math.ceil((2000 + 1.25 * needed / 2**20) * 2 ** (attempt - 1))


def fit_minutes(wildcards, attempt):
    """Minutes that a run asks a scheduler for: its time-out, or twice its budget, or a day; twice that on each retry.

    Another 15 minutes are for reading and writing, so that the run's own time-out, which is a result, comes first.
    """
    entry = method(wildcards)
    seconds = entry["timeout"] or 2 * (entry["budget"] or 0) or 86400
    return math.ceil((15 + seconds / 60) * 2 ** (attempt - 1))


def fit_priority(wildcards):
    """Runs with several threads come first: their results are scored while runs with one thread leave a core free."""
    return 20 if fit_threads(wildcards) > 1 else 10


# --- figures


def figure(wildcards):
    """The config's entry of a figure."""
    return config["figures"][wildcards.figure]


def figure_run(wildcards):
    """Data, factors and scores of the run whose cells a figure shows."""
    entry = figure(wildcards)
    run = f"{entry['dataset']}/{entry['method']}/{entry['seed']}"
    return {
        "prepared": f"results/data/{entry['dataset']}/prepared.h5ad",
        "factors": f"results/runs/{run}/factors.h5ad",
        "scores": f"results/scores/{run}.tsv",
    }


def figure_tables(wildcards):
    """The tidy tables that a figure is drawn from."""
    name = wildcards.figure
    paths = {"cells": f"results/tables/cells_{name}.tsv.gz"}
    return {table: paths.get(table, f"results/tables/{table}.tsv") for table in figure(wildcards)["tables"]}


def cells_tables():
    """The tables of cells of all figures that show them."""
    return [f"results/tables/cells_{name}.tsv.gz" for name, f in config["figures"].items() if "cells" in f["tables"]]
