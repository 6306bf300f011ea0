# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help install demo test soak bench clean

help:
	@echo "make demo    install, then retrain the flight-delay model over several months"
	@echo "make test    install what the checks need, then run every check"
	@echo "make soak    the crash tests at their full counts; writes benchmarks/soak.json"
	@echo "make bench   the benchmarks, as ratios against a floor"
	@echo "make install create $(VENV) and install Podium in it"

install: $(VENV)/.installed

# uv where it is present, else pip; the pins are the same.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Podium needs Python 3.11 or newer; set PYTHON=")'
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --allow-existing --python $(PYTHON) $(VENV) && \
	  uv pip install --python $(BIN)/python --constraint constraints.txt --editable '.[demo,dev,postgres]'; \
	else \
	  test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) ; \
	  $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo,dev,postgres]'; \
	fi
	@touch $@

demo: install
	@$(BIN)/podium run flight_delay $(foreach month,04 05 06 07 08 09 10,--for 2013-$(month))

test: install
	@test ! -e platform/__init__.py || { echo "platform/__init__.py would shadow the stdlib module platform: remove it"; exit 1; }
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

soak: install
	$(BIN)/python -m tests.soak

bench: install
	@for bench in benchmarks/bench_*.py; do echo "== $$bench"; $(BIN)/python $$bench || exit 1; done

clean:
	rm -rf $(VENV) .podium .mypy_cache .ruff_cache .pytest_cache .hypothesis
