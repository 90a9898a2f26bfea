#!/bin/sh
# install.sh VENV [NAME]: make a virtual environment from the pins beside this file, every package exact and checked by hash;
# with a name (test, bench, ...), add to one that is there what NAME.txt pins beyond it.
#
# PYTHON       the Python 3.11 to use (default: python3.11, python3 or python, the first that is one)
# TORCH_INDEX  index to take torch from (default: pip's own). The registry's Linux build brings CUDA; for the much smaller
#              CPU build, or another CUDA, give the index that pytorch.org names for it.
set -eu
venv=$1
what=${2:-}
here=$(cd "$(dirname "$0")" && pwd)

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
  echo "environment: $venv (once, a minute or two)" >&2
  rm -rf "$venv"
  "$python" -m venv "$venv"
  touch "$venv/.made"
fi
if [ -z "$what" ]; then
  echo "environment: torch" >&2
  # Asked for by hash, pip would pass over a CPU build that it was set up to prefer: first download, then check and install.
  wheels=$(mktemp -d)
  trap 'rm -rf "$wheels"' EXIT
  pip download -qq --no-deps ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} -d "$wheels" "$(grep -o '^torch==[^ ]*' "$here/torch.txt")"
  pins --no-index --find-links "$wheels" -r "$here/torch.txt"
  # The registry's Linux build needs CUDA packages that the others do not.
  if "$venv/bin/python" -c 'import importlib.metadata as m, sys; sys.exit(not any("nvidia" in r for r in m.requires("torch") or ()))'; then
    echo "environment: the CUDA packages that this build of torch needs (3 GB; TORCH_INDEX can name a CPU build)" >&2
    pins -r "$here/torch-cuda.txt"
  fi
  echo "environment: $(grep -c == "$here/factorbench.txt") more packages" >&2
  pins -r "$here/build.txt"
  pins --no-build-isolation -r "$here/factorbench.txt"
else
  echo "environment: what $what needs beside" >&2
  pins -r "$here/$what.txt"
fi
# Jobs start many times faster from byte code, and PYTHONDONTWRITEBYTECODE may keep them from ever writing it. A third of
# all code is tests of the packages, which nothing imports.
"$venv/bin/python" -m compileall -q -j 0 -x "site-packages/.*/tests?/" "$venv/lib" >/dev/null 2>&1 || true
