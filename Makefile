PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test golden lint docs soak hunt bench clean

demo: $(STAMP)
	$(BIN)/lrfr demo

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# the theme prints an advertisement for its successor unless it is told not to
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# after a revision was raised: new golden values, refused where output moved under an old one
golden: $(STAMP)
	for room in degrade pairs train eval fit; do $(BIN)/python -m tests.$$room.golden || exit 1; done

soak: $(STAMP)
	$(BIN)/python -m pytest -m soak

# forged files of every format and lives of a store, for MINUTES minutes; a number shows each failure again, and which
# lines were not reached stands in hunt-coverage.json
MINUTES ?= 60
FIRST ?= 1000
hunt: $(STAMP)
	$(BIN)/python -m tests.hunt --minutes $(MINUTES) --first $(FIRST) --json hunt.json --coverage hunt-coverage.json

# torch first and alone: pip then keeps the build it found instead of resolving a larger one
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $(STAMP)

bench: $(STAMP)
	$(BIN)/python -m benchmarks.all --quick --out bench

clean:
	rm -rf $(VENV) build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache
