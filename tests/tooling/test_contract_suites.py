"""Contract suites: what keeps a contract passes, what breaks it fails where it does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_ENDED = re.compile(r"^(FAILED|ERROR) \S+?::(\w+)::(\w+)", re.MULTILINE)

BROKEN_STORES = """
import pytest
from wrenla.testing import StoreTests
from wrenla_handler.stores.memory import MemoryStore


class Ranges(MemoryStore):
    def get(self, key, start=0, stop=None):
        return super().get(key)

class Creation(MemoryStore):
    def put(self, key, data, *, create=False, durable=False):
        return super().put(key, data)

class Writable(MemoryStore):
    def get(self, key, start=0, stop=None):
        return memoryview(bytearray(super().get(key, start, stop)))

class Missing(MemoryStore):
    def get(self, key, start=0, stop=None):
        return super().get(key, start, stop) if self.exists(key) else memoryview(b"")

class Order(MemoryStore):
    def list(self, prefix=""):
        return reversed(list(super().list(prefix)))

class Etags(MemoryStore):
    def scan(self, prefix=""):
        return (type(info)(info.key, info.nbytes, "same", info.modified) for info in super().scan(prefix))

class Deletion(MemoryStore):
    def delete(self, key):
        if not self.exists(key):
            raise KeyError(key)
        super().delete(key)

class Moves(MemoryStore):
    def move_folder(self, folder, new):
        for key in list(self.list(f"{folder}/")):
            self.move(key, new + key.removeprefix(folder))
        return True

def suite_of(cls):
    class Tests(StoreTests):
        @pytest.fixture
        def store(self):
            return cls()

        @pytest.fixture
        def again(self, store):
            return cls(store.url.removeprefix("memory://"))

    return Tests

TestFine = suite_of(MemoryStore)
for cls in (Ranges, Creation, Writable, Missing, Order, Etags, Deletion, Moves):
    globals()[f"Test{cls.__name__}"] = suite_of(cls)
"""

BROKEN_EXECUTORS = """
from concurrent.futures import Future
from dataclasses import replace
import pytest
import wrenla as wl
from wrenla.testing import ExecutorTests
from wrenla_handler.tiles.reader import Report


class Threads(wl.LocalExecutor):
    def __init__(self):
        super().__init__(2, "thread", allowed_mem="300 MiB")

class Names(Threads):
    def submit(self, fn, /, *args, **kwargs):
        return super().submit(fn, *args)

class Order(Threads):
    def map(self, fn, *iterables, **how):
        found = super().map(fn, *iterables, **how)
        return found if how.get("buffersize") else iter(list(found)[::-1])

class End(Threads):
    def shutdown(self, wait=True, *, cancel_futures=False):
        pass

class Twice(Threads):
    def submit(self, fn, /, *args, **kwargs):
        super().submit(fn, *args, **kwargs)
        return super().submit(fn, *args, **kwargs)

class Idle(Threads):
    def submit_task(self, task, arrays):
        future = Future()
        future.set_result(Report())
        return future

class Bytes(Threads):
    def submit_task(self, task, arrays):
        future = Future()
        future.set_result(replace(super().submit_task(task, arrays).result(), bytes_written=1))
        return future

class Errors(Threads):
    def submit_task(self, task, arrays):
        future = Future()
        try:
            future.set_result(super().submit_task(task, arrays).result())
        except Exception as error:
            future.set_exception(ValueError(str(error)))
        return future

def suite_of(cls):
    class Tests(ExecutorTests):
        @pytest.fixture
        def executor(self):
            made = cls()
            yield made
            Threads.shutdown(made)

    return Tests

TestFine = suite_of(Threads)
for cls in (Names, Order, End, Twice, Idle, Bytes, Errors):
    globals()[f"Test{cls.__name__}"] = suite_of(cls)
"""

BROKEN_ALGORITHMS = """
import numpy as np
from wrenla.testing import AlgorithmTests, Counts


