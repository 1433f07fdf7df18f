"""Faults of a Dask cluster that come once, at a certain moment, and what is worked at then."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import wrenla as wl
from tests.waiting import until

WAIT = 45.0
"""Seconds after which something hangs."""

INPUTS = 4


def acts() -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """Return functions that travel by value: workers cannot import this module."""

    def act_once(folder: Path, number: int) -> None:
        """End, or stop, the Dask worker that the caller is in, or below; the first one that comes here."""
        import os
        import signal
        import time
        from pathlib import Path

        try:
            os.close(os.open(folder / "acted", os.O_CREAT | os.O_EXCL))
        except OSError:
            return
        worker = os.getpid()
        while b"spawn_main" not in Path(f"/proc/{worker}/cmdline").read_bytes():
            worker = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
        (folder / "acted").write_text(str(worker))
        os.kill(worker, number)
        time.sleep(60 if number == signal.SIGKILL else 0)

    def install(folder: Path, number: int) -> None:
        """Have this worker act when the next job is done, and before anybody is told."""
        from wrenla.executors.dask import worker

        Job: Any = getattr(worker.Job, "wrapped", worker.Job)

        def faulty(name: str, work: Any, done: Any) -> Any:
            def both() -> Any:
                result = work()
                act_once(folder, number)
                return result

            return Job(name, both, done)

        faulty.wrapped = Job  # type: ignore[attr-defined]
        worker.Job = faulty  # type: ignore[assignment, misc]

    def kernel(folder: Path | None, number: int) -> Any:
        """Return a function of tiles that acts while the second tile is made."""

        def tile(rows: Any, cols: Any) -> Any:
            import numpy as np

            if folder is not None and rows[0] >= 64:
                act_once(folder, number)
            return np.exp(-abs(rows[:, None] - cols) / 20.0)

        return tile

    return act_once, install, kernel


act_once, install, kernel = acts()


def calls(executor: wl.DaskExecutor, folder: Path, number: int, when: str, *, idempotent: bool) -> list[Any]:
    """Call a function that counts its runs, and may act; return what it comes to."""
    act = act_once if when == "while it runs" else None

    def count(x: int) -> int:
        with open(folder / f"runs-{x}", "a") as file:
            file.write(".")
        if act is not None:
            act(folder, number)
        return x * x

    mapped = executor.options(idempotent=idempotent).map(
        count, range(INPUTS), timeout=WAIT, return_exceptions=True
    )
    return list(mapped)


def runs(folder: Path) -> list[int]:
    """How often each input has been tried."""
    return [path.stat().st_size for path in sorted(folder.glob("runs-*"))]


def matrix(what: str, folder: Path, number: int, when: str) -> wl.BigMatrix:
    """An expression that a fault comes into."""
    acting = folder if when == "while it runs" else None
    A = wl.from_function(kernel(acting, number), (200, 200), 32, structure="pos")
    return A.cholesky() if what == "cholesky" else A.solve(np.ones((200, 3)))


def undisturbed(what: str) -> Any:
    """What it comes to here."""
    with wl.LocalExecutor(1, "thread") as executor:
        return matrix(what, Path(), 0, "never").compute(executor)


@contextlib.contextmanager
def before_it_is_sent(executor: wl.DaskExecutor, folder: Path, number: int) -> Iterator[None]:
    """Have a worker gone, or stopped, when the first job is about to be sent to it."""
    cluster = executor._cluster
    ask = cluster.ask

    def fatal(remote: Any, *rest: Any) -> Any:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(folder / "acted", os.O_CREAT | os.O_EXCL))
            pid = int(remote.facts["process"].partition("-")[0])
            (folder / "acted").write_text(str(pid))
            os.kill(pid, number)
            if number == signal.SIGKILL:
                assert until(lambda: not alive(pid))
        return ask(remote, *rest)

    cluster.ask = fatal  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        cluster.ask = ask  # type: ignore[method-assign]


def alive(pid: int) -> bool:
    """Whether a process runs: one that has ended and was not waited for does not."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
