# All commands of the project. `make demo` and `make test` need nothing but a machine like the README's; they install
# what they use into .tools, .venv and the user's cache, and the Debian packages that tests/cluster/debian.py lists.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
UV_VERSION := 0.13.9
UV := .tools/bin/uv
PYTHON := .venv/bin/python
CLUSTER := $(PYTHON) -m tests.cluster
PYTEST := $(PYTHON) -m pytest

.PHONY: help debian-packages source-tools test-tools setup demo test test-e2e test-internet test-fast lint generate release-schema lock bench bench-quick faults cluster down kubeconfig urls

help: ## Show the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(UV):
	@python3 -m venv .tools
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.ready: requirements.lock pyproject.toml | $(UV)
	@test -x $(PYTHON) || $(UV) venv --quiet --python python3 .venv
	@VIRTUAL_ENV=.venv $(UV) pip sync --quiet --require-hashes requirements.lock
	@VIRTUAL_ENV=.venv $(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

setup: .venv/.ready ## Install the Python environment

demo: setup debian-packages ## Start a cluster, install the operator, build two packages, install one with dnf
	@$(PYTHON) -m tests.demo

# The real clients that read our repositories, and what makes the images. Only where something is missing.
PROGRAMS := rpm createrepo_c dnf buildah mmdebstrap wget curl openssl git svnserve apache2 sshd shellcheck
debian-packages:
	@for program in $(PROGRAMS); do command -v $$program >/dev/null || missing=1; done; \
	if [ -n "$${missing:-}" ]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
			rpm createrepo-c dnf buildah mmdebstrap wget curl openssl git subversion apache2-bin libapache2-mod-svn openssh-server \
			python3-rpm python3-venv shellcheck >/dev/null; \
	fi

# What the source image has from PyPI, with the system's Python and its rpm module, for tests of the source step.
.tools/source/.ready: images/source/requirements.txt
	@rm -rf .tools/source
	@/usr/bin/python3 -m venv --system-site-packages .tools/source
	@.tools/source/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		--requirement images/source/requirements.txt
	@touch $@

source-tools: debian-packages .tools/source/.ready

# What is measured runs as in the operator's image: on Debian's Python, which is about a fifth faster than one that was built
# without profiles, and without what the image leaves out.
.tools/bench/.ready: requirements.lock images/operator/excludes.txt | $(UV)
	@rm -rf .tools/bench
	@$(UV) venv --quiet --python /usr/bin/python3 .tools/bench
	@VIRTUAL_ENV=.tools/bench $(UV) pip sync --quiet --require-hashes requirements.lock
	@VIRTUAL_ENV=.tools/bench $(UV) pip uninstall --quiet --requirements images/operator/excludes.txt
	@VIRTUAL_ENV=.tools/bench $(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Programs of tests, built before any of them so that no test waits for a compiler.
test-tools: setup debian-packages
	@$(CLUSTER) build-tools --profile node
	@for tool in helm gitops kubeconform versitygw; do $(CLUSTER) tool $$tool >/dev/null; done

test: setup debian-packages source-tools lint test-tools ## Everything: lint, unit, chart, model, integration against a real API server, faults, builds on a real node
	@$(PYTEST) tests/unit --timeout 60
	@$(PYTEST) tests/chart tests/gitops
	@$(PYTEST) tests/model
	@$(PYTEST) tests/integration
	@$(PYTEST) tests/faults
	@$(PYTEST) tests/e2e

FAULT_RUNS ?= 50
faults: setup ## A long run of the fault tests: every write, every case, FAULT_RUNS random plans (docs/reliability.md)
	@COPR_FAULT_RUNS=$(FAULT_RUNS) $(PYTEST) tests/faults

test-e2e: setup debian-packages ## Builds on a real node, the demo's among them
	@$(PYTEST) tests/e2e

test-internet: setup source-tools ## The real package index (needs the internet)
	@$(PYTEST) tests/internet

test-fast: setup lint ## What needs no cluster
	@$(PYTEST) tests/unit --timeout 60
	@$(PYTEST) tests/model

bench: debian-packages .tools/bench/.ready ## The operator beside bare Jobs and a minimal controller; draws docs/performance.md's pictures
	@.tools/bench/bin/python -m tests.bench --draw

bench-quick: debian-packages .tools/bench/.ready ## The same table with smaller numbers, in under five minutes
	@.tools/bench/bin/python -m tests.bench --quick

lint: setup ## ruff, mypy, import-linter, generated files
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --quiet --check .
	@.venv/bin/mypy
	@.venv/bin/mypy tests
	@.venv/bin/lint-imports --no-logo

generate: setup ## Write the CRDs, the chart's schema and the tables of the docs from the models
	@$(PYTHON) -m copr_operator.api.crd crds
	@$(PYTHON) -m tests.support.reference

release-schema: setup ## At a release: its CRDs become those that later ones must not narrow
	@$(PYTHON) -m tests.support.schema_changes

COMPILE := $(UV) pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url
lock: | $(UV) ## Renew the lock files: the developers', what of it the operator image has, the source image's
	@$(COMPILE) --group dev pyproject.toml --output-file requirements.lock
	@$(COMPILE) --constraint requirements.lock --excludes images/operator/excludes.txt pyproject.toml \
		--output-file images/operator/requirements.lock
	@$(COMPILE) --python-version 3.11 images/source/requirements.in --output-file images/source/requirements.txt

cluster: setup ## Start the local node cluster
	@$(CLUSTER) up --profile node

down: setup ## End everything that demo, test and cluster started
	@$(CLUSTER) down --all

kubeconfig: setup ## Print the path of the node cluster's kubeconfig
	@$(CLUSTER) kubeconfig --profile node

urls: setup ## Print the addresses of the demo's services
	@$(PYTHON) -m tests.demo urls
