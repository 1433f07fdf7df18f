"""Forks of the driver: an executor is not theirs, and says so; it does not wait for threads of others."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

import wrenla as wl
from wrenla.executors import default


def in_a_fork(function: Callable[[], object]) -> str:
    """Return what a function returns or raises in a fork of this process, which has 20 s for it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            try:
                said = str(function())
            except Exception as error:
                said = f"{type(error).__name__}: {error}"
            os.write(writer, said.encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    deadline = time.monotonic() + 20
    try:
        while os.waitpid(pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > deadline:
                os.kill(pid, 9)
                os.waitpid(pid, 0)
                return "it hangs"
            time.sleep(0.01)
        return os.read(reader, 1 << 16).decode()
    finally:
        os.close(reader)


@pytest.mark.every_day(4)
@pytest.mark.parametrize("locked", [False, True])
@pytest.mark.parametrize(
    "ask",
    [
        lambda executor: executor.submit(abs, -1),
        lambda executor: executor.stats(),
        lambda executor: wl.eye(3, tile=3).compute(executor),
    ],
    ids=["submit", "stats", "compute"],
)
def test_executor_in_forked_child_is_refused(
    ask: Callable[[wl.LocalExecutor], object], locked: bool, executor: wl.LocalExecutor
) -> None:
    executor.submit(abs, -1).result(20)
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        with executor.calls._changed:
            held.set()
            go.wait(60)

    thread = threading.Thread(target=hold)
    if locked:
        thread.start()
        held.wait(20)
    try:
        said = in_a_fork(lambda: ask(executor))
    finally:
        go.set()
        if locked:
            thread.join()
    assert said.startswith("RuntimeError: this executor belongs to the process that forked this one")
    assert in_a_fork(executor.calls.stop) == in_a_fork(executor.shutdown) == "None"
    assert executor.submit(abs, -1).result(20) == 1


def trace(pipe: object) -> None:
    pipe.send(float(np.trace(np.asarray((wl.eye(64, tile=32) @ wl.eye(64, tile=32)).compute()))))  # type: ignore[attr-defined]


def test_default_executor_is_made_again_in_forked_child() -> None:
    """multiprocessing forks on Linux, up to Python 3.13."""
    default._close()
    wl.eye(64, tile=32).compute()
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=trace, args=(writer,))
    process.start()
    try:
        assert reader.poll(30)
        assert reader.recv() == 64.0
        process.join(20)
        assert process.exitcode == 0
    finally:
        process.kill()
        process.join()
        process.close()
        reader.close()
        writer.close()
        default._close()
