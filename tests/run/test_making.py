"""Time that goes to making tiles of what is in no store is not time of reading."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import wrenla as wl
from wrenla.run.events import Event, RunFinished, Totals


def slow(i: Any, j: Any) -> Any:
    time.sleep(0.05)
    return np.add.outer(i, 1.0 * j)


def totals(x: wl.BigMatrix) -> Totals:
    events: list[Event] = []
    x.compute(callbacks=[events.append])
    (last,) = (event for event in events if isinstance(event, RunFinished))
    return last.totals


def test_functions_and_arrays_are_made_and_not_read() -> None:
    spent = totals(wl.from_function(slow, (100, 100), tile=50, dtype="float64").gram())
    assert spent.read_seconds < 0.05
    assert 0.2 <= spent.make_seconds <= spent.compute_seconds
    of_array = totals(wl.from_array(np.ones((100, 100)), tile=50).gram())
    assert (of_array.bytes_read, of_array.read_seconds) == (0, 0.0)
    assert 0 < of_array.make_seconds <= of_array.compute_seconds


def test_tiles_of_a_store_are_read(tmp_path: Any) -> None:
    wl.random((100, 100), tile=50).save(f"{tmp_path}/A")
    spent = totals(wl.open(f"{tmp_path}/A").gram())
    assert spent.read_seconds > 0
    assert spent.make_seconds == 0
