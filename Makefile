# Every target makes .venv and installs what it needs the first time; stamps keep it from doing so twice.
# Exact versions come from constraints.txt, so that what passes today passes tomorrow.
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := dev
CONSTRAINTS := --constraint constraints.txt
# Without byte code: it is made where a module is imported first, and for most of these packages never.
INSTALL = $(BIN)/python -m pip install --no-compile --disable-pip-version-check $(CONSTRAINTS) --editable

# PYTHON=/path/to/python3, or =3.13, takes that one, and makes an environment of another one anew. Otherwise 3.12 comes
# first: packages for AWS Lambda need wheels that its runtime for 3.11 is too old for, and the version that made them.
PYTHON ?=
PYTHONS_BY_RANK := 3.12 3.13 3.11 python3
PYTHON_IS_ANOTHER = $(if $(PYTHON),$(shell [ "$$(sh tools/find-python.sh $(PYTHON) 2>&1)" = "$$(cat $(VENV)/.made 2>&1)" ] || echo again))

# What `make test-s3` runs on a real S3: its own tests, and all others that need a bucket.
S3_TESTS := tests/s3 tests/handler tests/run -k s3

# Tests run beside each other: most of them wait for something. `make test BESIDE=` runs one after the other.
# Each process reads all tests first, for six seconds: unit tests, which wait for nothing, have one for each processor.
BESIDE ?= -n 4 --dist worksteal
BESIDE_SLOW ?= -n 3 --dist worksteal
BESIDE_UNIT ?= -n 2 --dist worksteal
BESIDE_S3 ?= -n 2 --dist worksteal
# How many files to name that use most processor time.
COSTS ?= --costs=12
# On a disk each of the many small files that tests make costs a hundred times as much as in memory.
IN_MEMORY = sh tools/in-memory.sh /dev/shm 6000000
# Not even looked at: each of these processes would load the test suites of others.
NO_PEERS = --ignore=tests/peers

# They run on a real S3, by `make test-s3`; on a stand-in all tests of stores run that take one as a parameter.
NO_S3 = --ignore=tests/s3

# Tests start hundreds of interpreters: none of them may have to compile the sources first.
unexport PYTHONDONTWRITEBYTECODE

# Which versions `make test-pythons` runs the unit tests on, and which tests `make test-peers` runs.
PYTHONS := 3.11 3.12 3.13
PEERS := tests/peers

# pip writes this file when it installs wrenla. Newer than the stamp, it was not us: `pip install .` has made a
# copy of the editable install. Without it wrenla is not installed.
INSTALLED = $(wildcard $(VENV)/lib/python3*/site-packages/wrenla-*.dist-info/direct_url.json)

.PHONY: demo lambda test test-slow test-all test-browser uplot test-s3 test-latest test-pythons test-unit test-peers \
	check bench docs format constraints clean again

$(VENV)/.made: $(PYTHON_IS_ANOTHER)
	@python=$$(sh tools/find-python.sh $(or $(PYTHON),$(PYTHONS_BY_RANK))) && \
	echo "making $(VENV) with $$($$python --version) ($$python): some ten seconds; make PYTHON=... takes another" && \
	$$python -m venv --clear $(VENV) && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip && \
	echo "$$python" > $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml $(if $(CONSTRAINTS),constraints.txt) $(or $(INSTALLED),again)
	@echo "installing wrenla and some 100 packages into $(VENV) (850 MB; one to three minutes)"
	$(INSTALL) '.[$(EXTRAS)]'
	@touch $@

demo: $(VENV)/.dev
	$(BIN)/wrenla demo

test: $(VENV)/.dev
	$(IN_MEMORY) $(BIN)/python -m pytest -m "not slow and not browser" $(NO_PEERS) $(NO_S3) $(BESIDE) $(COSTS)

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow $(NO_PEERS) $(BESIDE_SLOW) $(COSTS)

test-all: test test-slow

# The run report in Debian's Chromium. Without a browser these tests say so, and are left out.
test-browser: $(VENV)/.dev
	$(BIN)/python -m pytest -m browser tests/report

# The chart library that a report contains, from npm; the ADR of run reports says why this one.
UPLOT := 1.6.32
uplot:
	cd "$$(mktemp -d)" && npm pack --silent uplot@$(UPLOT) && tar xzf uplot-$(UPLOT).tgz && \
	cp package/dist/uPlot.iife.min.js package/dist/uPlot.min.css $(CURDIR)/wrenla/report/page/assets/ && \
	cp package/LICENSE $(CURDIR)/wrenla/report/page/assets/uPlot.LICENSE

# Ceph's S3 gateway, installed by apt-get if it is missing (as root, or by sudo), started for as long as this takes.
test-s3: $(VENV)/.dev
	$(BIN)/python tests/s3/ceph.py $(BIN)/python -m pytest $(S3_TESTS) $(BESIDE_S3)

# What a user gets who installs wrenla today: the newest versions of everything, not those of constraints.txt.
test-latest:
	rm -rf .venv-latest
	$(MAKE) test VENV=.venv-latest CONSTRAINTS=

# The unit tests on each version that is here; two parameter sets of each function (all of them: MOST=).
MOST ?= --most=2
test-pythons:
	@for version in $(PYTHONS); do \
		if sh tools/find-python.sh $$version >/dev/null 2>&1; then \
			$(MAKE) test-unit VENV=.venv-$$version PYTHON=$$version EXTRAS=test SAMPLE="$(MOST)" || exit 1; \
		else \
			echo "Python $$version: skipped, it is not installed (pyenv install $$version)"; \
		fi; \
	done

# What starts no process and opens no socket: half of all tests.
test-unit: $(VENV)/.dev
	@echo "unit tests on $$($(BIN)/python --version)"
	$(IN_MEMORY) $(BIN)/python -m pytest -m "unit and not slow" $(NO_PEERS) $(NO_S3) $(BESIDE_UNIT) $(SAMPLE)

# The test suites of CPython, NumPy, SciPy, Lithops and the Array API (ARRAY_API_TESTS=folder), run against wrenla;
# those that are not installed are skipped.
test-peers: $(VENV)/.dev
	$(BIN)/python -m pytest -m peers $(PEERS) $(BESIDE)

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/tooling/test_imports.py -q

$(VENV)/.bench: $(VENV)/.dev
	@echo "installing what wrenla is compared with"
	$(INSTALL) '.[bench]'
	@touch $@

lambda: $(VENV)/.dev
	$(BIN)/python examples/on_lambda.py

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks

# Whoever installs wrenla writes $(INSTALLED): .dev, which looks at that, is as new.
$(VENV)/.docs: $(VENV)/.dev
	@echo "installing the generator of the documents (160 MB)"
	$(INSTALL) '.[docs]'
	@touch $(VENV)/.dev $@

# The documents as a site, below out/docs: a warning is an error, and nothing is fetched.
docs: $(VENV)/.docs
	rm -rf out/docs
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --fresh-env -d out/doctrees -b html docs out/docs
	@echo "open out/docs/index.html"

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The newest versions of all that pyproject.toml names, with all extras, for every Python that it allows.
# `make constraints UPGRADE=` keeps the versions that are there, and only adds what is new in pyproject.toml.
UPGRADE := --upgrade
constraints: $(VENV)/.made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras $(UPGRADE) --quiet \
		--annotation-style line --custom-compile-command "make constraints" --output-file constraints.txt

clean:
	rm -rf .venv .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis out
