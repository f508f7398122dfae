# One-word jobs. `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help install dev up test test-slow coverage check format bench lock clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# uv is taken from the machine where it is there, and put into the environment where it is not.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "punctual needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv .venv
	@command -v uv >/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.9"

.venv/.runtime: requirements.txt pyproject.toml | $(BIN)/python
	uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.txt
	uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

.venv/.dev: requirements-dev.txt .venv/.runtime
	uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements-dev.txt
	@touch $@

install: .venv/.runtime  ## Install what punctual needs to run

dev: .venv/.dev  ## Install what working on punctual needs as well

up: .venv/.runtime  ## From nothing to a served prediction; Ctrl-C stops all it started
	@punctual up

# With COVERAGE=1 the tests are measured as they run; `make coverage` holds the gate over what was measured.
PYTEST := pytest -q $(if $(COVERAGE),--cov --cov-append --cov-report= --cov-fail-under=0)

# Tests wait for a third of their time: half as many workers again as there are cores. Slow ones bring processes along.
CORES = $(shell $(PYTHON) -c 'import os; print(os.cpu_count() or 1)')
WORKERS = $(shell $(PYTHON) -c 'print(max(2, $(CORES) * 3 // 2))')

test: .venv/.dev  ## The fast tests (two minutes)
	$(PYTEST) -n $(WORKERS) --dist loadscope -m "not slow"

test-slow: .venv/.dev  ## The slow tests: the whole flow, killed and resumed
	$(PYTEST) -n $(CORES) --dist loadfile -m "slow and not alone"
	$(PYTEST) -m "slow and alone"

coverage: .venv/.dev  ## The coverage gate, after `make test test-slow COVERAGE=1`
	coverage xml -q
	coverage report

check: .venv/.dev  ## Style, types, layers: what a review should not have to say
	ruff format --check .
	ruff check .
	mypy
	lint-imports

format: .venv/.dev  ## Format and mend what can be mended
	ruff format .
	ruff check --fix .

bench: .venv/.dev  ## Measure ours and stock Feast side by side; writes docs/performance.md
	python -m benchmarks.report

lock: .venv/.dev  ## Lock the dependencies again, with hashes
	uv pip compile --quiet --universal --generate-hashes pyproject.toml -o requirements.txt
	uv pip compile --quiet --universal --generate-hashes --group dev pyproject.toml -c requirements.txt -o requirements-dev.txt

clean:  ## Remove everything punctual made: raw data, features, models, the registry
	rm -rf feature_repo/data
