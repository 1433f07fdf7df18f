"""The function's entry point: calls, tile tasks and pings, and what it says to anything else."""

from __future__ import annotations

import importlib.metadata
import io
import json
import logging
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.waiting import slowed
from wrenla_handler import lambda_entry
from wrenla_handler.calls import broadcast
from wrenla_handler.calls.failure import Failure
from wrenla_handler.calls.messages import Request, Response
from wrenla_handler.errors import EventError, IntegrityError, MissingTileError
from wrenla_handler.linalg_errors import NotPositiveDefiniteError
from wrenla_handler.serialize.blobs import Blob, Packed, dump, load, pack
from wrenla_handler.stores.urls import open_store
from wrenla_handler.tiles.arrays import ArraySpec, FunctionArray, StoredArray, TileRef
from wrenla_handler.tiles.buffers import empty_tile
from wrenla_handler.tiles.grid import Grid
from wrenla_handler.tiles.layout import tile_key
from wrenla_handler.tiles.messages import TaskAnswer, TaskRequest
from wrenla_handler.tiles.sources import as_bytes, function_key
from wrenla_handler.tiles.task import Finish, Read, Task, Term
from wrenla_handler.tiles.worker import Report

Make = Callable[..., lambda_entry._Environment]


class Context:
    """Lambda's, of which only the time that is left is of interest."""

    def __init__(self, seconds: float = 60.0) -> None:
        self._until = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(1000 * (self._until - time.monotonic()))


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Make execution environments; what they change in this process is as before in the end."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    made: list[lambda_entry._Environment] = []
    monkeypatch.setattr(broadcast._values.known, "nbytes", broadcast._values.known.nbytes)
    levels = {name: logging.getLogger(name).level for name in ("", "boto3", "botocore", "urllib3")}
    streams, handlers = (sys.stdout, sys.stderr), list(logging.getLogger().handlers)

    def environment(memory: int = 0) -> lambda_entry._Environment:
        variables = {"TMPDIR": str(folder), "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/01/[$LATEST]abc"}
        if memory:
            variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] = str(memory)
        made.append(lambda_entry._Environment(variables))  # type: ignore[arg-type]
        monkeypatch.setattr(lambda_entry, "_environment", lambda: made[-1])
        return made[-1]

    yield environment
    sys.stdout, sys.stderr = streams
    logging.getLogger().handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    for each in reversed(made):
        each._threads.__exit__(None, None, None)
        each._callee.close()
        each._worker.close()
    assert list(folder.iterdir()) == []


def packed(value: Any) -> Packed:
    return pack(dump(value), lambda number, part: "", inline=1 << 30)


def call(of: Any, /, *positional: Any, **more: Any) -> dict[str, Any]:
    """Return the event of a call."""
    request = Request("c-1", 1, packed(of), packed((positional, {})))
    for name, value in more.items():
        setattr(request, name, value)
    event: dict[str, Any] = json.loads(request.encode())
    return event


def answered(event: Any, seconds: float = 60.0) -> Response:
    """Return the answer to a call."""
    return Response.decode(json.dumps(lambda_entry.handle(event, Context(seconds))).encode())


def value(response: Response, store: str = "") -> Any:
    """Return what an answer holds."""
    return load(response.value, lambda key: open_store(store).get(key))


def one_line(text: str) -> bool:
    return "\n" not in text and len(text) < 300


# pings


def test_ping(make: Make) -> None:
    make(2048)
    pong = lambda_entry.handle({"version": 2, "kind": "ping"}, Context())
    assert json.loads(json.dumps(pong)) == pong
    assert (pong["kind"], pong["version"], pong["memory"], pong["worker"]) == ("pong", 2, 2048, "abc")
    assert pong["python"] == platform.python_version()
    assert pong["packages"]["numpy"] == np.__version__
    assert pong["packages"]["wrenla"] == importlib.metadata.version("wrenla")
    assert pong["blas"]["threads"] == 2


