"""Contract suites: tests that stores, executors and algorithms of others, and ours, have to pass.

Each is a class for pytest (``pip install wrenla[testing]``) to be subclassed; a fixture says what is tested.
"""

import pytest

pytest.register_assert_rewrite("wrenla.testing.store")

from wrenla.testing.store import StoreTests  # noqa: E402

__all__ = ["StoreTests"]
