"""Arguments and functions of many megabytes."""

from __future__ import annotations

import numpy as np
import pytest

from .faulty_calls import WAIT, Stored, pool, private

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("by_value")]


def test_argument_of_20_megabytes(stored: Stored) -> None:
    array = np.arange(20 << 17)
    with pool() as executor:
        assert executor.submit(np.sum, array).result(WAIT) == array.sum()
        assert list(executor.map(np.sum, [array, array[:5]])) == [array.sum(), 10]
        total = executor.map_reduce(np.sum, [array] * 3, sum, fan_in=2)
        assert total.result(WAIT) == 3 * array.sum()
        assert private(stored) == []


def test_closure_of_20_megabytes(stored: Stored) -> None:
    array = np.arange(20 << 17)
    with pool() as executor:
        assert list(executor.map(lambda i: int(array[i]), [1, -1, 2])) == [1, array[-1], 2]
        assert not any("/functions/" in key for key in stored())
        assert private(stored) == []
