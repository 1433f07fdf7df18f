"""How far a `map` is, as it is shown."""

from __future__ import annotations

import gc
import io
import itertools
import threading
import time
from typing import Any

import pytest
from rich.console import Console

import wrenla as wl
from tests.waiting import until, until_idle
from wrenla.executors.map_api import executor as calling
from wrenla.progress_bar import pictures as showing


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Any:
    yield
    assert until(lambda: not [each for each in threading.enumerate() if each.name == "wrenla-progress"])


@pytest.fixture(scope="module")
def pool() -> Any:
    with wl.LocalExecutor(2, "thread", allowed_mem="300 MiB") as made:
        list(made.map(time.sleep, [0.1] * 4))  # its threads are there before the tests begin
        yield made


def odd(x: int) -> int:
    if x % 5 == 3:
        raise ValueError(x)
    return x


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [line.partition(", in ")[0] for line in captured.err.splitlines()]


def test_lines_where_there_is_no_terminal(pool: wl.LocalExecutor, capsys: pytest.CaptureFixture[str]) -> None:
    ways: list[dict[str, Any]] = [
        {},
        {"chunksize": 3},
        {"ordered": False},
        {"buffersize": 4},
        {"chunksize": 3, "buffersize": 6},
    ]
    for how in ways:
        assert len(list(pool.map(odd, range(20), progress=True, return_exceptions=True, **how))) == 20
        assert lines(capsys) == [
            "wrenla: 20 calls of odd on 2 workers",
            "wrenla: 20/20 calls, 4 failed",
        ], how
    list(pool.map(pow, iter(range(4)), itertools.repeat(2), progress=True))
    assert lines(capsys) == ["wrenla: calls of pow on 2 workers", "wrenla: 4/4 calls"]
    list(pool.map(odd, [1], progress=True))
    assert lines(capsys)[0] == "wrenla: 1 call of odd on 2 workers"


def test_nothing_unless_asked_for(
    pool: wl.LocalExecutor, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    list(pool.map(abs, range(3)))
    list(pool.map(abs, range(3), progress=False))
    assert lines(capsys) == []
    monkeypatch.setenv("WRENLA_PROGRESS", "true")
    list(pool.map(abs, range(3)))
    assert lines(capsys)[-1] == "wrenla: 3/3 calls"
    list(pool.map(abs, range(3), progress=False))
    assert lines(capsys) == []
    with pytest.raises(TypeError, match="progress='yes': True, False or None"):
        pool.map(abs, [1], progress="yes")  # type: ignore[arg-type]


def test_progress_line_ends_with_the_map(
    pool: wl.LocalExecutor, capsys: pytest.CaptureFixture[str], gate: Any
) -> None:
    """By a break, an exception, or when the last call has ended whose results nobody wants."""
    release = threading.Event()
    taken = pool.map(lambda x: x and release.wait(20), [0, 1, 1, 1, 1], progress=True)
    next(taken)
    taken.close()  # type: ignore[attr-defined]
    assert lines(capsys)[-1].startswith("wrenla: ")
    release.set()
    until_idle(pool)
    with pytest.raises(ValueError):
        list(pool.map(odd, [3, 1], progress=True, chunksize=2))
    assert lines(capsys)[-1].startswith("wrenla: 2/2 calls, 1 failed, 1 cancelled")
    pool.map(abs, range(7), progress=True)
    pool.map(abs, itertools.count(), progress=True, buffersize=3)
    gc.collect()
    shown: list[str] = []
    last = {"wrenla: 7/7 calls", "wrenla: 3/3 calls"}
    assert until(lambda: shown.extend(lines(capsys)) or last <= {*shown})
    another = wl.LocalExecutor(1, "thread", allowed_mem="300 MiB")
    another.shutdown()
    with pytest.raises(RuntimeError, match="shutdown"):
        another.map(abs, [1], progress=True)
    assert lines(capsys)[-1] == "wrenla: 0/0 calls"


def test_a_bar_on_a_terminal(pool: wl.LocalExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showing, "_BAR_EVERY", 0.01)
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, legacy_windows=False)
    monkeypatch.setattr(calling, "picture_for", lambda wanted: showing.picture_for(wanted, console))
    release = threading.Event()
    taken = pool.map(lambda x: x and release.wait(20), [0, 0, 1, 1], progress=True)
    assert until(lambda: "2/4 calls, 0:00 left" in out.getvalue())
    release.set()
    list(taken)
    assert "4/4 calls, in " in out.getvalue()
    assert out.getvalue().count("\x1b[?25l") == out.getvalue().count("\x1b[?25h") == 1  # the cursor
