"""What a run is measured on: device, memory, processor, packages, and the commit of the code."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import resource
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from ..contracts.errors import UserError

PACKAGES = ("numpy", "scipy", "pandas", "anndata", "scanpy", "scikit-learn", "torch", "snakemake")
"""Packages whose version every run records; a method adds its own (`registry.MethodSpec.packages`)."""


def choose_device(wanted: str, gpu: str) -> str:
    """Return ``cpu`` or ``cuda`` for a method whose SPEC says ``gpu`` (none, optional, required)."""
    if gpu == "none" or (wanted == "cpu" and gpu == "optional"):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda" or gpu == "required":
        raise UserError("device: this machine has no CUDA device; set `device: cpu` or `device: auto`")
    return "cpu"


def synchronise(device: str) -> None:
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def peak_memory_mb(device: str) -> float:
    """Return the peak memory of this process in MiB (of the GPU, if the run used one)."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    with contextlib.suppress(OSError):
        # On Linux getrusage reports at least the peak of the process that started this one.
        (line,) = (
            line
            for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
            if line.startswith("VmHWM:")
        )
        return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions(more: Iterable[str] = ()) -> dict[str, str]:
    """Return the installed version of Python, of `PACKAGES` and of ``more`` packages."""
    installed = {"python": platform.python_version()}
    for package in (*PACKAGES, *more):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            installed[package] = importlib.metadata.version(package)
    return installed


def git_state() -> tuple[str | None, bool | None]:
    """Return the commit of this checkout and whether tracked files differ from it; (None, None) without git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8").stdout.strip()

    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None, None
