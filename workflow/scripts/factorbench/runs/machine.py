"""What a run is measured on: device, memory, processor, packages, and the commit of the code."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from ..contracts.errors import UserError

PACKAGES = ("numpy", "scipy", "pandas", "anndata", "scanpy", "scikit-learn", "torch", "snakemake")
"""Packages whose version every run records; a method adds its own (`registry.MethodSpec.packages`)."""
PACKAGE = Path(__file__).parents[1]
GIT_PLACES = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_NAMESPACE"),
    *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"),
)
"""Environment variables by which git is led to another repository. They are set while a hook of that one runs."""


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
    """Return the commit of this checkout, and whether the code differs from it.

    "Differs" means that a tracked file has changed, or that the package has a Python file that git neither tracks nor
    ignores, such as a new method. (None, None): there is no git, or the repository around this package is another
    one that does not track it.
    """
    environment = {key: value for key, value in os.environ.items() if key not in GIT_PLACES}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(PACKAGE), *arguments]
        done = subprocess.run(command, capture_output=True, check=True, env=environment)
        return done.stdout.decode(errors="replace").strip()

    try:
        git("ls-files", "--error-unmatch", "runs/machine.py")
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD"), bool(changed or git("ls-files", "--others", "--exclude-standard", "*.py"))
    except (OSError, subprocess.CalledProcessError):
        return None, None
