# Two commands on a fresh machine: `make demo` and `make test`. They need Python >= 3.11, make and
# a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Annotations are checked while the tests run; an int will do for a float.
TYPES := "--jaxtyping-packages=tnjax,beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
STAMP := $(VENV)/.installed

.PHONY: demo test lint format install clean

$(STAMP): pyproject.toml
	$(PYTHON) -c "import sys; assert sys.version_info >= (3, 11), 'tnjax needs Python 3.11 or newer'"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

install: $(STAMP)

# Learn a tensor network from a real image; the report is left in demo/.
demo: $(STAMP)
	rm -rf demo
	$(BIN)/python experiments/decompose_image.py output=demo

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal $(TYPES)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo
