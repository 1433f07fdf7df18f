"""Call runner: the same few lines in a process of this machine and in a function far away."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from wrenla_handler.calls.broadcast import resolved, tally
from wrenla_handler.calls.capture import Printed
from wrenla_handler.calls.context import CallContext, running
from wrenla_handler.calls.failure import Failure
from wrenla_handler.calls.fork_guard import ParentOnly
from wrenla_handler.calls.memory import PeakMemory
from wrenla_handler.calls.messages import Ending, Request, Response, Streams, sealed
from wrenla_handler.calls.process_state import Surroundings
from wrenla_handler.calls.returned import dump_result
from wrenla_handler.calls.termination import ToldToEnd
from wrenla_handler.calls.time_limit import OutOfTime, limited
from wrenla_handler.errors import WrenlaError
from wrenla_handler.lru import LRU
from wrenla_handler.serialize.blobs import Packed, checked, digest, dump, load, pack, size
from wrenla_handler.serialize.functions import Functions
from wrenla_handler.serialize.modules import Finder, decode_sources
from wrenla_handler.stores.base import Data, Store
from wrenla_handler.stores.urls import join, open_store

__all__ = ["DATA", "Runner", "results_of"]

DATA = "data"
"""Folder, in the store of the calls, of what functions put there themselves."""

_STORES = 16
"""How many stores are kept open."""


_LAST_WORDS = 1000
"""Bytes of what was printed that are told where there is no place for all of it."""


def results_of(call: str, attempt: int) -> str:
    """Return what the keys of an attempt's results begin with."""
    return f"results/{call}-{attempt}-"


