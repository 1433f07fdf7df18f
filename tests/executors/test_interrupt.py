"""Ctrl-C, and other ends of the program that asked for calls."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.processes import alive
from tests.waiting import slowed, until
from wrenla.cli.main import main
from wrenla_handler.stores.urls import open_store

pytestmark = pytest.mark.timeout(60)

_SOON = 3.5
"""Seconds in which control is to be back: two, and some for a machine that is busy."""

Script = Callable[..., subprocess.Popen[str]]

SLOW = """
import concurrent.futures, os, sys, threading, time
from pathlib import Path
import wrenla as wl

folder = Path(sys.argv[1])

def slow(x, more=bytes(1 << 20)):
    try:  # the interrupt may come as soon as the file is there
        (folder / f"began-{x}").write_text(str(os.getpid()))
        time.sleep(60)
    finally:
        (folder / f"finally-{x}").touch()

def slow_and_deaf(x):
    while True:
        try:
            (folder / f"began-{x}").write_text(str(os.getpid()))
            time.sleep(60)
        except BaseException:
            (folder / f"finally-{x}").touch()

def settle():
    "Let the main thread submit all its calls first: threads begin at once."
    deadline = time.monotonic() + 2
    while not waits() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)

def waits():
    frame, names = sys._current_frames()[threading.main_thread().ident], []
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    at_rest = ("wait", "_wait", "<module>", "_shutdown", "_wait_for_tstate_lock")
    return names[0] in at_rest and "start" not in names

def slow_thread(x):
    settle()
    (folder / f"began-{x}").write_text(str(os.getpid()))
    while not wl.cancelled():
        time.sleep(0.01)
    (folder / f"finally-{x}").touch()

def sleeping_thread(x):
    settle()
    (folder / f"began-{x}").write_text(str(os.getpid()))
    time.sleep(60)
"""

PROCESS_SCRIPTS = {
    "with map": """
with wl.LocalExecutor(2) as executor:
    print(list(executor.map(slow, range(6))))
""",
    "with map, at its end": """
with wl.LocalExecutor(2) as executor:
    results = executor.map(slow, range(6))
""",
    "with result": """
with wl.LocalExecutor(2) as executor:
    futures = executor.submit_many(slow, range(6))
    futures[5].result()
""",
    "with wait": """
with wl.LocalExecutor(2) as executor:
    concurrent.futures.wait(executor.submit_many(slow, range(6)))
""",
    "with map_reduce": """
with wl.LocalExecutor(2) as executor:
    executor.map_reduce(slow, range(6), sum).result()
""",
    "with something else": """
with wl.LocalExecutor(2) as executor:
    futures = executor.submit_many(slow, range(6))
    time.sleep(60)
""",
    "view": """
with wl.LocalExecutor(2).options(timeout=50, idempotent=True, retries=3, record=True) as executor:
    list(executor.map(slow, range(6)))
""",
    "result": """
futures = [wl.default_executor().submit(slow, x, bytes(1 << 20)) for x in range(6)]
futures[0].result()
""",
    "loop": """
executor = wl.LocalExecutor(2)
for result in executor.map(slow, range(6)):
    print(result)
""",
    "loop, default": """
for result in wl.default_executor().map(slow, range(6)):
    print(result)
""",
    "loop, as they end": """
for result in wl.default_executor().map(slow, range(6), ordered=False, buffersize=4):
    print(result)
""",
    "shutdown": """
executor = wl.LocalExecutor(2)
futures = executor.submit_many(slow, range(6))
executor.shutdown(wait=True)
""",
    "something else": """
futures = wl.default_executor().submit_many(slow, range(6))
time.sleep(60)
""",
    "another thread waits": """
import threading
futures = wl.default_executor().submit_many(slow, range(6))
threading.Thread(target=futures[0].exception).start()
time.sleep(60)
""",
    "the end": """
futures = wl.default_executor().submit_many(slow, range(6))
""",
    "deaf": """
with wl.LocalExecutor(2) as executor:
    list(executor.map(slow_and_deaf, range(6)))
""",
}

THREAD_SCRIPTS = {
    "thread, with map": """
with wl.LocalExecutor(2, "thread") as executor:
    list(executor.map(slow_thread, range(6)))
""",
    "thread, result": """
executor = wl.LocalExecutor(2, "thread")
futures = executor.submit_many(slow_thread, range(6))
futures[0].result()
""",
    "thread, shutdown": """
executor = wl.LocalExecutor(2, "thread")
futures = executor.submit_many(slow_thread, range(6))
executor.shutdown()
""",
    "thread, sleeping": """
with wl.LocalExecutor(2, "thread") as executor:
    list(executor.map(sleeping_thread, range(6)))
""",
    "thread, sleeping, result": """
