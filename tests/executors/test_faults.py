"""Faults, one for each row of a table: a call ends with the right result or with the error that names why.

Each row is one function that goes wrong for one input. It is called by `submit`, by `map` and by
`map_reduce`, or by one of them if there is a row much like it, amid other calls that must not notice;
afterwards all workers work, and nothing is stored.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import wrenla as wl
from tests.waiting import slowed, without_copies
from wrenla.errors import OutOfMemory

from . import faulty_calls
from .fault_acts import returns
from .fault_rows import PROCESS_ROWS, THREAD_ROWS, Row
from .faulty_calls import WAIT, Stored, Way, by_map, by_map_reduce, by_submit, faulty, pool, private, usable

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("by_value")]

LIKE_OTHERS: dict[str, Way] = {
    "killed always": by_submit,
    "killed after, not recorded": by_submit,
    "all closed": by_map,
    "garbage that stays": by_submit,
    "garbage of one byte": by_map,
    "garbage as frame": by_map_reduce,
    "garbage as list": by_map,
    "garbage of half a frame": by_map_reduce,
    "deaf": by_map_reduce,
    "stopped": by_map,
    "past deadline": by_map,
    "hangs once": by_submit,
    "no more memory": by_map_reduce,
    "lets print 10 MB": by_submit,
    "prints 40 MB": by_submit,
}
"""How those rows of processes are called that take long and end like one that is called in all ways.

They run with the slow tests, but for those that alone reach some lines.
"""

EVERY_DAY = {"past deadline", "lets print 10 MB"}


def test_rows_like_others_are_rows() -> None:
    assert LIKE_OTHERS.keys() < {row.name for row in PROCESS_ROWS}


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, marks=[pytest.mark.slow] if row.name in LIKE_OTHERS.keys() - EVERY_DAY else [])
        for row in PROCESS_ROWS
    ],
    ids=str,
)
def test_process(row: Row, tmp_path: Path, stored: Stored) -> None:
    check(row, "process", tmp_path, stored)


@pytest.mark.parametrize("row", THREAD_ROWS, ids=str)
def test_thread(row: Row, tmp_path: Path, stored: Stored) -> None:
    check(row, "thread", tmp_path, stored)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_returns_500_megabytes(tmp_path: Path, stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faulty_calls, "WAIT", 90.0)
    count = 500 * 10**6
    row = Row("", partial(returns, count), value=np.ones(count, np.uint8), within=90)
    check(row, "process", tmp_path, stored)


def check(row: Row, kind: str, folder: Path, stored: Stored) -> None:
    """Check one row of the table: all its cells, and name those that are wrong."""
    wrong = []
    ways: list[Way] = [by_submit, by_map, by_map_reduce]
    if kind == "process" and row.name in LIKE_OTHERS:
        ways = [LIKE_OTHERS[row.name]]
    while ways:
        with pool(kind) as executor:  # one for all: what a fault does to it must not reach the next call
            without_copies(executor)
            try:
                while ways:
                    way = ways.pop(0)
                    check_cell(row, way, executor, folder, stored)
                    (folder / "runs").unlink(missing_ok=True)
            except Exception as error:
                error.add_note(f"called {way.__name__}")
                wrong.append(error)
                executor.calls.stop(grace=0.1)
        (folder / "runs").unlink(missing_ok=True)
    if wrong:
        raise ExceptionGroup(f"{row.name}: {', '.join(error.__notes__[-1] for error in wrong)}", wrong)


def check_cell(row: Row, way: Way, executor: wl.LocalExecutor, folder: Path, stored: Stored) -> None:
    """Check one cell of the table."""
    retries = executor.stats().retries
    before = executor.submit_many(abs, range(-4, 0))
    began = time.monotonic()
    cell = way(executor.options(**row.options), faulty(row.act, folder))
    took = time.monotonic() - began
    after = executor.submit_many(abs, range(-4, 0))
    assert [future.result(WAIT) for future in before + after] == [4, 3, 2, 1] * 2

    if row.error:
        assert isinstance(cell.error, row.error), repr(cell.error)
        assert not row.match or row.match in str(cell.error)
        assert row.error is not OutOfMemory or isinstance(cell.error, MemoryError)
        assert row.check(cell.error), (repr(cell.error), cell.error.__cause__)
    else:
        assert cell.error is None, repr(cell.error)
        assert np.array_equal(cell.value, row.value)
    runs = max(1, len(row.endings))
    assert (folder / "runs").stat().st_size == runs
    assert executor.stats().retries - retries == runs - 1
    if cell.future is not None:
        assert row.logs(cell.future.logs), (len(cell.future.logs), cell.future.logs[-200:])
        endings = tuple(attempt.ending for attempt in cell.future.attempts)
        assert endings == (row.endings or endings)
    assert took < slowed(row.within)
    usable(executor, folder)
    for path in folder.glob("store/wrenla-runs/*/results"):
        if path.is_file():  # that was the fault
            path.unlink()
    assert private(stored) == []