def test_a_ping_that_tries_a_store(make: Make, tmp_path: Path) -> None:
    make(2048)
    url = str(tmp_path / "store")
    tried = lambda_entry.handle({"version": 2, "kind": "ping", "store": url}, Context())
    assert json.loads(json.dumps(tried)) == tried
    assert (tried["kind"], tried["memory"]) == ("pong", 2048)
    assert list(tried["store"]) == ["nbytes", "look", "put", "get", "delete"]
    assert all(seconds > 0 for seconds in tried["store"].values())
    assert list(open_store(url).list()) == []


# what it does not understand

_GOOD = call(abs, -1)


@pytest.mark.parametrize(
    "event",
    [
        None,
        "ping",
        [],
        {},
        {"version": 2},
        {"kind": "call"},
        {"version": 1, "kind": "ping"},
        {"version": "2", "kind": "ping"},
        {"version": 2, "kind": "answer"},
        {"version": 2, "kind": None},
        {"version": 2, "kind": []},
        {"version": 2, "kind": {"a": 1}},
        {"version": 2, "kind": "ping", "store": ["s3://b"]},
        {"Records": [{"s3": "something\nelse"}], "text": "x" * 1000},
        {"version": 2, "kind": "call"},
        *({name: field for name, field in _GOOD.items() if name != left_out} for left_out in _GOOD),
        _GOOD | {"function": "abs"},
        _GOOD | {"function": []},
        _GOOD | {"function": [["0" * 64, 1]]},
        _GOOD | {"arguments": [["0" * 64, 1, "not base 64!", ""]]},
        _GOOD | {"arguments": []},
        _GOOD | {"modules": [["0" * 64, 1, "", ""]] * 2},
        _GOOD | {"values": 3},
        _GOOD | {"limit": "long"},
        _GOOD | {"limit": None},
        _GOOD | {"id": 3},
        _GOOD | {"attempt": "1"},
        _GOOD | {"store": None},
        _GOOD | {"unrecorded": "0"},
        {"version": 2, "kind": "task"},
        {"version": 2, "kind": "task", "tasks": [], "arrays": {}, "projected": 0},
        {"version": 2, "kind": "task", "tasks": [3], "arrays": {}, "projected": 0},
        {"version": 2, "kind": "task", "tasks": {}, "arrays": [], "projected": 0},
    ],
    ids=lambda event: json.dumps(event)[:60],
)
def test_foreign_event_is_event_error(event: Any, make: Make) -> None:
    make()
    with pytest.raises(EventError) as caught:
        lambda_entry.handle(event, Context())
    assert one_line(str(caught.value))
    assert "Run: wrenla deploy" in str(caught.value)


def test_task_event_without_its_arrays_is_event_error(make: Make) -> None:
    make()
    event = json.loads(TaskRequest([Task(TileRef("A", 0, 0), (2, 2), "float64")], {}).encode())
    with pytest.raises(EventError, match=r"'A'.*Run: wrenla deploy"):
        lambda_entry.handle(event, Context())
    event |= {"arrays": {"A": event["tasks"][0]}}
    with pytest.raises(EventError, match="Run: wrenla deploy"):
        lambda_entry.handle(event, Context())


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(sorted(_GOOD.keys() - {"store"})), _anything, max_size=3))
def test_any_event_is_answered_or_event_error(make: Make, changes: dict[str, Any]) -> None:
    """Whatever is sent: an answer, or an EventError."""
    environment = lambda_entry._environment() if lambda_entry._environment.__name__ == "<lambda>" else make()
    try:
        json.dumps(environment.answer(_GOOD | changes, Context()))
    except EventError as refusal:
        refused = str(refusal)
        assert one_line(refused)


