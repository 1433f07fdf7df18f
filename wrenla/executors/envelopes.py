"""Calls that travel: functions and arguments are pickled here, results and exceptions come back as blobs."""

from __future__ import annotations

import logging
import pickle
import secrets
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from wrenla.errors import Lost, NeverStarted, TransientStoreError
from wrenla.executors.call import Call, Outcome
from wrenla.executors.endings import raised
from wrenla.executors.future import Attempt
from wrenla.executors.options import CallOptions
from wrenla.executors.place import Place
from wrenla.executors.shipping import NamingPickler, local_sources
from wrenla_handler.call.blobs import INLINE, Packed, bare, digest, dump, load, size
from wrenla_handler.call.broadcast import Ref
from wrenla_handler.call.envelope import Request, Response, unsealed
from wrenla_handler.call.failure import Failure
from wrenla_handler.call.modules import encode_sources
from wrenla_handler.errors import StoreError
from wrenla_handler.stores import Data

logger = logging.getLogger("wrenla.calls")

__all__ = ["Envelopes", "SentArguments", "SentFunction"]

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
    """The arguments of one call as they travel: one pickle, or results of other calls."""

    packed: Packed = ()
    values: tuple[Packed, ...] = ()
    needs: frozenset[str] = frozenset()


class Envelopes:
    """Makes requests and reads responses, for executors whose workers are other processes.

    Parameters
    ----------
    place : Place
        For what does not fit into messages.
    """

    unrecorded: float | None = None
    """Seconds from which on an answer is worth storing if nothing is said; None: none is."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._secret = secrets.token_hex(32)

    def function(self, fn: Callable[..., Any], label: str, options: CallOptions) -> SentFunction:
        """Pickle a function, once for all calls that get it."""
        needs: set[str] = set()
        try:
            parts = dump(fn, NamingPickler, modules=needs)
        except Exception as error:
            error.add_note(f"while pickling the function {label}, to send it to a worker")
            raise
        packed = self.place.share(parts, "functions", inline=INLINE)
        return SentFunction(packed, bare(packed), digest(packed), frozenset(needs), options)

    def arguments(self, positional: tuple[Any, ...], keywords: dict[str, Any], label: str) -> SentArguments:
        """Pickle the arguments of one call."""
        if not keywords and _PLAIN.issuperset(map(type, positional)):  # nothing that could name a module
            return SentArguments(self.place.send([pickle.dumps((positional, keywords), 5)], "arguments"))
        needs: set[str] = set()
        try:
            parts = dump((positional, keywords), NamingPickler, modules=needs)
        except Exception as error:
            error.add_note(f"while pickling the arguments of a call of {label}, to send them to a worker")
            raise
        return SentArguments(self.place.send(parts, "arguments"), needs=frozenset(needs))

    def gathered(self, results: Sequence[Packed]) -> SentArguments:
        """Return results that were not unpacked, as the one argument of a call: their list."""
        return SentArguments(values=tuple(results))

    def stored(self, arguments: SentArguments) -> bool:
        """Tell whether some of the arguments are in the store."""
        if not arguments.values and len(arguments.packed) == 1:  # nearly always
            return bool(arguments.packed[0].key)
        return any(blob.key for value in (arguments.packed, *arguments.values) for blob in value)

    def discard(self, result: Packed) -> None:
        """Remove a result that was not unpacked, and that nobody needs."""
        self.place.free([result])

    def free(self, arguments: SentArguments) -> None:
        """Remove what was stored for one call."""
        self.place.free((arguments.packed, *arguments.values))

    def broadcast(self, value: object) -> Ref:
        """Store a value that many calls read."""
        return self.place.broadcast(value, inline=_SMALL)

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
        wanted = call.options.record
        if wanted is None:
            wanted = self.unrecorded is not None
        record = f"outcomes/{call.future.id}-{attempt.number}" if wanted else ""
        return Request(
            call.future.id,
            attempt.number,
            function.bare if function.name in functions else function.packed,
            arguments.packed,
            arguments.values,
            bare(sources) if sources and sources[0].sha256 == modules else sources,
            self.place.url,
            record,
            self._secret if record else "",
            0.0 if call.options.record else self.unrecorded or 0.0,
        )

    def read(self, response: Response, call: Call) -> Outcome:
        """Return what a response says. Whatever was stored for it is removed, unless it is handed on."""
        place = self.place
        outcome = Outcome(
            worker=response.worker,
            seconds=response.seconds,
            peak=response.peak,
            received=size(response.value) + size(response.logs),
            gets=response.gets,
            hits=response.hits,
        )
        try:
            if response.logs:
                (blob,) = response.logs
                outcome.logs = bytes(place.fetch(blob.key) if blob.key else blob.data)
            if response.ending == "value":
                if call.raw:
                    outcome.value = response.value
                    outcome.discard = lambda: self.discard(response.value)
                    place.free([response.logs])
                    return outcome
                outcome.value = load(response.value, place.fetch)
            else:
                failure = load(response.value, place.fetch)
                outcome.error = _error(failure, response, call)
        except StoreError as error:
            outcome.error = error
        except Exception as error:  # what the function returned cannot be loaded here
            error.add_note(f"while loading the result of {call.label}, which its worker had sent")
            outcome.error = error
        if response.logs or len(response.value) > 1 or response.value[0].key:
            place.free([response.value, response.logs])
        return outcome

    def recorded(self, request: Request) -> Response | None:
        """Return the answer that a worker has stored, if there is one.

        Others may write to the store, too, so what is not signed is no answer.
        """
        if not request.record:
            return None
        try:
            data = bytes(self.place.store.get(request.record))
            return Response.decode(unsealed(data, request.secret))
        except KeyError:
            return None
        except StoreError as error:  # not signed, or the store does not answer now: it may the next time
            logger.warning("%s: %s: %s", self.place.url, request.record, error)
            return None

    def forget_record(self, request: Request) -> None:
        """Remove what a worker may have stored as its answer."""
        if request.record:
            self.place.delete(request.record)

    def _modules(self, function: SentFunction, more: frozenset[str]) -> Packed:
        needs = function.needs | more if more else function.needs
        if needs not in function.bundles:
            options = function.options
            sources = local_sources(needs, options.include_modules, options.exclude_modules)
            parts: list[Data] = [encode_sources(sources)] if sources else []
            function.bundles[needs] = self.place.share(parts, "modules", inline=INLINE)
        return function.bundles[needs]


def _error(failure: Failure, response: Response, call: Call) -> Exception:
    """Return the error for a failure that a worker has told of."""
    if response.ending == "timed out":
        late = call.late()
        late.__cause__ = failure.exception()
        return late
    error = raised(failure, call.label)
    if response.ending == "unsaved":
        lost = Lost(
            f"{call.label}: the function has ended, but what it returned could not be stored: {error}"
        )
        lost.__cause__ = error
        return lost
    if response.ending == "refused" and isinstance(error, TransientStoreError):
        never = NeverStarted(f"{call.label}: its worker could not read what it needs: {error}")
        never.__cause__ = error
        return never
    return error
