# Only Python 3.11 or newer, make and a C library are assumed. Everything else is made below, inside .venv and ./var.
# The first that runs and is new enough: a name alone may be a shim of pyenv that leads nowhere.
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$name; break; }; done)
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# A shorthand: make run EXCHANGES=binance,okx
ifdef EXCHANGES
export FLOTILLA__FEED__EXCHANGES = $(EXCHANGES)
endif
.DEFAULT_GOAL := help
.PHONY: help setup run start stop ps doctor logs worker test chaos check fix bench lock schema clean

##@ Use
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {print "\n" substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
setup: $(BIN)/.installed ## Make .venv from the lock of exact versions and hashes
run: setup ## Start everything and stay in the foreground; Ctrl-C drains and stops it
	@exec $(BIN)/flotilla run
start: setup ## Start everything in the background
	@$(BIN)/flotilla start
stop: setup ## Drain and stop everything
	@$(BIN)/flotilla stop
ps: setup ## Show one row a process
	@$(BIN)/flotilla ps
doctor: setup ## Examine everything that Flotilla stands on
	@$(BIN)/flotilla doctor
logs: setup ## Follow the logs of all processes
	@$(BIN)/flotilla logs --follow

##@ Work on it
worker: setup ## Run one process alone, to debug it: make worker NAME=monitor
	@test -n "$(NAME)" || { echo "Say which: make worker NAME=monitor"; exit 2; }
	@exec $(BIN)/python -m ops.alone "$(NAME)"
test: $(BIN)/.installed-dev ## Run every test that this machine has servers for
	@$(BIN)/python -m pytest -n 3 --dist loadfile $(ARGS)
chaos: $(BIN)/.installed-dev ## Hurt a fleet of its own in every way, and see that it recovers with nothing lost (20 minutes)
	@$(BIN)/python -m ops.bench.chaos $(ARGS)
check: $(BIN)/.installed-dev ## Everything else that CI runs: format, lint, types, imports, house rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -q tests/test_house_rules.py
fix: $(BIN)/.installed-dev ## Format, and mend what ruff can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .
bench: $(BIN)/.installed-dev ## Measure: memory, cold start and requests a second (takes minutes)
	@$(BIN)/python -m ops.bench
lock: $(BIN)/.installed-dev ## Write both locks anew from pyproject.toml
	@$(BIN)/uv pip compile -q -U --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
		pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
		--extra dev --extra bench -c requirements.lock pyproject.toml -o requirements-dev.lock
schema: setup ## Write the JSON schema of flotilla.toml anew from app/settings.py
	@$(BIN)/python -c 'from app.settings import schema_text; print(schema_text(), end="")' > ops/config/flotilla.schema.json
clean: ## Remove .venv and caches; ./var with all data stays
	@rm -rf .venv *.egg-info build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(BIN)/python:
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Flotilla needs Python 3.11 or newer. Install it, or say where it is: make PYTHON=/path/to/python3.12 run"; exit 1; }
	@echo "making .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "Python cannot make a virtual environment; on Debian: apt install python3-venv"; exit 1; }
$(BIN)/.installed: $(BIN)/python requirements.lock pyproject.toml
	@echo "installing exact versions from requirements.lock"
	@$(BIN)/python -m pip install -q --require-hashes --only-binary :all: -r requirements.lock
	@$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@
$(BIN)/.installed-dev: $(BIN)/.installed requirements-dev.lock
	@echo "installing what the tests and checks need from requirements-dev.lock"
	@$(BIN)/python -m pip install -q --require-hashes --only-binary :all: -r requirements-dev.lock
	@touch $@
