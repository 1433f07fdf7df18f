"""Calls in threads of this process: nothing is pickled, nothing can be killed."""

from __future__ import annotations

import functools
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO, cast

from wrenla.executors.calls.call import Call, Ended, Outcome, Work
from wrenla.executors.calls.future import Attempt
from wrenla.executors.calls.live_output import Router, Showing
from wrenla.executors.calls.options import CallOptions
from wrenla.executors.transport.scratch import ScratchSpace
from wrenla_handler.calls.broadcast import Ref, resolved
from wrenla_handler.calls.capture import Printed, StreamName
from wrenla_handler.calls.context import CallContext, running
from wrenla_handler.calls.failure import Failure
from wrenla_handler.calls.fork_guard import ParentOnly

__all__ = ["ThreadTransport"]


class ThreadTransport:
    """Carries calls to threads of this process.

    Parameters
    ----------
    scratch : ScratchSpace
        For broadcast values, and for what functions store.
    """

    keeps_limits = False
    keeps_channels = True
    showing: Showing

    def __init__(self, scratch: ScratchSpace) -> None:
        self.scratch = scratch

    def function(self, fn: Callable[..., Any], label: str, options: CallOptions) -> Callable[..., Any]:
        return fn

    def arguments(self, positional: tuple[Any, ...], keywords: dict[str, Any], label: str) -> Any:
        return positional, keywords

    def positional(self, arguments: Any) -> Any:
        return arguments[0]

    def explain(self, error: BaseException) -> None:
        """Do nothing: errors name their cause already."""

    def gathered(self, results: Sequence[Any]) -> Any:
        return (list(results),), {}

    def needs(self, function: Any, arguments: Any) -> None:
        """Do nothing: all of it is in memory."""

    def forget(self, function: Any) -> None:
        """Do nothing: it is in memory."""

    def discard(self, result: Any) -> None:
        """Do nothing: it is in memory."""

    def broadcast(self, value: object) -> Ref:
        """Store a value, so that all calls see the same one, which none can change."""
        return self.scratch.broadcast(value, inline=0)

    def channel(self) -> ThreadChannel:
        return ThreadChannel(self)

    def ending(self) -> None:
        """Do nothing: attempts that nobody needs are ended at once, or left alone."""

    def close(self) -> None:
        """Remove what is stored."""
        self.scratch.close()


class ThreadChannel:
    """The thread that uses it."""

    def __init__(self, transport: ThreadTransport) -> None:
        self._transport = transport
        self._context: tuple[Attempt, CallContext] | None = None
        self.thread = threading.current_thread()

    def appetite(self, call: Call) -> int:
        """Return 0: nothing is gained by having more than one call."""
        return 0

    def perform(self, work: Sequence[Work]) -> Iterator[Ended]:
        """Run the functions here."""
        for call, attempt in work:
            yield call, attempt, self._run(call, attempt)

    def _run(self, call: Call, attempt: Attempt) -> Outcome:
        attempt.worker = f"thread {self.thread.name}"
        context = CallContext(call.future.id, attempt.number, self._transport.scratch.data, self._transport)
        self._context = attempt, context
        outcome = Outcome(worker=attempt.worker)
        function, (positional, keywords) = call.function, call.arguments
        start = time.perf_counter()
        show = functools.partial(self._transport.showing.direct, call, attempt)
        with _captured(show) as heard, running(context):
            try:
                positional, keywords = resolved(positional, keywords)
                with ParentOnly():
                    outcome.value = function(*positional, **keywords)
            except Exception as error:
                outcome.blame(error, call.label)
            except BaseException as error:  # SystemExit must not end a thread that other calls need
                outcome.blame(Failure.of(error).exception(), call.label)
        outcome.seconds = time.perf_counter() - start
        outcome.logs = heard.printed()
        return outcome

    def stop(self, attempt: Attempt, *, gently: bool) -> None:
        """Tell the function, which may ask `cancelled`; more cannot be done to a thread."""
        # Read once: the thread may begin another call at any moment, which must not be cancelled instead.
        current = self._context
        if current is not None and current[0] is attempt:
            current[1].cancelled.set()

    def close(self) -> None:
        """Do nothing: the thread ends by itself."""


class _Heard:
    """Captured output and log records of one thread."""

    def __init__(self, show: Callable[[StreamName, str], None]) -> None:
        self.parts: list[tuple[StreamName, str]] = []
        self._show = show

    def write(self, name: StreamName, text: str) -> None:
        """Keep a text, and show it."""
        self.parts.append((name, text))
        self._show(name, text)

    def log(self, record: logging.LogRecord, line: str) -> None:
        """Keep a line of the log. Whoever else listens shows it; where nobody does, as Python does."""
        self.parts.append(("l", line + "\n"))
        last = logging.lastResort
        if last is not None and record.levelno >= last.level and not _is_heard(record.name):
            self._show("e", last.format(record) + "\n")

    def printed(self) -> Printed:
        """Return all of it."""
        return Printed((name, text.encode("utf-8", "backslashreplace")) for name, text in self.parts)


_heard: dict[int, _Heard] = {}
"""What threads that are being listened to have printed, by their numbers."""

_listening = threading.Lock()


def _route(name: StreamName) -> Callable[[str], bool]:
    def route(text: str) -> bool:
        mine = _heard.get(threading.get_ident())
        if mine is not None:
            mine.write(name, text)
        return mine is not None

    return route


class _Records(logging.Handler):
    """Takes the log records of threads that are being listened to."""

    def emit(self, record: logging.LogRecord) -> None:
        mine = _heard.get(threading.get_ident())
        if mine is None:
            return
        try:
            mine.log(record, self.format(record))
        except Exception:  # a message that does not fit its arguments is told of, and no reason to fail
            self.handleError(record)


_records = _Records()
_records.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))


def _is_heard(name: str) -> bool:
    """Tell whether a logger has a handler, beside ours."""
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        if any(handler is not _records for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


@contextmanager
def _captured(show: Callable[[StreamName, str], None]) -> Iterator[_Heard]:
    """Listen to this thread. Routers stand in for the standard streams while anybody is listened to."""
    mine = _Heard(show)
    with _listening:
        # With the lock held: two first listeners would each put a router before the other's, and one would
        # stay.
        if not _heard:
            sys.stdout = cast("TextIO", Router(sys.stdout, _route("o")))
            sys.stderr = cast("TextIO", Router(sys.stderr, _route("e")))
            logging.getLogger().addHandler(_records)
        _heard[threading.get_ident()] = mine
    try:
        yield mine
    finally:
        with _listening:
            del _heard[threading.get_ident()]
            if not _heard:
                logging.getLogger().removeHandler(_records)
                # whoever has put something else there in the meantime keeps it
                if isinstance(sys.stdout, Router):
                    sys.stdout = sys.stdout.stream
                if isinstance(sys.stderr, Router):
                    sys.stderr = sys.stderr.stream
