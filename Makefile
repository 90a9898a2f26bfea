# The commands of the README. Each sets itself up on first use. Nothing is installed outside .venv/.
.DEFAULT_GOAL := help
.PHONY: help run paper paper-subset scaling truth restore bench calibrate million check-dataset pin verify unlock test test-fast slurm-test lint lock clean

VENV ?= .venv
ifneq ($(words $(VENV)),1)
$(error VENV=$(VENV): make cannot use a path with a space; name another folder)
endif
BIN := $(VENV)/bin
# More arguments for Snakemake: ARGS="--configfile workflow/presets/NAME.yaml" or ARGS="-n"
ARGS ?=
# Another folder of profiles/ than default: PROFILE=slurm
PROFILE ?=
# A folder or base address with the data files, tried before their sources (separate several by commas)
MIRROR ?=
# A dataset of the config, for check-dataset
NAME =
PINS := envs/install.sh envs/torch.txt envs/torch-cuda.txt envs/build.txt envs/factorbench.txt

GIVEN = $(if $(MIRROR),'mirrors=[$(MIRROR)]') $(if $(NAME),describe=$(NAME))
WITH = $(if $(PROFILE),--workflow-profile profiles/$(PROFILE))
OPTIONS = $(WITH) $(PRESET) $(ARGS) $(if $(strip $(GIVEN)),--config $(GIVEN))

# Programs keep caches in the home of the user. On nodes of clusters and in containers it may not be writable.
ifneq ($(shell cache="$${XDG_CACHE_HOME:-$$HOME/.cache}"; mkdir -p "$$cache" 2>/dev/null && test -w "$$cache" && echo yes),yes)
export XDG_CACHE_HOME := $(CURDIR)/.snakemake/cache
endif

export PYTHON TORCH_INDEX
export PYTHONPATH = workflow/scripts

help: ## these lines
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 15

$(VENV)/.factorbench: $(PINS)
	@sh envs/install.sh $(VENV)
	@touch $@

$(VENV)/.%: envs/%.txt $(VENV)/.factorbench
	@sh envs/install.sh $(VENV) $*
	@touch $@

run: $(VENV)/.factorbench $(if $(filter slurm,$(PROFILE)),$(VENV)/.slurm) ## the benchmark: data, runs, tables, figures, results/report.html
	@$(BIN)/snakemake ready $(OPTIONS)
	@$(BIN)/snakemake all $(OPTIONS)
	@$(BIN)/python -m factorbench.reporting.terminal results

paper: PRESET := --configfile workflow/presets/paper.yaml
paper: run ## the paper in full: three datasets, f-scLVM until it converges; days, for a cluster

paper-subset: PRESET := --configfile workflow/presets/paper_subset.yaml
paper-subset: run ## the same figures and claims on the data of a mirror: MIRROR=/a/folder, 45 minutes

scaling: PRESET := --configfile workflow/presets/scaling.yaml
scaling: run ## how time grows with cells and gene sets, extrapolated to all cells for f-scLVM: 30 minutes

truth: PRESET := --configfile workflow/presets/truth.yaml --resources timed=2
truth: run ## what methods recover of planted gene sets, and what settings do: 40 minutes

restore: PRESET := --configfile workflow/presets/restore.yaml --resources timed=2
restore: run ## who restores gene sets with wrong and missing genes, beside published numbers: 15 minutes

# These two measure time. Let the machine do nothing else meanwhile.
TIMED = GOMP_SPINCOUNT=1000 $(BIN)/python
KANG = results/data/kang/prepared.h5ad results/data/kang_new_cells/prepared.h5ad

bench: $(VENV)/.bench ## our autoencoder and its authors' own code on the same cells, in turn: 10 minutes
	@$(BIN)/snakemake $(KANG) $(if $(strip $(GIVEN)),--config $(GIVEN))
	@$(TIMED) -m bench.run $(KANG) $(ARGS)

calibrate: $(VENV)/.factorbench ## false discoveries of gene sets, counted on 200 simulated data of each kind: 8 minutes
	@$(BIN)/python -m bench.calibrate results/calibration $(ARGS)

million: $(VENV)/.factorbench ## training from disk on up to a million simulated cells: 11 minutes, 4 GB of disk
	@$(TIMED) -m bench.million results/million $(ARGS)

check-dataset: $(VENV)/.factorbench ## describe a dataset before anything is run: NAME=a_dataset
	@test -n "$(NAME)" || { echo "error: which dataset? make check-dataset NAME=a_dataset" >&2; exit 1; }
	@$(BIN)/snakemake check_dataset --forcerun describe $(OPTIONS)

pin: $(VENV)/.factorbench ## copy the hashes in resources/checksums.tsv into checksums.tsv, to be committed
	@$(BIN)/python -m factorbench.data.checksums

verify: $(VENV)/.factorbench ## check results/ against its manifest, and every table and figure against its runs
	@$(BIN)/python -m factorbench.results.verify results

unlock: $(VENV)/.factorbench ## remove the lock that a killed Snakemake left
	@$(BIN)/snakemake --unlock

test: $(VENV)/.test ## all tests, fast ones first: 8 minutes
	@$(BIN)/python -m pytest tests/unit tests/contract tests/bad_data -n 2 -q
	@$(BIN)/python -m pytest tests/workflow tests/faults -n 2 --dist loadfile -q

test-fast: $(VENV)/.test ## the tests that take no more than a moment each: one minute
	@$(BIN)/python -m pytest tests/unit tests/contract tests/bad_data -m "not slow" -n 2 -q

slurm-test: $(VENV)/.test $(VENV)/.slurm ## the workflow through a Slurm of its own, on a Debian machine as root: 5 minutes
	@$(BIN)/python -m pytest tests/slurm -q

lint: $(VENV)/.test ## format and lint of code and workflow, direction of imports, dry run of every preset
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/snakefmt --check Snakefile workflow/rules
	@$(BIN)/snakemake --lint
	@for preset in config.yaml $(wildcard workflow/presets/*.yaml); do \
	  echo "dry run: $$preset"; $(BIN)/snakemake -n --quiet all --configfile $$preset || exit 1; done

lock: $(VENV)/.lock ## refresh the pins of every environment: the newest packages that fit together
	@$(BIN)/python envs/lock.py

clean: ## remove what the workflow made, except downloads
	rm -rf results/* .snakemake
