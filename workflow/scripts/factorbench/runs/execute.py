"""The run itself, in the process that does it: seed, clock, budget, results, record."""

from __future__ import annotations

import contextlib
import datetime
import importlib
import platform
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import registry
from ..contracts.budget import Budget
from ..contracts.factors import Factors, add_held_out, no_factors, write_factors
from ..contracts.files import sha256, write_json
from ..contracts.prepared import read_prepared, seen_cells, without_held_out
from ..contracts.run import check_run
from ..contracts.truth import without_truth
from .machine import choose_device, git_state, peak_memory_mb, processor, synchronise, versions

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData

CANNOT_PROJECT = "cells are held out, and the method cannot score new cells without a new fit"


def execute(job: dict[str, Any]) -> dict[str, Any]:
    """Do the run that ``job`` describes, in this process, and return its record (run.json).

    The clock covers the method's ``fit`` (initialisation, training, scores) and nothing else: no imports, no files.
    Held-out cells are scored after the clock has stopped. A method that cannot score new cells is not fitted to data
    with held-out cells.
    """
    method = registry.load("method", job["use"])
    started = datetime.datetime.now(datetime.UTC)
    data = read_prepared(job["prepared"])
    check_can_fit(job["use"], job["params"], data)
    device = choose_device(job["device"], method.SPEC.gpu)
    budget = Budget(job["budget_seconds"])
    seen = seen_cells(data)
    if not seen.all() and not method.SPEC.projects:
        factors, seconds = no_factors(data.n_obs, data.n_vars, "not_applicable", CANNOT_PROJECT), 0.0
    else:
        cells = without_held_out(data)
        cells = cells if method.SPEC.sees_truth else without_truth(cells)
        with ready(method.SPEC, job["seed"], job["threads"]):
            budget.start()
            factors = method.fit(cells, dict(job["params"]), job["seed"], device, budget)
            synchronise(device)
            seconds = budget.elapsed()
            if not seen.all():
                factors = score_held_out(factors, data, seen)
    record = run_record(job, factors, data, device, started)
    record["fit_seconds"] = seconds
    record["peak_memory_mb"] = peak_memory_mb(device)
    write_results(job, factors, data, record)
    return record


def check_can_fit(use: str, params: dict[str, Any], data: AnnData) -> None:
    """Raise `UserError` if a method reports that it cannot be fitted to the seen cells of prepared ``data``."""
    method, seen = registry.load("method", use), seen_cells(data)
    if hasattr(method, "check") and (method.SPEC.projects or seen.all()):
        method.check(int(seen.sum()), *data.varm["mask"].shape, params)


def score_held_out(factors: Factors, data: AnnData, seen: np.ndarray) -> Factors:
    """Extend the factors of the ``seen`` cells (bool, shape (n_cells,)) to all cells of ``data``."""
    if factors.table.empty:
        return no_factors(data.n_obs, data.n_vars, factors.status, factors.reason)
    return add_held_out(factors, seen, factors.project(data[~seen]))


def write_results(job: dict[str, Any], factors: Factors, data: AnnData, record: dict[str, Any]) -> None:
    """Write factors.h5ad, the model if there is one, and last run.json: its presence means that all are complete."""
    check_run(record)
    write_factors(job["factors"], factors, data)
    model = Path(job["model"])
    model.mkdir(parents=True, exist_ok=True)
    if factors.model is not None:
        factors.model.save(model)
    write_json(job["run"], record)


def run_record(job: dict[str, Any], factors: Factors, data: AnnData, device: str, started: Any) -> dict[str, Any]:
    """Return the record of a run, without the seconds and the memory, which the caller measures."""
    commit, dirty = git_state()
    return {
        "dataset": job["dataset"],
        "method": job["method"],
        "use": job["use"],
        "seed": job["seed"],
        "params": job["params"],
        "status": factors.status,
        "reason": factors.reason,
        "converged": factors.converged,
        "iterations": factors.iterations,
        "fit_seconds": None,
        "start_seconds": factors.start_seconds,
        "budget_seconds": job["budget_seconds"],
        "timeout_seconds": job["timeout_seconds"],
        "n_cells": int(seen_cells(data).sum()),
        "n_genes": data.n_vars,
        "n_factors": len(factors.table),
        "n_active": int(factors.table["active"].sum()),
        "device": device,
        "threads": job["threads"],
        "peak_memory_mb": None,
        "host": platform.node(),
        "processor": processor(),
        "started": started.isoformat(timespec="seconds"),
        "git_commit": commit,
        "git_dirty": dirty,
        "versions": versions(registry.load("method", job["use"]).SPEC.packages),
        "inputs": {"prepared": sha256(job["prepared"])},
    }


@contextlib.contextmanager
def ready(spec: registry.MethodSpec, seed: int, threads: int) -> Iterator[None]:
    """Import what a method imports late, seed every random generator, and limit all libraries to ``threads``."""
    from threadpoolctl import threadpool_limits

    for module in spec.warm_up:
        importlib.import_module(module)
    with threadpool_limits(threads):
        seed_everything(seed, threads)
        yield


def seed_everything(seed: int, threads: int) -> None:
    """Seed every random generator that a method may use, and limit torch to ``threads``."""
    import numpy as np

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - older packages draw from the global generator
    if "torch" in sys.modules:
        import torch

        torch.manual_seed(seed)
        torch.set_num_threads(threads)


def outcome_line(record: dict[str, Any]) -> str:
    """Return one line on how a run ended."""
    line = f"{record['status']}: {record['fit_seconds']:.1f} s"
    if record["iterations"] is not None:
        line += f", {record['iterations']} iterations"
    if record["n_factors"]:
        line += f", {record['n_active']} of {record['n_factors']} factors on"
    return line + (f" ({record['reason']})" if record["reason"] and record["status"] != "ok" else "")
