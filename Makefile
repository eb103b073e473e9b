# Two commands do all the set-up on a fresh machine with Python 3.11 or newer and make:
#   make run     one secure member on https://localhost:2379
#   make test    the fast suite
# The rest is for those who work on trioetcd: `make help` lists it.

# Distributions build their Python with profile-guided optimisation, version managers usually do
# not, and it answers a fifth fewer puts (docs/performance.md): so the system's first, if it is
# new enough and can make an environment. `make PYTHON=...` takes another one.
FIT := -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(shell for python in /usr/bin/python3 python3 python3.12 python3.11; do \
	$$python $(FIT) 2>/dev/null && echo $$python && exit; done; echo python3)
VENV := .venv
BIN := $(VENV)/bin
BUDGET ?= 60m
# Four workers on two cores, for the tests with processes wait; -n 0 runs the tests in this process.
WORKERS ?= 4

.PHONY: help run test fast check format tidy ci proof scan bench clean clients

help:
	@echo "make run             build .venv, start one secure member, say how to talk to it"
	@echo "make test            the fast suite, interop with real etcd clients included"
	@echo "make fast            the inner loop: no slow, interop or proof tests"
	@echo "make check           ruff, mypy --strict, import-linter, tidy"
	@echo "make ci              make check and the short proofs (kills, power cuts, faults)"
	@echo "make proof           the long proofs for BUDGET=60m; cumulative, docs/track-record.md"
	@echo "make scan            sslyze and testssl.sh against the ports of real members"
	@echo "make bench           side by side with real etcd 3.5.1; ETCD=path for another one"
	@echo "make format          let ruff format everything"

$(VENV)/run.stamp: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/test.stamp: pyproject.toml $(VENV)/run.stamp
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

run: $(VENV)/run.stamp
	@exec $(BIN)/python -m trioetcd --log-format console

test: $(VENV)/test.stamp clients
	$(BIN)/python -m pytest -n $(WORKERS) -m "not proof"

fast: $(VENV)/test.stamp
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow and not interop and not proof"

check: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/tidy

ci: check clients
	$(BIN)/python -m pytest -m proof

proof: $(VENV)/test.stamp
	$(BIN)/python -m tests.proof.proof --budget $(BUDGET)

# sslyze and testssl.sh against real members; needs PyPI and apt the first time.
scan: $(VENV)/test.stamp
	$(BIN)/python -m tests.scan.scan

bench: $(VENV)/test.stamp
	$(BIN)/python -m benchmarks.bench

format: $(VENV)/test.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The foreign clients of the interop tests that need an environment of their own.
clients: $(VENV)/test.stamp
	@$(BIN)/python tests/interop/install_clients.py

clean:
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis
