"""What a function does to its process: the next call does not suffer. And SIGTERM, whoever sends it."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import wrenla as wl
from tests.processes import alive
from tests.waiting import until
from wrenla.errors import RemoteTraceback, WorkerDied

from .gate import Gate

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("by_value")]

TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


def innocent() -> dict[str, Any]:
    """Say what a call finds in its process; it takes long enough for what is on its way to arrive."""
    before = time.monotonic()
    while time.monotonic() < before + 2e-3:
        pass
    umask = os.umask(0)
    os.umask(umask)
    return {
        "timers": [signal.getitimer(timer) for timer in TIMERS],
        "handlers": [repr(signal.getsignal(number)).partition(" at 0x")[0] for number in range(1, 32)],
        "mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "folder": os.getcwd(),
        "umask": umask,
        "limits": [resource.getrlimit(limit) for limit in range(10)],
        "program": subprocess.run(["sh", "-c", "exit 3"], check=False).returncode,
    }


def kills_its_group() -> None:
    os.killpg(0, signal.SIGTERM)
    time.sleep(20)


def kills_its_group_and_goes_on() -> None:
    try:
        kills_its_group()
    except SystemExit:
        return


def leaves_a_timer(timer: int, seconds: float) -> None:
    signal.setitimer(timer, seconds, seconds)


def leaves_a_timer_that_raises() -> None:
    def strike(number: int, frame: object) -> None:
        raise ZeroDivisionError("late")

    signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, 5e-5, 5e-5)


def ignores_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def blocks_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGALRM)


def blocks_its_end() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    os.kill(os.getpid(), signal.SIGTERM)


def goes_elsewhere() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
    os.umask(0o777)


def lowers_limits(hard: bool) -> None:
    for limit, most in ((resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_NOFILE, 5)):
        resource.setrlimit(limit, (most, most if hard else resource.getrlimit(limit)[1]))


LEFT: dict[str, Callable[[], None]] = {
    "killpg": kills_its_group,
    "killpg, caught": kills_its_group_and_goes_on,
    **{f"timer {timer}": lambda timer=timer: leaves_a_timer(timer, 1e-3) for timer in TIMERS},
    "timer at once": lambda: leaves_a_timer(signal.ITIMER_REAL, 1e-6),
    "timer that raises": leaves_a_timer_that_raises,
    "alarm": lambda: signal.alarm(1) and None,
    "handlers": ignores_signals,
    "mask": blocks_signals,
    "mask, told to end": blocks_its_end,
    "folder": goes_elsewhere,
    "soft limits": lambda: lowers_limits(hard=False),
    "hard limits": lambda: lowers_limits(hard=True),
}


def test_state_of_the_worker_is_restored_after_each_call() -> None:
    suffered = []
    with wl.LocalExecutor(1, allowed_mem="300 MiB") as executor:
        expected = executor.submit(innocent).result(timeout=30)
        for name, act in LEFT.items():
            for _ in range(2):
                done = executor.submit(act)
                found = executor.submit(innocent)
                error = found.exception(timeout=30)
                if error is not None or found.result() != expected:
                    suffered.append((name, error or found.result()))
                assert done.exception(timeout=30) is None or isinstance(done.exception(), WorkerDied)
        # also those that are sent together
        futures = executor.submit_many(
            lambda n: [LEFT["killpg, caught"](), n][1] if n == 7 else n, range(100)
        )
        assert [future.result(timeout=30) for future in futures] == list(range(100))
    assert suffered == []


class Told:
    """Runs until the gate opens, and says what it had to clear up."""

    def __init__(self, folder: Path, gate: Gate, *, catches: bool) -> None:
        self.folder, self.gate, self.catches = folder, gate, catches

    def __call__(self) -> int:
        number = len(list(self.folder.glob("began-*")))
        try:
            # The signal may come as soon as the file is there.
            (self.folder / f"began-{number}").write_text(str(os.getpid()))
            if number:
                return number
            self.gate.wait()
        except SystemExit as error:
            (self.folder / "cleared").touch()
            if self.catches:
                raise ValueError("interrupted") from error
            raise
        return 0


@pytest.mark.parametrize("catches", [False, True])
def test_told_to_end_from_outside_is_no_exit_of_the_function(
    catches: bool, tmp_path: Path, gate: Gate
) -> None:
    """As with SIGKILL; but the function may clear up."""
    for again in (False, True):
        folder = tmp_path / f"told-{again}"
        folder.mkdir()
        with wl.LocalExecutor(1, allowed_mem="300 MiB") as executor:
            future = executor.options(idempotent=again).submit(Told(folder, gate, catches=catches))
            began = folder / "began-0"
            assert until(lambda: began.exists() and began.read_text())  # noqa: B023
            os.kill(int(began.read_text()), signal.SIGTERM)
            error = future.exception(timeout=30)
            if again:
                assert future.result() == 1
            else:
                assert isinstance(error, WorkerDied)
                assert "SIGTERM" in str(error)
                assert isinstance(error.__cause__.__cause__, RemoteTraceback)
                assert "in __call__" in error.__cause__.__cause__.text  # where it was
            assert future.attempts[0].ending == "WorkerDied"
            assert (folder / "cleared").exists()
            assert executor.submit(os.getpid).result(timeout=30) != int(began.read_text())


def test_told_to_end_while_it_waits_for_calls() -> None:
    """Whether the call comes before or after: it has not begun, so it is nobody's failure."""
    with wl.LocalExecutor(1, allowed_mem="300 MiB") as executor:
        for _ in range(10):
            worker = executor.submit(os.getpid).result(timeout=30)
            os.kill(worker, signal.SIGTERM)
            future = executor.submit(abs, -1)
            assert future.result(timeout=30) == 1
            assert len(future.attempts) == 1
        assert until(lambda: not alive(worker))


def test_a_child_of_a_function_ends_as_programs_do(processes: wl.LocalExecutor) -> None:
    def terminated() -> int | None:
        import multiprocessing

        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(20,))
        process.start()
        process.terminate()
        process.join()
        return process.exitcode

    assert processes.submit(terminated).result(timeout=30) == -signal.SIGTERM
