"""Calls on the stub whose function has ended, which answers look like those that were lost."""

from __future__ import annotations

import time

import pytest

from tests.waiting import slowed
from wrenla.errors import Lost, WorkerDied

from .conftest import Make
from .stub import Endpoint, called

_WAIT = 30.0


@pytest.mark.parametrize("error", [Lost, WorkerDied])
@pytest.mark.parametrize("retries", [0, 1])
def test_errors_of_ours_that_the_function_raises(
    error: type[Exception], retries: int, stub: Endpoint, make: Make
) -> None:
    """It has answered, so there is no other answer to wait for."""

    def function() -> None:
        raise error("mine")

    stub.answer = called
    future = make().options(record=True, retries=retries).submit(function)
    began = time.monotonic()
    found = future.exception(_WAIT)
    assert time.monotonic() - began < slowed(8)
    assert (type(found), str(found)) == (error, "mine")
    assert len(future.attempts) == 1 + retries
