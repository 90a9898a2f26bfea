# Functions only: what a rule needs to know of the config. The config itself is checked and completed here, once.
import math
import os
import sys
from collections import Counter
from pathlib import Path

PACKAGE = Path(workflow.basedir) / "workflow" / "scripts" / "factorbench"
sys.path.insert(0, str(PACKAGE.parent))

from factorbench import config as settings
from factorbench import registry, sources
from factorbench.contracts import UserError, read_json

ENVIRONMENT = "../../envs/factorbench.yaml"
TABLES = ["runs", "runtime", "separation", "top_pathways", "comparisons", "scaling", "full_time", "scores"]
TABLES += ["claims"] if config.get("claims") else []


def resolve_config():
    """The config with all its defaults, in place; one line and no traceback for a mistake in it."""
    given = [Path(path) for path in (*workflow.configfiles, *workflow.overwrite_configfiles)]
    where = " + ".join(dict.fromkeys(path.name for path in given))
    try:
        resolved = settings.resolve(dict(config), where)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    config.clear()
    config.update(resolved)
    for line in config["left_out"]:
        print(f"note: {line}", file=sys.stderr)


resolve_config()


def dataset(wildcards):
    """The config's entry of a dataset."""
    return config["datasets"][wildcards.dataset]


def method(wildcards):
    """The config's entry of a method."""
    return config["methods"][wildcards.method]


def raw_files(wildcards):
    """Paths of the files a dataset is read from, by the names its reader knows."""
    entry = dataset(wildcards)
    return {key: f"resources/{entry['group']}/{file['name']}" for key, file in entry["files"].items()}


def raw_data(wildcards):
    return f"results/data/{dataset(wildcards)['raw']}/raw.h5ad"


def gene_set_files(wildcards):
    """Paths of a dataset's collections of gene sets, in the order it names them."""
    return [f"resources/{name}/{config['gene_sets'][name]['file']['name']}" for name in dataset(wildcards)["gene_sets"]]


def ortholog_file(wildcards):
    """Path of the table of orthologs, if the dataset asks for one."""
    name = dataset(wildcards)["orthologs"]
    if dataset(wildcards)["symbols"] != "orthologs":
        return []
    return [f"resources/{name}/{config['orthologs'][name]['file']['name']}"]


def preparation(wildcards):
    """The settings of `prepare`: whatever of a dataset's entry is not about its raw files."""
    return {
        key: value
        for key, value in dataset(wildcards).items()
        if key not in (*settings.RAW_KEYS, "from", "raw", "group", "params")
    }


def code(*parts):
    """Files of the package that a rule's result follows from: what a script imports is not watched by Snakemake."""
    return [os.path.relpath(path) for part in parts for path in sorted(PACKAGE.glob(part))]


def method_code(wildcards):
    """A method's own file and the modules of factorbench it says it imports (of the model, all of them)."""
    spec = registry.load("method", method(wildcards)["use"]).SPEC
    own = [name.split(".")[1:] for name in spec.imports if name.startswith("factorbench.")]
    modules = {f"methods/{name}.py" if folder == "methods" else f"{folder}/*.py" for folder, name in own}
    return code(f"methods/{spec.name}.py", *sorted(modules))


def metric_code(wildcards):
    return code("score.py", "metrics/_*.py", *(f"metrics/{name}.py" for name in config["metrics"]))


def fit_threads(wildcards):
    """Threads of a run: what its method can use; if that is all there are, Snakemake cuts it to what it may give."""
    return method(wildcards)["threads"] or sys.maxsize


def fit_gpu(wildcards):
    """Cards that a run asks a scheduler for: one, if it would be run on a card (`factorbench.run.choose_device`)."""
    gpu = registry.load("method", method(wildcards)["use"]).SPEC.gpu
    return 1 if gpu == "required" or (gpu == "optional" and config["device"] != "cpu") else None


def fit_memory(wildcards, input, attempt):
    """MiB that a run asks a scheduler for: the libraries' and the method's own; twice that on each retry.

    A method that takes more than a few copies of the data as float32 says so in bytes: ``memory`` beside its ``fit``.
    """
    size = read_json(input.checked)
    used = registry.load("method", method(wildcards)["use"])
    if hasattr(used, "memory"):
        params = settings.params(config, wildcards.dataset, wildcards.method)
        needed = used.memory(size["cells"], size["genes"], size["gene_sets"], params)
    else:
        needed = 24 * size["cells"] * size["genes"]
    return math.ceil((2000 + 1.25 * needed / 2**20) * 2 ** (attempt - 1))