class Runner:
    """Answers requests, one at a time; keeps functions at hand, but no state that matters.

    Parameters
    ----------
    name : str
        What answers say of who gave them.
    output : callable
        Returns what was printed and logged since it was asked the last time, a `Printed` where streams are
        known.
    finder : Finder, optional
        Of modules, if others in this process use it as well.

    Attributes
    ----------
    context : CallContext, optional
        Of the call that is running.
    told : bool
        This process has been told to end.
    spoilt : bool
        A function has changed this process in a way that cannot be undone: others should not run in it.
    """

    def __init__(self, name: str, output: Callable[[], bytes], finder: Finder | None = None) -> None:
        self.name = name
        self.context: CallContext | None = None
        self.told = False
        self.spoilt = False
        self._output = output
        self._finder = finder or Finder()
        self._modules = ""
        self._purges = 0
        self._functions = Functions()
        self._stores = LRU[Store](_STORES)
        self._peak = PeakMemory()
        self._surroundings: Surroundings | None = None
        self._gets = 0

    def answer(self, request: Request) -> Response:
        """Carry out a request. Whatever the function does, there is an answer if the process lives."""
        with ParentOnly():  # loading and pickling are code of the user's, too
            self._surroundings = self._surroundings or Surroundings()
            try:
                return self._answer(request)
            except ToldToEnd as error:
                return self.answer_of_the_told(request, error)
            finally:
                self.spoilt = not self._surroundings.restore() or self.spoilt

    def answer_of_the_told(self, request: Request, error: BaseException) -> Response:
        """Return the answer to a request that is not carried out, since this process has to end."""
        value = pack(dump(Failure.of(error)), _nowhere, inline=1 << 30)
        logs, streams = _last_words(self.take_output())
        return Response(
            request.id, request.attempt, "told to end", value, logs, worker=self.name, streams=streams
        )

    def tell(self) -> None:
        """Note, from any thread or a signal's handler, that this process has been told to end."""
        self.told = True
        if self.context is not None:
            self.context.cancelled.set()

    def _answer(self, request: Request) -> Response:
        self._gets, (gets, hits) = 0, tally()
        begun, seconds = time.monotonic(), 0.0
        ending: Ending = "refused"
        try:
            function = self._function(request)
            if function is None:
                return Response(request.id, request.attempt, "unknown function", worker=self.name)
            positional, keywords = self._arguments(request)
            start = time.perf_counter()
            # what reading took is not there any more
            limit = request.limit and max(1e-3, request.limit - (time.monotonic() - begun))
            ended, result = self._call(request, function, positional, keywords, limit)
            seconds = time.perf_counter() - start
            ending = "unsaved"  # unless what follows succeeds
            del positional, keywords
            try:
                parts = dump_result(result)
            except Exception as error:  # that is the function's doing
                ended, parts = "unpicklable", dump(Failure.of(error))
            value = self._pack(request, parts, "value")
            ending = ended
        except Exception as error:
            # inline whatever its size: the store may be what has failed
            value = pack(dump(Failure.of(error)), _nowhere, inline=1 << 30)
        logs, streams = self._logs(request)
        response = Response(
            request.id,
            request.attempt,
            ending,
            value,
            logs,
            seconds,
            self._peak.after(seconds),
            self.name,
            self._gets + tally()[0] - gets,
            tally()[1] - hits,
            streams,
        )
        if request.record and seconds >= request.unrecorded:
            self._record(request, response)
        return response

    def take_output(self) -> Printed:
        """Return what was printed and logged since the last time."""
        printed = self._output()
        return printed if isinstance(printed, Printed) else Printed([("o", printed)])

    def close(self) -> None:
        """Close the stores."""
        for store in self._stores.clear():
            store.close()

    def forget_functions(self) -> None:
        """Drop all functions: they only save time."""
        self._functions.clear()

    def _call(
        self, request: Request, function: Callable[..., Any], positional: Any, keywords: Any, limit: float
    ) -> tuple[Ending, Any]:
        self.context = CallContext(
            request.id, request.attempt, lambda: open_store(join(request.store, DATA)), owner=None
        )
        raised: BaseException | None = None
        try:
            with running(self.context), limited(limit):
                try:
                    with ParentOnly():  # innermost: a forked child ends with what it has raised
                        return "value", function(*positional, **keywords)
                except OutOfTime:
                    raise
                except BaseException as error:  # kept from `contextmanager`, which sets attributes of it
                    raised = error
            raise raised
        except OutOfTime as error:
            return "timed out", Failure.of(error)
        except BaseException as error:  # SystemExit, too: the worker goes on
            # whatever it makes of our interruption: it has not ended by itself
            return "told to end" if self.told else "exception", Failure.of(error)
        finally:
            # `raised`, too: its traceback has this frame, and the circle would keep the call's arguments.
            self.context = raised = None

    def _function(self, request: Request) -> Callable[..., Any] | None:
        """Return the function of a request, None if it is only named and not known."""
        if not self._import(request):
            return None
        name = digest(request.function)
        function = self._functions.get(name)
        if function is None:
            if any(blob.nbytes and not (blob.data or blob.key) for blob in request.function):
                return None
            loaded: Callable[..., Any] = load(request.function, self._reader(request))
            self._functions.put(name, loaded, size(request.function))
            return loaded
        return function

    def _import(self, request: Request) -> bool:
        """Take the modules of a request over. Returns False if they are only named, and others are known."""
        if self._purges != self._finder.purges:
            self._forget_modules()
        if not request.modules or request.modules[0].sha256 == self._modules:
            return True
        (blob,) = request.modules
        if not (blob.data or blob.key):
            return False
        text = bytes(self._reader(request)(blob.key)) if blob.key else blob.data
        checked(text, blob)
        self._finder.install(decode_sources(text))
        if self._purges != self._finder.purges:
            self._forget_modules()
        self._modules = blob.sha256
        return True

    def _forget_modules(self) -> None:
        """Load functions anew: they refer to modules that have been replaced."""
        self._functions.clear()
        self._modules = ""
        self._purges = self._finder.purges

    def _arguments(self, request: Request) -> tuple[tuple[Any, ...], dict[str, Any]]:
        get = self._reader(request)
        if request.values:
            return ([load(value, get) for value in request.values],), {}
        positional, keywords = load(request.arguments, get)
        return resolved(positional, keywords)

    def _store(self, request: Request) -> Store:
        store = self._stores.get(request.store)
        if store is None:
            store = open_store(request.store)
            for unused in self._stores.put(request.store, store):
                unused.close()
        return store

    def _reader(self, request: Request) -> Callable[[str], Data]:
        def get(key: str) -> Data:
            self._gets += 1
            try:
                return self._store(request).get(key)
            except KeyError:
                raise WrenlaError(f"{request.store}: {key}: a part of the request is not there") from None

        return get

    def _pack(self, request: Request, parts: list[Data], name: str) -> Packed:
        def put(number: int, part: Data) -> str:
            key = f"{results_of(request.id, request.attempt)}{name}-{number}"
            self._store(request).put(key, part)
            return key

        return pack(parts, put)

    def _logs(self, request: Request) -> tuple[Packed, Streams]:
        printed = self.take_output()
        if not printed:
            return (), ()
        try:
            return self._pack(request, [printed], "logs"), printed.streams
        except OSError:  # the store has failed, which must not hide how the call ended
            return _last_words(printed)

    def _record(self, request: Request, response: Response) -> None:
        # Ignore errors of the store: the answer is also sent directly, and the driver notices that there is
        # no record.
        with suppress(OSError, ValueError):  # ValueError: an address that is none
            data = sealed(response.encode(), request.secret)
            self._store(request).put(request.record, data, create=True)


def _last_words(printed: bytes) -> tuple[Packed, Streams]:
    """Return the end of what was printed, where there is no place for all of it."""
    return (pack([printed[-_LAST_WORDS:]], _nowhere) if printed else ()), ()


def _nowhere(number: int, part: Data) -> str:
    raise AssertionError("all of it travels inside the message")
