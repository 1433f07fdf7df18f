"""Connection to a Dask cluster: messages to workers' event loops, all by the client's public functions."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from wrenla.errors import ServiceError
from wrenla.executors.dask import worker as theirs

__all__ = ["PATIENCE", "Connection"]

logger = logging.getLogger("wrenla.calls")

PATIENCE = 10.0
"""Seconds within which a scheduler answers, or a worker, or it is not there."""


class Connection:
    """A client of Dask's, used from any thread.

    Parameters
    ----------
    client : distributed.Client
    owned : bool
        It is ours, and is closed with us.
    """

    def __init__(self, client: Any, *, owned: bool) -> None:
        self.client = client
        self._owned = owned

    @property
    def address(self) -> str:
        """Address of the scheduler."""
        return str(getattr(getattr(self.client, "scheduler", None), "address", "") or "")

    @property
    def closed(self) -> bool:
        """The client has been closed."""
        return self.client.status in ("closed", "closing")

    @property
    def broken(self) -> bool:
        """The client has lost the scheduler, or has been closed."""
        return bool(self.client.status != "running")

    @property
    def is_here(self) -> bool:
        """This is the thread of the client's event loop: whoever waits in it waits for himself."""
        try:
            return asyncio.get_running_loop() is self.client.loop.asyncio_loop
        except RuntimeError:
            return False

    def close(self) -> None:
        """Close the client if it is ours."""
        if self._owned:
            with suppress(Exception):  # the scheduler may be gone
                self.client.close(timeout=PATIENCE)

    def threads(self) -> dict[str, int]:
        """Return the workers that are there, by address, and how many threads each has."""
        return dict(self.now(lambda: self.client.nthreads()))

    def ran_out_of_memory(self, address: str) -> bool:
        """Tell whether the nanny of a worker has ended it for want of memory."""
        with suppress(ServiceError):
            events = self.now(lambda: self.client.get_events("worker-restart-memory"))
            return any(address in str(event) for _, event in events or ())
        return False

    def pilot(self, name: str, process: str, workers: Sequence[str] | None = None) -> Any:
        """Submit a pilot task, pinned to some workers; return Dask's future of it."""
        return self.client.submit(
            theirs.pilot,
            name,
            process,
            key=f"wrenla-pilot-{uuid.uuid4().hex}",
            workers=workers,
            allow_other_workers=False,
            pure=False,
            retries=0,
        )

    def ended(self, pilot: Any) -> Future[Any]:
        """Return a future of the end of a pilot, whatever that is.

        Dask's `add_done_callback` begins a thread, which it cannot when the interpreter ends.
        """

        async def over() -> None:
            with suppress(Exception, asyncio.CancelledError):
                await pilot

        return self.soon(over)

    def run(self, address: str, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Run a coroutine function in the event loop of a worker; return a future of what it returns."""

        async def asked() -> Any:
            answers = await self.client.run(function, *args, workers=[address], on_error="return")
            answer = answers[address]
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return self.soon(asked)

    def soon(self, make: Callable[[], Awaitable[Any]]) -> Future[Any]:
        """Let the client's event loop await something; return a future of it."""
        ended: Future[Any] = Future()

        async def go() -> None:
            try:
                result = await make()
            except BaseException as error:
                ended.set_exception(error)
            else:
                ended.set_result(result)

        try:
            if self.closed:
                raise RuntimeError("the client has been closed")
            self.client.loop.add_callback(go)
        except Exception as error:
            ended.set_exception(error)
        return ended

    def now(self, make: Callable[[], Awaitable[Any]]) -> Any:
        """Await something that the scheduler answers soon. Raises ServiceError if it does not."""
        try:
            return self.soon(make).result(PATIENCE)
        except Exception as error:
            words = f"no answer within {PATIENCE:g} s" if isinstance(error, TimeoutError) else str(error)
            raise ServiceError(f"Dask's scheduler {self.address} does not answer: {words}") from error
