# Everything a newcomer needs; `make help` explains.  No Docker, no cloud account.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SERVERS := $(patsubst %,$(VENV)/.server-%,14 15 16 17 18)
CODE := layers functions cli localcloud demo bench tests docs
# One more than there are processors: tests often wait for a database or for a function.
TESTERS = $(shell $(BIN)/python -c 'import os; print(min(9, (os.cpu_count() or 1) + 1))')
export SAM_CLI_TELEMETRY := 0
# Tests and the local cloud start hundreds of Python processes: none shall compile the same modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install installed demo test test-faults test-stores lint types build bench clean

help:  ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install:  ## Make a virtual environment with everything in it (the other targets do it, too)
	@$(MAKE) --no-print-directory --jobs=3 installed

installed: $(VENV)/.native $(SERVERS)
	@:

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Coffre needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

# uv needs a tenth of pip's time.  Of pip's settings it learns the index; what it can't install, pip does.
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
UV = UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$$($(PIP) config get global.index-url 2> /dev/null)}}" \
	$(BIN)/uv pip install --quiet --python $(BIN)/python --system-certs
with_packages = $(UV) --no-deps $(1) || $(PIP) install --no-compile --no-deps $(1)

# The lock is complete, so nothing is resolved: older pips take a newer release than the pin where a package asks for an extra.
$(VENV)/.installed: requirements-dev.txt requirements-uv.txt pyproject.toml | $(VENV)/.made
	-$(PIP) install --no-deps --require-hashes --only-binary=:all: --requirement requirements-uv.txt
	$(call with_packages,--require-hashes --requirement requirements-dev.txt)
	$(call with_packages,--no-build-isolation --editable .)
	@touch $@

# The network is needed once, now; what can't be fetched is tried again by whoever needs it.
$(SERVERS): $(VENV)/.server-%: $(VENV)/.installed
	-$(BIN)/python layers/proof/assemble.py .coffre/opt $*
	@touch $@

# Without a compiler (100 MB from PyPI, once) everything works, more slowly.
NATIVE := layers/common/native
WHEELS := .coffre/native/wheel
$(VENV)/.built: $(wildcard $(NATIVE)/*.* $(NATIVE)/coffre_native/*.py) | $(VENV)/.made
	@rm -rf $(WHEELS)
	@$(BIN)/python $(NATIVE)/build.py --wheel $(WHEELS) && touch $@ || \
		echo "coffre_native isn't built: its slower twin in Python does its work"

$(VENV)/.native: $(VENV)/.installed $(VENV)/.built
	$(if $(wildcard $(WHEELS)/*.whl),$(call with_packages,--no-index --force-reinstall $(wildcard $(WHEELS)/*.whl)))
	@touch $@

demo: install  ## Show the main job on an embedded PostgreSQL and a local cloud
	$(BIN)/python -m demo

test: install  ## Run all tests
	$(BIN)/python -m pytest -n $(TESTERS) --dist loadfile --no-loadscope-reorder

test-faults: install  ## Let every call and request of every run fail, in each of its ways, and try what takes 2 GB (more than an hour)
	COFFRE_FAULTS=all $(BIN)/python -m pytest -n 2 -rP --timeout 3600 tests/faults/test_every_call.py tests/faults/test_every_step.py tests/faults/test_every_request.py tests/faults/test_sources.py

test-stores: install  ## Hold the object store's contract against OpenStack Swift and LocalStack (from PyPI, 300 MB)
	STORES="swift localstack" $(BIN)/python -m pytest --timeout 1200 -rxs tests/contract/test_store.py

lint: install  ## Look for faults in code and template
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/sam validate --lint

types: install  ## Check the types
	$(BIN)/mypy layers/common/coffre functions cli/coffre_cli localcloud demo bench

build: install  ## Build what `sam deploy` deploys
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/sam build

bench: install  ## Measure against pg_dump and others, side by side
	$(BIN)/python -m bench

clean:  ## Remove what was made here, but not the virtual environment
	rm -rf .aws-sam .coffre .pytest_cache .mypy_cache .ruff_cache .hypothesis
