"""Several calls as one: what it tries again, and what ends it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import slowed
from wrenla.errors import OutOfMemory
from wrenla_handler.calls.chunk import Chunk
from wrenla_handler.calls.messages import Request, Response
from wrenla_handler.calls.runner import Runner
from wrenla_handler.serialize.blobs import Packed, dump, load, pack

INPUTS = [(1,), (2,), (3,)]


def packed(value: object) -> Packed:
    return pack(dump(value), lambda number, part: "")


def answer(function: Callable[[int], Any], limit: float = 0.0, retries: int = 0) -> Response:
    request = Request("a", 1, packed(Chunk(function, retries, True)), packed(((INPUTS,), {})), limit=limit)
    return Runner("someone", bytes).answer(request)


@pytest.mark.parametrize("retries", [0, 2])
@pytest.mark.parametrize("at", [1, 2])
def test_limit_of_chunk_ends_all_its_inputs(retries: int, at: int, tmp_path: Path) -> None:
    """It is that of all inputs together, and strikes once: who goes on has none."""
    began = time.monotonic()

    def function(x: int) -> None:
        with open(tmp_path / "ran", "a") as file:
            file.write(str(x))
        if x >= at:
            time.sleep(20)

    response = answer(function, 0.3, retries)
    assert time.monotonic() - began < slowed(10)
    assert response.ending == "timed out"
    assert "still running after" in str(load(response.value, str.encode).exception())
    assert (tmp_path / "ran").read_text() == "123"[:at]


def test_chunk_within_limit_returns_all_values() -> None:
    response = answer(lambda x: x * x, 20.0)
    assert (response.ending, load(response.value, str.encode)) == ("value", [(True, 1), (True, 4), (True, 9)])


@pytest.mark.parametrize(("error", "runs"), [(ValueError, 3), (MemoryError, 1), (OutOfMemory, 3)])
def test_chunk_retries_exceptions_but_not_out_of_memory(error: type[Exception], runs: int) -> None:
    """An OutOfMemory comes from an executor of its own, and need not come again."""
    ran = []

    def function(x: int) -> int:
        ran.append(x)
        if x == 2:
            raise error("mine")
        return x

    first, (succeeded, failure), last = Chunk(function, 2, True)(INPUTS)
    assert (first, succeeded, last) == ((True, 1), False, (True, 3))
    assert type(failure) is error  # itself, as nobody has to pickle it here
    assert ran == [1] + [2] * runs + [3]
