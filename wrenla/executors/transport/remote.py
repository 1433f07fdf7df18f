"""Remote transport: pickle functions and arguments, send them as blobs, read results and exceptions."""

from __future__ import annotations

import logging
import pickle
import secrets
import time
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from wrenla.errors import Lost, NeverStarted, ReachError, TransientStoreError, WorkerDied
from wrenla.executors.calls.call import Call, Outcome
from wrenla.executors.calls.future import Attempt
from wrenla.executors.calls.live_output import Showing
from wrenla.executors.calls.options import CallOptions
from wrenla.executors.map_api.failed_inputs import short
from wrenla.executors.transport.local_modules import local_sources
from wrenla.executors.transport.missing_modules import explain_import
from wrenla.executors.transport.reachable import ReachingPickler
from wrenla.executors.transport.scratch import ScratchSpace
from wrenla.executors.transport.unpicklable import blame
from wrenla_handler.calls.broadcast import Ref
from wrenla_handler.calls.capture import Printed
from wrenla_handler.calls.failure import Failure
from wrenla_handler.calls.messages import Request, Response, unsealed
from wrenla_handler.errors import IntegrityError, StoreError
from wrenla_handler.serialize.blobs import INLINE, Packed, bare, checked, digest, dump, load, size
from wrenla_handler.serialize.modules import encode_sources
from wrenla_handler.stores.base import Data

logger = logging.getLogger("wrenla.calls")

__all__ = ["RemoteTransport", "SentArguments", "SentFunction"]

_PLAIN = frozenset({int, float, complex, str, bytes, bool, type(None)})
"""What pickles quickly and everywhere."""

_SMALL = 4 << 10
"""Bytes of a broadcast value that travel with its references: not worth an object."""


@dataclass(slots=True, eq=False)
class SentFunction:
    """A function as it travels, for any number of calls.

    Attributes
    ----------
    packed : Packed
    bare : Packed
        The same, for a worker that has it.
    name : str
        Its hash.
    needs : frozenset of str
        Modules that must be there to load it.
    options : CallOptions
    bundles : dict
        Sources of the local ones among some modules, by their names.
    """

    packed: Packed
    bare: Packed
    name: str
    needs: frozenset[str]
    options: CallOptions
    bundles: dict[frozenset[str], Packed] = field(default_factory=dict)


class SentArguments(NamedTuple):
    """The arguments of one call as they travel: one pickle, or results of other calls.

    Large ones are also there as a few words, for errors that are about them.
    """

    packed: Packed = ()
    values: tuple[Packed, ...] = ()
    needs: frozenset[str] = frozenset()
    shown: str = ""


