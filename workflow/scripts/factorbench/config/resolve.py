"""The config: checked, its defaults filled in, its names resolved, before anything runs.

The schema (``workflow/schemas/config.schema.yaml``) is the single source of keys, defaults and their documentation.
What a schema cannot express is checked here: names that refer to other entries, and parameters of methods, metrics,
readers and figures. Every mistake is a `UserError` of one line: file, key, remedy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .. import registry
from ..contracts.errors import UserError
from ..contracts.prepared import HELD_OUT
from ..registry import refer
from . import claims, figures, ranges, schema
from .plan import RAW_KEYS, archive_entry, planned_runs

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


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
        As the schema says, with these additions. For each dataset: ``raw`` and ``group``, the datasets whose raw.h5ad
        and whose folder of downloads it shares; ``gene_sets`` as a list, with their ``prefixes`` and ``descriptions``;
        ``missing`` samples. ``budget`` and ``timeout`` in seconds. Parameters of readers, methods, metrics and figures
        complete, so that they say how a model is trained. ``planned``: every run as [dataset, method, seed].
        ``left_out``: a line for each figure that shows less than it names. ``other_claims``: ids of the claims about
        datasets that are not run; ``claims`` is empty if that is all of them.

    Raises
    ------
    UserError
        For the first mistake found.
    """
    config = schema.plain(config, where)
    rules = schema.read("config")
    schema.check(config, rules, where)
    ranges.expand(config, where)
    config["datasets"], shared = inherit(config["datasets"], f"{where}: datasets")
    config = schema.fill(config, rules)
    check_groups(config, where)
    for name, dataset in config["datasets"].items():
        dataset.update(shared[name])
        dataset["title"] = dataset["title"] or name
        resolve_dataset(dataset, config, f"{where}: datasets.{name}")
    check_files(config, where)
    for name, method in config["methods"].items():
        resolve_method(method, f"{where}: methods.{name}")
    for name, params in config["metrics"].items():
        spec = load_spec("metric", name, f"{where}: metrics.{name}")
        config["metrics"][name] = registry.resolve(spec, params, f"{where}: metrics.{name}")
    for name, dataset in config["datasets"].items():
        for method, params in dataset["params"].items():
            at = f"{where}: datasets.{name}.params.{method}"
            refer(method, config["methods"], at)
            entry = config["methods"][method]
            dataset["params"][method] = registry.method_params(entry["use"], {**entry["given"], **params}, at)
    for section in ("runs", "nulls"):
        for i, entry in enumerate(config[section]):
            for key in ("datasets", "methods"):
                for name in entry[key]:
                    refer(name, config[key], f"{where}: {section}[{i}].{key}")
    for entry in config["nulls"]:
        entry["budget"] = seconds(entry["budget"])
    runs = planned_runs(config)
    config["planned"] = [list(run) for run in runs]
    resolve_report(config, runs, where)
    listed = claims.read(config["claims"])["claims"] if config["claims"] else []
    datasets = {dataset for dataset, _, _ in runs}
    config["other_claims"] = [c["id"] for c in listed if not datasets & {c["dataset"], c["stand_in"]}]
    if len(config["other_claims"]) == len(listed):
        config["claims"] = ""
    terms = {claim["id"]: claim["terms"] for claim in listed}
    config["figures"], config["left_out"] = figures.resolve(config, runs, terms, f"{where}: figures")
    return config


def load_spec(kind: str, name: str, where: str) -> Any:
    """Return the SPEC of a method, metric or reader; a mistake is reported with ``where``."""
    try:
        return registry.load(kind, name).SPEC
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def inherit(datasets: dict[str, Any], where: str) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """Complete the entries that have ``from``; return them, and the ``group`` and ``raw`` of each."""
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
            if "options" in entry and "reader" not in entry:  # options of the same reader
                entries[name]["options"] = {**entries[parent].get("options", {}), **entry["options"]}
            shared[name] = {
                "group": shared[parent]["group"],
                "raw": name if any(key in entry for key in RAW_KEYS) else shared[parent]["raw"],
            }

    for name in datasets:
        complete(name, ())
    return {name: entries[name] for name in datasets}, shared


def resolve_dataset(dataset: dict[str, Any], config: dict[str, Any], where: str) -> None:
    """Complete one dataset in place."""
    spec = load_spec("reader", dataset["reader"], f"{where}.reader")
    given = {"unpacked": config["limits"]["unpacked"]} if "unpacked" in spec.params else {}
    dataset["options"] = registry.resolve(spec, given | dataset["options"], f"{where}.options")
    template = dataset["options"].get("fit_to")
    if template:
        refer(template, config["datasets"], f"{where}.options.fit_to")
        if config["datasets"][template].get("options", {}).get("fit_to"):
            raise UserError(f"{where}.options.fit_to: {template} is itself simulated in this way; name real data")
    leave_out(dataset, where)
    collections = dataset["gene_sets"] or default_of("gene_sets", config, where)
    dataset["gene_sets"] = [collections] if isinstance(collections, str) else collections
    for name in dataset["gene_sets"]:
        refer(name, config["gene_sets"], f"{where}.gene_sets")
    entries = [config["gene_sets"][name] for name in dataset["gene_sets"]]
    dataset["prefixes"] = [entry["prefix"] for entry in entries]
    dataset["descriptions"] = [entry["descriptions"] for entry in entries]
    for key in ("min_genes", "max_genes"):
        dataset[key] = entries[0][key] if dataset[key] is None else dataset[key]
    if dataset["symbols"] == "orthologs":
        dataset["orthologs"] = dataset["orthologs"] or default_of("orthologs", config, where)
        refer(dataset["orthologs"], config["orthologs"], f"{where}.orthologs")
    if HELD_OUT in dataset["labels"]:
        raise UserError(f"{where}.labels.{HELD_OUT}: this name is reserved for held-out cells; rename the label")
    labels = {key: dataset[key] for key in ("zeroed_by", "donor")}
    labels["contrast.label"] = dataset.get("contrast", {}).get("label")
    labels["hold_out.label"] = (dataset["hold_out"] or {}).get("label")
    for key, label in labels.items():
        if label:
            refer(label, dataset["labels"], f"{where}.{key}")


