# make bench   set up, run the preset `smoke`, write and print its report
# make test    set up, lint, types, fast tests
# make faults  inject faults, print a table of those survived
# make docs    build the site in build/site
# make gpu     try a graphics card, write results/speed/gpu.txt
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JOBS ?= 2

.PHONY: setup bench lint types test test-slow faults docs gpu clean

setup: $(STAMP)

$(STAMP): pyproject.toml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

bench: setup
	$(BIN)/bbo-bench run -m +experiment=smoke hydra.launcher.n_jobs=$(JOBS)
	$(BIN)/bbo-bench report results/smoke

lint: types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy sees the plugins where they are imported from: tasks/ as bbo_bench.tasks
types: setup
	rm -rf build/types && mkdir -p build/types
	cp -Rp bbo_bench build/types/
	cp -Rp tasks optimizers build/types/bbo_bench/
	cd build/types && ../../$(BIN)/mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache

test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) --dist loadscope -rs -m "not slow"

test-slow: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) --dist loadscope -rs -m slow

faults: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/faults -n $(JOBS) -q

docs: setup
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e ".[docs]"
	$(BIN)/mkdocs build

gpu: setup
	$(BIN)/python benchmarks/gpu.py

clean:
	rm -rf $(VENV) build dist *.egg-info
