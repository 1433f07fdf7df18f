"""What functions start is frozen with them, and ends with their environments, whatever it does about it."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.waiting import until
from wrenla.emulator.options import Options

from .stand import Stand, package


def _left(mark: str) -> list[int]:
    """Return the living processes whose command has this mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "cmdline").read_bytes() and _state(int(folder.name)) not in "ZX":
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _leaving(stand: Stand, seconds: float = 0) -> tuple[str, str]:
    """Call a function that leaves two processes, and return its name and their mark."""
    function, mark = stand.function("leaves", Timeout=3), f"mark-{uuid.uuid4()}"
    stand.call(function, {"mark": mark, "seconds": seconds})
    return function, mark


def _delete(stand: Stand, function: str) -> None:
    stand.lambda_.delete_function(FunctionName=function)


def _kill(stand: Stand, function: str) -> None:
    stand.faults({"kind": "kill-before", "first": 1})
    stand.call(function)


def _exit(stand: Stand, function: str) -> None:
    stand.lambda_.update_function_configuration(FunctionName=function, Handler="handlers.ends")
    stand.call(function, {"code": 3})


@pytest.mark.parametrize("end", [_delete, _kill, _exit])
def test_no_process_outlives_its_environment(either: Stand, end: Callable[[Stand, str], None]) -> None:
    function, mark = _leaving(either)
    _, other = _leaving(either)
    assert [len(_left(each)) for each in (mark, other)] == [2, 2]
    end(either, function)
    assert until(lambda: not _left(mark))
    assert len(_left(other)) == 2, "they are another environment's"


def test_a_timeout_ends_all_processes(either: Stand) -> None:
    _, mark = _leaving(either, seconds=30)
    assert until(lambda: not _left(mark))


def test_all_processes_are_frozen_between_calls(either: Stand) -> None:
    function, mark = _leaving(either)
    left = _left(mark)
    assert len(left) == 2
    assert until(
        lambda: {_state(pid) for pid in left} == {"T"}
    )  # one that had no turn yet stops at its first
    _delete(either, function)


def test_processes_go_on_with_the_next_call(either: Stand) -> None:
    text = """
import subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-S", "-c", "import sys\\nfor line in sys.stdin: print(line, end='', flush=True)"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
)
def handler(event, context):
    child.stdin.write(event["text"] + "\\n")
    child.stdin.flush()
    return child.stdout.readline().strip()
"""
    function = either.function("m.handler", code=package({"m.py": text}))
    assert [either.call(function, {"text": text}).value for text in "abc"] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"code": 0}, "without providing a reason"),
        ({"code": 3}, "exit status 3"),
        ({"code": 0, "signal": int(signal.SIGKILL)}, "signal: killed"),
        ({"code": 0, "signal": int(signal.SIGTERM)}, "signal: terminated"),
        ({"code": 0, "signal": int(signal.SIGABRT)}, "signal: aborted"),
        ({"code": 0, "signal": int(signal.SIGSEGV)}, "signal: segmentation fault"),
    ],
)
def test_an_environment_ends_as_its_runtime_does(either: Stand, event: dict[str, int], words: str) -> None:
    """Although another process holds it together."""
    assert words in either.call(either.function("ends"), event).value["errorMessage"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_emulator(number: signal.Signals) -> None:
    stand = Stand(Options(os.getpid(), isolation="plain", memory_guard="watcher"))
    try:
        _, mark = _leaving(stand)
        assert len(_left(mark)) == 2
        os.kill(stand.ready.pid, number)
        assert until(lambda: not _left(mark))
    finally:
        stand.close()
