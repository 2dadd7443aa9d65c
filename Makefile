# Everything a newcomer needs; `make help` explains.  No Docker, no cloud account.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CODE := layers functions cli localcloud demo bench tests docs
# One more than there are processors: tests often wait for a database or for a function.
TESTERS = $(shell $(BIN)/python -c 'import os; print(min(9, (os.cpu_count() or 1) + 1))')
export SAM_CLI_TELEMETRY := 0
# Tests and the local cloud start hundreds of Python processes: none shall compile the same modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo test test-faults test-stores lint types build bench clean

help:  ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(VENV)/.installed $(VENV)/.native  ## Make a virtual environment with everything in it (the other targets do it, too)

$(VENV)/.installed: requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Coffre needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	# The lock is complete, so nothing is resolved: older pips take a newer release than the pin where a package asks for an extra.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	# The network is needed once, now; what can't be fetched is tried again by whoever needs it.
	-for major in 14 15 16 17 18; do $(BIN)/python layers/proof/assemble.py .coffre/opt $$major || exit 1; done
	touch $@

# Without a compiler (100 MB from PyPI, once) everything works, more slowly.
NATIVE := layers/common/native
$(VENV)/.native: $(VENV)/.installed $(wildcard $(NATIVE)/*.* $(NATIVE)/coffre_native/*.py)
	@rm -rf .coffre/native/wheel
	@if $(BIN)/python $(NATIVE)/build.py --wheel .coffre/native/wheel && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps --force-reinstall .coffre/native/wheel/*.whl; \
	then touch $@; else echo "coffre_native isn't installed: its slower twin in Python does its work"; fi

demo: install  ## Show the main job on an embedded PostgreSQL and a local cloud
	$(BIN)/python -m demo

test: install  ## Run all tests
	$(BIN)/python -m pytest -n $(TESTERS) --dist loadfile --no-loadscope-reorder

test-faults: install  ## Let every call and request of every run fail, in each of its ways, and try what takes 2 GB (more than an hour)
	COFFRE_FAULTS=all $(BIN)/python -m pytest -n 2 -rP --timeout 3600 tests/faults/test_every_call.py tests/faults/test_every_request.py tests/faults/test_sources.py

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
