# Every target makes .venv and installs what it needs the first time; a stamp keeps it from doing so twice.
PYTHON ?= python3
BIN := .venv/bin

# What `make test-s3` runs on a real S3: its own tests, and all others that need a bucket.
S3_TESTS := tests/s3 tests/handler tests/run -k s3

# Tests run beside each other: most of them wait for something. `make test BESIDE=` runs one after the other.
BESIDE ?= -n 4 --dist worksteal
BESIDE_SLOW ?= -n 2 --dist worksteal

# Tests start hundreds of interpreters: none of them may have to compile the sources first.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo lambda test test-unit test-slow test-peers test-all test-s3 check bench format clean

.venv/.made:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@touch $@

.venv/.dev: .venv/.made pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: .venv/.dev
	$(BIN)/python examples/kriging.py

test: .venv/.dev
	$(BIN)/python -m pytest -m "not slow and not peers" $(BESIDE)

# What starts no process and opens no socket: half of all tests.
test-unit: .venv/.dev
	$(BIN)/python -m pytest -m "unit and not slow and not peers" $(BESIDE)

# The tests of others, as far as they are installed, run on wrenla.
test-peers: .venv/.dev
	$(BIN)/python -m pytest -m peers tests/peers $(BESIDE)

test-slow: .venv/.dev
	$(BIN)/python -m pytest -m "slow and not peers" $(BESIDE_SLOW)

test-all: test test-slow

# Ceph's S3 gateway, installed by apt-get if it is missing (as root, or by sudo), started for as long as this takes.
test-s3: .venv/.dev
	$(BIN)/python tests/s3/ceph.py $(BIN)/python -m pytest $(S3_TESTS)

check: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/tooling/test_imports.py -q

.venv/.bench: .venv/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

lambda: .venv/.dev
	$(BIN)/python examples/on_lambda.py

bench: .venv/.bench
	$(BIN)/python -m benchmarks

format: .venv/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis out