class Trap:
    """Leaves a trace when it is loaded."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return open, (str(self._path), "w")


@pytest.mark.parametrize("part", ["function", "arguments", "modules"])
@pytest.mark.parametrize("stored", [False, True])
def test_call_event_with_other_hash_is_not_loaded(
    part: str, stored: bool, make: Make, tmp_path: Path
) -> None:
    make()
    (trap,) = packed(Trap(tmp_path / "trapped"))
    store = (tmp_path / "store").as_uri()
    forged = Blob("0" * 64, trap.nbytes, trap.data, "")
    if stored:
        open_store(store).put("forged", trap.data)
        forged = Blob("0" * 64, trap.nbytes, data=b"", key="forged")
    response = answered(call(abs, -1, store=store, **{part: (forged,)}))
    assert response.ending == "refused"
    failure = value(response)
    assert isinstance(failure.exception(), IntegrityError)
    assert one_line(failure.message)
    assert "not loaded" in failure.message
    assert not (tmp_path / "trapped").exists()


# calls


def test_call_event_is_answered_with_value(make: Make) -> None:
    make()
    response = answered(call(divmod, 7, 2))
    assert (response.ending, value(response), response.id, response.worker) == ("value", (3, 1), "c-1", "abc")


def test_a_function_that_raises(make: Make) -> None:
    make()
    response = answered(call(divmod, 7, 0))
    assert response.ending == "exception"
    assert isinstance(value(response).exception(), ZeroDivisionError)
    assert answered(call(divmod, 7, 2)).ending == "value"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_a_function_that_wants_to_end_the_process(error: BaseException, make: Make) -> None:
    make()

    def function() -> None:
        raise error

    assert answered(call(function)).ending == "exception"


def test_a_large_result_goes_to_the_store(make: Make, tmp_path: Path) -> None:
    make()
    store = (tmp_path / "store").as_uri()
    response = answered(call(np.ones, 1 << 20, store=store))
    assert len(response.encode()) < 10_000
    assert [blob.key for blob in response.value if blob.key] == ["results/c-1-1-value-1"]
    assert np.array_equal(value(response, store), np.ones(1 << 20))


def test_a_large_result_without_a_store_is_told(make: Make, tmp_path: Path) -> None:
    make()
    (tmp_path / "file").touch()
    response = answered(call(np.ones, 1 << 20, store=(tmp_path / "file").as_uri()))
    assert response.ending == "unsaved"
    assert isinstance(value(response).exception(), OSError)


@pytest.mark.parametrize("seconds", [6.0])
def test_call_is_timed_out_before_lambdas_limit(seconds: float, make: Make, tmp_path: Path) -> None:
    make()
    path = tmp_path / "cleared"

    def function() -> None:
        try:
            time.sleep(60)
        finally:
            path.touch()

    alarm, began = signal.getsignal(signal.SIGALRM), time.monotonic()
    response = answered(call(function), seconds)
    took = time.monotonic() - began
    assert signal.getsignal(signal.SIGALRM) is alarm
    assert response.ending == "timed out"
    assert path.exists()
    assert 0.5 * seconds < took < seconds
    assert "still running" in value(response).message
    assert answered(call(abs, -1)).ending == "value"


def test_call_is_timed_out_at_its_own_limit(make: Make) -> None:
    make()
    began = time.monotonic()
    assert answered(call(time.sleep, 60, limit=0.2)).ending == "timed out"
    assert time.monotonic() - began < slowed(5)
    assert answered(call(time.sleep, 0.3, limit=50.0), 3.0).ending == "value"
    assert answered(call(time.sleep, 60, limit=50.0), 1.3).ending == "timed out"


def test_reading_the_arguments_is_part_of_the_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they take to come is not there any more for the function."""
    environment = make()
    arguments = environment._callee._arguments

    def slowly(request: Request) -> Any:
        time.sleep(3.0)
        return arguments(request)

    monkeypatch.setattr(environment._callee, "_arguments", slowly)
    began = time.monotonic()
    assert answered(call(time.sleep, 60), 4.0).ending == "timed out"
    assert time.monotonic() - began < slowed(6.0)  # not 3 s of reading and 4 of sleeping


def test_call_without_time_left_is_timed_out(make: Make) -> None:
    make()
    assert answered(call(time.sleep, 60), 0.0).ending == "timed out"


