# The README's commands. `make demo` and `make test` install what they need into .venv first.

IS_SUPPORTED := -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1
PYTHON ?= $(shell for p in python3.11 python3.12 python3.10 python3; do $$p $(IS_SUPPORTED) && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
EXTRAS ?= cpu,dev
STAMP := $(VENV)/.installed-$(EXTRAS)
TASK ?= demo
# compiled modules are kept, wherever the variable comes from: a hundred tests start a process of their own
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help install demo docs test test-notebooks test-2.6 test-pythons test-subset test-long fuzz lint format clean

help:
	@echo "make install        .venv with this project, editable, and the pinned packages (EXTRAS=cpu,dev,export for more)"
	@echo "make demo           teacher, student with and without it, an export, on embedded data (TASK=SST-2 for a GLUE task)"
	@echo "make docs           the documentation site in site/"
	@echo "make test           all tests, bounded, except those of the notebooks"
	@echo "make test-notebooks the notebooks with a small budget"
	@echo "make test-2.6       a bounded part of them with Paddle 2.6.2 and PaddleNLP 2.8.1, in .venv-2.6"
	@echo "make test-pythons   the same part with the default packages on Python 3.10 and 3.12, each in a .venv-<version>"
	@echo "make test-long      the tests that take minutes"
	@echo "make fuzz           ten thousand mutated inputs"
	@echo "make lint | format  ruff"

install: $(STAMP)

$(STAMP): pyproject.toml requirements-demo.txt
	@test -x $(BIN)/python || $(PYTHON) $(IS_SUPPORTED) || \
		{ echo "error: found Python '$(PYTHON)', expected 3.10, 3.11 or 3.12; give one with make PYTHON=/path/to/python"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-demo.txt
	touch $(STAMP)

demo: install
	$(BIN)/python -m tinybert demo --task_name $(TASK) --output_dir runs/$(TASK) --overwrite_output_dir

docs:
	$(MAKE) install EXTRAS=docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Files in the order of the folders: xdist's own order, by the number of tests, leaves those with few slow tests to one worker at the end.
PARALLEL := --numprocesses 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

test: install
	$(BIN)/python -m pytest tests --ignore tests/notebooks -m "not long" $(PARALLEL)

test-notebooks: install
	$(BIN)/python -m pytest tests/notebooks -m "not long" $(PARALLEL)

# The second lane: what the GPU package of the ordinary index is made for, here with the CPU build of the same version.
VENV_26 := .venv-2.6
STAMP_26 := $(VENV_26)/.installed

$(STAMP_26): requirements-2.6.txt requirements-demo.txt
	test -x $(VENV_26)/bin/python || $(PYTHON) -m venv $(VENV_26)
	$(VENV_26)/bin/python -m pip install --quiet --disable-pip-version-check paddlepaddle==2.6.2 -r requirements-2.6.txt
	$(VENV_26)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-demo.txt
	touch $(STAMP_26)

test-2.6: install $(STAMP_26)
	OTHER_LANE=$(abspath $(BIN)/python) $(VENV_26)/bin/python -m pytest tests -m "both_lanes and not long" $(PARALLEL)

# The other versions of Python that this machine has, by name or from pyenv; PYTHONS="/path/to/python ..." names others.
PYTHONS ?= python3.10 python3.12 $(wildcard $(HOME)/.pyenv/versions/3.10.*/bin/python $(HOME)/.pyenv/versions/3.12.*/bin/python)

test-pythons:
	@tested=; for python in $(PYTHONS); do \
		version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
		case "$$tested" in *" $$version "*) continue;; esac; \
		tested="$$tested $$version "; echo "Python $$version: $$python"; \
		$(MAKE) --no-print-directory test-subset PYTHON=$$python VENV=.venv-$$version || exit 1; \
	done; test -n "$$tested" || { echo "error: none of these runs: $(PYTHONS). Name others with make test-pythons PYTHONS=..."; exit 2; }

test-subset: install
	$(BIN)/python -m pytest tests -m "both_lanes and not long" $(PARALLEL)

test-long: install
	$(BIN)/python -m pytest tests -m long

fuzz: install
	FUZZ=1 $(BIN)/python -m pytest -s tests/unit/test_mutated_inputs.py

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf runs site .pytest_cache .ruff_cache
