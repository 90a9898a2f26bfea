# The commands of the README. Everything is set up on first use; nothing is installed outside .venv/.
.DEFAULT_GOAL := help
.PHONY: help run test lint clean

VENV ?= .venv
BIN := $(VENV)/bin
# More for Snakemake, say ARGS="--configfile workflow/presets/NAME.yaml" or ARGS="-n"
ARGS ?=
# A folder or base address with the data files, tried before their sources (separate several by commas)
MIRROR ?=
PINS := envs/install.sh envs/torch.txt envs/torch-cuda.txt envs/build.txt envs/factorbench.txt

export PYTHON TORCH_INDEX

help: ## these lines
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 10

$(VENV)/.factorbench: $(PINS)
	@sh envs/install.sh $(VENV)
	@touch $@

$(VENV)/.test: $(VENV)/.factorbench envs/test.txt
	@sh envs/install.sh $(VENV) test
	@touch $@

run: $(VENV)/.factorbench ## the benchmark: data, runs, tables, figures, results/report.html
	@$(BIN)/snakemake $(ARGS) $(if $(MIRROR),--config 'mirrors=[$(MIRROR)]')
	@PYTHONPATH=workflow/scripts $(BIN)/python -m factorbench.summary results

test: $(VENV)/.test ## the tests, fast ones first
	@$(BIN)/python -m pytest tests/unit tests/contract -n 2 -q
	@$(BIN)/python -m pytest tests/workflow -q

lint: $(VENV)/.test ## formatting and lint of code and workflow, dry run of every preset
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/snakefmt --check Snakefile workflow/rules
	@$(BIN)/snakemake --lint
	@for preset in config.yaml $(wildcard workflow/presets/*.yaml); do \
	  echo "dry run: $$preset"; $(BIN)/snakemake -n --quiet all --configfile $$preset || exit 1; done

clean: ## remove what the workflow made, but for downloads
	rm -rf results/* .snakemake