class RemoteTransport:
    """Makes requests and reads responses, for executors whose workers are other processes.

    Parameters
    ----------
    scratch : ScratchSpace
        For what does not fit into messages.
    """

    unrecorded: float | None = None
    """Seconds from which on an answer is worth storing if nothing is said; None: none is stored at all."""

    showing: Showing
    """Shows what functions print; set by whoever has the calls."""

    def __init__(self, scratch: ScratchSpace) -> None:
        self.scratch = scratch
        self._secret = secrets.token_hex(32)

    def function(self, fn: Callable[..., Any], label: str, options: CallOptions) -> SentFunction:
        """Pickle a function, once for all calls that get it."""
        needs: set[str] = set()
        try:
            parts = self._dump(fn, needs)
        except Exception as error:
            error.add_note(f"while pickling the function {label}, to send it to a worker")
            if not isinstance(error, ReachError):  # which names the object
                error.add_note(blame(f"the function {label}", fn))
            raise
        packed = self.scratch.share(parts, "functions", inline=INLINE)
        return SentFunction(packed, bare(packed), digest(packed), frozenset(needs), options)

    def arguments(self, positional: tuple[Any, ...], keywords: dict[str, Any], label: str) -> SentArguments:
        """Pickle the arguments of one call."""
        if not keywords and _PLAIN.issuperset(map(type, positional)):  # nothing that could name a module
            return SentArguments(self.scratch.send([pickle.dumps((positional, keywords), 5)], "arguments"))
        needs: set[str] = set()
        try:
            parts = self._dump((positional, keywords), needs)
        except Exception as error:
            error.add_note(f"while pickling the arguments of a call of {label}, to send them to a worker")
            raise
        packed = self.scratch.send(parts, "arguments")
        shown = short(positional[0] if len(positional) == 1 else positional) if _is_stored(packed) else ""
        return SentArguments(packed, needs=frozenset(needs), shown=shown)

    def _dump(self, obj: Any, needs: set[str]) -> list[Data]:
        reach, reach_of = self.scratch.reach, self.scratch.reach_of
        return dump(obj, ReachingPickler, modules=needs, reach=reach, reach_of=reach_of)

    def positional(self, arguments: SentArguments) -> Any:
        """Return the positional arguments of a call, or a few words for them: for errors."""
        if arguments.shown or not arguments.packed or _is_stored(arguments.packed):
            return arguments.shown
        return load(arguments.packed, self._fetch)[0]

    def explain(self, error: BaseException) -> None:
        """Note on what a function has raised what is to be done about it, if that is known."""
        explain_import(error, "process")

    def gathered(self, results: Sequence[Packed]) -> SentArguments:
        """Return results that were not unpacked, as the one argument of a call: their list."""
        return SentArguments(values=tuple(results))

    def needs(self, function: SentFunction, arguments: SentArguments) -> Callable[[], None] | None:
        """Note what a call needs that is stored. Returns what lets go of it, None if there is nothing."""
        shared = function.packed if self.scratch.keep(function.packed) else ()
        values = (arguments.packed, *arguments.values)
        if not shared and not any(blob.key for value in values for blob in value):  # nearly always
            return None

        def let_go() -> None:
            self.scratch.drop(shared)
            self.scratch.free(values)

        return let_go

    def forget(self, function: SentFunction) -> None:
        """Note that no more calls of a function come: what is stored of it goes with the last one."""
        self.scratch.drop(function.packed)

    def discard(self, result: Packed) -> None:
        """Remove a result that was not unpacked, and that nobody needs."""
        self.scratch.free([result])

    def broadcast(self, value: object) -> Ref:
        """Store a value that many calls read."""
        return self.scratch.broadcast(value, inline=_SMALL)

    def request(
        self, call: Call, attempt: Attempt, functions: Container[str] = (), modules: str = ""
    ) -> Request:
        """Return the request for an attempt.

        Parameters
        ----------
        call : Call
        attempt : Attempt
        functions : container of str
            Hashes of the functions that the worker has: they are only named.
        modules : str
            Hash of the modules that the worker has.
        """
        function, arguments = call.function, call.arguments
        sources = self._modules(function, arguments.needs)
        wanted = self.unrecorded is not None and call.options.record is not False
        record = f"outcomes/{call.future.id}-{attempt.number}" if wanted else ""
        return Request(
            call.future.id,
            attempt.number,
            function.bare if function.name in functions else function.packed,
            arguments.packed,
            arguments.values,
            bare(sources) if sources and sources[0].sha256 == modules else sources,
            self.scratch.url,
            record,
            self._secret if record else "",
            0.0 if call.options.record else self.unrecorded or 0.0,
        )

    def read(self, response: Response, call: Call) -> Outcome:
        """Return what a response says. Whatever was stored for it is removed, unless it is handed on."""
        scratch = self.scratch
        outcome = Outcome(
            worker=response.worker,
            seconds=response.seconds,
            peak=response.peak,
            received=size(response.value) + size(response.logs),
            gets=response.gets,
            hits=response.hits,
        )
        try:
            outcome.logs = self._logs(response)
            if response.ending == "value":
                if call.raw:
                    outcome.value = response.value
                    outcome.discard = lambda: self.discard(response.value)
                    scratch.free([response.logs])
                    return outcome
                outcome.value = load(response.value, self._fetch)
            else:
                _blame(outcome, load(response.value, self._fetch), response, call)
                if outcome.error is not None:
                    self.explain(outcome.error)
        except BaseException as error:  # what the function returned cannot be loaded here
            outcome.error, outcome.function = _unread(error, call), "ended"
        if response.logs or len(response.value) > 1 or response.value[0].key:
            scratch.free([response.value, response.logs])
        if response.ending == "unsaved":  # a part of it may have been
            scratch.free_results(response.id, response.attempt)
        return outcome

    def recorded(self, request: Request) -> Response | None:
        """Return the answer that a worker has stored, if there is one.

        Others may write to the store, too: what is not signed is no answer, and what is answers one attempt.
        """
        if not request.record:
            return None
        try:
            data = bytes(self.scratch.store.get(request.record))
            response = Response.decode(unsealed(data, request.secret))
            if (response.id, response.attempt) != (request.id, request.attempt):
                raise IntegrityError(f"the stored answer is that of {response.id}, put here by somebody else")
        except KeyError:
            return None
        except StoreError as error:  # not signed, or the store does not answer now: it may the next time
            logger.warning("%s: %s: %s", self.scratch.url, request.record, error)
            return None
        return response

    def forget_record(self, request: Request) -> None:
        """Remove what a worker may have stored as its answer."""
        if request.record:
            self.scratch.delete(request.record)

    def _fetch(self, key: str) -> Data:
        """Return an object of an answer."""
        try:
            return self.scratch.fetch(key)
        except StoreError as error:
            raise Lost(f"its answer cannot be read: {error}") from error

    def _logs(self, response: Response) -> bytes:
        """Return what was printed. If it cannot be had, this must not hide how the call ended."""
        if not response.logs:
            return b""
        (blob,) = response.logs
        try:
            text = bytes(checked(bytes(self.scratch.fetch(blob.key) if blob.key else blob.data), blob))
            return Printed.of(text, response.streams)
        except StoreError as error:
            logger.warning("%s: what it printed: %s", response.id, error)
            return f"(what it printed cannot be had: {error})\n".encode()

    def _modules(self, function: SentFunction, more: frozenset[str]) -> Packed:
        needs = function.needs | more if more else function.needs
        if needs not in function.bundles:
            options = function.options
            sources = local_sources(needs, options.include_modules, options.exclude_modules)
            parts: list[Data] = [encode_sources(sources)] if sources else []
            function.bundles[needs] = self.scratch.share(parts, "modules", inline=INLINE)
        return function.bundles[needs]


