# make run    the whole chain on the embedded cohort; ends with the main table and the report's path
# make tables the same with the rows that take more time: workflow/configs/tables.yaml
# make test   unit tests, the workflow end to end in miniature, linting, types
# make test-long   the slow tests: paper.yaml from raw files to the report, real SLURM, several processes that train
# make test-all   both before at once: they share the run of the miniature that they look at
# make test-cluster   the miniature's whole chain as jobs of a real SLURM: 10 to 25 minutes
# make test-full-size   optimiser steps at Stable Diffusion's true size, a plan at MIMIC-CXR's: 18 GiB of memory, 21 GB of
#                       disk, some minutes
# make site   the pages of README and docs as a site in build/site
# make audit  known vulnerabilities of the packages of requirements.lock; needs internet access
# make lock   resolve the dependencies anew into requirements.lock and envs/

PYTHON ?= python3.11
VENV   := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: env run tables test test-long test-cluster test-all test-full-size lint site audit lock
.DELETE_ON_ERROR:

env: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	pip install --disable-pip-version-check --require-hashes --requirement requirements.lock
	pip install --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

run: env
	snakemake --cores all
	@echo "report: $$PWD/results/report/index.html"

# the longest runs first, so that no core is idle at the end
tables: env
	snakemake --cores all --configfile workflow/configs/tables.yaml --prioritize results/models/stage2 results/models/text-only
	@echo "report: $$PWD/results/report/index.html"

lint: env
	ruff check src tests tools bench
	ruff format --check src tests tools bench
	snakefmt --check Snakefile workflow
	snakemake --lint
	mypy

PYTEST := pytest -n 2 --dist loadfile --no-loadscope-reorder

test: env lint
	$(PYTEST)

test-long: env
	$(PYTEST) -m long

test-cluster: env
	pytest -m cluster

test-all: env lint
	$(PYTEST) -m "not full_size and not cluster"

test-full-size: env
	pytest -m full_size -s

PAGES := README.md CONTRIBUTING.md CHANGELOG.md docs bench/RESULTS.md

site: env
	rm -rf build/pages
	mkdir -p build/pages
	cp -r --parents $(PAGES) build/pages
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet

# an environment of its own: pip-audit has two dozen packages that nothing else here needs
build/audit/bin/pip-audit:
	$(PYTHON) -m venv build/audit
	build/audit/bin/pip install --disable-pip-version-check --quiet pip-audit==2.10.1

audit: build/audit/bin/pip-audit
	build/audit/bin/python tools/audit.py

lock:
	python tools/lock.py
