# Two commands set everything up: `make fuzz` (the main job) and `make test`.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
FUZZ ?= --seconds 8
PROVE ?= explicit_list sbrk_list --quick
JOBS ?= 2

.PHONY: help setup fuzz test prove bench lint clean
.DELETE_ON_ERROR:

help:
	@echo "make fuzz    search the bundled allocators for broken rules (FUZZ='--seconds 600' for longer)"
	@echo "make test    run the test suite"
	@echo "make prove   prove claims on the compiled code (PROVE='tlsf --quick' for another one)"
	@echo "make bench   measure speed, in ratios against named peers"
	@echo "make lint    check style and formatting"
	@echo "make setup   only install what all of these need, into $(VENV)"

fuzz: $(VENV)/installed-fuzz
	$(RUN) fuzz/run.py $(FUZZ)

test: $(VENV)/installed-test
	$(RUN) -m pytest -n $(JOBS) --dist loadfile $(PYTEST)

prove: $(VENV)/installed-proofs
	$(RUN) proofs/run.py $(PROVE)

bench: $(VENV)/installed-test
	$(RUN) ci/bench.py $(BENCH)

lint: $(VENV)/installed-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

setup: $(VENV)/installed-dev

# One stamp a dependency group; pip 25.1 is the first that reads groups.
$(VENV)/installed-%: pyproject.toml
	@$(PYTHON) ci/check_python.py
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	@echo "installing the dependency group '$*' into $(VENV) ..."
	@$(RUN) -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	@$(RUN) -m pip install --quiet --disable-pip-version-check --group $*
	@touch $@

clean:
	rm -rf $(VENV) .cache .hypothesis .pytest_cache .ruff_cache out