class TestFine(AlgorithmTests):
    tilings = [(8, 4), (21, 8)]
    dtypes = ("float64",)

    def arrays(self, n, dtype):
        return (np.random.default_rng(n).standard_normal((n, n)).astype(dtype),)

    def apply(self, A):
        return A.gram()

    def error(self, G, a):
        return abs(G - a @ a.T).max() / (len(a) * abs(a @ a.T).max() * np.finfo(float).eps)

    def counts(self):
        return [(4 * N, 4, Counts(N * (N + 1) // 2, N**3, 1)) for N in range(1, 5)]

class TestNumbers(TestFine):
    def apply(self, A):
        return A.gram().shift(1e-10)

class TestNaN(TestFine):
    def arrays(self, n, dtype):
        return (np.full((n, n), np.nan),)

class TestCounts(TestFine):
    def counts(self):
        return [(4 * N, 4, Counts(N * N, N**3, 1)) for N in range(1, 5)]
"""


def ended_badly(text: str, folder: Path, *options: str) -> tuple[dict[str, set[str]], str]:
    """Return the tests that failed, by class, and the last line of what pytest says."""
    (folder / "test_it.py").write_text(text)
    environment = {**os.environ, "WRENLA_STORE": str(folder / "store"), "COLUMNS": "400"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-q", "-rfE"]
    run = subprocess.run(
        [*command, "--tb=no", "--color=no", *options, "test_it.py"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    failed: dict[str, set[str]] = {}
    for _, cls, test in _ENDED.findall(run.stdout):
        failed.setdefault(cls.removeprefix("Test"), set()).add(test.removeprefix("test_"))
    return failed, run.stdout.strip().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_examples_of_contributing_pass(tmp_path: Path) -> None:
    """The store, the executor and the algorithm that it shows, tested as it says."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    failed, summary = ended_badly("".join(blocks), tmp_path)
    assert failed == {}, summary
    assert int(re.findall(r"(\d+) passed", summary)[0]) > 150


FAILING = {
    BROKEN_STORES: {
        "Ranges": {"ranges_are_slices", "negative_ranges_are_refused"},
        "Creation": {"create_keeps_what_stands", "sixteen_creators_have_one_winner"},
        "Writable": {"a_view_is_read_only_and_outlives_its_object"},
        "Missing": {"a_missing_object_is_a_key_error"},
        "Order": {"list_is_sorted_and_takes_any_prefix"},
        "Etags": {"an_etag_is_another_one_when_the_content_is"},
        "Deletion": {"delete_is_idempotent"},
        "Moves": {"move_folder_leaves_what_is_there"},
    },
    BROKEN_EXECUTORS: {
        "Names": {"keyword_arguments_of_every_name"},
        "Order": {"map_has_a_result_for_every_input", "map_raises_where_the_result_would_be"},
        "End": {"the_end_waits_for_what_was_submitted", "after_the_end_there_are_no_more_calls"},
        "Twice": {"a_call_returns_what_its_function_does"},
        "Idle": {"matrices_have_the_bits_that_they_have_here"},
        "Bytes": {"every_task_of_a_plan_is_reported_once"},
        "Errors": {"a_matrix_that_has_no_factor_is_told_with_its_minor"},
    },
    BROKEN_ALGORITHMS: {
        "Numbers": {"results_are_within_their_error"},
        "NaN": {"results_are_within_their_error"},
        "Counts": {"plans_count_what_the_formulas_say"},
    },
}
"""What has to fail, of each; the class `TestFine` passes."""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("text", FAILING, ids=["stores", "executors", "algorithms"])
def test_broken_implementations_fail_in_the_tests_named_for_it(text: str, tmp_path: Path) -> None:
    expected = FAILING[text]
    named = set().union(*expected.values())
    failed, summary = ended_badly(text, tmp_path, "-k", " or ".join(named))
    assert failed.keys() == expected.keys(), summary
    assert {cls: missing for cls in expected if (missing := expected[cls] - failed[cls])} == {}
    passed, failures = (int(re.findall(rf"(\d+) {word}", summary)[0]) for word in ("passed", "failed"))
    assert passed > failures, summary
