# The whole interface for a newcomer: make demo, make test, make check, make bench.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test check bench clean help

help:            ## show these verbs
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

demo: $(VENV)/demo.stamp      ## install, audit the built-in detectors on the built-in corpus, print the path of the report
	$(BIN)/spoofscope demo

test: $(VENV)/test.stamp      ## install the test extras and run the whole suite
	$(BIN)/python -m pytest

check: $(VENV)/test.stamp     ## lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: export SPOOFSCOPE_WEIGHTS ?= ../shared/weights
bench: $(VENV)/test.stamp     ## print every speed and memory ratio
	for file in benchmarks/[a-z]*.py; do $(BIN)/python -m benchmarks.$$(basename $$file .py) || exit 1; done

clean:           ## remove the environment and the runs
	rm -rf $(VENV) runs

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[report]'
	touch $@

$(VENV)/test.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[torch,ssl,onnx,report,ray,test]'
	touch $@ $(VENV)/demo.stamp
