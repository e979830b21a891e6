# The loop of a developer. Every command runs the tools of the virtual environment, so their versions are the lock file's.
#
#   make check                      formatting, lint, types and the import contract
#   make format                     mend formatting and lint
#   make test  ROOM=router/limits   the fast tests of one room; without ROOM all of them
#   make smoke ROOM=router/limits   a handful of tests of one room; without ROOM of every room
#   make slow  ROOM=crash           the slow tests
#   make all                        everything a change must pass

ROOM ?=
BIN ?= $(if $(wildcard .venv/bin/python),.venv/bin/,)
PYTEST = $(BIN)python -m pytest -q tests/$(ROOM)

.PHONY: check format test smoke slow all

check:
	$(BIN)ruff format --check .
	$(BIN)ruff check .
	$(BIN)mypy
	$(BIN)lint-imports

format:
	$(BIN)ruff format .
	$(BIN)ruff check --fix .

test:
	$(PYTEST) -n auto --maxprocesses 4

smoke:
	$(PYTEST) -m smoke

slow:
	$(PYTEST) -m slow

all:
	.ci/run
