# Two commands do everything: `make demo` and `make test`. `make help` lists all.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
REFERENCE_VENV := .venv-reference
REFERENCE_READY := $(REFERENCE_VENV)/.ready
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --no-input

.PHONY: help demo serve test test-reference loadtest soak bench lint audit lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: $(READY) ## segment a photo end to end with the real server; writes out.jpg
	@$(BIN)/python -m ovseg.demo

serve: $(READY) ## run the server until Ctrl-C (settings: OVSEG_…, see `.venv/bin/ovseg config`)
	@exec $(BIN)/ovseg serve

test: $(READY) ## the whole test suite
	@$(BIN)/python -m pytest

test-reference: $(READY) $(REFERENCE_READY) ## compare with segment-anything, MobileSAM and transformers, live (needs torch)
	@goldens=$$(mktemp -d) && trap 'rm -rf "$$goldens"' EXIT && \
	echo "asking segment-anything, MobileSAM and transformers for reference results …" && \
	$(REFERENCE_VENV)/bin/python tests/golden/make_golden.py --output "$$goldens" && \
	$(REFERENCE_VENV)/bin/python tests/golden/make_golden_others.py --output "$$goldens" && \
	$(REFERENCE_VENV)/bin/python tests/golden/make_golden_everything.py --output "$$goldens" && \
	OVSEG_GOLDEN_DIR="$$goldens" $(BIN)/python -m pytest tests/network tests/checkpoints tests/everything

loadtest: $(READY) ## load a server that `make serve` started, REST and gRPC; see loadtest/README.md
	@mkdir -p loadtest/results && $(BIN)/locust -f loadtest/locustfile.py --headless --only-summary \
	  --host http://$${OVSEG_HOST:-127.0.0.1}:$${OVSEG_PORT:-8080} \
	  --html loadtest/results/report.html --csv loadtest/results/report

soak: $(READY) ## half an hour of hostile traffic and killed processes, every answer checked; SOAK='--minutes 3' for less
	@exec $(BIN)/python -m loadtest.soak $(or $(SOAK),--out docs/RELIABILITY.md)

bench: $(READY) ## compare speed and masks with PaddleX's server, same weights; BENCH='--quick' for minutes
	@exec $(BIN)/ovseg bench peer $(BENCH)

lint: $(READY) ## ruff (lint and format) and mypy --strict
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && \
	$(BIN)/mypy ovseg gateway/ovseg_gateway client/ovseg_client loadtest/soak && \
	for stage in model_repository/*/1/model.py; do $(BIN)/mypy "$$stage"; done

audit: $(READY) ## ask a service whether a pinned package has a known vulnerability (needs internet)
	@$(BIN)/python .ci/audit.py $(AUDIT)

# requirements-runtime.lock is the part of requirements.lock that a container needs.
lock: ## write both lock files from pyproject.toml; LOCK=--upgrade for newer versions of what is there
	@$(PYTHON) -m venv build/lock && build/lock/bin/python $(PIP_INSTALL) uv && \
	tail -n +2 requirements.lock > build/lock/lock.txt && \
	compile="build/lock/bin/uv pip compile pyproject.toml client/pyproject.toml --extra build --extra grpc \
	  --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet" && \
	$$compile --extra dev $(LOCK) -o build/lock/lock.txt && \
	$$compile --constraint build/lock/lock.txt -o build/lock/runtime.txt && \
	{ head -1 requirements.lock; cat build/lock/lock.txt; } > build/lock/new.txt && \
	{ head -1 requirements.lock; cat build/lock/runtime.txt; } > requirements-runtime.lock && \
	mv build/lock/new.txt requirements.lock

clean: ## remove the environments, installed models and build output
	rm -rf $(VENV) $(REFERENCE_VENV) models build out.jpg

$(READY): requirements.lock pyproject.toml client/pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v[:2] == (3, 11) else \
	  f"error: Python 3.11 is needed, this is {v.major}.{v.minor}; make PYTHON=python3.11 …")'
	@echo "[1/3] making the environment $(VENV) …"
	@$(PYTHON) -m venv --clear $(VENV)
	@echo "[2/3] installing $$(grep -c '^[a-z].*==' requirements.lock) pinned packages (about 2 GB on disk; a minute or two) …"
	@$(BIN)/python $(PIP_INSTALL) --require-hashes --only-binary :all: -r requirements.lock
	@echo "[3/3] installing this project …"
	@$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation -e . -e client
	@touch $@

$(REFERENCE_READY): tests/reference/requirements.txt
	@echo "making $(REFERENCE_VENV) with torch, segment-anything, MobileSAM and transformers …"
	@$(PYTHON) -m venv --clear $(REFERENCE_VENV)
	@$(REFERENCE_VENV)/bin/python $(PIP_INSTALL) -r tests/reference/requirements.txt
	@touch $@