def test_arguments_that_memory_has_no_room_for(make: Make) -> None:
    make(16)
    response = answered(call(len, bytes(20 << 20)))
    assert response.ending == "refused"
    error = value(response).exception()
    assert isinstance(error, MemoryError)
    assert one_line(str(error))
    assert "MB" in str(error)
    assert "wrenla deploy --memory" in str(error)


def test_output_is_in_the_logs_and_on_the_real_stream(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    real = io.StringIO()
    monkeypatch.setattr(sys, "stdout", real)
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.NullHandler()])
    make()
    logging.getLogger("mine").manager._clear_cache()  # type: ignore[attr-defined]

    def function() -> int:
        print("printed")  # noqa: T201
        logging.getLogger("mine").info("logged")
        return 1

    response = answered(call(function))
    (blob,) = response.logs
    assert blob.data == b"printed\nINFO mine: logged\n"
    assert real.getvalue() == "printed\n"
    assert answered(call(abs, -1)).logs == ()
    monkeypatch.undo()


def test_calls_get_the_memory_of_tiles(make: Make, tmp_path: Path) -> None:
    """What is kept of tiles only saves time: a call that needs the memory may have it."""
    environment = make(4096)
    answer(matrix(tmp_path, "A", symmetric()), "copy")
    assert environment._worker.cache.used > 0
    assert answered(call(abs, -1)).ending == "value"
    assert environment._worker.cache.used == 0
    assert environment._worker.files is not None
    assert environment._worker.files.used == 0  # the disk is the function's as well


# tile tasks

T, N = 4, 10
GRID = Grid((N, N), (T, T))


def symmetric() -> Any:
    x = np.random.default_rng(0).standard_normal((N, N))
    return np.asfortranarray(x @ x.T + N * np.eye(N))


def matrix(folder: Path, name: str, array: Any) -> dict[str, ArraySpec]:
    """Store a matrix, and a place for a result; return what fills their names."""
    spec = StoredArray(GRID, "float64", 2, f"{name} of {folder}", (folder / name).as_uri())
    store = open_store(spec.url)
    for i in range(GRID.counts[0]):
        for j in range(GRID.counts[1]):
            (r, c), (m, n) = GRID.origin(i, j), GRID.extent(i, j)
            tile = empty_tile(T, T, "float64")
            tile[...] = 0
            tile[:m, :n] = array[r : r + m, c : c + n]
            store.put(tile_key(i, j, 2), as_bytes(tile))
    specs = {name: spec}
    for out in ("X", "Y"):
        specs[out] = StoredArray(GRID, "float64", 2, f"{out} of {folder}", (folder / out).as_uri())
    return specs


def tasks(kind: str, out: str = "X") -> list[Task]:
    """Return a task for each tile of the result."""
    found = []
    for i in range(GRID.counts[0]):
        for j in range(GRID.counts[1]):
            origin, extent = GRID.origin(i, j), GRID.extent(i, j)
            base = (Read(TileRef("A", i, j)),)
            terms, finish = (), Finish()
            if kind == "product":
                base, terms = (
                    (),
                    tuple(
                        Term(Read(TileRef("A", i, k)), Read(TileRef("A", k, j)), 1)
                        for k in range(GRID.counts[1])
                    ),
                )
            elif kind == "potrf" and i == j:
                finish = Finish("potrf")
            found.append(Task(TileRef(out, i, j), extent, "float64", base, terms, finish, origin=origin))
    return found


def answer(
    specs: dict[str, ArraySpec], kind: str, out: str = "X", seconds: float = 60.0, **more: Any
) -> TaskAnswer:
    """Let the function carry tasks out."""
    event = json.loads(TaskRequest(tasks(kind, out), specs, **more).encode())
    return TaskAnswer.of(json.loads(json.dumps(lambda_entry.handle(event, Context(seconds)))))


