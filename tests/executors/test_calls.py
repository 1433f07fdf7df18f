"""Calls: submit, map, and what they give back."""

from __future__ import annotations

import wrenla as wl


def test_the_first_one(executor: wl.LocalExecutor) -> None:
    assert list(executor.map(lambda x: x + 1, range(5))) == [1, 2, 3, 4, 5]
    assert executor.submit(int, "11", base=2).result() == 3
