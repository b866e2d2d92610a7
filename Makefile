# Everything installs what it needs into .venv from the pinned requirements.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-slow lint bench results

demo: .venv/.installed
	$(BIN)/python main.py -m TMFUN VBPR LATTICE BM3 FREEDOM -d demo

test: .venv/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: .venv/.installed-dev
	$(BIN)/python -m pytest -m slow

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# One seed of every row of docs/results.md, compared with it; DATA is the folder of the data sets.
DATA ?= data
results: .venv/.installed
	$(BIN)/python main.py results --seeds 1 data_path=$(DATA)

bench: .venv/.installed
	$(BIN)/python benchmarks/run.py

.venv/.installed: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/.installed-dev: requirements-dev.txt .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@
