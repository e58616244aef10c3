# isosweep: `make demo` and `make test` set everything up themselves.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OUT := isosweep-out

.PHONY: install demo test test-whole test-all test-slow lint bench slurm-up slurm-down docs clean

install: $(STAMP)

# torch first and alone: its pinned version finds the CPU build where one lies ready, and nothing later replaces it.
$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "isosweep needs python3.11 or newer: make PYTHON=/path/to/python3" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: install
	$(BIN)/isosweep launch sweeps/quickstart.yaml --local --store $(OUT)/store
	$(BIN)/isosweep collect sweeps/quickstart.yaml --store $(OUT)/store --out $(OUT)/tables --quiet
	$(BIN)/isosweep report $(OUT)/tables --out $(OUT)/quickstart.html --quiet
	@echo "tables: $(CURDIR)/$(OUT)/tables"
	@echo "page:   $(CURDIR)/$(OUT)/quickstart.html"

# Three processes share the tests, since many wait; each that needs a Slurm starts its own. Here are the laws of every
# room and one life of each kind; test-whole has the other lives: jobs, faults, pages in a browser, archives.
PYTEST := $(BIN)/python -m pytest -n 3
test: install
	$(PYTEST) -m "not slow and not whole" $(PYTEST_FLAGS)

test-whole: install
	$(PYTEST) -m "whole and not slow" $(PYTEST_FLAGS)

# Both, as continuous integration runs them: in one go, so that nobody waits for the last of either.
test-all: install
	$(PYTEST) -m "not slow" $(PYTEST_FLAGS)

test-slow: install
	$(BIN)/python -m pytest -m slow $(PYTEST_FLAGS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python -m benchmarks

docs: install
	$(BIN)/python -m isosweep.reference docs

# A private two-node Slurm on this machine, for trying a launch: it prints what to export.
slurm-up: install
	@$(BIN)/python tests/slurm_command.py up

slurm-down: install
	@$(BIN)/python tests/slurm_command.py down

clean:
	rm -rf $(VENV) $(OUT) .pytest_cache .mypy_cache .ruff_cache .hypothesis
