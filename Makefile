# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help install prometheus demo test soak bench clean

help:
	@echo "make demo    install, then retrain the models of two teams over several months"
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

# The real Prometheus that rules and dashboards are checked with: taken as it is, or Debian's package.
prometheus:
	@command -v prometheus >/dev/null && command -v promtool >/dev/null || { \
	  command -v apt-get >/dev/null || { echo "The checks need prometheus and promtool (2.40 or newer) on the PATH: install them."; exit 1; }; \
	  as_root=$$(test "$$(id -u)" = 0 || echo sudo); \
	  $$as_root apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive $$as_root apt-get install --yes --quiet --no-install-recommends prometheus; \
	}

# Two teams, one after the other, and what each spent.
demo: install
	@$(BIN)/podium run flight_delay $(foreach month,04 05 06 07 08 09 10,--for 2013-$(month))
	@$(BIN)/podium run minutes_late $(foreach month,05 06 07 08,--for 2013-$(month))
	@echo; $(BIN)/podium costs report --by team,environment,model

test: install prometheus
	@test ! -e platform/__init__.py || { echo "platform/__init__.py would shadow the stdlib module platform: remove it"; exit 1; }
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@# In the files' order: the dear ones are few and long, and xdist would leave them to the end, for one worker each.
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

soak: install
	$(BIN)/python -m tests.soak

bench: install
	@for bench in benchmarks/bench_*.py; do echo "== $$bench"; $(BIN)/python $$bench || exit 1; done
	@echo "== benchmarks/executor"; $(BIN)/python -m benchmarks.executor

clean:
	rm -rf $(VENV) .podium .mypy_cache .ruff_cache .pytest_cache .hypothesis
