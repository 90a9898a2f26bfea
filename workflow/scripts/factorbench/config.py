"""The config: checked, its defaults filled in, its names resolved - before anything runs.

The schema (``workflow/schemas/config.schema.yaml``) is the one place of settings, defaults and their documentation.
What a schema cannot say (names that refer to other entries, parameters of methods) is checked here. Every mistake
is a `UserError` of one line: file, key, remedy.
"""

from __future__ import annotations

from typing import Any

from . import claims, figures, registry, schema
from .contracts import UserError
from .labels import HELD_OUT
from .registry import refer

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
RAW_KEYS = ("files", "reader", "options", "without", "expect")
"""What a dataset's raw data follow from; datasets that share all of these share the raw file."""


def resolve(config: dict[str, Any], where: str = "config.yaml") -> dict[str, Any]:
    """Return the config with every default filled in and every name checked.

    Parameters
    ----------
    config
        As read from YAML; it is not changed.
    where
        Name of the file, for messages.

    Returns
    -------
    dict
        As the schema says, and beside it: ``raw`` and ``group`` of each dataset (the datasets whose raw file and whose
        folder of downloads it shares), its ``gene_sets`` as a list with their ``prefixes``, its ``missing`` samples;
        ``budget`` and ``timeout`` in seconds; parameters of readers, methods, metrics complete; ``left_out``, what is
        configured and not shown.

    Raises
    ------
    UserError
        For the first mistake found.
    """
    config = schema.plain(config, where)
    rules = schema.read("config")
    schema.check(config, rules, where)
    config["datasets"], shared = inherit(config["datasets"], f"{where}: datasets")
    config = schema.fill(config, rules)
    taken: dict[str, str] = {}
    for key in ("datasets", "gene_sets", "orthologs"):  # each name is a folder of downloads
        for name in config[key]:
            if name in taken:
                raise UserError(f"{where}: {key}.{name}: {taken[name]} have this name too; rename one of them")
            taken[name] = key
    for key in ("gene_sets", "orthologs"):
        for name, entry in config[key].items():
            if not entry["file"]["sha256"]:
                raise UserError(f"{where}: {key}.{name}.file: the key 'sha256' is missing; sha256sum says what it is")
    if config["check"]:
        refer(config["check"], config["datasets"], "check-dataset NAME")
    for name, dataset in config["datasets"].items():
        dataset.update(shared[name])
        resolve_dataset(name, dataset, config, f"{where}: datasets.{name}")
    check_files(config["datasets"], f"{where}: datasets")
    for name, method in config["methods"].items():
        at = f"{where}: methods.{name}"
        spec = named("method", method["use"], f"{at}.use")
        method["params"] = registry.resolve(spec, method["params"], f"{at}.params")
        method["title"] = method["title"] or spec.title
        method["threads"] = method["threads"] or spec.threads
        method["budget"], method["timeout"] = seconds(method["budget"]), seconds(method["timeout"])
    for name, params in config["metrics"].items():
        spec = named("metric", name, f"{where}: metrics.{name}")
        config["metrics"][name] = registry.resolve(spec, params, f"{where}: metrics.{name}")
    for name, dataset in config["datasets"].items():
        for method, params in dataset["params"].items():
            at = f"{where}: datasets.{name}.params.{method}"
            refer(method, config["methods"], at)
            entry = config["methods"][method]
            dataset["params"][method] = registry.resolve(
                registry.load("method", entry["use"]).SPEC, {**entry["params"], **params}, at
            )
    for i, entry in enumerate(config["runs"]):
        for key in ("datasets", "methods"):
            for name in entry[key]:
                refer(name, config[key], f"{where}: runs[{i}].{key}")
    methods = {method for _, method, _ in planned(config)}
    config["report"]["reference"] = config["report"]["reference"] or config["runs"][0]["methods"][0]
    refer(config["report"]["reference"], methods, f"{where}: report.reference")
    for dataset, minutes in config["report"]["paper_minutes"].items():
        refer(dataset, config["datasets"], f"{where}: report.paper_minutes")
        for method in minutes:
            refer(method, config["methods"], f"{where}: report.paper_minutes.{dataset}")
    published = {claim["id"]: claim["terms"] for claim in claims.read(config["claims"])} if config["claims"] else {}
    config["figures"], config["left_out"] = figures.resolve(config, planned(config), published, f"{where}: figures")
    return config


