"""The workflow in unusual surroundings: a notebook's environment, other locales, odd paths, disks without locks."""

import errno
import shutil
import subprocess
import sys
import zipfile

import pytest
from factorbench.contracts.files import read_json, read_table, write_json

from tests.planted import ROOT
from tests.workflow.conftest import Bench, clean_environment, local, planted_config, planted_counts

NOTEBOOK = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
"""What a notebook sets; the backend is not among the packages of this project."""
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def python(folder, *arguments, fails=False, executable=sys.executable, **environment):
    """Run Python in ``folder`` with the package of this project; return all it printed."""
    paths = {"PYTHONPATH": str(ROOT / "workflow/scripts")}
    command = [executable, *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env=clean_environment() | paths | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    printed = done.stdout.decode(errors="replace")
    assert (done.returncode != 0) == fails, printed[-5000:]
    return printed


def snakemake(bench, *arguments, **more):
    return python(bench.folder, "-m", "snakemake", "--cores", "2", *arguments, **more)


def errors(printed):
    return [line for line in printed.splitlines() if line.startswith("error: ")]


def one_method(bench):
    """Leave one fast method in the config of a ``bench``, and no figures."""
    bench.config["methods"] = {"gene_set_mean": {"use": "gene_set_mean"}}
    bench.config["runs"] = [{"datasets": ["planted"], "methods": ["gene_set_mean"]}]
    bench.config["figures"] = {}
    bench.config.pop("claims", None)
    bench.write_config(bench.config)


# ------------------------------------------------------------------------------------------- entry points, a notebook


def entry_points():
    """Every module of the package that ``python -m`` can run."""
    scripts = ROOT / "workflow/scripts"
    texts = {path: path.read_text(encoding="utf-8") for path in sorted((scripts / "factorbench").rglob("*.py"))}
    names = [".".join(p.relative_to(scripts).with_suffix("").parts) for p, text in texts.items() if "__main__" in text]
    return [name.removesuffix(".__main__") for name in names]


def test_the_entry_points_are_found():
    assert {"factorbench.runs", "factorbench.results.verify", "factorbench.reporting.terminal"} <= {*entry_points()}


@pytest.mark.parametrize("module", entry_points())
def test_entry_points_need_no_display_and_print_every_letter(tmp_path, module):
    """Whatever the user's MPLBACKEND and locale."""
    run = f"with contextlib.suppress(SystemExit): runpy.run_module({module!r}, None, '__main__')"
    code = f"import contextlib, runpy\n{run}\nimport matplotlib\nprint('IFN-γ')"
    for backend in ("nonsense", *NOTEBOOK.values()):
        assert python(tmp_path, "-c", code, MPLBACKEND=backend, PYTHONIOENCODING="ascii").endswith("IFN-\\u03b3\n")


def test_a_notebook_that_imports_the_package_keeps_its_settings(tmp_path):
    code = (
        f"import os, sys\nbefore = dict(os.environ), sys.stdout.errors\nimport {', '.join(entry_points())}\n"
        "import factorbench.adapters, factorbench.runs.__main__, factorbench.model\n"
        "assert before == (dict(os.environ), sys.stdout.errors)"
    )
    python(tmp_path, "-c", code, **NOTEBOOK)


def test_rules_need_no_display(bench):
    """scanpy imports matplotlib when data are prepared."""
    snakemake(bench, "results/data/planted/prepared.h5ad", **NOTEBOOK)


# -------------------------------------------------------------------------------------------------------------- locales


@pytest.fixture(scope="module")
def latin1(tmp_path_factory):
    """Environment variables of a locale of which the encoding is ISO 8859-1."""
    folder = tmp_path_factory.mktemp("locale")
    if not shutil.which("localedef"):
        pytest.skip("there is no localedef")
    name = "en_US.ISO-8859-1"
    made = subprocess.run(["localedef", "-i", "en_US", "-f", "ISO-8859-1", folder / name], capture_output=True)
    environment = {"LOCPATH": str(folder), "LC_ALL": name}
    encoding = python(folder, "-c", "import locale; print(locale.getpreferredencoding())", **environment)
    if made.returncode or encoding != "ISO-8859-1\n":
        pytest.skip(f"no locale with ISO 8859-1 could be made: {made.stderr.decode(errors='replace')}")
    return environment


@pytest.fixture(scope="module")
def lettered(tmp_path_factory, latin1):
    """A benchmark with letters beyond Latin-1 in all its names, run to its end in a Latin-1 locale; what it printed."""
    folder = tmp_path_factory.mktemp("lettered")
    bench = Bench(folder)
    bench.config = planted_config(folder)
    one_method(bench)
    data, gmt = planted_counts()
    data.obs["type"] = data.obs["type"].cat.rename_categories({"A": "IFN-γ"})
    data.write_h5ad(folder / "planted.h5ad")
    (folder / "planted.gmt").write_text(gmt.replace("SET_0", "SET_β"), encoding="utf-8")
    bench.config["datasets"]["planted"] |= {
        "title": "Größe 干扰素",
        "files": {"counts": local(folder / "planted.h5ad")},
    }
    bench.config["gene_sets"]["sets"]["file"] = local(folder / "planted.gmt")
    bench.config["methods"]["gene_set_mean"]["title"] = "Mean é 平均"
    bench.write_config(bench.config)
    targets = [f"results/{name}" for name in ("report.html", "manifest.json", "data/planted/description.txt")]
    return bench, snakemake(bench, *targets, **latin1)


def test_results_are_the_same_in_a_locale_without_the_letters(lettered):
    bench, printed = lettered
    assert "run 1 of 1: Mean" in printed
    assert "IFN-\\u03b3" in printed
    scores = read_table(bench.result("tables/scores.tsv"))
    assert "SET_β" in set(scores["factor"])
    assert {"cell_type=IFN-γ"} <= set(scores["label"].dropna())
    page = bench.result("report.html").read_text(encoding="utf-8")
    assert all(letters in page for letters in ("Größe 干扰素", "Mean é 平均"))
    description = bench.result("data/planted/description.txt").read_text(encoding="utf-8")
    assert "IFN-γ" in description
    assert read_json(bench.result("manifest.json"))["given"]["datasets"]["planted"]["title"] == "Größe 干扰素"


@pytest.mark.parametrize("locale", ["latin1", "ascii"])
def test_the_summary_can_be_printed_in_every_locale(lettered, latin1, locale):
    environment = latin1 if locale == "latin1" else ASCII
    printed = python(lettered[0].folder, "-m", "factorbench.reporting.terminal", **environment)
    assert "SET_\\u03b2" in printed


def test_results_can_be_verified_in_another_locale(lettered):
    assert "are the same" in python(lettered[0].folder, "-m", "factorbench.results.verify", **ASCII)


def test_what_snakemake_prints_in_another_encoding_does_not_end_the_check_of_results(tmp_path, latin1):
    record = {"given": {"datasets": {}, "Größe": 1}, "config": {"datasets": {}}, "inputs": {}, "outputs": {}}
    (tmp_path / "results").mkdir()
    write_json(tmp_path / "results/manifest.json", record)
    printed = python(tmp_path, "-m", "factorbench.results.verify", fails=True, **latin1)
    assert [*printed.splitlines()][-1].startswith("error: scores, tables and figures could not be made again")


# ---------------------------------------------------------------------------------------------------------------- paths


def test_the_project_may_be_in_a_folder_with_a_space_and_brackets(tmp_path):
    folder = tmp_path / "One Drive - [Uni] (k&k) $HOME;'é'"
    folder.mkdir()
    bench = Bench(folder)
    bench.config = planted_config(folder)
    one_method(bench)
    snakemake(bench, "results/data/planted/checked.json")
    assert bench.result("data/planted/checked.json").exists()


@pytest.mark.parametrize("folder", ["One Drive", "it's", "a$b", "a(b)", "a&b"])
def test_a_path_of_python_that_a_shell_would_split_is_one_line(bench, tmp_path, folder):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / ".venv").symlink_to(sys.prefix)
    executable = tmp_path / folder / ".venv/bin/python"
    (line,) = errors(snakemake(bench, "-n", executable=executable, fails=True))
    character = {"One Drive": "a space", "it's": "'"}.get(folder, folder[1])
    assert line.startswith(f"error: {executable}: the path has {character}, so Snakemake cannot run its jobs; name")
    assert "make run VENV=" in line


