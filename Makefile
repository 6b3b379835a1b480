# Needs Python 3.11, make and the package registries. `make` alone explains itself.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq install
UV_COMPILE := $(BIN)/uv --quiet pip compile pyproject.toml --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --custom-compile-command 'make lock'

# The rooms that hold code, as far as they exist.
CODE := $(patsubst %/,%,$(sort $(dir $(wildcard $(addsuffix /*.py,api cli commands demo deploy docs domain eventstore projections security verifier bench tests)))))
OPENID_CLIENT := tests/openid_client
PEER := bench/peer
GO_CLIENTS := tests/go_clients
JAVA_CLIENT := tests/java_client
# Those of Kubernetes, against which the chart is held.
SCHEMAS := build/schemas
NODE_READY := $(if $(and $(shell command -v node),$(shell command -v npm),$(wildcard $(OPENID_CLIENT)/package.json)),$(OPENID_CLIENT)/node_modules/.ready)
# Clients of other worlds, as far as this machine can make them (Go from 1.21 on); CI makes all of them.
CLIENTS_READY := $(NODE_READY) $(if $(shell go env GOVERSION 2>/dev/null | grep -E '^go1\.(2[1-9]|[3-9][0-9])'),$(GO_CLIENTS)/bin/.ready) $(if $(shell command -v mvn),$(JAVA_CLIENT)/lib/.ready)

# Options for pytest, for example: make test PYTEST='-k consent'
PYTEST ?=
# How long to explore, for example: make explore EXPLORE='--minutes 60'
EXPLORE ?=
# Options for the benchmarks, for example: make bench-full BENCH='--only latency,freshness --quick'
BENCH ?=
# Options for the conformance suite, for example: make conformance CONFORMANCE='--plans basic --databases sqlite'
CONFORMANCE ?=
# How many processes share the tests: two for each processor, since each waits now and then for a server, a thread or the
# disk, and stays on its processor; of many processors each has enough to do.
JOBS ?= $(shell n=$$(nproc 2>/dev/null || echo 1); echo $$((n + (n < 4 ? n : 4))))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run dev test explore conformance check docs pictures verifier lock wheel sbom chart bench bench-budget bench-full bench-peer clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.runtime  ## Install what is needed, make the demo and serve it on http://127.0.0.1:8400/
	@exec $(BIN)/grantlog demo --history=if-empty

dev: $(VENV)/.development  ## Make the virtual environment with everything that tests and checks need

test: dev $(CLIENTS_READY) $(SCHEMAS)/.ready  ## Run all tests, on SQLite and on a PostgreSQL that they start themselves
	$(BIN)/python -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder --max-worker-restart 1 $(PYTEST)

explore: dev $(NODE_READY)  ## Run the property tests with ever new examples, for ten minutes; EXPLORE='--rounds 20'
	$(BIN)/python -m tests.explore $(EXPLORE) -n $(JOBS) --dist worksteal $(PYTEST)

conformance: dev  ## Run the OpenID Foundation's plans against both databases (needs OIDF_SUITE_JAR and CONFORMANCE_KIT)
	$(BIN)/python -m tests.conformance $(CONFORMANCE)

check: dev  ## Lint, format, types, import rules, generated pages: what CI runs beside the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

docs: dev  ## Write the generated pages of docs/ anew
	$(BIN)/python docs/generate.py

pictures: dev  ## Take the pictures of README and console anew from a running demo (needs Chromium)
	$(BIN)/python docs/pictures.py

verifier: $(VENV)/.runtime  ## Write what auditors take away: grantlog-verify.pyz (needs Python and cryptography) and verify.html
	@$(BIN)/python -m verifier.bundle grantlog-verify.pyz
	@$(BIN)/python -c 'from pathlib import Path; from api.audit.offline_verifier import write; write(Path("verify.html"))'

lock: dev  ## Pin the newest versions that pyproject.toml allows, with their hashes
	$(UV_COMPILE) --upgrade --extra build --output-file requirements.lock
	$(UV_COMPILE) --upgrade --extra build --extra dev --extra otel --constraint requirements.lock --output-file requirements-dev.lock

wheel: dev  ## Build the wheel into build/; with the same SOURCE_DATE_EPOCH it has the same bytes
	@rm -rf build/lib build/bdist.*
	SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)} $(BIN)/python -m pip --quiet wheel --no-deps \
		--no-build-isolation --no-index --wheel-dir build .

sbom: dev  ## Write everything that is installed with the server to build/sbom.json (CycloneDX)
	@mkdir -p build
	$(BIN)/python deploy/sbom.py > build/sbom.json

chart: dev $(GO_CLIENTS)/bin/.ready $(SCHEMAS)/.ready  ## Lint, render and validate the Helm chart by helm itself (needs Go, which makes it in some minutes)
	GOBIN=$(CURDIR)/build/bin go install helm.sh/helm/v3/cmd/helm@v3.22.0
	GOBIN=$(CURDIR)/build/bin go install github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0
	$(BIN)/python -m tests.deploy.chart build/bin $(SCHEMAS)

bench: dev  ## Measure both databases beside a constant answer of the same server (needs wrk), the parts of a request, and the console
	$(BIN)/python -m bench $(BENCH)
	$(BIN)/python -m bench.inside $(filter --no-write,$(BENCH))
	$(BIN)/python -m bench.console --events 200000

bench-budget: dev  ## Measure the processor time of a request beside what it may take (needs wrk); BENCH='--beside ../other' beside a checkout
	$(BIN)/python -m bench.budget $(BENCH)

bench-full: dev  ## Measure all that is promised about speed, behind ten million events too (needs wrk and oha); takes an hour and more
	$(BIN)/python -m bench.full $(BENCH)

bench-peer: dev $(PEER)/node_modules/.ready  ## Measure node-oidc-provider beside it, on the same PostgreSQL (needs wrk and node)
	$(BIN)/python -m bench.peer $(BENCH)

clean:  ## Remove everything that was built, the demo's data in var/ excepted
	rm -rf $(VENV) $(OPENID_CLIENT)/node_modules $(PEER)/node_modules $(GO_CLIENTS)/bin $(JAVA_CLIENT)/lib .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	rm -rf build grantlog.egg-info grantlog-verify.pyz verify.html
	find $(CODE) alembic -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# Stamps: installing happens only when the lock or the project's own description changed.

$(BIN)/python:
	@test -n '$(PYTHON)' || { echo 'Python 3.11 or newer is needed; name it with PYTHON=…' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo '$(PYTHON) is older than Python 3.11; name another with PYTHON=…' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo 'The venv module is not complete; Debian has it as python3.11-venv.' >&2; exit 1; }

$(VENV)/.runtime: requirements.lock pyproject.toml VERSION | $(BIN)/python
	@echo 'Installing the pinned packages; this takes about half a minute and happens once per lock.'
	@$(PIP) --require-hashes --requirement requirements.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

# A development environment is a runtime environment too: what is pinned in both is pinned alike.
$(VENV)/.development: requirements-dev.lock pyproject.toml VERSION | $(BIN)/python
	@echo 'Installing the pinned packages for development; this takes about half a minute and happens once per lock.'
	@$(PIP) --require-hashes --requirement requirements-dev.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $(VENV)/.runtime $@

# What Node's programs need, wherever there is a description and a lock of it.
%/node_modules/.ready: %/package.json %/package-lock.json
	cd $* && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

# What Go's programs are made of is pinned by go.sum. Built once, Go keeps the parts wherever the checkout is.
$(GO_CLIENTS)/bin/.ready: $(wildcard $(GO_CLIENTS)/go.* $(GO_CLIENTS)/*/*.go)
	cd $(GO_CLIENTS) && go build -o bin/ ./sign_in ./render_chart github.com/oauth2-proxy/oauth2-proxy/v7
	@touch $@

# Of the package only what it carries is read.
$(SCHEMAS)/.ready: | $(VENV)/.development
	$(BIN)/python -m pip --quiet download --no-deps --dest $(SCHEMAS) kubernetes-validate==1.37.0
	@touch $@

$(JAVA_CLIENT)/lib/.ready: $(JAVA_CLIENT)/pom.xml
	cd $(JAVA_CLIENT) && mvn --batch-mode --quiet dependency:copy-dependencies -DoutputDirectory=lib
	@touch $@
