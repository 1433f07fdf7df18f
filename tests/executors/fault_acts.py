"""What goes wrong: functions that tests call, each with the folder of its test."""

# ruff: noqa: T201

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from wrenla_handler.calls.context import current_call


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


def large(x: int) -> bytes:
    return bytes(1 << 20)
