"""Submitter: a pickled function, and calls of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from wrenla.executors.calls.call import Batch, Call
from wrenla.executors.calls.dispatcher import Dispatcher
from wrenla.executors.calls.future import Future
from wrenla.executors.calls.options import CallOptions
from wrenla.executors.transport.reachable import note_argument
from wrenla_handler.calls.chunk import Chunk

__all__ = ["Submitter"]


_LOOSE = object()
"""What calls are in that are in no batch."""


class Submitter:
    """Submits calls of one function, which is pickled once for all of them.

    What is stored of it goes with the last of the calls after `close`, or the end of a ``with`` block.

    Parameters
    ----------
    calls : Dispatcher
    fn : callable
    label : str
        What messages call it.
    options : CallOptions
    batch : Batch, optional
        That the calls belong to.
    raw, held : bool
        As for `Call`.
    bunch : object, optional
        Ctrl-C in a wait for one of the calls ends all of the same bunch; by default those of the batch, or
        all that are in none.
    """

    def __init__(
        self,
        calls: Dispatcher,
        fn: Callable[..., Any],
        label: str,
        options: CallOptions,
        batch: Batch | None = None,
        *,
        raw: bool = False,
        held: bool = False,
        bunch: object = None,
    ) -> None:
        self._calls = calls
        self._label = label
        self._options = options
        self._batch = batch
        self._raw = raw
        self._held = held
        self._bunch = bunch or batch or _LOOSE
        self._repeats_itself = isinstance(fn, Chunk)  # input by input
        self._function = calls.transport.function(fn, label, options)
        self._closed = False

    def __call__(self, positional: Any, keywords: dict[str, Any] | None) -> Future[Any]:
        """Submit a call; without keywords the arguments are ready to travel already."""
        calls, transport, arguments = self._calls, self._calls.transport, positional
        if keywords is not None:
            try:
                arguments = transport.arguments(positional, keywords, self._label)
            except Exception as error:
                note_argument(error, positional, keywords, chunk=self._repeats_itself)
                raise
        future = calls.new_future()
        future._bunch = self._bunch
        call = Call(
            future, self._options, self._label, self._function, arguments, self._batch, self._raw, self._held
        )
        call.repeats_itself = self._repeats_itself
        if self._repeats_itself:
            call.inputs = len(positional[0])
        # Before the call is in the queue: one that ends at once would free what it has not counted yet.
        call.release = transport.needs(self._function, arguments)
        try:
            calls.submit(call)
        except RuntimeError:  # after a shutdown, or without a thread: the call is not in the queue
            if call.release is not None:
                call.release()
            raise
        return future

    def close(self) -> None:
        """Drop the function: no more calls come."""
        if not self._closed:
            self._closed = True
            self._calls.transport.forget(self._function)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
