"""Processes that are killed: before a call, and with what a call has started."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import alive
from tests.waiting import until
from wrenla.errors import TimedOut, WorkerDied
from wrenla.executors.local.processes import Child

from .fault_acts import hangs_in_a_process_of_its_own, kill_myself
from .faulty_calls import WAIT, Way, by_map, by_map_reduce, by_submit, faulty, pool

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("by_value")]


@pytest.mark.parametrize(
    ("way", "noticed"),
    [(by_submit, False), (by_map, True), (by_map_reduce, False)],
    ids=["submit-while it is sent", "map-seen", "map_reduce-while it is sent"],
)
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
        assert until(lambda: not any(map(alive, pids)))
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
def test_subprocess_of_a_function_ends_with_its_worker(
    act: Callable[[Path], None] | None, tmp_path: Path
) -> None:
    def starts_and_dies(folder: Path) -> None:
        (folder / "pid").write_text(str(subprocess.Popen(["sleep", "1000"]).pid))
        kill_myself()

    with pool() as executor:
        error = executor.options(timeout=0.5).submit(act or starts_and_dies, tmp_path).exception(WAIT)
        assert isinstance(error, TimedOut if act else WorkerDied)
        assert until(lambda: not alive(int((tmp_path / "pid").read_text())), 3)
