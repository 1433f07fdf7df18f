"""A scheduler, or a driver, that is gone: its runs go on elsewhere, to the same bits, and its calls end."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from tests.waiting import slowed, until
from wrenla.errors import Lost, NeverStarted

from . import faults
from .conftest import _left, pilots
from .faults import WAIT, undisturbed

pytestmark = pytest.mark.timeout(120)

_SCHEDULER = """
import sys
import distributed
from tests.dask_.conftest import local_cluster
if __name__ == "__main__":
    with local_cluster(2) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


@contextlib.contextmanager
def cluster_elsewhere(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A cluster that another process has; the process and the address."""
    (folder / "scheduler.py").write_text(_SCHEDULER)
    with subprocess.Popen(
        [sys.executable, str(folder / "scheduler.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            yield process, process.stdout.readline().decode().strip()  # type: ignore[union-attr]
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("what", ["calls", "cholesky", "solve"])
def test_scheduler_gone(what: str, tmp_path: Path) -> None:
    threads = set(threading.enumerate())
    with cluster_elsewhere(tmp_path) as (process, address):

        def wait_once(rows: Any, cols: Any) -> Any:
            import time

            while not rows[0] < 64 and not (tmp_path / "resumed").exists():
                (tmp_path / "acted").touch()
                time.sleep(0.01)
            return np.exp(-abs(rows[:, None] - cols) / 20.0)

        def wait(x: int) -> None:
            wait_once(np.array([100]), np.array([100]))

        def kill() -> None:
            assert until(lambda: (tmp_path / "acted").exists())
            process.kill()

        A = wl.from_function(wait_once, (200, 200), 32, structure="pos")
        expression = A.cholesky() if what == "cholesky" else A.solve(np.ones((200, 3)))
        killer = threading.Thread(target=kill)
        began = time.monotonic()
        executor = wl.DaskExecutor(address)
        killer.start()
        if what == "calls":
            future = executor.submit(wait, 1)
            with pytest.raises(Lost, match="scheduler"):
                future.result(WAIT)
        else:
            with pytest.raises((Lost, NeverStarted), match="scheduler"):
                expression.compute(executor)
        executor.shutdown()
        killer.join()
        assert time.monotonic() - began < slowed(40)
    (tmp_path / "resumed").touch()
    if what != "calls":  # elsewhere, from where it was
        with wl.LocalExecutor(1, "thread") as local:
            assert np.array_equal(expression.compute(local), undisturbed(what))
    assert until(lambda: not {t for t in set(threading.enumerate()) - threads if "calls-" in t.name})


_DRIVER = """
import os, signal, sys, time
import numpy as np
import wrenla as wl

folder, address, what, fatal = *sys.argv[1:4], int(sys.argv[4])
count = spared = 0

def say(event):
    global count, spared
    if type(event).__name__ == "RunStarted":
        spared += event.tasks - event.todo
    if type(event).__name__ == "TaskFinished":
        count += 1
        if count == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

def kernel(rows, cols):
    return np.exp(-abs(rows[:, None] - cols) / 20.0)

def call(x):
    with open(f"{folder}/runs-{x}", "a") as file:
        file.write(".")
    while x == 3 and not os.path.exists(f"{folder}/go"):
        time.sleep(0.01)
    return x

with wl.DaskExecutor(address) as executor:
    if what == "calls":
        for number, value in enumerate(executor.map(call, range(8))):
            if number == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
    else:
        A = wl.from_function(kernel, (200, 200), 32, structure="pos")
        x = A.cholesky() if what == "cholesky" else A.solve(np.ones((200, 3)))
        x.save(f"{folder}/out", executor, callbacks=[say])
        print(spared)
"""


def drive(folder: Path, client: Any, what: str, fatal: int) -> tuple[int, str]:
    """Run the script, which kills itself at a certain moment; return how it ended, and what it said."""
    (folder / "driver.py").write_text(_DRIVER)
    address = client.scheduler.address
    done = subprocess.run(
        [sys.executable, str(folder / "driver.py"), str(folder), address, what, str(fatal)],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode, done.stdout.decode()


@pytest.mark.slow
@pytest.mark.parametrize("what", ["cholesky", pytest.param("solve", marks=pytest.mark.slow)])
def test_driver_killed_goes_on_to_the_same_bits(what: str, client: Any, tmp_path: Path) -> None:
    assert drive(tmp_path, client, what, 12)[0] == -signal.SIGKILL
    with hurried(client):
        code, said = drive(tmp_path, client, what, -1)
        assert code == 0
        assert int(said) >= 11, "it had done some already"
        assert np.array_equal(wl.open(tmp_path / "out").compute(), undisturbed(what))
    assert [str(path) for path in (tmp_path / "runs").rglob("*") if path.is_file()] == []


@pytest.mark.slow
def test_calls_of_a_killed_driver_end(client: Any, tmp_path: Path) -> None:
    """Also one that runs: nobody would stop it, and it would hold a thread of the worker for ever."""
    assert drive(tmp_path, client, "calls", 2)[0] == -signal.SIGKILL
    with hurried(client):
        pass
    assert max(faults.runs(tmp_path)) == 1
    assert client.submit(abs, -1, pure=False).result(WAIT) == 1, "no thread is held"


@contextlib.contextmanager
def hurried(client: Any) -> Iterator[None]:
    """Let workers look soon for what is left of drivers, and find that nothing is in the end."""

    def set_seconds(left: float, look: float) -> None:
        from wrenla.executors.dask import worker

        worker._LEFT, worker._LOOK = left, look

    client.run(set_seconds, 2.0, 0.1)
    try:
        yield
        assert until(lambda: not any(client.run(_left).values())), client.run(_left)
        assert until(lambda: pilots(client) == []), pilots(client)
    finally:
        client.run(set_seconds, 600.0, 5.0)