executor = wl.LocalExecutor(2, "thread")
futures = executor.submit_many(sleeping_thread, range(6))
futures[0].result()
""",
}


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """Start a script; its argument is a folder for what its functions leave."""
    monkeypatch.setenv("WRENLA_WORKERS", "2")
    monkeypatch.setenv("WRENLA_ALLOWED_MEM", "600 MiB")
    started: list[subprocess.Popen[str]] = []

    def start(text: str, how: str = "file") -> subprocess.Popen[str]:
        path = tmp_path / "script.py"
        path.write_text(text)
        with path.open() as file:
            process = subprocess.Popen(
                [
                    sys.executable,
                    *{"file": [str(path)], "stdin": ["-"], "-c": ["-c", text]}[how],
                    str(tmp_path),
                ],
                stdin=file if how == "stdin" else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=tmp_path,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def began(folder: Path) -> list[int]:
    """Return the processes of the functions that have begun."""
    return [int(path.read_text() or 0) for path in folder.glob("began-*")]


def stored(folder: Path) -> list[str]:
    """Return what is stored, leases included."""
    return list(open_store(folder / "store").list())


def interrupted(process: subprocess.Popen[str], folder: Path) -> str:
    """Interrupt a script when its functions run; return what it said."""
    assert until(lambda: len([pid for pid in began(folder) if pid]) == 2)
    at = time.monotonic()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert time.monotonic() - at < slowed(_SOON)
    return output + errors


_MUCH_ALIKE = (
    *("with map, at its end", "with result", "with wait", "with something else"),
    *("view", "loop", "loop, default", "loop, as they end"),
)
"""What waits where another one does; each takes two seconds."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in _MUCH_ALIKE else []) for name in PROCESS_SCRIPTS],
)
def test_interrupt(name: str, script: Script, tmp_path: Path) -> None:
    process = script(SLOW + PROCESS_SCRIPTS[name])
    said = interrupted(process, tmp_path)
    assert "KeyboardInterrupt" in said
    assert process.returncode == -signal.SIGINT or name == "the end"
    pids = began(tmp_path)
    assert len(pids) == 2  # what waited has not begun
    assert not any(map(alive, pids))
    assert {path.name.partition("-")[2] for path in tmp_path.glob("finally-*")} == {
        path.name.partition("-")[2] for path in tmp_path.glob("began-*")
    }
    assert stored(tmp_path) == []


@pytest.mark.parametrize("name", THREAD_SCRIPTS)
def test_interrupt_of_threads(name: str, script: Script, tmp_path: Path) -> None:
    process = script(SLOW + THREAD_SCRIPTS[name])
    said = interrupted(process, tmp_path)
    assert "KeyboardInterrupt" in said
    assert process.returncode == -signal.SIGINT
    assert len(began(tmp_path)) == 2
    assert len(list(tmp_path.glob("finally-*"))) == (0 if "sleeping" in name else 2)
    assert stored(tmp_path) == []


def test_interrupt_of_a_run(script: Script, tmp_path: Path) -> None:
    """Neither the end of the executor nor that of the program waits for functions that blocks are made by."""
    process = script(
        f"""{SLOW}
def block(rows, columns):
    sleeping_thread(f"{{rows[0]}}-{{columns[0]}}")

try:
    with wl.LocalExecutor(2) as executor:
        wl.from_function(block, (8, 8), tile=4).compute(executor)
except KeyboardInterrupt:
    sys.exit("interrupted")
"""
    )
    assert interrupted(process, tmp_path) == "interrupted\n"
    assert process.returncode == 1
    shutil.rmtree(tmp_path / "store")  # with what it has finished


@pytest.mark.every_day(2)
@pytest.mark.parametrize("kind", ["process", "thread"])
@pytest.mark.parametrize(
    "what", ["for _ in executor.map(fn, range(6)): pass", "list(executor.map(fn, range(6)))"]
)
def test_the_executor_works_on(what: str, kind: str, script: Script, tmp_path: Path) -> None:
    process = script(
        f"""{SLOW}
fn = slow if {kind!r} == "process" else slow_thread
with wl.LocalExecutor(2, {kind!r}) as executor:
    try:
        {what}
    except KeyboardInterrupt:
        print("interrupted")
    print(list(executor.map(abs, [-1, -2])), executor.stats().cancelled)
"""
    )
    assert interrupted(process, tmp_path) == "interrupted\n[1, 2] 6\n"
    assert process.returncode == 0
    assert len(list(tmp_path.glob("began-*"))) == len(list(tmp_path.glob("finally-*"))) == 2
    assert stored(tmp_path) == []


def test_killed(script: Script, tmp_path: Path) -> None:
    process = script(SLOW + PROCESS_SCRIPTS["result"])
    assert until(lambda: len([pid for pid in began(tmp_path) if pid]) == 2)
    pids = began(tmp_path)
    process.kill()
    process.wait()
    assert until(lambda: not any(map(alive, pids)), slowed(_SOON))
    assert stored(tmp_path) != []
    done = CliRunner().invoke(main, ["clean", "--store", str(tmp_path / "store")])
    assert done.exit_code == 0, done.output
    assert "removed" in done.output
    assert stored(tmp_path) == []


