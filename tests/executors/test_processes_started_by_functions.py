"""Programs that a function starts, in whatever session: they end with its worker, however that ends."""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import wrenla as wl
from tests.processes import alive
from tests.waiting import until
from wrenla.errors import TimedOut, WorkerDied

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.usefixtures("by_value"),
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),  # Python 3.12 on: it has threads
]


def starts(folder: Path) -> int:
    """Start a child, one in a session of its own, one that nobody is the parent of, and one by a program."""
    (folder / "child").write_text(str(subprocess.Popen(["sleep", "1000"]).pid))
    (folder / "session").write_text(str(subprocess.Popen(["sleep", "1000"], start_new_session=True).pid))
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            (folder / "daemon").write_text(str(os.getpid()))
            time.sleep(1000)
        os._exit(0)
    os.waitpid(child, 0)
    program = f"setsid sleep 1000 & echo $! >{folder}/program; wait"
    subprocess.Popen(["sh", "-c", program])
    deadline = time.monotonic() + 20
    while len(list(folder.iterdir())) < 4 and time.monotonic() < deadline:
        time.sleep(0.005)
    return os.getpid()


def hang() -> None:
    time.sleep(1000)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "started"
    made.mkdir()
    yield made
    for pid in started(made):
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


def started(folder: Path) -> list[int]:
    return [int(path.read_text()) for path in folder.iterdir() if path.read_text()]


def all_over(folder: Path, seconds: float = 20) -> bool:
    pids = started(folder)
    assert len(pids) == 4
    return until(lambda: not any(map(alive, pids)), seconds)


@pytest.mark.parametrize(("act", "error"), [(hang, TimedOut), (die, WorkerDied)])
def test_programs_of_functions_end_with_their_worker(
    act: Callable[[], None], error: type[Exception], folder: Path
) -> None:
    with wl.LocalExecutor(1, allowed_mem="300 MiB") as executor:
        worker = executor.submit(starts, folder).result(timeout=30)
        assert executor.submit(os.getpid).result(timeout=30) == worker
        assert all(map(alive, started(folder)))  # what a function leaves may serve the next one
        assert isinstance(executor.options(timeout=0.3).submit(act).exception(timeout=30), error)
        assert all_over(folder, 0)  # whoever is told so may clear up after them
        assert executor.submit(abs, -1).result(timeout=30) == 1


def test_programs_of_functions_end_with_the_executor(folder: Path) -> None:
    with wl.LocalExecutor(1, allowed_mem="300 MiB") as executor:
        executor.submit(starts, folder).result(timeout=30)
    assert all_over(folder, 0)


SCRIPT = f"""
import os, signal, subprocess, sys, time
from pathlib import Path
import wrenla as wl

{inspect.getsource(starts)}

with wl.LocalExecutor(1, allowed_mem="300 MiB") as executor:
    print(executor.submit(starts, Path(sys.argv[1])).result(), flush=True)
    time.sleep(60)
"""


def test_programs_of_functions_end_with_a_killed_driver(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    own = os.environ | {"WRENLA_STORE": str(tmp_path / "theirs")}  # nobody clears up there
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=own) as program:
        assert program.stdout is not None
        worker = int(program.stdout.readline())
        program.kill()
    assert all_over(folder)
    assert until(lambda: not alive(worker))


def test_programs_of_a_worker_that_is_killed_from_outside(folder: Path) -> None:
    with wl.LocalExecutor(1, allowed_mem="300 MiB") as executor:
        worker = executor.submit(starts, folder).result(timeout=30)
        os.kill(worker, signal.SIGKILL)
        assert all_over(folder)
        assert executor.submit(os.getpid).result(timeout=30) != worker
