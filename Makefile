# The commands of the README. Everything is set up on first use; nothing is installed outside .venv/.
.DEFAULT_GOAL := help
.PHONY: help run paper paper-subset scaling bench million check-dataset verify test slurm-test lint lock clean

VENV ?= .venv
BIN := $(VENV)/bin
# More for Snakemake, say ARGS="--configfile workflow/presets/NAME.yaml" or ARGS="-n"
ARGS ?=
# How it is run, another folder of profiles/ than default: PROFILE=slurm
PROFILE ?=
# A folder or base address with the data files, tried before their sources (separate several by commas)
MIRROR ?=
# A dataset of the config, for check-dataset
NAME =
PINS := envs/install.sh envs/torch.txt envs/torch-cuda.txt envs/build.txt envs/factorbench.txt

SETTINGS = $(if $(MIRROR),'mirrors=[$(MIRROR)]') $(if $(NAME),check=$(NAME))
WITH = $(if $(PROFILE),--workflow-profile profiles/$(PROFILE))
OPTIONS = $(WITH) $(PRESET) $(ARGS) $(if $(strip $(SETTINGS)),--config $(SETTINGS))

export PYTHON TORCH_INDEX

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
	@PYTHONPATH=workflow/scripts $(BIN)/python -m factorbench.reporting.terminal results

paper: PRESET := --configfile workflow/presets/paper.yaml
paper: run ## the paper in full: three datasets, f-scLVM until it converges; days, a cluster's work

paper-subset: PRESET := --configfile workflow/presets/paper_subset.yaml
paper-subset: run ## the same figures and claims on what a mirror has: half an hour, MIRROR=/a/folder

scaling: PRESET := --configfile workflow/presets/scaling.yaml
scaling: run ## how time grows with cells and terms, and what f-scLVM would take on all: 25 minutes

# What is timed here is kept apart from everything else: let the machine do nothing beside it.
TIMED = PYTHONPATH=workflow/scripts GOMP_SPINCOUNT=1000 $(BIN)/python
KANG = results/data/kang/prepared.h5ad results/data/kang_new_cells/prepared.h5ad

bench: $(VENV)/.bench ## our autoencoder and its authors' own code on the same cells, in turn: 10 minutes
	@$(BIN)/snakemake $(KANG) $(if $(strip $(SETTINGS)),--config $(SETTINGS))
	@$(TIMED) -m bench.run $(KANG) $(ARGS)

million: $(VENV)/.factorbench ## training from disk on up to a million simulated cells: 20 minutes, 4 GB of disk
	@$(TIMED) -m bench.million results/million $(ARGS)

check-dataset: $(VENV)/.factorbench ## what an entry's data are, before anything is run: NAME=a_dataset
	@test -n "$(NAME)" || { echo "error: say which: make check-dataset NAME=a_dataset" >&2; exit 1; }
	@$(BIN)/snakemake check_dataset --forcerun describe $(OPTIONS)

verify: $(VENV)/.factorbench ## hold results/ against results/manifest.json, and every table and figure against its runs
	@PYTHONPATH=workflow/scripts $(BIN)/python -m factorbench.results.verify results

test: $(VENV)/.test ## the tests, fast ones first
	@$(BIN)/python -m pytest tests/unit tests/contract tests/bad_data -n 2 -q
	@$(BIN)/python -m pytest tests/workflow tests/faults -n 2 --dist loadfile -q

slurm-test: $(VENV)/.test $(VENV)/.slurm ## the workflow through a Slurm of its own, on a Debian machine as root: five minutes
	@$(BIN)/python -m pytest tests/slurm -q

lint: $(VENV)/.test ## formatting and lint of code and workflow, dry run of every preset
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/snakefmt --check Snakefile workflow/rules
	@$(BIN)/snakemake --lint
	@for preset in config.yaml $(wildcard workflow/presets/*.yaml); do \
	  echo "dry run: $$preset"; $(BIN)/snakemake -n --quiet all --configfile $$preset || exit 1; done

lock: $(VENV)/.lock ## refresh the pins of every environment: the newest packages that fit together
	@$(BIN)/python envs/lock.py

clean: ## remove what the workflow made, but for downloads
	rm -rf results/* .snakemake
