"""Pin every package of each ``*.in`` file to the newest version that fits, with hashes.

``make lock`` runs this with the `uv` that ``lock.txt`` pins. It writes into its own folder:

factorbench.txt
    all packages of the workflow except torch, with the hashes of every file that the registry has for that version;
build.txt
    the package that is needed to build source packages, so that builds are pinned too;
torch.txt
    torch, with the hashes of all its builds (the CPU build from the index that pip uses), because the machine decides
    which build is wanted;
torch-cuda.txt
    the packages that the registry's Linux build of torch needs, installed only with that build;
test.txt, and one more for each other ``.in``
    the packages that tests (or ``make bench``, ...) need in addition;
factorbench.yaml
    the same pins for conda.

``python envs/lock.py NAME ...`` writes only NAME.txt and leaves the pins of the workflow as they are.
``python envs/lock.py --yaml`` writes only factorbench.yaml, from the ``.txt`` files.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
HEADER = "# Made by envs/lock.py from {}: do not edit.\n"
CUDA = re.compile(r"(nvidia-|cuda-|triton==)")


def entries(text: str) -> list[str]:
    """Return the requirements of a file of pins, each with its hashes, without comments."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return re.split(r"\n(?=\S)", "\n".join(lines)) if lines else []


def compile_pins(source: Path, *more: str) -> list[str]:
    """Return the newest pins that satisfy a ``.in`` file; ``more`` are further options of uv."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--upgrade", "--python-version", "3.11"]
    command += ["--python-platform", "x86_64-manylinux_2_28", "--generate-hashes", "--no-annotate", "--no-header"]
    command += ["--no-emit-index-url", "--no-emit-find-links", *more, str(source)]
    return entries(subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8").stdout)


def cpu_build_hash(requirement: str) -> str | None:
    """Return the hash of the CPU build of torch if pip is set up to find it; the registry does not have it."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip"]
        subprocess.run([*pip, "download", "-q", "--no-deps", "-d", folder, requirement], check=True)
        (wheel,) = Path(folder).iterdir()
        if "+cpu" not in wheel.name:
            return None
        out = subprocess.run(
            [*pip, "hash", str(wheel)], check=True, capture_output=True, text=True, encoding="utf-8"
        ).stdout
        return re.search(r"sha256:[0-9a-f]{64}", out).group()


def write(name: str, source: str, pins: list[str]) -> None:
    """Write a file of pins with a heading that names the ``.in`` file."""
    (HERE / name).write_text(HEADER.format(source) + "\n".join(pins) + "\n", encoding="utf-8")


def conda_yaml() -> str:
    """Return the conda environment. It contains the pins themselves, because Snakemake copies this file alone."""
    pins = []
    for name in ("factorbench.txt", "torch.txt", "torch-cuda.txt"):
        for entry in entries((HERE / name).read_text(encoding="utf-8")):
            requirement, *hashes = entry.replace("\\\n", " ").split(" --hash=")
            marker = " ; sys_platform == 'linux'" if name == "torch-cuda.txt" else ""
            pins.append(" --hash=".join([requirement.strip() + marker, *(h.strip() for h in hashes)]))
    lines = ["channels: [conda-forge, nodefaults]", "dependencies:", "  - python=3.11", "  - pip", "  - c-compiler"]
    lines += ["  - pip:", *(f'      - "{pin}"' for pin in pins)]
    return HEADER.format("factorbench.txt, torch.txt and torch-cuda.txt") + "\n".join(lines) + "\n"


def lock_all() -> None:
    """Pin the packages of the workflow again."""
    pins = compile_pins(HERE / "factorbench.in")
    (torch,) = [pin for pin in pins if pin.startswith("torch==")]
    cpu = cpu_build_hash(torch.split()[0])
    old = (HERE / "torch.txt").read_text(encoding="utf-8") if (HERE / "torch.txt").exists() else ""
    same_version = torch.split()[0] in old
    known = set(re.findall(r"sha256:[0-9a-f]{64}", torch))
    extra = {cpu} - {None} if cpu else set(re.findall(r"sha256:[0-9a-f]{64}", old)) if same_version else set()
    torch += "".join(f" \\\n    --hash={digest}" for digest in sorted(extra - known))
    write("torch.txt", "factorbench.in", [torch])
    write("torch-cuda.txt", "factorbench.in", [pin for pin in pins if CUDA.match(pin)])
    write("build.txt", "factorbench.in", [pin for pin in pins if pin.startswith("setuptools==")])
    write("factorbench.txt", "factorbench.in", [p for p in pins if not CUDA.match(p) and not p.startswith("torch==")])
    (HERE / "factorbench.yaml").write_text(conda_yaml(), encoding="utf-8")


def lock_more(names: list[str]) -> None:
    """Pin the packages that each of ``names`` needs in addition, at versions that fit the pins of the workflow."""
    pinned = "".join(
        (HERE / f"{name}.txt").read_text(encoding="utf-8") for name in ("factorbench", "torch", "torch-cuda")
    )
    pins = [entry.split()[0] for entry in entries(pinned)]
    workflow = {pin.split("==")[0] for pin in pins}
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".txt") as constraints:
        constraints.write("\n".join(pins))
        constraints.flush()
        for name in names:
            more = compile_pins(HERE / f"{name}.in", "--constraint", constraints.name)
            write(f"{name}.txt", f"{name}.in", [pin for pin in more if pin.split("==")[0] not in workflow])


def main(names: list[str]) -> None:
    if names == ["--yaml"]:
        (HERE / "factorbench.yaml").write_text(conda_yaml(), encoding="utf-8")
        return
    if not names:
        lock_all()
    lock_more(names or sorted(path.stem for path in HERE.glob("*.in") if path.stem != "factorbench"))


if __name__ == "__main__":
    main(sys.argv[1:])
