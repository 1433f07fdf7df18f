"""Contract suites: tests that stores, executors and algorithms of others, and ours, have to pass.

Each is a class for pytest (``pip install wrenla[testing]``) to be subclassed; a fixture says what is tested.
"""

import pytest

for _name in ("algorithm", "calls", "executor", "store"):
    pytest.register_assert_rewrite(f"wrenla.testing.{_name}")

from wrenla.testing.algorithm import AlgorithmTests, Counts  # noqa: E402
from wrenla.testing.executor import ExecutorTests  # noqa: E402
from wrenla.testing.store import StoreTests  # noqa: E402

__all__ = ["AlgorithmTests", "Counts", "ExecutorTests", "StoreTests"]
