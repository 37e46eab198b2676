# One command per task; each does all of its own set-up. `make` lists them.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
# The package as wheels have it: installed, its warm path compiled.
COMPILED := .venv-compiled
# The server runs as an ordinary user, so an interpreter that everyone can read comes first.
PYTHON ?= $(shell for p in /usr/bin/python3 python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

.PHONY: help demo test check format docs bench bench-queue bench-lists fuzz soak clean

help:  ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.run-ready  ## start a server, deploy two functions, invoke them, keep serving (ONCE=1: end after the tour)
	@$(BIN)/python tools/demo.py $(if $(ONCE),--once)

test: $(VENV)/.test-ready check $(COMPILED)/.ready  ## everything: checks, unit, contract, API, end-to-end and fault tests
	@tools/run_tests.sh

check: $(VENV)/.test-ready  ## format, lint, types, import contracts, documents
	@tools/check.sh

format: $(VENV)/.test-ready  ## format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

docs: $(VENV)/.test-ready  ## write the generated pages again
	@$(BIN)/python -m tools.coverage && $(BIN)/python tools/permissions.py && $(BIN)/python tools/settings.py && $(BIN)/python -m tools.proof_pages

bench: $(VENV)/.run-ready .venv-bench/.ready $(COMPILED)/.ready  ## measure beside functions-framework, uvicorn, granian, nginx and a bare reference (ARGS=--quick)
	@benchmarks/system_packages.sh
	@$(BIN)/python -m benchmarks $(ARGS)

bench-queue: $(VENV)/.run-ready .venv-bench/.ready $(COMPILED)/.ready  ## measure the asynchronous queue beside a bare group commit and Huey (ARGS="accept entry")
	@benchmarks/system_packages.sh
	@$(BIN)/python -m benchmarks.queue $(ARGS)

bench-lists: $(VENV)/.run-ready $(COMPILED)/.ready  ## lists and gets on a server with 10,000 functions and a million records, beside one with a few (ARGS=RESULT.json)
	@folder=$$(mktemp -d) && chmod 755 $$folder && trap "rm -rf $$folder" EXIT && \
		$(BIN)/python -m benchmarks.lists seed $$folder && $(BIN)/python -m benchmarks.lists measure $$folder $(ARGS)

fuzz: $(VENV)/.test-ready  ## over 20,000 requests made from the served OpenAPI document; some three minutes
	@FUNCLET_CASES=many $(BIN)/pytest -q tests/clients/test_schemathesis.py

soak: $(VENV)/.test-ready  ## mixed load, kills and updates on one server, as root (MINUTES=30)
	@$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),30)

clean:  ## remove everything that these commands have made in this folder
	@rm -rf $(VENV) .venv-bench $(COMPILED) build dist .demo src/*.egg-info src/funclet/*/_*.so
	@find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@tools/system_packages.sh run
	@test -n "$(PYTHON)" || { echo "Funclet needs Python 3.11 or newer: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run-ready: requirements/run.lock pyproject.toml setup.py src/funclet/sandbox/_native.c src/funclet/base/_http.c | $(VENV)/bin/python
	@tools/system_packages.sh run
	@echo "installing ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q runtimes/python3  # sandboxes see it read-only, so they cannot keep byte code
	@touch $@

$(VENV)/.test-ready: requirements/test.lock $(VENV)/.run-ready $(BIN)/versitygw $(BIN)/go-sdk $(VENV)/node/.ready | $(VENV)/bin/python
	@tools/system_packages.sh test
	@echo "installing what the tests need ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/test.lock
	@touch $@

NEED_GO := command -v go >/dev/null || { echo "The tests need Go 1.25 or newer, to build what they talk to."; exit 1; }

# A real object store for the tests of destinations; the first build takes a minute.
$(BIN)/versitygw: tests/servers/go.mod tests/servers/go.sum | $(VENV)/bin/python
	@$(NEED_GO)
	@echo "building an object store for the tests ..."
	@cd tests/servers && go build -mod=readonly -trimpath -o $(CURDIR)/$@ github.com/versity/versitygw/cmd/versitygw
	@touch $@

# The vendor's Go SDK, for the tests of clients.
$(BIN)/go-sdk: tests/clients/golang/main.go tests/clients/golang/go.mod tests/clients/golang/go.sum | $(VENV)/bin/python
	@$(NEED_GO)
	@echo "building a client with the vendor's Go SDK for the tests ..."
	@cd tests/clients/golang && go build -mod=readonly -trimpath -o $(CURDIR)/$@ .
	@touch $@

# A kernel with NFS, and what else the virtual machine for tests is made of; nothing is installed.
$(VENV)/vm/.ready: tools/vm/fetch.sh tools/vm/init.sh | $(VENV)/bin/python
	@tools/system_packages.sh vm
	@echo "fetching a kernel for the virtual machine ..."
	@tools/vm/fetch.sh $(@D)
	@touch $@

# The vendor's Node.js SDK, for the tests of clients.
$(VENV)/node/.ready: tests/clients/node/package-lock.json tests/clients/node/.npmrc | $(VENV)/bin/python
	@tools/system_packages.sh test
	@mkdir -p $(@D) && cp tests/clients/node/package.json $^ $(@D)
	@cd $(@D) && npm ci --silent
	@touch $@

$(COMPILED)/.ready: $(VENV)/.test-ready setup.py $(shell find src runtimes -name '*.py' -o -name '*.[ch]' -o -name '*.js' -o -name '*.toml' -o -name '*.sql')
	@echo "compiling the warm path (about a minute) ..."
	@rm -rf build/wheel build/lib.* build/temp.* && mkdir -p build/wheel
	@FUNCLET_COMPILE=1 $(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w build/wheel . \
		>build/wheel/log 2>&1 || { cat build/wheel/log; exit 1; }
	@test -e $(COMPILED)/bin/python || $(PYTHON) -m venv $(COMPILED)
	@$(COMPILED)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.lock -r requirements/test.lock
	@$(COMPILED)/bin/pip install --quiet --disable-pip-version-check --no-deps --force-reinstall build/wheel/funclet-*.whl
	@touch $@

.venv-bench/.ready: benchmarks/requirements.lock
	@tools/system_packages.sh run
	@test -n "$(PYTHON)" || { echo "The benchmarks need Python 3.11 or newer: apt-get install python3 python3-venv"; exit 1; }
	@echo "installing what is measured beside Funclet ..."
	@$(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/pip install --quiet --disable-pip-version-check --require-hashes -r benchmarks/requirements.lock
	@touch $@