def default_of(kind: str, config: dict[str, Any], where: str) -> str:
    """Return the collection of gene sets or table of orthologs for a dataset that names none.

    It is the one that the config names as the default, or the only one. The order of the entries does not matter, since
    Snakemake puts the keys of a file that is laid over another first. Raise a `UserError` if several could be meant.
    """
    name, entries = config[f"default_{kind}"], config[kind]
    if name or len(entries) == 1:
        return name or next(iter(entries))
    raise UserError(
        f"{where}.{kind}: names none of {', '.join(entries) or 'them; the config has none'}; name one here, or one for "
        f"all datasets as default_{kind}"
    )


def leave_out(dataset: dict[str, Any], where: str) -> None:
    """Take the samples in ``without`` out of ``options.samples``, and the files that only they need."""
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
    unused = {key for keys in samples.values() for key in keys.values()}
    unused -= {key for keys in kept.values() for key in keys.values()}
    dataset["options"] = {**dataset["options"], "samples": kept}
    dataset["files"] = {key: file for key, file in dataset["files"].items() if key not in unused}


def resolve_method(method: dict[str, Any], where: str) -> None:
    """Complete one method in place; ``given`` keeps the parameters that the config gives."""
    spec = load_spec("method", method["use"], f"{where}.use")
    method["given"] = method["params"]
    method["params"] = registry.method_params(method["use"], method["given"], f"{where}.params")
    method["title"] = method["title"] or spec.title
    method["threads"] = method["threads"] or spec.threads
    method["budget"], method["timeout"] = seconds(method["budget"]), seconds(method["timeout"])


def resolve_report(config: dict[str, Any], runs: list[tuple[str, str, int]], where: str) -> None:
    """Complete the section ``report`` and check the names in it."""
    report = config["report"]
    report["reference"] = report["reference"] or config["runs"][0]["methods"][0]
    refer(report["reference"], {method for _, method, _ in runs}, f"{where}: report.reference")
    for dataset, minutes in report["paper_minutes"].items():
        refer(dataset, config["datasets"], f"{where}: report.paper_minutes")
        for method in minutes:
            refer(method, config["methods"], f"{where}: report.paper_minutes.{dataset}")
    if config["describe"]:
        refer(config["describe"], config["datasets"], "check-dataset NAME")


def check_groups(config: dict[str, Any], where: str) -> None:
    """Raise a `UserError` if two groups of files would share a folder, or a file of gene sets has no hash."""
    kinds: dict[str, str] = {}
    for kind in ("datasets", "gene_sets", "orthologs"):  # each name is a folder below resources/
        for name in config[kind]:
            other = kinds.setdefault(name.casefold(), f"{kind}.{name}")
            if other != f"{kind}.{name}":
                raise UserError(f"{where}: {kind}.{name}: {other} has this name too; rename one of them")
    for kind in ("gene_sets", "orthologs"):
        for name, entry in config[kind].items():
            if not entry["file"]["sha256"]:
                raise UserError(f"{where}: {kind}.{name}.file: the key 'sha256' is missing; sha256sum prints it")


def check_files(config: dict[str, Any], where: str) -> None:
    """Raise a `UserError` if two different files would have one path below resources/.

    Datasets made ``from`` one another share a folder, and archives are kept beside the files that are in them. Two
    entries are one file if they have the same hash or, without a hash, the same sources. Some disks do not tell capital
    letters from small ones.
    """
    seen: dict[tuple[str, str], tuple[str, str, Any]] = {}
    for at, group, file in _files(config):
        name, content = file["name"], file["sha256"] or file["sources"]
        first, name_there, content_there = seen.setdefault((group, name.casefold()), (at, name, content))
        if (name, content) != (name_there, content_there):
            other = "another sha256" if isinstance(content, str) and isinstance(content_there, str) else "other sources"
            problem = f"has this name and {other}" if name == name_there else f"is called {name_there}"
            remedy = "rename one of the files; sources may have any names"
            if at.endswith("]"):
                remedy = "give the archive another name with the key archive of its source"
            raise UserError(f"{where}: {at}: {first} {problem}; {remedy}")


def _files(config: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the key, the folder below resources/ and the entry of each file of the config, archives too."""
    files = [
        (f"datasets.{name}.files.{key}", dataset["group"], file)
        for name, dataset in config["datasets"].items()
        for key, file in dataset["files"].items()
    ]
    for kind in ("gene_sets", "orthologs"):
        files += [(f"{kind}.{name}.file", name, entry["file"]) for name, entry in config[kind].items()]
    for at, group, file in files:
        yield at, group, file
        for i, source in enumerate(file["sources"]):
            if isinstance(source, dict) and "url" in source:
                yield f"{at}.sources[{i}]", group, archive_entry(source)


def seconds(duration: float | str | None) -> float | None:
    """Return the seconds of ``90``, ``"90s"``, ``"1.5m"``, ``"2h"`` or ``"3d"`` (``None`` stays ``None``)."""
    if isinstance(duration, str):
        return float(duration[:-1]) * SECONDS[duration[-1]]
    return duration