def result(specs: dict[str, ArraySpec], out: str = "X") -> Any:
    """Return the matrix that is stored, and see that what pads it is zero."""
    found, store = np.full((N, N), np.nan), open_store(specs[out].url)
    for i in range(GRID.counts[0]):
        for j in range(GRID.counts[1]):
            (r, c), (m, n) = GRID.origin(i, j), GRID.extent(i, j)
            tile = np.frombuffer(store.get(tile_key(i, j, 2))).reshape(T, T, order="F")
            found[r : r + m, c : c + n] = tile[:m, :n]
            assert not tile[m:].any()
            assert not tile[:, n:].any()
    return found


def test_answers_go_and_come_by_name() -> None:
    done = TaskAnswer([Report(0.5, gets=3, pivots=(1.0, 2.0)), packed(3), None], "w", 7, b"\xff", (("o", 1),))
    found = json.loads(done.encode())
    assert (found["outcomes"][0]["read_seconds"], found["outcomes"][0]["gets"]) == (0.5, 3)
    found["outcomes"][0] = dict(reversed(found["outcomes"][0].items()))
    assert TaskAnswer.of(found) == done == TaskAnswer.decode(done.encode())
    for wrong in ([3], [{"gets": "3"}], [[["0" * 64, 1]]], {}):
        with pytest.raises(ValueError, match=r"not a wrenla 'done' of version"):
            TaskAnswer.of(found | {"outcomes": wrong})
    del found["logs"]
    with pytest.raises(ValueError, match="without logs"):
        TaskAnswer.of(found)


def error_of(outcome: Any) -> Exception:
    failure = load(outcome, lambda key: b"")
    assert isinstance(failure, Failure)
    return failure.exception()


@pytest.mark.parametrize("memory", [0, 4096])
def test_task_event_is_answered_with_reports(memory: int, make: Make, tmp_path: Path) -> None:
    make(memory)
    A = symmetric()
    specs = matrix(tmp_path, "A", A)
    done = answer(specs, "product")
    assert all(isinstance(outcome, Report) and outcome.committed for outcome in done.outcomes)
    assert (len(done.outcomes), done.worker) == (9, "abc")
    assert done.peak > 1 << 20
    assert np.allclose(result(specs), A @ A, rtol=1e-14)


def test_tasks_that_are_done_write_nothing(make: Make, tmp_path: Path) -> None:
    make()
    specs = matrix(tmp_path, "A", symmetric())
    answer(specs, "copy")
    again = answer(specs, "copy")
    assert not any(outcome.committed for outcome in again.outcomes if isinstance(outcome, Report))


@pytest.mark.parametrize("memory", [0, 4096])
def test_failing_task_leaves_other_tasks_of_event(memory: int, make: Make, tmp_path: Path) -> None:
    """The others are carried out; the error says where in the whole matrix it is."""
    make(memory)
    A = symmetric()
    A[5, 5] = -1.0
    specs = matrix(tmp_path, "A", A)
    done = answer(specs, "potrf")
    failed = [n for n, outcome in enumerate(done.outcomes) if not isinstance(outcome, Report)]
    assert failed == [4]
    error = error_of(done.outcomes[4])
    assert isinstance(error, NotPositiveDefiniteError)
    assert error.minor == 6


def test_a_tile_that_is_missing(make: Make, tmp_path: Path) -> None:
    make()
    specs = matrix(tmp_path, "A", symmetric())
    open_store(specs["A"].url).delete(tile_key(1, 2, 2))
    done = answer(specs, "copy")
    failed = [n for n, outcome in enumerate(done.outcomes) if not isinstance(outcome, Report)]
    assert failed == [5]
    assert isinstance(error_of(done.outcomes[5]), MissingTileError)


class Huge(Exception):
    """As large as its arguments."""