def _is_stored(packed: Packed) -> bool:
    return any(blob.key for blob in packed)


def _blame(outcome: Outcome, failure: Failure, response: Response, call: Call) -> None:
    """Note the failure that a worker has told of."""
    error = failure.exception()
    match response.ending:
        case "timed out":
            outcome.error = call.late(time.monotonic())
        case "told to end":  # not by us, or nobody would ask any more
            outcome.error = WorkerDied(
                f"{call.label}: its {response.worker} was told to end (signal SIGTERM) while it had the call"
            )
        case "unsaved":
            outcome.function = "ended"
            outcome.error = Lost(
                f"{call.label}: the function has ended, but what it returned could not be stored: {error}"
            )
        case "refused" if isinstance(error, TransientStoreError):
            outcome.error = NeverStarted(f"{call.label}: its worker could not read what it needs: {error}")
        case "unpicklable":
            outcome.error, outcome.function = error, "ended"
            return
        case "refused" if isinstance(error, IntegrityError):
            outcome.error = error
            return
        case _:  # what is raised while function and arguments are loaded is the user's as well
            outcome.blame(error, call.label)
            return
    outcome.error.__cause__ = error


def _unread(error: BaseException, call: Call) -> Exception:
    """Return the error for an answer that cannot be loaded here."""
    if isinstance(error, IntegrityError):
        return error
    if isinstance(error, Lost) and isinstance(error.__cause__, StoreError):
        lost = Lost(f"{call.label}: {error}")
        lost.__cause__ = error.__cause__
        return lost
    # a SystemExit would end the thread that other calls need
    told = error if isinstance(error, Exception) else Failure.of(error).exception()
    told.add_note(f"while loading the result of {call.label}, which its worker had sent")
    return told
