# Set-up, tests, docs; every other target is a verb of `entres`, and every variable one of its flags.
SHELL := /bin/bash
.DEFAULT_GOAL := help

BIN := .venv/bin
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.10 || command -v python3)
INSTALL = $(if $(shell command -v uv),uv pip install --python $(BIN)/python,$(BIN)/python -m pip install) -c constraints.txt
# DRY_RUN=1 prints what would run.
DO := $(if $(DRY_RUN),@echo)

VERBS := demo check check-data train teacher prepare eval-clean eval-attacks eval-adaptive eval-corruptions eval-defense \
	sweep-lambda eval-link maps learn-universal reproduce sweep report results figures
# The variables of this call, as they were typed: `make train BETA=0.08` is `entres train --BETA='0.08'`.
GIVEN := $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name)))
FLAGS = $(foreach name,$(filter-out PYTHON,$(GIVEN)),--$(name)='$(subst ','\'',$(value $(name)))')

.PHONY: help setup docs test fuzz kill-test bench bench-quick lint types format clean $(VERBS)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@if [ -x $(BIN)/entres ]; then echo; $(BIN)/entres --help; else echo "  make demo             set-up, then the main job"; fi

$(VERBS): .venv/installed
	@$(BIN)/entres $@ $(FLAGS)

# A target that there is none of: entres names the nearest.
.DEFAULT:
	@if [ -x $(BIN)/entres ]; then $(BIN)/entres $@; else echo "no target $@: make lists them"; exit 2; fi

setup: .venv/installed ## make the virtual environment (uv where it is on the PATH, else venv and pip)

.venv/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "no Python found: install Python 3.10, 3.11 or 3.12, or name it: make PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v < (3, 13) else f"Python 3.10 to 3.12 is needed, {sys.executable} is {v[0]}.{v[1]}: make PYTHON=/path/to/python3.11")'
	@if command -v uv >/dev/null; then uv venv --quiet --allow-existing --python $(PYTHON) .venv; else $(PYTHON) -m venv .venv; fi
	$(INSTALL) -e '.[dev,lite0]'
	@touch $@

docs: .venv/docs ## the documentation site, docs/_build/html/index.html; the notebook in it is run
	$(DO) $(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

.venv/docs: .venv/installed
	$(INSTALL) -e '.[docs]'
	@touch $@

test: .venv/installed ## the tests; EXTRA holds flags of pytest
	$(DO) $(BIN)/python -m pytest $(EXTRA)

fuzz: .venv/installed ## ten thousand hostile streams against the students of zoo/
	$(DO) $(BIN)/python -m benchmarks.fuzz --streams 10000

kill-test: .venv/installed ## twenty kills at random moments, and what is there in the end
	$(DO) $(BIN)/python -m benchmarks.kills --kills 20

bench: .venv/installed ## speed beside the published way and the floor, and its growth: under 20 minutes
	$(DO) $(BIN)/python -m benchmarks

bench-quick: .venv/installed ## the same, small and few: under 2 minutes
	$(DO) $(BIN)/python -m benchmarks --quick

lint: .venv/installed ## ruff
	$(DO) $(BIN)/ruff check .
	$(DO) $(BIN)/ruff format --check .

types: .venv/installed ## mypy, strict
	$(DO) $(BIN)/mypy

format: .venv/installed ## ruff's formatter
	$(DO) $(BIN)/ruff format .
	$(DO) $(BIN)/ruff check --fix .

clean: ## delete caches; runs and the virtual environment stay
	$(DO) rm -rf .pytest_cache .mypy_cache .ruff_cache *.egg-info
	$(DO) find entres tests -name __pycache__ -prune -exec rm -rf {} +
