"""Faults, one for each row of a table: a call ends with the right result or with the error that names why.

Each row is one function that goes wrong for one input. It is called by `submit`, by `map` and by
`map_reduce`, amid other calls that must not notice; afterwards all workers work, and nothing is stored.
"""

# ruff: noqa: T201

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

import wrenla as wl
from wrenla.errors import (
    IntegrityError,
    Lost,
    NestedCallError,
    NeverStarted,
    OutOfMemory,
    RemoteError,
    RemoteTraceback,
    StoreError,
    TimedOut,
    WorkerDied,
)
from wrenla.executors.call import Call
from wrenla.executors.envelopes import Envelopes
from wrenla.executors.place import Place
from wrenla.executors.processes import Child
from wrenla_handler.call.context import current_call

pytestmark = pytest.mark.timeout(60)

_WAIT = 15.0
"""Seconds after which something hangs."""

_INPUTS, _BAD = range(5), 2
"""The function goes wrong for one of these inputs."""

Stored = Callable[[], list[str]]


@pytest.fixture(autouse=True, scope="module")
def by_value() -> Iterator[None]:
    """Functions of this module travel as those of a script do, so that workers need not import it."""
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    yield
    cloudpickle.unregister_pickle_by_value(module)


@contextlib.contextmanager
def pool(kind: str = "process") -> Iterator[wl.LocalExecutor]:
    """Two workers; when a test fails, what hangs is ended."""
    with wl.LocalExecutor(2, kind, allowed_mem="2 GiB") as made:  # type: ignore[arg-type]
        try:
            yield made
        except BaseException:
            made.calls.stop(grace=0.1)
            raise


# what is called by the rows


def first(folder: Path) -> bool:
    """Tell a function, which has been counted, whether this is its first run."""
    return (folder / "runs").stat().st_size == 1


def place() -> Path:
    """Return the folder in which a function's executor keeps things."""
    store = current_call().open_store()  # type: ignore[union-attr]
    return Path(store.url.removeprefix("file://")).parent


