"""A failed map says which input it was."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla.executors.map_api.failed_inputs import short


class Broken:
    def __repr__(self) -> str:
        raise ValueError("no")


class Sized:
    def __len__(self) -> int:
        return 7

    def __repr__(self) -> str:
        raise AssertionError("all of it would be brought here")


SHORT: list[tuple[Any, str]] = [
    (3, "3"),
    ("data/00777.json", "'data/00777.json'"),
    (np.zeros((300, 400)), "<ndarray (300, 400) of float64>"),
    (np.float64(2.5), "np.float64(2.5)"),
    (wl.eye(5), "<BigMatrix (5, 5)>"),
    (Sized(), "<Sized of length 7>"),
    ([Sized(), 1], "[<Sized of length 7>, 1]"),
    (b"z" * 500, "b'zzzzzzzzzzzzzzzzzzzz'… (500 bytes)"),
    (list(range(1000)), "[0, 1, 2, 3, ...]"),
    ("two\nlines", "'two\\nlines'"),
]


def test_inputs_are_shown_in_short() -> None:
    assert [short(value) for value, _ in SHORT] == [shown for _, shown in SHORT]
    for value in (
        Broken(),
        "x" * 10**6,
        dict.fromkeys(range(100), "y" * 100),
        [[[[[[1] * 9] * 9] * 9] * 9] * 9],
    ):
        assert 5 < len(short(value)) <= 80


def fail(x: Any, *more: Any) -> Any:
    if isinstance(x, list):
        x.clear()  # the note is about what was given
    raise KeyError("boom")


def seventh(x: int) -> int:
    if x == 7:
        raise ValueError("seven")
    return x


SAME = ValueError("the same object each time")


def same(x: int) -> None:
    raise SAME


def of(run: Callable[[], Any]) -> list[str]:
    with pytest.raises(Exception, match=r"boom|seven|ended") as caught:
        run()
    return caught.value.__notes__


@pytest.fixture(scope="module", params=["process", "thread"])
def pool(request: pytest.FixtureRequest) -> Iterator[wl.LocalExecutor]:
    """Two workers of each kind."""
    with wl.LocalExecutor(2, request.param, allowed_mem="300 MiB", logs="quiet") as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_left() -> None:
    """These executors outlive a test."""


def test_failed_input_is_noted_by_each_way_to_map(pool: wl.LocalExecutor) -> None:
    seven = ["input 7: 7"]
    assert of(lambda: list(pool.map(seventh, range(9)))) == seven
    assert of(lambda: list(pool.map(seventh, range(9), chunksize=3))) == seven
    assert of(lambda: list(pool.map(seventh, range(9), ordered=False))) == seven
    assert of(lambda: list(pool.map(seventh, iter(range(9)), buffersize=2))) == seven
    assert of(lambda: pool.map_reduce(seventh, range(9), sum).result()) == seven
    assert of(lambda: pool.submit_many(seventh, range(9))[7].result()) == seven
    assert of(lambda: list(pool.map(fail, [1], ["b"]))) == ["input 0: (1, 'b')"]
    for chunksize in (1, 4):
        found = list(pool.map(seventh, range(9), chunksize=chunksize, return_exceptions=True))
        assert [getattr(each, "__notes__", None) for each in found] == [*([None] * 7), seven, None]
        errors = list(pool.map(same, range(3), chunksize=chunksize, return_exceptions=True))
        assert all(len(error.__notes__) == 1 for error in errors)  # type: ignore[attr-defined]
    assert not hasattr(pool.submit(fail, 1).exception(), "__notes__")


def test_large_or_changed_input_is_noted_in_short() -> None:
    with wl.LocalExecutor(1, allowed_mem="300 MiB") as executor:
        assert of(lambda: list(executor.map(fail, [[1, 2]]))) == ["input 0: [1, 2]"]
        assert of(lambda: list(executor.map(fail, [np.ones(10**6)]))) == [
            "input 0: <ndarray (1000000,) of float64>"
        ]
        assert of(lambda: list(executor.map(os._exit, [3, 4]))) == ["input 0: 3"]
        assert of(lambda: list(executor.map(os._exit, [3, 4], chunksize=2))) == ["one of the inputs 0 to 1"]
