# What a person does with this project. `make` or `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: setup conda demo test check lint parts bench chaos lock reference clean help

VENV := .venv
BIN := $(VENV)/bin

# What is installed is compiled, whatever the shell says: without bytecode each start costs seconds.
unexport PYTHONDONTWRITEBYTECODE
# A Python of another environment, or its packages, must not be taken for ours.
unexport PYTHONHOME PYTHONPATH VIRTUAL_ENV CONDA_PREFIX

KILLS ?= 20
SEED ?= 1
DATABASE ?= sqlite
SOURCE ?= local
SPARK ?= local
ONLY ?=
PROCESSES ?= 2

setup: $(VENV)/.jars ## Make .venv with everything in it, and fetch the jars of Spark (PYTHON=… to choose)
	@:

$(BIN)/python:
	@found=; for python in $(PYTHON) python3.13 python3.12 python3.11 python3; do \
		if $$python -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; \
		then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "setup: no Python 3.11, 3.12 or 3.13 with the modules venv and ensurepip was found." >&2; \
		echo "       Install one (on Debian and Ubuntu: python3 and python3-venv), or name it: make setup PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi; \
	echo "setup 1/5  .venv with $$($$found -V) ($$(command -v $$found))"; \
	$$found -m venv $(VENV)

# The installer comes by the lock, too: pip reads from it the lines of uv, with their hashes.
$(VENV)/.installed: requirements.lock pyproject.toml | $(BIN)/python
	@echo "setup 2/5  the installer, uv"
	@awk '/^[^ #]/ { wanted = /^uv==/ } wanted' requirements.lock > $(VENV)/uv.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $(VENV)/uv.lock
	@echo "setup 3/5  $$(grep -c '^[^ #]' requirements.lock) packages of requirements.lock (the first time about 800 MB to fetch, pyspark the most of it)"
	@$(call install,--compile-bytecode --require-hashes -r requirements.lock)
	@echo "setup 4/5  the project itself"
	@$(call install,--quiet --no-build-isolation -e .)
	@touch $@

# On a terminal uv shows how far it is; elsewhere its list of packages is left out.
# An index that only pip was told of is told to uv.
define install
	index=$${PIP_INDEX_URL:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null || true)}; \
	if [ -n "$$index" ]; then export UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$$index}"; fi; \
	uv() { $(BIN)/uv pip install --python $(BIN)/python --no-deps $(1); }; \
	if [ -t 2 ]; then uv; else uv 2>&1 | { grep -v '^ [+~-] ' || true; }; fi
endef

# Installs into the environment that is active (environment.yml), and makes no .venv.
conda:
	@uv pip install --python "$$(command -v python)" --no-deps --compile-bytecode --require-hashes -r requirements.lock
	@uv pip install --python "$$(command -v python)" --no-deps --no-build-isolation -e .
	@autoloader setup

$(VENV)/.jars: $(VENV)/.installed server/autoloader_server/spark/jars.py
	@echo "setup 5/5  the jars of Spark"
	@$(BIN)/autoloader setup
	@touch $@
	@echo "setup      done: $(BIN)/autoloader"

demo: setup ## See the whole idea at work on real flights
	@$(BIN)/python examples/demo.py

test: setup lint parts ## Run all tests, two files of them at a time (PROCESSES=1 where memory is short)
	@$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder --durations 40

check: setup lint parts ## The quick loop: format, lint, types, direction of imports, unit tests
	@$(BIN)/python -m pytest -q tests/unit

# What tests use that is no Python package. Nothing is skipped where it is missing: the tests then fail and say so.
parts:
	@if command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then exit 0; fi; \
	as=; if [ "$$(id -u)" != 0 ]; then as="sudo -n"; fi; \
	if command -v apt-get >/dev/null && $$as true 2>/dev/null; then \
		echo "parts: PostgreSQL, by apt-get"; \
		$$as apt-get update -qq && $$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null; \
	else \
		echo "parts: the tests need PostgreSQL (initdb and postgres): install it (on Debian and Ubuntu: sudo apt-get install postgresql)" >&2; \
	fi

lint: setup
	@$(BIN)/ruff format --check --quiet . || { echo "check: run '$(BIN)/ruff format .'" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo > $(VENV)/lint-imports.log || { cat $(VENV)/lint-imports.log; exit 1; }

bench: setup ## Measure the figures of the README, each against a peer (ONLY=ingest for one)
	@$(BIN)/python -m benchmarks $(ONLY)

chaos: setup ## Kill loads at every step and at random, and count the rows (all steps from KILLS=50 on; SEED=7 DATABASE=postgresql SOURCE=s3 SPARK=3.5)
	@$(BIN)/python -m tests.chaos --kills $(KILLS) --seed $(SEED) --database $(DATABASE) --source $(SOURCE) --spark $(SPARK)

lock: $(VENV)/.installed ## Renew requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 --all-extras --group dev \
		--override overrides.txt --generate-hashes --custom-compile-command "make lock" --output-file requirements.lock
	@echo "requirements.lock is new: run 'make test'"

reference: $(VENV)/.installed ## Make docs/reference.md from the docstrings
	@$(BIN)/python docs/make_reference.py

clean: ## Take away .venv and all that tests, builds and the demo made
	@rm -rf $(VENV) build dist demo-output .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
