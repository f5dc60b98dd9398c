# The only entry points of the project; CI calls these and nothing else.
# Needs: python3.11 or newer with pip and venv, git, make. Everything else goes into .venv.

SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: help venv test check test-all peers demo bench format docs clean

VENV := .venv
BIN := $(VENV)/bin
# -n 2: two cores are what we promise to need. With servers and killed processes a third test runs while two wait.
PYTEST := $(BIN)/python -m pytest -q --dist worksteal
FAST_TESTS := $(wildcard tests/unit tests/property tests/contract tests/cli tests/golden)

help:
	@echo 'make test       the fast tests (unit, property, contract, cli)'
	@echo 'make check      format, lint, types, layers, unused code, docs'
	@echo 'make test-all   all tests, beside the real DVC and with killed processes too'
	@echo 'make demo       the main job on real input, command by command'
	@echo 'make bench      the benchmarks, beside the real DVC'
	@echo 'make format     rewrite the code in the project style'
	@echo 'make docs       write the generated pages again: docs/reference, docs/man, llms.txt'

venv: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml tools/make_venv.sh
	@tools/make_venv.sh $(VENV)
	@touch $@

test: venv
	@$(PYTEST) -n 2 -m 'not compat and not crash and not slow' $(FAST_TESTS)

check: venv
	@$(BIN)/python tools/check.py

peers: venv
	@tools/make_peers.sh >/dev/null

test-all: venv
	@set -e -o pipefail; \
	KIST_PEERS="$$(tools/make_peers.sh)"; export KIST_PEERS; \
	KIST_DVC="$$KIST_PEERS/dvc-3.67.1-remotes/bin/dvc" KIST_ALL=1 $(PYTEST) -n 3 tests

demo: venv
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/demo.py

bench: venv
	@set -e -o pipefail; \
	KIST_DVC="$$(tools/make_peers.sh dvc)/dvc-3.67.1-remotes/bin/dvc"; export KIST_DVC; \
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python benchmarks/run.py $(BENCH)

format: venv
	@$(BIN)/ruff check -q --fix-only . && $(BIN)/ruff format -q .

docs: venv
	@$(BIN)/python tools/make_reference.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
