"""Equal values that are broadcast several times: stored as one, and deleted with the last of them."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest

import wrenla as wl
from wrenla_handler.errors import StoreError


@pytest.fixture
def broadcasts(stored: Callable[[], list[str]]) -> Callable[[], int]:
    """How many objects of broadcast values are stored now."""
    return lambda: sum("/broadcasts/" in key for key in stored())


def test_deleting_one_leaves_the_others(executor: wl.LocalExecutor, broadcasts: Callable[[], int]) -> None:
    value = np.random.default_rng().random(100_000)
    first, second, third = (executor.broadcast(value) for _ in range(3))
    stored = broadcasts()
    first.delete()
    first.delete()  # once more changes nothing
    assert broadcasts() == stored
    assert executor.submit(np.sum, second).result(timeout=20) == value.sum()
    second.delete()
    assert executor.submit(np.sum, third).result(timeout=20) == value.sum()
    np.testing.assert_array_equal(third.get(), value)
    third.delete()
    assert broadcasts() == 0
    with pytest.raises(StoreError, match="has been deleted"):
        third.get()


def test_broadcast_of_deleted_value_is_stored_again(
    executor: wl.LocalExecutor, broadcasts: Callable[[], int]
) -> None:
    value = np.random.default_rng().random(100_000)
    for _ in range(3):
        ref = executor.broadcast(value)
        assert executor.submit(np.sum, ref).result(timeout=20) == value.sum()
        ref.delete()
        assert broadcasts() == 0


def test_a_reference_that_has_travelled_still_deletes(
    executor: wl.LocalExecutor, broadcasts: Callable[[], int]
) -> None:
    ref = executor.broadcast(np.random.default_rng().random(100_000))
    copy = pickle.loads(pickle.dumps(ref))
    assert repr(copy) == repr(ref)
    copy.delete()
    assert broadcasts() == 0
    ref.delete()


def test_values_that_share_a_part(executor: wl.LocalExecutor, broadcasts: Callable[[], int]) -> None:
    array = np.random.default_rng().random(100_000)
    alone, among = executor.broadcast(array), executor.broadcast({"table": array, "name": "x" * 5000})
    among.delete()
    assert executor.submit(np.sum, alone).result(timeout=20) == array.sum()
    alone.delete()
    assert broadcasts() == 0


def test_deleting_after_the_end_of_the_executor() -> None:
    with wl.LocalExecutor(1, "thread", allowed_mem="300 MiB") as executor:
        refs = [executor.broadcast(np.arange(100_000.0)) for _ in range(2)]
    for ref in refs:
        ref.delete()