def fit_minutes(wildcards, attempt):
    """Minutes that a run asks a scheduler for: its time-out, twice its budget or else a day; twice that on each retry.

    A quarter of an hour more is for what surrounds a run, so that it is its own time-out that ends it, as a result.
    """
    entry = method(wildcards)
    seconds = entry["timeout"] or 2 * (entry["budget"] or 0) or 86400
    return math.ceil((15 + seconds / 60) * 2 ** (attempt - 1))


def fit_priority(wildcards):
    """Runs of several threads come first: what they leave to be scored is scored beside runs that leave a core free."""
    return 20 if fit_threads(wildcards) > 1 else 10


def runs(pattern):
    """``pattern`` filled in for every run of the config."""
    return [pattern.format(dataset=d, method=m, seed=s) for d, m, s in settings.planned(config)]


def ask_for_files():
    """One line, and the end, for each source of a planned file that is not here and that nobody has."""
    datasets = [config["check"]] if config["check"] else planned_datasets()
    wanted = [(g, n) for g, n in sources.planned(config, datasets) if not Path("resources", g, n).exists()]
    files = [(group, settings.file_entry(config, group, name)) for group, name in wanted]
    missing = sources.ask(files, config["mirrors"], Path("resources"))
    for line in missing:
        print(f"error: {line}", file=sys.stderr)
    if missing:
        sys.exit(1)


def ortholog_columns(wildcards):
    """Which columns of the table of orthologs say what."""
    if dataset(wildcards)["symbols"] != "orthologs":
        return {}
    entry = config["orthologs"][dataset(wildcards)["orthologs"]]
    return {key: entry[key] for key in ("from", "to", "kind")}


def planned_datasets():
    return list(dict.fromkeys(d for d, _, _ in settings.planned(config)))


def runs_on(wildcards):
    """(method, seed) of every run planned on a dataset."""
    return [[m, s] for d, m, s in settings.planned(config) if d == wildcards.dataset]


def seen_by(wildcards):
    """The run of the same method and seed on the dataset that a held-out one comes from, where it is planned too."""
    entry = dataset(wildcards)
    run = (entry.get("from"), wildcards.method, int(wildcards.seed))
    if not entry["hold_out"] or "projection" not in config["metrics"] or run not in settings.planned(config):
        return []
    return ["results/runs/{}/{}/{}/factors.h5ad".format(*run)]


def over_seeds(pattern):
    """``pattern`` filled in for every dataset and method that is run with several seeds, if a metric is over seeds."""
    if not any(registry.load("metric", name).SPEC.over == "seeds" for name in config["metrics"]):
        return []
    pairs = Counter((d, m) for d, m, _ in settings.planned(config))
    return [pattern.format(dataset=d, method=m) for (d, m), seeds in pairs.items() if seeds > 1]


def claims_file(wildcards):
    """Path of the claims; one that is not absolute is in the project."""
    return os.path.relpath(PACKAGE.parents[2] / config["claims"])


def figure(wildcards):
    """The config's entry of a figure."""
    return config["figures"][wildcards.figure]


def figure_run(wildcards):
    """Folder and name of the run that a scatter figure shows."""
    entry = figure(wildcards)
    run = f"{entry['dataset']}/{entry['method']}/{entry['seed']}"
    return {
        "prepared": f"results/data/{entry['dataset']}/prepared.h5ad",
        "factors": f"results/runs/{run}/factors.h5ad",
        "scores": f"results/scores/{run}.tsv",
    }


def figure_tables(wildcards):
    """The tidy tables that a figure is drawn from."""
    if figure(wildcards)["kind"] == "scatter":
        return {"cells": f"results/tables/cells_{wildcards.figure}.tsv.gz"}
    names = ("scaling", "full_time") if figure(wildcards)["kind"] == "scaling" else ("runs", "runtime", "scores")
    return {name: f"results/tables/{name}.tsv" for name in names}
