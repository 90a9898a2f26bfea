"""job.json, what a run is to do, and run.json, how it went."""

from __future__ import annotations

from typing import Any

from .errors import ContractError

STATUSES = ("ok", "max_iterations", "budget", "timeout", "killed", "diverged", "not_applicable")
"""Every way a run can end. Only ``ok`` means that the method finished."""

JOB_KEYS = (
    *("dataset", "method", "use", "params", "seed", "device", "threads", "budget_seconds", "timeout_seconds"),
    *("prepared", "factors", "run", "model"),
)
"""A job: what is fitted to what, and the paths that are read (``prepared``) and written (the last three)."""

RUN_KEYS = (
    *("dataset", "method", "use", "seed", "params", "status", "reason", "converged", "iterations", "fit_seconds"),
    *("start_seconds", "budget_seconds", "timeout_seconds", "n_cells", "n_genes", "n_factors", "n_active", "device"),
    *("threads", "peak_memory_mb", "host", "processor", "started", "git_commit", "git_dirty", "versions", "inputs"),
)


def check_run(run: dict[str, Any]) -> None:
    """Raise `ContractError` unless ``run`` has every key of `RUN_KEYS` and a known status."""
    missing = [key for key in RUN_KEYS if key not in run]
    if missing:
        raise ContractError(f"run.json lacks {', '.join(missing)}")
    if run["status"] not in STATUSES:
        raise ContractError(f"run.json: status {run['status']!r} is not one of {STATUSES}")
