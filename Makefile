# `make` lists what there is to make. Only Debian 12 or 13 with Python 3.11+ and root (or sudo) is needed beforehand.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
STACK := examples/plaza/stack.yaml
HOST_PACKAGES := $(shell grep -v '^\#' migrate/lab/packages.txt 2>/dev/null)
TEST_PACKAGES := postgresql redis-server chromium

.PHONY: help setup demo test lint bench docs

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(VENV)/.ready host-packages ## .venv/ with cloudexit in it, and the Debian packages that disposable hosts need

demo: setup ## the whole way, on disposable hosts of this machine: cloudexit rehearse examples/plaza/stack.yaml
	$(SUDO) $(BIN)/cloudexit rehearse $(STACK) $(DEMO_OPTIONS)

test: $(VENV)/.ready-dev host-packages test-packages lint ## everything: lint, units, conformance, the example app, the lab
	$(SUDO) $(BIN)/python -m pytest examples/plaza/app/tests -q -p no:cacheprovider
	$(SUDO) $(BIN)/python -m pytest -n 2 --dist loadgroup $(PYTEST_OPTIONS)

lint: $(VENV)/.ready-dev ## ruff, mypy, import-linter, ansible-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/ansible-lint --offline -q

bench: setup ## the figures of docs/benchmarks.md
	$(SUDO) $(BIN)/python benchmarks/rehearsal.py
	$(SUDO) $(BIN)/python benchmarks/provision.py
	$(BIN)/python benchmarks/export.py
	$(BIN)/python benchmarks/listing.py

docs: $(VENV)/.ready-dev ## the reference pages that are generated from the schema and the command line
	$(BIN)/python docs/generate.py

# ---------------------------------------------------------------------------------------------------------------------

.PHONY: host-packages test-packages

host-packages:
	@$(call install_missing,$(HOST_PACKAGES),disposable hosts need these Debian packages)

test-packages:
	@$(call install_missing,$(TEST_PACKAGES),the tests start private servers of these Debian packages)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(call install_missing,python3-venv,Python lacks venv)
	@echo "making $(VENV)/ with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.ready: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing cloudexit and the libraries that it stands on into $(VENV)/"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e . 2> >(grep -v '^WARNING: Location' >&2)
	@touch $@

$(VENV)/.ready-dev: pyproject.toml constraints.txt examples/plaza/app/pyproject.toml $(VENV)/.ready
	@echo "installing what the tests and linters need into $(VENV)/"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' -e examples/plaza/app 2> >(grep -v '^WARNING: Location' >&2)
	@touch $@

define install_missing
{ missing=$$(for p in $(1); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  echo "$(2); to be installed now:" $$missing; \
	  $(SUDO) apt-get -qq update; \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$missing > /dev/null; \
	fi; }
endef
