# Everything lives in this checkout: .venv, .venv-bench, .venv-lock and .tools; state and sockets under var/.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := -m pip install --quiet --require-hashes
COMPILE := .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --no-emit-find-links

ARGS ?=
ROWS ?=
EXPERIMENTS ?=
KILLS ?= 1000
VENUE ?= paper
SEED ?= 1
# More than the cores of a small machine: the tests mostly wait.
JOBS ?= 4
DESTDIR ?=
PREFIX ?= /opt/levibot
DEPENDENCIES ?= yes

.DEFAULT_GOAL := help
.PHONY: help install install-train install-altdata install-tft install-tft-cpu install-dev tools install-service \
	uninstall-service run test test-long lint format type pytest torture bench bench-feed bench-long evaluate lock clean

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="	" read -r name text; do printf '%-18s %s\n' "$$name" "$$text"; done

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "LeviBot needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements/run.txt pyproject.toml | $(BIN)/python
	$(BIN)/python $(PIP_INSTALL) -r requirements/run.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.%: requirements/%.txt $(VENV)/.run
	$(BIN)/python $(PIP_INSTALL) -r $<
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	$(BIN)/python $(PIP_INSTALL) -r requirements/dev.txt
	@touch $@

.venv-bench/.installed: requirements/bench.txt | $(BIN)/python
	$(BIN)/python -m venv .venv-bench
	.venv-bench/bin/python $(PIP_INSTALL) -r requirements/bench.txt
	@touch $@

.venv-lock/.installed: requirements/lock.txt | $(BIN)/python
	$(BIN)/python -m venv .venv-lock
	.venv-lock/bin/python $(PIP_INSTALL) -r requirements/lock.txt
	@touch $@

.tools/usr/bin/promtool:
	@mkdir -p .tools
	cd .tools && apt-get download prometheus && dpkg-deb --extract prometheus_*.deb . && rm prometheus_*.deb
	@touch $@

tools: .tools/usr/bin/promtool  ## promtool and Prometheus of Debian, unpacked below .tools: nothing is installed

install: $(VENV)/.run  ## Create .venv and install what LeviBot needs to run

install-train: $(VENV)/.train  ## The same, and what tunes and explains models: Optuna, scikit-learn, matplotlib

install-altdata: $(VENV)/.altdata  ## The same, and what reads news and on-chain data

install-tft: $(VENV)/.tft  ## The same, and PyTorch for the Temporal Fusion Transformer, gigabytes with CUDA

install-tft-cpu: $(VENV)/.tft-cpu  ## The same with the build of PyTorch that has no CUDA, where pip can find it

install-dev: $(VENV)/.dev  ## The same, and what its tests need

SERVICE := DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' PYTHON='$(PYTHON)' DEPENDENCIES='$(DEPENDENCIES)' \
	BUILDER='$(BIN)/python' deploy/install.sh

install-service: install  ## Install as a systemd service under PREFIX (/opt/levibot); DESTDIR= stages a package
	@$(SERVICE) install

uninstall-service:  ## Remove the service; configuration and state stay
	@$(SERVICE) uninstall

run: install  ## Run the daemon in the foreground on the simulated exchange (ARGS="-c FILE" for another)
	@exec $(BIN)/python -m levibot $(ARGS)

test: lint type pytest  ## Check style and types, run the tests, demand 85 % branch coverage

test-long: export LEVIBOT_TEST_LONG = 1
test-long: test  ## The same with the long tests in full

lint: install-dev  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install-dev  ## Let ruff put the code in form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

type: install-dev  ## mypy --strict
	$(BIN)/mypy

# What a hundred daemons import is compiled once, whatever the environment says: it was a fifth of their start.
pytest: export PYTHONDONTWRITEBYTECODE =
pytest: install-dev  ## Tests with branch coverage, child processes counted (ARGS="tests/bus -k forwarder" JOBS=1)
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report $(if $(ARGS),--fail-under=0)

torture: install-dev  ## kill -9 at every moment and journal step while 5 symbols trade (KILLS=1000 VENUE=paper|binance|mexc SEED=1)
	$(BIN)/python -m scripts.torture --venue $(VENUE) --kills $(KILLS) --seed $(SEED)

bench: install .venv-bench/.installed  ## All benchmarks, long rows shortened (ROWS="bus kill" for some)
	$(BIN)/python -m scripts.bench $(ROWS)

bench-feed: ROWS = feed-faults feed-load feed-kills
bench-feed: bench  ## The live feed alone: every fault in two dialects, load, kill -9

evaluate: install-dev  ## Train on recorded markets and judge on what came after, with baselines (EXPERIMENTS="2025 2018 tuned")
	$(BIN)/python -m scripts.evaluate $(EXPERIMENTS)

bench-long: export LEVIBOT_BENCH_LONG = 1
bench-long: bench  ## The same with the long rows in full

lock: .venv-lock/.installed  ## Renew the pinned requirements from pyproject.toml
	$(COMPILE) pyproject.toml --extra build --output-file requirements/run.txt
	$(COMPILE) pyproject.toml --extra build --extra dev --extra train --extra altdata \
		--constraint requirements/run.txt --output-file requirements/dev.txt
	for extra in train altdata tft; do \
		$(COMPILE) pyproject.toml --extra $$extra --constraint requirements/dev.txt \
			--output-file requirements/$$extra.txt || exit; \
	done
	$(COMPILE) pyproject.toml --extra tft --constraint requirements/dev.txt --override requirements/torch-cpu.in \
		--output-file requirements/tft-cpu.txt
	$(COMPILE) requirements/bench.in --output-file requirements/bench.txt
	$(COMPILE) requirements/lock.in --output-file requirements/lock.txt

clean:  ## Remove what was installed, built and measured; state under var/ stays
	rm -rf .venv .venv-bench .venv-lock .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist bench-results
	rm -f .coverage .coverage.*
	find levibot workers scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
