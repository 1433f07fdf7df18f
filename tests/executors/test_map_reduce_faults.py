"""`map_reduce` when something fails: its inputs, a call or a reduction."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from tests.waiting import until

from .fault_acts import Ordinary, large
from .faulty_calls import KINDS, WAIT, Stored, pool, private, usable

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("by_value")]


def test_map_reduce_of_inputs_that_fail(tmp_path: Path, stored: Stored) -> None:
    def inputs(executor: wl.LocalExecutor) -> Iterator[int]:
        yield from range(3)
        assert until(lambda: executor.stats().succeeded == 3)
        raise Ordinary("no more")

    with pool() as executor:
        with pytest.raises(Ordinary, match="no more"):
            executor.map_reduce(large, inputs(executor), len)
        usable(executor, tmp_path)
        assert private(stored) == []


def test_map_reduce_cancels_what_has_not_begun(tmp_path: Path, stored: Stored) -> None:
    def inputs(executor: wl.LocalExecutor) -> Iterator[int]:
        yield 0
        assert until(lambda: executor.stats().failed == 1)
        yield from range(1, 30)

    def function(x: int) -> int:
        if x == 0:
            raise Ordinary("at once")
        (tmp_path / f"ran-{x}").touch()
        time.sleep(0.1)
        return x

    with pool() as executor:
        with pytest.raises(Ordinary, match="at once"):
            executor.map_reduce(function, inputs(executor), sum).result(WAIT)
        usable(executor, tmp_path)
        assert len(list(tmp_path.glob("ran-*"))) < 10


@KINDS
@pytest.mark.parametrize("level", [1, 2])
def test_map_reduce_whose_reduction_fails(kind: str, level: int, tmp_path: Path, stored: Stored) -> None:
    def reduce(found: list[Any]) -> Any:
        if len(found[0]) == 1 << (18 + level):
            raise Ordinary("cannot be reduced")
        return np.concatenate(found)

    with pool(kind) as executor:
        future = executor.map_reduce(lambda x: np.ones(1 << 18, np.uint8), range(8), reduce, fan_in=2)
        error = future.exception(WAIT)
        assert type(error) is Ordinary
        usable(executor, tmp_path)
        assert private(stored) == []
