"""Turn what we ask for (*.in) into pins: every package exact and the newest that fits, with hashes.

``make lock`` has this done with the `uv` that ``lock.txt`` pins. It writes, beside itself:

factorbench.txt
    everything but torch, with the hashes of every file the registry has for that version;
build.txt
    the one of them that packages which come as source are built with, so that the build is pinned too;
torch.txt
    torch alone, with the hashes of all its builds (the CPU build's from wherever pip finds it), because
    which build is wanted depends on the machine;
torch-cuda.txt
    what the registry's Linux build of torch needs beside, installed only with that build;
test.txt and one more for each other ``.in``
    what tests, say, need beyond the above;
factorbench.yaml
    the same pins for conda.

``python envs/lock.py NAME ...`` writes only these of the last but one kind, and leaves what is pinned as it is;
``python envs/lock.py --yaml`` writes only the last, from the others.
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
    """The requirements of a pins file, each with its hashes, comments left out."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return re.split(r"\n(?=\S)", "\n".join(lines)) if lines else []


def compile_pins(source: Path, *more: str) -> list[str]:
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--upgrade", "--python-version", "3.11"]
    command += ["--python-platform", "x86_64-manylinux_2_28", "--generate-hashes", "--no-annotate", "--no-header"]
    command += ["--no-emit-index-url", "--no-emit-find-links", *more, str(source)]
    return entries(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def cpu_build_hash(requirement: str) -> str | None:
    """The hash of the CPU build of torch, if that is what pip finds here; the registry has no such file."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip"]
        subprocess.run([*pip, "download", "-q", "--no-deps", "-d", folder, requirement], check=True)
        (wheel,) = Path(folder).iterdir()
        if "+cpu" not in wheel.name:
            return None
        out = subprocess.run([*pip, "hash", str(wheel)], check=True, capture_output=True, text=True).stdout
        return re.search(r"sha256:[0-9a-f]{64}", out).group()


def write(name: str, source: str, pins: list[str]) -> None:
    (HERE / name).write_text(HEADER.format(source) + "\n".join(pins) + "\n")


def conda_yaml() -> str:
    """Python from conda, every package from the same pins: Snakemake copies this file alone, so they stand in it."""
    pins = []
    for name in ("factorbench.txt", "torch.txt", "torch-cuda.txt"):
        for entry in entries((HERE / name).read_text()):
            requirement, *hashes = entry.replace("\\\n", " ").split(" --hash=")
            marker = " ; sys_platform == 'linux'" if name == "torch-cuda.txt" else ""
            pins.append(" --hash=".join([requirement.strip() + marker, *(h.strip() for h in hashes)]))
    lines = ["channels: [conda-forge, nodefaults]", "dependencies:", "  - python=3.11", "  - pip", "  - c-compiler"]
    lines += ["  - pip:", *(f'      - "{pin}"' for pin in pins)]
    return HEADER.format("factorbench.txt, torch.txt and torch-cuda.txt") + "\n".join(lines) + "\n"


def lock_all() -> None:
    """Pin anew what the workflow needs."""
    pins = compile_pins(HERE / "factorbench.in")
    (torch,) = [pin for pin in pins if pin.startswith("torch==")]
    cpu = cpu_build_hash(torch.split()[0])
    old = (HERE / "torch.txt").read_text() if (HERE / "torch.txt").exists() else ""
    same_version = torch.split()[0] in old
    known = set(re.findall(r"sha256:[0-9a-f]{64}", torch))
    extra = {cpu} - {None} if cpu else set(re.findall(r"sha256:[0-9a-f]{64}", old)) if same_version else set()
    torch += "".join(f" \\\n    --hash={digest}" for digest in sorted(extra - known))
    write("torch.txt", "factorbench.in", [torch])
    write("torch-cuda.txt", "factorbench.in", [pin for pin in pins if CUDA.match(pin)])
    write("build.txt", "factorbench.in", [pin for pin in pins if pin.startswith("setuptools==")])
    write("factorbench.txt", "factorbench.in", [p for p in pins if not CUDA.match(p) and not p.startswith("torch==")])
    (HERE / "factorbench.yaml").write_text(conda_yaml())


def lock_more(names: list[str]) -> None:
    """Pin anew what each of ``names`` needs beyond the workflow, with the versions that the workflow is pinned to."""
    pinned = "".join((HERE / f"{name}.txt").read_text() for name in ("factorbench", "torch", "torch-cuda"))
    pins = [entry.split()[0] for entry in entries(pinned)]
    mine = {pin.split("==")[0] for pin in pins}
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write("\n".join(pins))
        constraints.flush()
        for name in names:
            more = compile_pins(HERE / f"{name}.in", "--constraint", constraints.name)
            write(f"{name}.txt", f"{name}.in", [pin for pin in more if pin.split("==")[0] not in mine])


def main(names: list[str]) -> None:
    if names == ["--yaml"]:
        (HERE / "factorbench.yaml").write_text(conda_yaml())
        return
    if not names:
        lock_all()
    lock_more(names or sorted(path.stem for path in HERE.glob("*.in") if path.stem != "factorbench"))


if __name__ == "__main__":
    main(sys.argv[1:])