def test_failures_fit_into_the_answer(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = make()
    specs = matrix(tmp_path, "A", symmetric())

    def run(*_: object) -> Report:
        raise ValueError("x" * 100, bytes(3 << 20))

    monkeypatch.setattr(environment._worker, "run", run)
    done = answer(specs, "copy")
    assert len(done.encode()) < 6 << 20
    for outcome in done.outcomes:
        assert "ValueError" in load(outcome, lambda key: b"").type_name  # type: ignore[arg-type]


def test_tasks_that_memory_has_no_room_for(make: Make, tmp_path: Path) -> None:
    make(256)
    specs = matrix(tmp_path, "A", symmetric())
    done = answer(specs, "copy", projected=1 << 30)
    for outcome in done.outcomes:
        error = error_of(outcome)
        assert isinstance(error, MemoryError)
        assert one_line(str(error))
        assert "1024 MiB" in str(error)
        assert "wrenla deploy --memory" in str(error)
    assert list(open_store(specs["X"].url).list()) == []


def test_tasks_beyond_the_time_are_given_back(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some are begun whatever the time, so that there is progress; the others are given back."""
    environment = make()
    specs = matrix(tmp_path, "A", symmetric())
    done = answer(specs, "copy", seconds=5.0)
    assert all(isinstance(outcome, Report) for outcome in done.outcomes)
    run = environment._worker.run

    def slowly(task: Task, arrays: Any) -> Report:
        time.sleep(1.5)  # a second one does not fit
        return run(task, arrays)

    monkeypatch.setattr(environment._worker, "run", slowly)
    event = json.loads(TaskRequest(tasks("copy", "Y"), specs).encode())
    late = TaskAnswer.of(lambda_entry.handle(event, Context(2.5)))
    assert [outcome is None for outcome in late.outcomes] == [False] * 2 + [True] * 7
    assert len(list(open_store(specs["Y"].url).list())) == 2


def test_output_of_tile_functions_is_in_the_answer(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = io.StringIO()
    monkeypatch.setattr(sys, "stdout", real)
    make()
    specs = matrix(tmp_path, "A", symmetric())

    def function(rows: Any, cols: Any) -> Any:
        print("from a tile")  # noqa: T201
        return np.add.outer(rows, cols)

    (blob,) = packed(function)
    url = (tmp_path / "functions").as_uri()
    open_store(url).put(function_key(blob.sha256), blob.data)
    specs["A"] = FunctionArray(GRID, "float64", 2, "f", url, blob.sha256)
    assert all(isinstance(outcome, Report) for outcome in answer(specs, "copy").outcomes)
    assert np.array_equal(result(specs), np.add.outer(np.arange(N), np.arange(N)))
    assert real.getvalue().count("from a tile\n") == 9
    assert answered(call(abs, -1)).logs == (), "of another event"
    monkeypatch.undo()


# in a process of its own, as it is


@pytest.mark.process
def test_lambda_entry_runs_in_a_fresh_process(tmp_path: Path) -> None:
    program = """
import json, os, sys, time
from wrenla_handler import lambda_entry
from wrenla_kernels import scipy_blas_info
class Context:
    def get_remaining_time_in_millis(self): return 20000
ping = lambda_entry.handle({"version": 2, "kind": "ping"}, Context())
assert scipy_blas_info().threads == min(3, ping["blas"]["threads"]) == 3, scipy_blas_info()
answer = lambda_entry.handle(json.loads(sys.stdin.read()), Context())
print(json.dumps(answer))
"""
    variables = os.environ | {
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "4000",
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }

    def function() -> int:
        print("printed")  # noqa: T201
        return 3

    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(call(function)),
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    printed, text = done.stdout.splitlines()
    assert printed == "printed"
    response = Response.decode(text.encode())
    assert value(response) == 3
    assert response.logs[0].data == b"printed\n"


def test_without_a_folder_for_tiles(make: Make, tmp_path: Path) -> None:
    """Files only save time."""
    made = lambda_entry._Environment({"TMPDIR": str(tmp_path / "nowhere")})  # type: ignore[arg-type]
    make()
    assert made._worker.files is None
    made._threads.__exit__(None, None, None)
    made._worker.close()
