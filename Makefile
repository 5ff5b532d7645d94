# Each target sets up what it needs by itself and is quick the second time. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready
RESOLVE = $(BIN)/uv pip compile -q --universal --python-version 3.11 --no-emit-index-url --no-header --upgrade
COMPILE = $(RESOLVE) --generate-hashes
# Where Python writes no bytecode (PYTHONDONTWRITEBYTECODE), each process would compile every package again.
export UV_COMPILE_BYTECODE = 1

.PHONY: help setup serve test lint bench compare check contract proof faults docs lock

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP)  ## create .venv with the locked dependencies

$(STAMP): requirements/uv.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "roadworthy needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $(STAMP)

serve: $(STAMP)  ## start the reference service with some users, on SQLite or DATABASE_URL=postgresql://…
	@cd examples/reference && exec ../../$(BIN)/python -m reference.serve

test: $(STAMP)  ## everything that fits in ten minutes
	@scripts/system-packages redis-server postgresql pgbouncer
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not proof"

lint: $(STAMP)  ## format, lint, types, walls, generated files
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/pyright
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python scripts/generate_docs.py --check

contract: $(STAMP)  ## the contract suite against URL=http://127.0.0.1:8000
	@test -n "$(URL)" || { echo "say which service: make contract URL=http://127.0.0.1:8000"; exit 2; }
	@$(BIN)/python -m pytest contract --base-url "$(URL)"

bench: $(STAMP)  ## the benchmarks; results go to benchmarks/results
	@scripts/system-packages wrk postgresql
	@$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements/bench.txt
	@$(BIN)/python -m benchmarks

compare: $(STAMP)  ## the speed of this tree against a commit: make compare BASE=main
	@test -n "$(BASE)" || { echo "name the commit to compare with: make compare BASE=main"; exit 2; }
	@scripts/system-packages wrk
	@$(BIN)/python -m benchmarks.compare "$(BASE)"

check: $(STAMP)  ## the checker on the reference service, on SQLite or DATABASE_URL=postgresql://…
	@cd examples/reference && ../../$(BIN)/roadworthy check

proof: $(STAMP)  ## the long proofs, or ONLY="-k fuzz"; results go to docs/proofs.md
	@scripts/system-packages redis-server wrk postgresql mariadb-server nginx iproute2
	@$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements/calibration.txt -r requirements/fuzz.txt
	@$(BIN)/python scripts/prove.py $(ONLY)

faults: $(STAMP)  ## faults and attacks, or ONLY=parsing; results go to docs/reliability.md
	@scripts/system-packages redis-server nginx haproxy
	@$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements/bench.txt
	@PYTHONPATH=. $(BIN)/python scripts/faults.py $(ONLY)

docs: $(STAMP)  ## write the generated pages again
	@$(BIN)/python scripts/generate_docs.py

lock: $(STAMP)  ## resolve the dependencies again
	@for set in dev bench calibration; do $(COMPILE) pyproject.toml --group $$set --all-extras -o requirements/$$set.txt; done
	@for app in tests/proof/apps/*/requirements.in; do $(RESOLVE) --no-annotate pyproject.toml $$app -o $${app%.in}.txt; done
	@for stack in django fastapi; do $(COMPILE) examples/guide/$$stack/requirements.in --no-annotate -o examples/guide/$$stack/requirements.txt; done
	@$(COMPILE) --group fuzz -o requirements/fuzz.txt
	@sed -nE 's/^((django|fastapi|starlette)==[^\\]*).*/\1/p' requirements/dev.txt | $(COMPILE) - pyproject.toml --group suites -o requirements/suites.txt
	@echo uv | $(COMPILE) - -o requirements/uv.txt