def kill_myself(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dies(folder: Path) -> Any:
    print("last words", flush=True)
    kill_myself()


def dies_once(folder: Path) -> int:
    if first(folder):
        kill_myself()
    return 1


def dies_before_the_answer(folder: Path) -> Any:
    sys.modules["__main__"].write_all = kill_myself  # type: ignore[attr-defined]
    return np.ones(1 << 18)


def closes_its_pipe(folder: Path) -> int:
    os.close(int(sys.argv[1]))
    time.sleep(0.8)
    return 1


def closes_everything(folder: Path) -> int:
    os.closerange(3, 100)
    time.sleep(0.8)
    return 1


def writes(text: bytes, folder: Path) -> int:
    os.write(int(sys.argv[1]), text)
    return 1


def writes_and_stays(text: bytes, folder: Path) -> int:
    os.write(int(sys.argv[1]), text)
    time.sleep(0.5)
    return 1


def hangs(folder: Path) -> None:
    time.sleep(1000)


def hangs_once(folder: Path) -> int:
    if first(folder):
        time.sleep(1000)
    return 1


def hangs_and_does_not_listen(folder: Path) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(1000)


def hangs_in_a_process_of_its_own(folder: Path) -> None:
    process = subprocess.Popen(["sleep", "1000"])
    (folder / "pid").write_text(str(process.pid))
    process.wait()


def stands_still(folder: Path) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


class Unpicklable(Exception):
    def __reduce__(self) -> Any:
        raise TypeError("not me")


class TwoArguments(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


class BrokenText(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError("no text")


class Ordinary(Exception):
    pass


def raises(error: Callable[[], BaseException], folder: Path) -> None:
    raise error()


def raises_twice(folder: Path) -> int:
    if (folder / "runs").stat().st_size < 3:
        raise Ordinary("not yet")
    return 1


def with_note() -> Exception:
    error = Ordinary("see the note")
    error.add_note("a note of mine")
    return error


def group() -> Exception:
    return ExceptionGroup("several", [Ordinary("one"), KeyError("two")])


def exits(folder: Path) -> None:
    sys.exit(3)


def exits_at_once(folder: Path) -> None:
    os._exit(3)


def wants_too_much(folder: Path) -> Any:
    return np.empty(1 << 55, np.uint8)


def may_not_have_it(folder: Path) -> Any:
    limits = resource.getrlimit(resource.RLIMIT_AS)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, limits[1]))
        return bytearray(1 << 31)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def prints(count: int, folder: Path) -> int:
    for _ in range(count // 1000):
        print("x" * 999)
    print("the end")
    return 1


def lets_print(folder: Path) -> int:
    os.system("head -c 10000000 /dev/zero | tr '\\0' y")
    return 1


def logs(folder: Path) -> int:
    logging.getLogger("mine").warning("of interest")
    print("next line")
    return 1


def returns(count: int, folder: Path) -> Any:
    return np.ones(count, np.uint8)


def returns_a_lock(folder: Path) -> Any:
    return threading.Lock()


def cannot_store(folder: Path) -> Any:
    (place() / "results").write_text("a file in place of the folder")
    return np.ones(1 << 18)


def forges(then: Callable[[Path], Any], folder: Path) -> Any:
    """Write an answer in the worker's name, whose value would leave a trace if it was loaded."""
    call = current_call()
    assert call is not None
    path = place() / "outcomes" / f"{call.id}-{call.attempt}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"0" * 64 + b"\n" + b'{"version":1,"kind":"answer","ending":"value"}')
    return then(folder)


# rows


@dataclass(frozen=True)
class Row:
    """One way to go wrong, and what comes of it."""

    name: str
    act: Callable[[Path], Any]
    error: type[BaseException] | tuple[type[BaseException], ...] = ()
    match: str = ""
    endings: tuple[str, ...] = ("value",)
    options: dict[str, Any] = field(default_factory=dict)
    value: Any = 1
    check: Callable[[Any], bool] = lambda error: True
    logs: Callable[[str], bool] = lambda text: True
    within: float = _WAIT

    def __str__(self) -> str:
        return self.name


def remote(error: Any) -> bool:
    """The error came from another process, and says from where."""
    return isinstance(error.__cause__, RemoteTraceback) and "Traceback" in error.__cause__.text


def remote_error(name: str, message: str) -> Callable[[Any], bool]:
    """The error is a stand-in for what cannot be raised here."""
    return lambda error: (
        (error.type_name.rpartition(".")[2], error.message) == (name, message)
        and "Traceback" in error.traceback_text
        and name in error.traceback_text
    )


def shortened(text: str) -> bool:
    return len(text) < 17_000_000 and "left out" in text and text.endswith("the end\n") and text[0] == "x"


_TWICE: dict[str, Any] = {"retries": 2}
_SAFE: dict[str, Any] = {"idempotent": True}
_RECORD: dict[str, Any] = {"record": True}
_HALF: dict[str, Any] = {"timeout": 0.5}

PROCESS_ROWS = [
    # it dies
    Row(
        "killed",
        dies,
        WorkerDied,
        "SIGKILL",
        ("WorkerDied",),
        logs=lambda text: text == "last words\n",
    ),
    Row("killed once", dies_once, endings=("WorkerDied", "value"), options=_SAFE),
    Row("killed always", dies, WorkerDied, "SIGKILL", ("WorkerDied",) * 3, _SAFE),
    Row("killed after", dies_before_the_answer, WorkerDied, "SIGKILL", ("WorkerDied",)),
    Row("killed after, recorded", dies_before_the_answer, options=_RECORD, value=np.ones(1 << 18)),
    # it cannot be heard
    Row("pipe closed", closes_its_pipe, Lost, "pipe", ("Lost",)),
    Row("pipe closed, recorded", closes_its_pipe, options=_RECORD),
    Row("all closed", closes_everything, Lost, "pipe", ("Lost",)),
    Row("garbage", partial(writes, b"garbage!"), Lost, "pipe", ("Lost",)),
    Row("garbage that stays", partial(writes_and_stays, b"garbage!"), Lost, "pipe", ("Lost",)),
    Row("garbage of one byte", partial(writes, b"\x01"), Lost, "pipe", ("Lost",)),
    Row("garbage as frame", partial(writes, b"\0\0\0\5hello"), Lost, "pipe", ("Lost",)),
    Row("garbage as list", partial(writes, b"\0\0\0\2[]"), Lost, "pipe", ("Lost",)),
    Row("garbage of half a frame", partial(writes, b"\3\0\0\0hello"), Lost, "pipe", ("Lost",)),
    Row("garbage, recorded", partial(writes_and_stays, b"garbage!"), options=_RECORD),
    # it does not end
    Row("hangs", hangs, TimedOut, "timeout of 0.5 s", ("TimedOut",), _HALF, within=3),
    Row("deaf", hangs_and_does_not_listen, TimedOut, "timeout", ("TimedOut",), _HALF, within=4),
    Row("stopped", stands_still, TimedOut, "timeout", ("TimedOut",), _HALF, within=4),
    Row("past deadline", hangs, TimedOut, "deadline of 1 s", ("TimedOut",), {"deadline": 1.0}, within=4),
    Row(
        "hangs once",
        hangs_once,
        endings=("TimedOut", "value"),
        options=_SAFE | {"timeout": 0.3, "retries": 1},
    ),
    # it raises
    Row(
        "unpicklable exception",
        partial(raises, partial(Unpicklable, "why")),
        RemoteError,
        "why",
        ("RemoteError",),
        check=remote_error("Unpicklable", "why"),
    ),
    Row(
        "two arguments",
        partial(raises, partial(TwoArguments, "this", "that")),
        RemoteError,
        "this and that",
        ("RemoteError",),
        check=remote_error("TwoArguments", "this and that"),
    ),
    Row(
        "broken text",
        partial(raises, BrokenText),
        (BrokenText, RemoteError),
        endings=("exception",),
        check=lambda error: "BrokenText" in error.__cause__.text and remote(error),
    ),
    Row("ordinary", partial(raises, partial(Ordinary, "why")), Ordinary, "why", ("exception",), check=remote),
    Row(
        "note",
        partial(raises, with_note),
        Ordinary,
        "see the note",
        ("exception",),
        check=lambda error: error.__notes__ == ["a note of mine"],
    ),
    Row(
        "group",
        partial(raises, group),
        ExceptionGroup,
        "several",
        ("exception",),
        check=lambda error: [type(e) for e in error.exceptions] == [Ordinary, KeyError],
    ),
    Row(
        "KeyboardInterrupt",
        partial(raises, KeyboardInterrupt),
        RemoteError,
        "KeyboardInterrupt",
        ("RemoteError",),
    ),
    Row(
        "sys.exit",
        exits,
        RemoteError,
        "SystemExit: 3",
        ("RemoteError",),
        check=remote_error("SystemExit", "3"),
    ),
    Row("os._exit", exits_at_once, WorkerDied, "exit status 3", ("WorkerDied",)),
    Row("retries", raises_twice, endings=("exception", "exception", "value"), options=_TWICE),
    Row("no retries", raises_twice, Ordinary, "not yet", ("exception",)),
    Row("idempotent is no retry", raises_twice, Ordinary, "not yet", ("exception",), _SAFE),
    # it needs too much
    Row("too much memory", wants_too_much, OutOfMemory, "", ("OutOfMemory",), {"retries": 3} | _SAFE),
    Row("no more memory", may_not_have_it, OutOfMemory, "", ("OutOfMemory",), {"retries": 3} | _SAFE),
    Row("prints 10 MB", partial(prints, 10**7), logs=lambda text: len(text) == 10**7 + 8),
    Row("lets print 10 MB", lets_print, logs=lambda text: text == "y" * 10**7),
    Row("prints 40 MB", partial(prints, 4 * 10**7), logs=shortened),
    Row("logs", logs, logs=lambda text: text == "WARNING mine: of interest\nnext line\n"),
    Row("returns 20 MB", partial(returns, 20 << 20), value=np.ones(20 << 20, np.uint8)),
    Row(
        "returns a lock",
        returns_a_lock,
        TypeError,
        "pickle",
        ("exception",),
        check=lambda error: "while pickling the result of the call" in error.__notes__,
    ),
    Row(
        "cannot store",
        cannot_store,
        Lost,
        "could not be stored",
        ("Lost",),
        check=lambda error: isinstance(error.__cause__, StoreError),
    ),
    # somebody else writes its answer
    Row("forged", partial(forges, dies), (IntegrityError, WorkerDied), "", (), _RECORD),
    Row("forged, lost", partial(forges, closes_its_pipe), (IntegrityError, Lost), "", (), _RECORD),
    Row(
        "forged in vain", partial(forges, dies_once), endings=("WorkerDied", "value"), options=_RECORD | _SAFE
    ),
]

THREAD_ROWS = [
    Row(
        "unpicklable exception",
        partial(raises, partial(Unpicklable, "why")),
        Unpicklable,
        "why",
        ("exception",),
    ),
    Row("broken text", partial(raises, BrokenText), BrokenText, "", ("exception",)),
    Row("ordinary", partial(raises, partial(Ordinary, "why")), Ordinary, "why", ("exception",)),
    Row("group", partial(raises, group), ExceptionGroup, "several", ("exception",)),
    Row(
        "KeyboardInterrupt",
        partial(raises, KeyboardInterrupt),
        RemoteError,
        "KeyboardInterrupt",
        ("RemoteError",),
    ),
    Row(
        "sys.exit",
        exits,
        RemoteError,
        "SystemExit: 3",
        ("RemoteError",),
        check=remote_error("SystemExit", "3"),
    ),
    Row("retries", raises_twice, endings=("exception", "exception", "value"), options=_TWICE),
    Row("idempotent is no retry", raises_twice, Ordinary, "not yet", ("exception",), _SAFE),
    Row("too much memory", wants_too_much, OutOfMemory, "", ("OutOfMemory",), {"retries": 3} | _SAFE),
    Row("prints 10 MB", partial(prints, 10**7), logs=lambda text: len(text) == 10**7 + 8),
    Row("logs", logs, logs=lambda text: text == "WARNING mine: of interest\nnext line\n"),
    Row("returns 20 MB", partial(returns, 20 << 20), value=np.ones(20 << 20, np.uint8)),
]


# columns


@dataclass
class Cell:
    """What a call came to: a value or an error; the future, where there is one."""

    value: Any = None
    error: Any = None
    future: wl.Future[Any] | None = None


Way = Callable[[wl.LocalExecutor, Callable[[int], Any]], Cell]


def by_submit(executor: wl.LocalExecutor, function: Callable[[int], Any]) -> Cell:
    future = executor.submit(function, _BAD)
    error = future.exception(_WAIT)
    return Cell(None if error else future.result(), error, future)


def by_map(executor: wl.LocalExecutor, function: Callable[[int], Any]) -> Cell:
    found = list(executor.map(function, _INPUTS, timeout=_WAIT, return_exceptions=True))
    bad = found.pop(_BAD)
    assert found == [x for x in _INPUTS if x != _BAD]
    return Cell(error=bad) if isinstance(bad, Exception) else Cell(bad)


def by_map_reduce(executor: wl.LocalExecutor, function: Callable[[int], Any]) -> Cell:
    future = executor.map_reduce(function, _INPUTS, sum, fan_in=2)
    error = future.exception(_WAIT)
    return Cell(error=error) if error else Cell(future.result() - sum(x for x in _INPUTS if x != _BAD))


WAYS = pytest.mark.parametrize("way", [by_submit, by_map, by_map_reduce], ids=["submit", "map", "map_reduce"])


def faulty(act: Callable[[Path], Any], folder: Path) -> Callable[[int], Any]:
    """Return a function that goes wrong for one input; it counts its runs."""

    def function(x: int) -> Any:
        if x != _BAD:
            return x
        with open(folder / "runs", "a") as file:
            file.write(".")
        return act(folder)

    return function


@pytest.mark.parametrize("row", PROCESS_ROWS, ids=str)
def test_process(row: Row, tmp_path: Path, stored: Stored) -> None:
    check(row, "process", tmp_path, stored)


@pytest.mark.parametrize("row", THREAD_ROWS, ids=str)
def test_thread(row: Row, tmp_path: Path, stored: Stored) -> None:
    check(row, "thread", tmp_path, stored)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_returns_500_megabytes(tmp_path: Path, stored: Stored) -> None:
    count = 500 * 10**6
    row = Row("", partial(returns, count), value=np.ones(count, np.uint8))
    check(row, "process", tmp_path, stored)


def check(row: Row, kind: str, folder: Path, stored: Stored) -> None:
    """Check one row of the table: all its cells, and name those that are wrong."""
    wrong = []
    for way in (by_submit, by_map, by_map_reduce):
        with pool(kind) as executor:
            try:
                check_cell(row, way, executor, folder, stored)
            except Exception as error:
                error.add_note(f"called {way.__name__}")
                wrong.append(error)
                executor.calls.stop(grace=0.1)
        (folder / "runs").unlink(missing_ok=True)
    if wrong:
        raise ExceptionGroup(f"{row.name}: {', '.join(error.__notes__[-1] for error in wrong)}", wrong)


def check_cell(row: Row, way: Way, executor: wl.LocalExecutor, folder: Path, stored: Stored) -> None:
    """Check one cell of the table."""
    before = executor.submit_many(abs, range(-4, 0))
    began = time.monotonic()
    cell = way(executor.options(**row.options), faulty(row.act, folder))
    took = time.monotonic() - began
    after = executor.submit_many(abs, range(-4, 0))
    assert [future.result(_WAIT) for future in before + after] == [4, 3, 2, 1] * 2

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
    assert executor.stats().retries == runs - 1
    if cell.future is not None:
        assert row.logs(cell.future.logs), (len(cell.future.logs), cell.future.logs[-200:])
        endings = tuple(attempt.ending for attempt in cell.future.attempts)
        assert endings == (row.endings or endings)
    assert took < row.within
    usable(executor, folder)
    for path in folder.glob("store/runs/*/results"):
        if path.is_file():  # that was the fault
            path.unlink()
    assert private(stored) == []


def usable(executor: wl.LocalExecutor, folder: Path) -> None:
    """Both workers work: two calls wait for each other."""

    def meet(me: int) -> bool:
        (folder / f"here-{me}").touch()
        deadline = time.monotonic() + 15
        while not (folder / f"here-{1 - me}").exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        return (folder / f"here-{1 - me}").exists()

    try:
        assert list(executor.map(meet, range(2), timeout=_WAIT)) == [True, True]
    finally:
        for path in folder.glob("here-*"):
            path.unlink()


def private(stored: Stored) -> list[str]:
    """What is stored for single calls, as soon as it does not change any more."""
    shared = ("functions", "broadcasts", "modules")

    def found() -> list[str]:
        return [key for key in stored() if key.split("/")[2] not in shared]

    until(lambda: not found(), 2.0)
    return found()


def until(condition: Callable[[], object], seconds: float = _WAIT) -> bool:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def dead(pid: int) -> bool:
    """Tell whether a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


# what does not fit into the table


@WAYS
@pytest.mark.parametrize("noticed", [True, False], ids=["seen", "while it is sent"])
def test_killed_before_the_call(
    noticed: bool, way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pool() as executor:

        def meet(me: int) -> int:
            (tmp_path / f"here-{me}").touch()
            while not (tmp_path / f"here-{1 - me}").exists():
                time.sleep(0.005)
            return os.getpid()

        pids = list(executor.map(meet, range(2)))
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        assert until(lambda: all(map(dead, pids)))
        if not noticed:
            monkeypatch.setattr(Child, "alive", lambda child: True)
        cell = way(executor, faulty(lambda folder: 1, tmp_path))
        assert (cell.value, cell.error) == (1, None)
        if cell.future is not None:
            endings = [attempt.ending for attempt in cell.future.attempts]
            assert endings == (["value"] if noticed else ["NeverStarted", "value"])
            assert cell.future.attempts[0].worker != cell.future.attempts[-1].worker or noticed
        monkeypatch.undo()


@pytest.mark.parametrize("act", [hangs_in_a_process_of_its_own, None], ids=["timeout", "killed"])
def test_what_a_function_has_started_goes_with_it(act: Callable[[Path], None] | None, tmp_path: Path) -> None:
    def starts_and_dies(folder: Path) -> None:
        (folder / "pid").write_text(str(subprocess.Popen(["sleep", "1000"]).pid))
        kill_myself()

    with pool() as executor:
        error = executor.options(timeout=0.5).submit(act or starts_and_dies, tmp_path).exception(_WAIT)
        assert isinstance(error, TimedOut if act else WorkerDied)
        assert until(lambda: dead(int((tmp_path / "pid").read_text())), 3)


def block(executor: wl.LocalExecutor, folder: Path) -> tuple[list[wl.Future[None]], Callable[[], None]]:
    """Occupy both workers; return the blocking calls and what ends them."""

    def wait(me: int) -> None:
        (folder / f"waiting-{me}").touch()
        while not (folder / "go").exists():
            time.sleep(0.005)

    blockers = executor.submit_many(wait, range(2))
    assert until(lambda: all((folder / f"waiting-{me}").exists() for me in range(2)))
    return blockers, (folder / "go").touch


KINDS = pytest.mark.parametrize("kind", ["process", "thread"])


@KINDS
def test_deadline_in_the_queue(kind: str, tmp_path: Path) -> None:
    with pool(kind) as executor:
        blockers, go = block(executor, tmp_path)
        late = executor.options(deadline=0.3).submit(abs, -1)
        patient = executor.submit(abs, -2)
        began = time.monotonic()
        error = late.exception(_WAIT)
        assert isinstance(error, NeverStarted)
        assert "deadline of 0.3 s" in str(error)
        assert late.attempts == ()
        assert time.monotonic() - began < 2
        go()
        assert patient.result(_WAIT) == 2
        assert [future.result(_WAIT) for future in blockers] == [None, None]
        assert executor.stats().failed == 1


@KINDS
def test_timeout_does_not_count_in_the_queue(kind: str, tmp_path: Path) -> None:
    with pool(kind) as executor:
        _, go = block(executor, tmp_path)
        future = executor.options(timeout=0.5).submit(abs, -1)
        time.sleep(0.8)
        go()
        assert future.result(_WAIT) == 1
        assert future.stats.waited > 0.7
        assert len(future.attempts) == 1


@WAYS
@pytest.mark.parametrize(
    "options", [{"timeout": 0.3}, {"deadline": 0.5}], ids=lambda options: next(iter(options))
)
def test_timeout_of_a_thread(options: dict[str, float], way: Way, tmp_path: Path) -> None:
    end = threading.Event()
    try:
        with pool("thread") as executor:
            began = time.monotonic()
            cell = way(executor.options(**options), faulty(lambda folder: end.wait(30), tmp_path))
            assert isinstance(cell.error, TimedOut)
            assert time.monotonic() - began < 3
            usable(executor, tmp_path)
            assert executor.stats().workers == 2
            if cell.future is not None:
                assert [attempt.ending for attempt in cell.future.attempts] == ["TimedOut"]
    finally:
        end.set()


def test_exception_of_a_local_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "faults_of_mine.py").write_text(
        "class Mine(Exception):\n    pass\ndef fail(x):\n    raise Mine(x)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import faults_of_mine

    try:
        with pool() as executor:
            error = executor.submit(faults_of_mine.fail, 3).exception(_WAIT)
        assert type(error) is faults_of_mine.Mine
        assert error.args == (3,)
        assert remote(error)
        assert "faults_of_mine.py" in str(error.__cause__)
    finally:
        del sys.modules["faults_of_mine"]


@KINDS
@pytest.mark.parametrize("chunksize", [1, 3])
@pytest.mark.parametrize("ordered", [True, False])
def test_the_first_error_ends_a_map(kind: str, chunksize: int, ordered: bool, tmp_path: Path) -> None:
    def function(x: int) -> int:
        if x == 4:
            raise Ordinary(x)
        return x

    with pool(kind) as executor:
        found = executor.map(function, range(100), chunksize=chunksize, ordered=ordered)
        with pytest.raises(Ordinary, match="4"):
            list(found)
        usable(executor, tmp_path)


# what is large


def test_argument_of_20_megabytes(stored: Stored) -> None:
    array = np.arange(20 << 17)
    with pool() as executor:
        assert executor.submit(np.sum, array).result(_WAIT) == array.sum()
        assert list(executor.map(np.sum, [array, array[:5]])) == [array.sum(), 10]
        total = executor.map_reduce(np.sum, [array] * 3, sum, fan_in=2)
        assert total.result(_WAIT) == 3 * array.sum()
        assert private(stored) == []


def test_closure_of_20_megabytes(stored: Stored) -> None:
    array = np.arange(20 << 17)
    with pool() as executor:
        assert list(executor.map(lambda i: int(array[i]), [1, -1, 2])) == [1, array[-1], 2]
        assert sum("/functions/" in key for key in stored()) == 1
        assert private(stored) == []


# bytes that somebody else has written


class Trap:
    """Leaves a trace when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def tamper(pattern: str, folder: Path) -> None:
    """Put a trap in place of an object, of the same length."""
    paths = [path for path in folder.glob(f"store/runs/calls-*/{pattern}") if path.is_file()]
    assert paths
    trap = pickle.dumps(Trap(folder / "trapped"))
    for path in paths:
        size = path.stat().st_size
        path.write_bytes(trap.ljust(size, b"\0"))
        assert path.stat().st_size == size


def large(x: int) -> bytes:
    return bytes(1 << 20)


def tampered_argument(executor: wl.LocalExecutor, folder: Path) -> wl.Future[Any]:
    _, go = block(executor, folder)
    future = executor.submit(len, bytes(1 << 20))
    tamper("arguments/*", folder)
    go()
    return future


def tampered_function(executor: wl.LocalExecutor, folder: Path) -> wl.Future[Any]:
    _, go = block(executor, folder)
    text = bytes(1 << 20)
    future = executor.submit(lambda: len(text))
    tamper("functions/*", folder)
    go()
    return future


def tampered_broadcast(executor: wl.LocalExecutor, folder: Path) -> wl.Future[Any]:
    ref = executor.broadcast(bytes(1 << 20))
    tamper("broadcasts/*", folder)
    return executor.submit(len, ref)  # type: ignore[arg-type]


def tampered_result(executor: wl.LocalExecutor, folder: Path) -> wl.Future[Any]:
    return executor.submit(large, 0)


def tampered_between(executor: wl.LocalExecutor, folder: Path) -> wl.Future[Any]:
    return executor.map_reduce(large, range(2), len)


@pytest.mark.parametrize(
    "submit",
    [tampered_argument, tampered_function, tampered_broadcast, tampered_result, tampered_between],
    ids=["argument", "function", "broadcast", "result", "intermediate result"],
)
def test_tampered(
    submit: Callable[[wl.LocalExecutor, Path], wl.Future[Any]],
    tmp_path: Path,
    stored: Stored,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fetch, gathered = Place.fetch, Envelopes.gathered

    def tamper_and_fetch(place: Place, key: str) -> Any:
        tamper(key, tmp_path)
        return fetch(place, key)

    def tamper_and_gather(carrier: Envelopes, results: Any) -> Any:
        tamper("results/*", tmp_path)
        return gathered(carrier, results)

    if submit is tampered_result:
        monkeypatch.setattr(Place, "fetch", tamper_and_fetch)
    if submit is tampered_between:
        monkeypatch.setattr(Envelopes, "gathered", tamper_and_gather)
    with pool() as executor:
        future = submit(executor, tmp_path)
        error = future.exception(_WAIT)
        assert isinstance(error, IntegrityError), repr(error)
        assert "not loaded" in str(error)
        assert not (tmp_path / "trapped").exists()
        assert [attempt.ending for attempt in future.attempts] in ([], ["IntegrityError"])
        monkeypatch.undo()
        assert executor.submit(len, bytes(1 << 20)).result(_WAIT) == 1 << 20
        usable(executor, tmp_path)
        assert private(stored) == []


def test_a_trap_would_work(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Trap(tmp_path / "trapped")) + bytes(100))
    assert (tmp_path / "trapped").exists()


# stragglers


@KINDS
def test_straggler(kind: str, tmp_path: Path) -> None:
    end = threading.Event()

    def function(x: int) -> int:
        if x == 7 and not (tmp_path / "began").exists():
            (tmp_path / "began").touch()
            if kind == "thread":
                end.wait(60)
            else:
                time.sleep(60)
        return x

    if kind == "process":
        del end  # it could not travel
    with pool(kind) as executor:
        began = time.monotonic()
        futures = executor.options(idempotent=True).submit_many(function, range(20))
        assert [future.result(_WAIT) for future in futures] == list(range(20))
        assert time.monotonic() - began < 10
        assert executor.stats().copies == 1
        assert executor.stats().retries == 0
        slow = futures[7].attempts
        if kind == "thread":
            end.set()
        assert until(lambda: all(attempt.ending for attempt in slow), 5)
        assert {attempt.ending for attempt in slow} == {"Superseded", "value"}
        assert [attempt.copy for attempt in slow] == [False, True]
        assert all(len(future.attempts) == 1 for future in futures if future is not futures[7])
        usable(executor, tmp_path)


@KINDS
def test_no_copy_of_what_may_not_run_twice(kind: str) -> None:
    with pool(kind) as executor:
        list(executor.map(lambda x: time.sleep(1.5 * (x == 7)), range(20)))
        assert (executor.stats().copies, executor.stats().attempts) == (0, 20)


def test_a_copy_takes_over_when_the_first_one_dies(tmp_path: Path, stored: Stored) -> None:
    """Both attempts store a large result or die; one of them counts, and nothing is left of the other."""

    def function(x: int) -> Any:
        if x == 7 and not (tmp_path / "began").exists():
            (tmp_path / "began").touch()
            while not (tmp_path / "copy").exists():
                time.sleep(0.005)
            kill_myself()
        elif x == 7:
            (tmp_path / "copy").touch()
            time.sleep(0.5)
        return np.full(1 << 18, x)

    with pool() as executor:
        found = list(executor.options(idempotent=True).map(function, range(20), timeout=_WAIT))
        assert [int(array[-1]) for array in found] == list(range(20))
        usable(executor, tmp_path)
        assert private(stored) == []


# calls that ask for calls


@WAYS
def test_nested_in_a_process(way: Way, tmp_path: Path) -> None:
    def act(folder: Path) -> Any:
        import wrenla

        return list(wrenla.default_executor().map(abs, [1]))

    with pool() as executor:
        cell = way(executor, faulty(act, tmp_path))
        assert isinstance(cell.error, NestedCallError), repr(cell.error)
        usable(executor, tmp_path)


@WAYS
def test_nested_in_a_thread(way: Way, tmp_path: Path) -> None:
    with pool("thread") as executor:
        cell = way(executor, faulty(lambda folder: executor.submit(abs, 1), tmp_path))
        assert isinstance(cell.error, NestedCallError), repr(cell.error)
        cell = way(executor, faulty(lambda folder: executor.broadcast(1), tmp_path))
        assert isinstance(cell.error, NestedCallError), repr(cell.error)
        usable(executor, tmp_path)


@WAYS
def test_an_executor_does_not_travel(way: Way, tmp_path: Path) -> None:
    with pool() as executor:
        with pytest.raises(TypeError, match="cannot travel"):
            way(executor, faulty(lambda folder: executor.submit(abs, 1), tmp_path))
        assert executor.stats().submitted == 0
        usable(executor, tmp_path)


# `map_reduce` when something fails


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
            executor.map_reduce(function, inputs(executor), sum).result(_WAIT)
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
        error = future.exception(_WAIT)
        assert type(error) is Ordinary
        usable(executor, tmp_path)
        assert private(stored) == []


def test_a_call_that_fails_between_others_is_counted() -> None:
    with pool() as executor:
        futures = [executor.submit(divmod, x, y) for x, y in itertools.product(range(3), range(2))]
        failed = [isinstance(future.exception(_WAIT), ZeroDivisionError) for future in futures]
        stats = executor.stats()
        assert failed == [True, False] * 3
        assert (stats.submitted, stats.succeeded, stats.failed) == (6, 3, 3)


def test_an_error_of_ours_ends_the_call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever goes wrong in the driver itself, the future ends and the lane goes on."""

    def broken(carrier: Envelopes, call: Call, *_: object) -> None:
        raise Ordinary("in the driver")

    with pool() as executor:
        monkeypatch.setattr(Envelopes, "read", lambda *_: broken(*_))
        assert isinstance(executor.submit(abs, 1).exception(_WAIT), Ordinary)
        monkeypatch.undo()
        usable(executor, tmp_path)


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (dies, WorkerDied),
        (exits, RemoteError),
        (partial(writes, b"garbage!"), Lost),
        (partial(raises, Ordinary), Ordinary),
    ],
    ids=["killed", "sys.exit", "garbage", "exception"],
)
def test_among_many_short_calls(
    act: Callable[[Path], Any], error: type[Exception], tmp_path: Path, stored: Stored
) -> None:
    """Calls that were sent ahead of time run once each, whatever happens to the one before them.

    If the answer of that one makes no sense, it is not known which of those behind it have begun.
    """

    def function(x: int) -> int:
        with open(tmp_path / f"ran-{os.getpid()}", "a") as file:
            file.write(f"{x}\n")
        return act(tmp_path) if x in (150, 151, 250) else x

    with pool() as executor:
        found = list(executor.map(function, range(400), return_exceptions=True, timeout=_WAIT))
        ran = [int(line) for path in tmp_path.glob("ran-*") for line in path.read_text().split()]
        failed = [x for x, y in enumerate(found) if x != y]
        assert len(ran) == len(set(ran))
        assert set(range(400)) - set(ran) <= (set(failed) if error is Lost else set())
        assert failed == [150, 151, 250] or (error is Lost and {150, 250} <= set(failed) and len(failed) < 40)
        assert {type(found[x]) for x in failed} == {error}
        assert executor.stats().retries == 0
        usable(executor, tmp_path)
        assert private(stored) == []
