# Start with `make demo` and `make test`. Both first install what they need into .venv.
.DEFAULT_GOAL := help
.PHONY: help demo java spark spark-test cluster test lint bench notebook report docs lock clean
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

help:  ## List these targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 12

# Check for Python 3.11, 3.12 or 3.13, which the lock files support, and say what to do if it is missing.
.venv/created:
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo "make: $(PYTHON) is not installed. Install Python 3.11, 3.12 or 3.13, or name one: make PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo "make: $(PYTHON) is $$($(PYTHON) --version 2>&1); Python 3.11, 3.12 or 3.13 is needed. Name one: make PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: $(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/installed: .venv/created requirements.lock pyproject.toml
	@echo "Installing what is needed into .venv"
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/developer: .venv/installed requirements-dev.lock
	@echo "Installing what tests and notebooks need into .venv"
	@# Python compiles what is imported. To compile all of it takes a third of the installation.
	@$(PIP) install --no-compile --require-hashes -r requirements-dev.lock
	@touch $@

.venv/spark: .venv/developer requirements-spark.lock
	@echo "Installing what Spark needs into .venv"
	@$(PIP) install --require-hashes -r requirements-spark.lock
	@touch $@

# Java is not in the lock files. Install it from Debian where it is missing and this may, and say what to do elsewhere.
java:
	@command -v java >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "Installing Java 17" && { apt-get update -qq && apt-get install -qq --no-install-recommends openjdk-17-jre-headless; } >/dev/null 2>&1 </dev/null; } || { echo "make: Java is not installed. Install Java 17; on Debian and Ubuntu: apt-get install openjdk-17-jre-headless"; exit 1; }

demo: .venv/installed  ## Send signed webhooks to a fresh warehouse and print its marts
	@$(BIN)/flagsmith-warehouse demo

spark: java .venv/spark  ## Build and delete old data on Spark, and compare with DuckDB (many minutes)
	@$(BIN)/python -m tests.spark
	@$(BIN)/python -m tests.spark --retention

spark-test: java .venv/spark  ## Land on an S3 emulator and build one mart on Spark, with a kill (minutes)
	@$(BIN)/python -m tests.cluster --small

cluster: java .venv/spark  ## Land and build on a Spark cluster with kills, and compare with DuckDB (minutes)
	@$(BIN)/python -m tests.cluster

test: .venv/developer lint  ## Run every test, `dbt build` included
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

lint: .venv/developer  ## Run ruff, sqlfluff and dbt-bouncer
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p target/lint
	FLAGSMITH_WAREHOUSE_DIR=target/lint $(BIN)/dbt --quiet compile --target-path target/lint/target --log-path target/lint
	find target/lint/target/compiled/flagsmith_warehouse/models -name '*.sql' -not -path '*.yml/*' -exec $(BIN)/sqlfluff lint --config .sqlfluff --processes 0 --disable-progress-bar {} +
	$(BIN)/dbt-bouncer run

bench: .venv/developer  ## Run the benchmarks (minutes); benchmarks/README.md records the figures
	$(BIN)/python -m benchmarks

notebook: .venv/developer  ## Explore the marts in the browser with marimo
	@$(BIN)/flagsmith-warehouse notebook

report: .venv/developer  ## Write each notebook as one HTML page to mail
	@$(BIN)/flagsmith-warehouse report

docs: .venv/installed  ## Write the documentation of every table and column as one HTML file
	@$(BIN)/flagsmith-warehouse docs

lock:  ## Resolve the dependencies again (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header --no-annotate pyproject.toml --group build -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header --no-annotate pyproject.toml --group build --group dev --extra notebook --extra object-storage -c requirements.lock -o requirements-dev.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header --no-annotate pyproject.toml --group build --group cluster --extra spark -c requirements.lock -c requirements-dev.lock -o requirements-spark.lock

clean:  ## Remove everything that make built, never the data
	rm -rf .venv target logs *.egg-info build
