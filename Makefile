# On a fresh machine: `make demo`, `make test`, and `make docs`. They need Python >= 3.11, make and
# a package index.
PYTHON ?= python3
VENV ?= .venv
# What is installed of the package's extras, and if OLDEST is set, in the oldest versions allowed.
EXTRA ?= dev
OLDEST ?=
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal
STAMP := $(VENV)/.installed
PACKAGES := $(if $(OLDEST),--constraint $(VENV)/floors.txt) --editable '.[$(EXTRA)]'
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-quick docs lint format install clean

# uv takes seconds for what pip takes minutes for; pip does it where uv does not work.
$(STAMP): pyproject.toml .ci/floors.py
	$(PYTHON) -c "import sys; assert sys.version_info >= (3, 11), 'tnjax needs Python 3.11 or newer'"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(if $(OLDEST),$(BIN)/python .ci/floors.py >$(VENV)/floors.txt)
	{ $(PIP) uv && $(BIN)/uv pip install --quiet --python $(BIN)/python $(PACKAGES); } \
	  || $(PIP) $(PACKAGES)
	touch $@

install: $(STAMP)

# Learn a tensor network from a real image; the report is left in demo/.
demo: $(STAMP)
	rm -rf demo
	$(BIN)/python experiments/decompose_image.py output=demo

test: $(STAMP)
	$(PYTEST)

# What every user touches, for other versions of Python and of the packages.
test-quick: $(STAMP)
	$(PYTEST) -m "quick and not slow" tests

# The site, in site/index.html. A link that leads nowhere, or a name that is not there, is an error.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-newest .venv-oldest demo site dist