def planned(config: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Every run of the config, (dataset, method, seed), in order, each once."""
    runs = [
        (dataset, method, seed)
        for entry in config["runs"]
        for dataset in entry["datasets"]
        for method in entry["methods"]
        for seed in entry.get("seeds", [0])
    ]
    return list(dict.fromkeys(runs))


def params(config: dict[str, Any], dataset: str, method: str) -> dict[str, Any]:
    """All parameters of a method on a dataset."""
    return config["datasets"][dataset]["params"].get(method, config["methods"][method]["params"])


def file_entry(config: dict[str, Any], group: str, name: str) -> dict[str, Any]:
    """The entry of the file ``resources/<group>/<name>``: of a dataset, a collection of gene sets or of orthologs."""
    files = [f for d in config["datasets"].values() if d["group"] == group for f in d["files"].values()]
    files += [config[kind][group]["file"] for kind in ("gene_sets", "orthologs") if group in config[kind]]
    for file in files:
        if file["name"] == name:
            return file
    raise UserError(f"no dataset, collection of gene sets or table of orthologs has a file {group}/{name}")


def seconds(duration: float | str | None) -> float | None:
    """Seconds of ``90``, ``"90s"``, ``"1.5m"``, ``"2h"``, ``"3d"`` (``None`` stays ``None``)."""
    if isinstance(duration, str):
        return float(duration[:-1]) * SECONDS[duration[-1]]
    return duration


# ---------------------------------------------------------------------------------------------------- names and parts


def named(kind: str, name: str, where: str) -> Any:
    try:
        return registry.load(kind, name).SPEC
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def inherit(datasets: dict[str, Any], where: str) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """Entries with ``from`` completed by what they inherit, and whose folder of files and whose raw data it shares."""
    entries: dict[str, Any] = {}
    shared: dict[str, dict[str, str]] = {}

    def complete(name: str, chain: tuple[str, ...]) -> None:
        if name in chain:
            raise UserError(f"{where}.{name}.from: {' -> '.join((*chain, name))} is a circle; remove one of its links")
        if name in entries:
            return
        entry, parent = datasets[name], datasets[name].get("from")
        entries[name], shared[name] = entry, {"group": name, "raw": name}
        if parent is not None:
            refer(parent, datasets, f"{where}.{name}.from")
            complete(parent, (*chain, name))
            entries[name] = {**entries[parent], **entry}
            shared[name] = {
                "group": shared[parent]["group"],
                "raw": name if any(key in entry for key in RAW_KEYS) else shared[parent]["raw"],
            }

    for name in datasets:
        complete(name, ())
    return {name: entries[name] for name in datasets}, shared


def resolve_dataset(name: str, dataset: dict[str, Any], config: dict[str, Any], where: str) -> None:
    spec = named("reader", dataset["reader"], f"{where}.reader")
    given = {"unpacked": config["limits"]["unpacked"]} if "unpacked" in spec.params else {}
    dataset["options"] = registry.resolve(spec, given | dataset["options"], f"{where}.options")
    leave_out(dataset, where)
    dataset["title"] = dataset["title"] or name
    given = dataset["gene_sets"] or next(iter(config["gene_sets"]))
    dataset["gene_sets"] = [given] if isinstance(given, str) else given
    for collection in dataset["gene_sets"]:
        refer(collection, config["gene_sets"], f"{where}.gene_sets")
    collections = [config["gene_sets"][collection] for collection in dataset["gene_sets"]]
    dataset["prefixes"] = [collection["prefix"] for collection in collections]
    for key in ("min_genes", "max_genes"):
        dataset[key] = collections[0][key] if dataset[key] is None else dataset[key]
    if dataset["symbols"] == "orthologs":
        dataset["orthologs"] = dataset["orthologs"] or next(iter(config["orthologs"]), "")
        refer(dataset["orthologs"], config["orthologs"], f"{where}.orthologs")
    if HELD_OUT in dataset["labels"]:
        raise UserError(f"{where}.labels.{HELD_OUT}: cells that are held out are called so; rename the label")
    labels = {key: dataset[key] for key in ("zeroed_by", "donor")}
    labels["contrast.label"] = dataset.get("contrast", {}).get("label")
    labels["hold_out.label"] = (dataset["hold_out"] or {}).get("label")
    for key, label in labels.items():
        if label:
            refer(label, dataset["labels"], f"{where}.{key}")


def check_files(datasets: dict[str, Any], where: str) -> None:
    """Raise a `UserError` if two files would lie under one name: datasets made from one another share a folder."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for name, dataset in datasets.items():
        for key, file in dataset["files"].items():
            at = f"{where}.{name}.files.{key}"
            first, sha256 = found.setdefault((dataset["group"], file["name"]), (at, file["sha256"]))
            if sha256 != file["sha256"]:
                raise UserError(f"{at}: {first} has this name and another sha256; rename one of the files")


def leave_out(dataset: dict[str, Any], where: str) -> None:
    """Take the samples that ``without`` names out of ``options.samples``, and the files that only they need."""
    samples = dataset["options"].get("samples", {})
    for sample, keys in samples.items():
        if not isinstance(keys, dict) or not all(isinstance(key, str) for key in keys.values()):
            raise UserError(f"{where}.options.samples.{sample}: should name keys of files ({{h5: <key>}}), not {keys}")
    dataset["missing"] = [str(sample) for sample in dataset["without"]]
    for sample in dataset["missing"]:
        refer(sample, samples, f"{where}.without")
    if not dataset["missing"]:
        return
    kept = {sample: keys for sample, keys in samples.items() if sample not in dataset["missing"]}
    if not kept:
        raise UserError(f"{where}.without: no sample is left; take at least one of {', '.join(samples)} out of it")
    gone = {key for keys in samples.values() for key in keys.values()}
    gone -= {key for keys in kept.values() for key in keys.values()}
    dataset["options"] = {**dataset["options"], "samples": kept}
    dataset["files"] = {key: file for key, file in dataset["files"].items() if key not in gone}