def test_a_path_of_the_project_with_braces_is_one_line(tmp_path):
    """Snakemake would take them for a wildcard."""
    folder = tmp_path / "a{b}"
    folder.mkdir()
    bench = Bench(folder)
    bench.write_config(planted_config(folder))
    (line,) = errors(snakemake(bench, "-n", fails=True))
    assert line.startswith(f"error: {folder}: the path has {{, so Snakemake cannot run its jobs; move the project")


@pytest.mark.parametrize("folder", ["One Drive", "it's", "a$b", 'a"b', "a`b", "a\\b", "a{b}", "a*b"])
def test_no_environment_is_made_where_jobs_cannot_run(tmp_path, folder):
    (tmp_path / folder).mkdir()
    command = ["sh", ROOT / "envs/install.sh", ".venv"]
    done = subprocess.run(
        command, cwd=tmp_path / folder, env={"PYTHON": "/bin/false"}, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.stderr.startswith(f"error: {tmp_path / folder}/.venv: the path has a space or one of")
    assert done.stderr.count("\n") == 1
    assert done.returncode == 1


def test_environments_may_be_made_in_other_folders(tmp_path):
    folder = tmp_path / "aé[b]-c.d,e=f@g%h:i+j~k#l!m"
    folder.mkdir()
    command = ["sh", ROOT / "envs/install.sh", ".venv"]
    done = subprocess.run(
        command, cwd=folder, env={"PYTHON": "/bin/false"}, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.stderr.startswith("error: Python 3.11 was not found")


def test_a_folder_with_other_files_is_not_replaced_by_an_environment(tmp_path):
    (tmp_path / "thesis.txt").touch()
    command = ["sh", ROOT / "envs/install.sh", tmp_path]
    done = subprocess.run(
        command,
        env=clean_environment() | {"PYTHON": sys.executable, "PIP_INDEX_URL": "file:///nowhere"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path}: the folder has other files")
    assert (tmp_path / "thesis.txt").exists()


def test_make_refuses_an_environment_in_a_path_with_a_space():
    done = subprocess.run(
        ["make", "-n", "-C", ROOT, "run", "VENV=/One Drive/.venv"], capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 2
    assert "VENV=/One Drive/.venv: make cannot use a path with a space; name another folder" in done.stderr


# --------------------------------------------------------------------------------------------------------------- locks


NO_LOCKS = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>

static int refuse(void) { errno = atoi(getenv("NO_LOCKS")); return -1; }

int flock(int file, int operation) { return refuse(); }

#define WITHOUT_LOCKS(name)                                                              \\
  int name(int file, int command, ...) {                                                 \\
    va_list rest;                                                                        \\
    va_start(rest, command);                                                             \\
    void *argument = va_arg(rest, void *);                                               \\
    va_end(rest);                                                                        \\
    if (command == F_SETLK || command == F_SETLKW) return refuse();                      \\
    return ((int (*)(int, int, ...))dlsym(RTLD_NEXT, #name))(file, command, argument);   \\
  }

WITHOUT_LOCKS(fcntl)
WITHOUT_LOCKS(fcntl64)
"""
"""A library that makes every lock of a file fail with the error number NO_LOCKS, as on some shared disks."""
LOCKED = (
    "HDF5 cannot lock a file; if no other program writes it, its disk has no locks: set HDF5_USE_FILE_LOCKING=FALSE"
)


@pytest.fixture(scope="module")
def without_locks(tmp_path_factory):
    """A function that returns environment variables under which no file can be locked, by the error's name."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler or sys.platform != "linux":
        pytest.skip("there is no C compiler, or this is not Linux")
    folder = tmp_path_factory.mktemp("locks")
    (folder / "no_locks.c").write_text(NO_LOCKS, encoding="utf-8")
    command = [compiler, "-shared", "-fPIC", "-o", folder / "no_locks.so", folder / "no_locks.c", "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return lambda name: {"LD_PRELOAD": str(folder / "no_locks.so"), "NO_LOCKS": str(getattr(errno, name))}


@pytest.mark.parametrize("name", ["ENOLCK", "EAGAIN"])
def test_a_disk_without_locks_is_one_line_when_a_reader_meets_it(bench, without_locks, name):
    (line,) = errors(snakemake(bench, "results/data/planted/raw.h5ad", fails=True, **without_locks(name)))
    assert line == f"error: resources/planted/planted.h5ad: {LOCKED}, and run the same command again"


def test_a_disk_without_locks_is_one_line_for_other_jobs(bench, without_locks):
    """The advice of the line helps."""
    target = "results/data/planted/prepared.h5ad"
    snakemake(bench, "results/data/planted/raw.h5ad")
    (line,) = errors(snakemake(bench, target, fails=True, **without_locks("ENOLCK")))
    assert line == f"error: prepare planted: {LOCKED}, and run the same command again"
    snakemake(bench, target, HDF5_USE_FILE_LOCKING="FALSE", **without_locks("ENOLCK"))


def test_a_disk_that_knows_no_locks_needs_nothing(bench, without_locks):
    snakemake(bench, "results/data/planted/raw.h5ad", **without_locks("ENOSYS"))


@pytest.mark.parametrize(("name", "fails"), [("ENOLCK", True), ("ENOSYS", False)])
def test_an_archive_on_a_disk_without_locks(tmp_path, without_locks, name, fails):
    """Its lock is not one of HDF5."""
    (tmp_path / "a.txt").write_text("a", encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(tmp_path / "a.txt", "a.txt")
    code = (
        "from factorbench.data.download import fetch\n"
        "source = {'url': 'all.zip', 'member': 'a.txt', 'sha256': None}\n"
        "fetch({'name': 'a.txt', 'sha256': '', 'sources': [source]}, 'resources/toy/a.txt', 'toy')"
    )
    printed = python(tmp_path, "-c", code, fails=fails, **without_locks(name))
    assert ("OutOfResources: toy/a.txt: the disk has no file locks" in printed) == fails