def test_clean_leaves_what_is_in_use(script: Script, tmp_path: Path) -> None:
    process = script(SLOW + PROCESS_SCRIPTS["result"])
    assert until(lambda: len(began(tmp_path)) == 2)
    before = stored(tmp_path)
    done = CliRunner().invoke(main, ["clean", "--store", str(tmp_path / "store")])
    assert "nothing to clean" in done.output
    assert stored(tmp_path) == before
    interrupted(process, tmp_path)


@pytest.mark.skipif(
    (3, 12) <= sys.version_info < (3, 12, 2), reason="these start nothing once a script has ended (gh-113964)"
)
@pytest.mark.parametrize(
    "ending", ["", "sys.exit(3)", "raise ValueError('why')"], ids=["end", "exit", "error"]
)
def test_calls_outlive_the_end_of_a_script(ending: str, script: Script, tmp_path: Path) -> None:
    process = script(
        f"""
import sys, time
from pathlib import Path
import wrenla as wl

def mark(x):
    time.sleep(0.2)
    (Path(sys.argv[1]) / f"done-{{x}}").touch()

folder = Path(sys.argv[1])
fn = lambda x: (time.sleep(0.2), (folder / f"done-{{x}}").touch())
wl.default_executor().submit(fn, 0)
wl.default_executor().map(fn, range(1, 4))
{ending}
"""
    )
    _, errors = process.communicate(timeout=30)
    assert process.returncode == {"": 0, "s": 3, "r": 1}[ending[:1]], errors
    assert len(list(tmp_path.glob("done-*"))) == 4, errors
    assert ("ValueError: why" in errors) == ending.startswith("raise")
    assert stored(tmp_path) == []


EVERYTHING = """
import dataclasses, enum, os, sys, typing
import wrenla as wl

print("once")

@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: int = 1

    def moved(self, by):
        return dataclasses.replace(self, x=self.x + by)

class Color(enum.Enum):
    RED = 1

class Pair(typing.NamedTuple):
    a: int
    b: int

class Mistake(Exception):
    pass

offset = 10
driver = os.getpid()

def helper(x):
    return x + offset

def function(x):
    return helper(x)

def even(n):
    return n == 0 or odd(n - 1)

def odd(n):
    return n != 0 and even(n - 1)

def make(n):
    def inner(x):
        return x * n
    return inner

def fail(x):
    raise Mistake(x)

executor = wl.LocalExecutor(2)
assert list(executor.map(function, range(3))) == [10, 11, 12]
assert list(executor.map(lambda x: x - offset, range(3))) == [-10, -9, -8]
assert list(executor.map(make(3), range(3))) == [0, 3, 6]
assert list(executor.map(Point, range(2))) == [Point(0), Point(1)]
assert executor.submit(Point(1).moved, 2).result() == Point(3)
assert executor.submit(lambda c: (c is Color.RED, c), Color.RED).result() == (True, Color.RED)
assert executor.submit(Pair, 1, b=2).result() == Pair(1, 2)
assert executor.submit(even, 10).result()
assert executor.submit(os.getpid).result() != driver
assert executor.map_reduce(function, range(5), lambda xs: sum(xs), fan_in=2).result() == 60
try:
    executor.submit(fail, 1).result()
except Mistake as error:
    assert error.args == (1,)
executor.shutdown()
print("all right")
"""


@pytest.mark.parametrize("how", ["file", "stdin", "-c"])
def test_a_script_without_guard(how: str, script: Script, tmp_path: Path) -> None:
    process = script(EVERYTHING, how)
    output, errors = process.communicate(timeout=30)
    assert (output, errors, process.returncode) == ("once\nall right\n", "", 0)
    assert stored(tmp_path) == []


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_an_interrupt_while_calls_are_submitted(kind: str, script: Script, tmp_path: Path) -> None:
    """Inputs that come slowly: what was submitted is cancelled."""
    process = script(
        f"""{SLOW}
def inputs():
    yield from range(6)
    time.sleep(60)

fn = slow if {kind!r} == "process" else slow_thread
with wl.LocalExecutor(2, {kind!r}) as executor:
    list(executor.map(fn, inputs()))
"""
    )
    assert "KeyboardInterrupt" in interrupted(process, tmp_path)
    assert process.returncode == -signal.SIGINT
    assert len(list(tmp_path.glob("began-*"))) == len(list(tmp_path.glob("finally-*"))) == 2
    assert not any(pid and alive(pid) for pid in began(tmp_path))
    assert stored(tmp_path) == []


def test_a_view_is_enough_to_go_on(script: Script, tmp_path: Path) -> None:
    """The executor that a view was made of may be forgotten."""
    process = script(
        """
import gc
import wrenla as wl

view = wl.LocalExecutor(2).options(timeout=30)
gc.collect()
print(list(view.map(abs, [-1, -2])))
futures = [view.submit(abs, -3)]
del view
gc.collect()
print(futures[0].result())
"""
    )
    output, errors = process.communicate(timeout=30)
    assert (output, errors, process.returncode) == ("[1, 2]\n3\n", "", 0)
    assert stored(tmp_path) == []


def test_the_environment_is_clean() -> None:
    """These tests are about the default handler: nobody has replaced it."""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert os.environ.get("WRENLA_WORKERS") is None
