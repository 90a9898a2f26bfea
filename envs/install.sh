#!/bin/sh
# install.sh VENV [NAME]: make a virtual environment from the pins beside this file. Every package has an exact version and
# is checked by its hash. With a name (test, bench, ...), add the packages of NAME.txt to an existing environment.
#
# PYTHON       the Python 3.11 to use (default: the first of python3.11, python3 and python that is Python 3.11)
# TORCH_INDEX  the index to take torch from (default: pip's). The registry's Linux build includes CUDA. For the much smaller
#              CPU build, or another version of CUDA, give the index that pytorch.org names for it.
set -eu
venv=$1
name=${2:-}
folder=$(cd "$(dirname "$0")" && pwd)

case $venv in /*) path=$venv ;; *) path=$PWD/$venv ;; esac
if printf %s "$path" | grep -q "[[:space:]'\"\`\\\$&;|<>(){}*?]"; then
  remedy="name another folder for the environment: make run VENV=/a/folder/.venv"
  printf '%s\n' "error: $path: the path has a space or one of '\"\`\\\$&;|<>(){}*?, so Snakemake cannot run its jobs; $remedy" >&2
  exit 1
fi

is_311() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; }
for python in ${PYTHON:-python3.11 python3 python}; do
  if is_311 "$python"; then break; fi
  python=
done
if [ -z "$python" ]; then
  echo "error: Python 3.11 was not found; install it, or name it: make PYTHON=/path/to/python3.11" >&2
  exit 1
fi

pip() { "$venv/bin/python" -m pip "$@"; }
pins() { pip install -qq --disable-pip-version-check --no-compile --no-deps --require-hashes "$@"; }

if [ ! -e "$venv/.made" ]; then
  if [ ! -e "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv" 2>/dev/null)" ]; then
    echo "error: $venv: the folder has other files and is no environment of Python; name a new one: make run VENV=/a/folder/.venv" >&2
    exit 1
  fi
  echo "environment: $venv (once, a minute or two)" >&2
  rm -rf "$venv"
  "$python" -m venv "$venv"
  touch "$venv/.made"
fi
if [ -z "$name" ]; then
  echo "environment: torch" >&2
  # With hashes, pip would not choose a CPU build that it is set up to prefer. So download first, then check and install.
  wheels=$(mktemp -d)
  trap 'rm -rf "$wheels"' EXIT
  pip download -qq --no-deps ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} -d "$wheels" "$(grep -o '^torch==[^ ]*' "$folder/torch.txt")"
  pins --no-index --find-links "$wheels" -r "$folder/torch.txt"
  # Only the registry's Linux build needs the CUDA packages.
  if "$venv/bin/python" -c 'import importlib.metadata as m, sys; sys.exit(not any("nvidia" in r for r in m.requires("torch") or ()))'; then
    echo "environment: the CUDA packages that this build of torch needs (3 GB; TORCH_INDEX can name a CPU build)" >&2
    pins -r "$folder/torch-cuda.txt"
  fi
  echo "environment: $(grep -c == "$folder/factorbench.txt") more packages" >&2
  pins -r "$folder/build.txt"
  pins --no-build-isolation -r "$folder/factorbench.txt"
else
  echo "environment: packages for $name" >&2
  pins -r "$folder/$name.txt"
fi
# Jobs start many times faster from byte code. PYTHONDONTWRITEBYTECODE may prevent them from writing it later. The packages'
# tests, a third of all code, are left out: nothing imports them.
"$venv/bin/python" -m compileall -q -j 0 -x "site-packages/.*/tests?/" "$venv/lib" >/dev/null 2>&1 || true
