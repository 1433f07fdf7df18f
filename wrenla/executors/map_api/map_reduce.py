"""`map_reduce`: a tree of calls; intermediate results never come home."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from wrenla.errors import Cancelled
from wrenla.executors.calls.call import Batch
from wrenla.executors.calls.dispatcher import Dispatcher
from wrenla.executors.calls.future import Future
from wrenla.executors.map_api.submitting import Submitter

__all__ = ["reduced"]


def reduced(
    dispatcher: Dispatcher,
    submitter: Callable[..., Submitter],
    fn: Callable[[Any], Any],
    xs: Iterable[Any],
    reduce: Callable[[list[Any]], Any],
    fan_in: int,
) -> Future[Any]:
    """Submit the calls of a `map_reduce`, and return the future of its result.

    Parameters
    ----------
    dispatcher : Dispatcher
    submitter : callable
        Makes a function ready to travel.
    fn, xs, reduce, fan_in
        As for `Executor.map_reduce`.
    """
    transport = dispatcher.transport
    outer = dispatcher.new_future()
    outer.set_running_or_notify_cancel()
    outer._bunch = batch = Batch(1)
    outer._is_whole = True
    mapped = submitter(fn, batch, raw=True)
    last = submitter(reduce, held=True, bunch=batch)
    between = submitter(reduce, raw=True, held=True, bunch=batch)
    for submit in (last, between):
        outer.add_done_callback(lambda _, done=submit: done.close())  # type: ignore[misc]

    def gather(group: Sequence[Future[Any]], final: bool) -> Future[Any]:
        values = [future.result() for future in group]
        return (last if final else between)(transport.gathered(values), None)

    leaves: list[Future[Any]] = []
    try:
        leaves.extend(mapped((x,), {}) for x in xs)
        batch.complete = True
        if not leaves:
            leaves = [last(([],), {})]
            leaves[0].add_done_callback(lambda _: _hand_over(leaves[0], outer))
            return outer
        dispatcher.hold(outer)
        Reduction(outer, gather, transport.discard, fan_in).start(leaves)
    except BaseException as error:
        for future in leaves:
            future.cancel()
            future.add_done_callback(lambda ended: discard_result(ended, transport.discard))
        with suppress(concurrent.futures.InvalidStateError):  # one that has failed has ended it already
            outer.set_exception(error)
        raise
    finally:
        mapped.close()
    return outer


def _hand_over(inner: Future[Any], outer: Future[Any]) -> None:
    outer._account = inner._account
    error = inner.exception() if not inner.cancelled() else concurrent.futures.CancelledError()
    if error is not None:
        outer.set_exception(error)
    else:
        outer.set_result(inner.result())


class Reduction:
    """Reduces results in groups of up to `fan_in`, each group as soon as it is complete.

    Groups are of neighbours, so the order of the inputs is kept; what a reduction must be is associative.

    Parameters
    ----------
    outer : Future
        Gets the result.
    reduce : callable
        ``reduce(futures, last)`` submits the reduction of some results and returns its future.
    discard : callable
        Frees a result that will not be reduced, since something else has failed.
    fan_in : int
    """

    def __init__(
        self,
        outer: Future[Any],
        reduce: Callable[[Sequence[Future[Any]], bool], Future[Any]],
        discard: Callable[[Any], None],
        fan_in: int,
    ) -> None:
        self._outer = outer
        self._reduce = reduce
        self._discard = discard
        self._fan_in = fan_in
        self._failed = False
        self._levels: list[list[Future[Any] | None]] = []
        self._missing: list[list[int]] = []
        self._calls: set[Future[Any]] = set()
        self._lock = threading.Lock()

    def start(self, leaves: Sequence[Future[Any]]) -> None:
        """Begin with the results of the map, at least one."""
        count = len(leaves)
        while True:
            self._levels.append([None] * count)
            if count == 1 and len(self._levels) > 1:
                break
            groups = -(-count // self._fan_in)
            self._missing.append([min(self._fan_in, count - g * self._fan_in) for g in range(groups)])
            count = groups
        for index, leaf in enumerate(leaves):
            self._watch(leaf, 0, index)

    def _watch(self, future: Future[Any], level: int, index: int) -> None:
        with self._lock:
            self._calls.add(future)
            failed = self._failed
        # The failure came before this call was known, so nobody else cancels it.
        if failed:
            future.cancel()
        future.add_done_callback(lambda ended: self._there(future, level, index))

    def _there(self, future: Future[Any], level: int, index: int) -> None:
        """A result is there: if its group is complete, reduce it."""
        if future.cancelled():
            return self._fail(Cancelled("a call of the map_reduce was cancelled before it began"))
        error = future.exception()
        if error is not None:
            return self._fail(error)
        with self._lock:
            self._calls.discard(future)
            failed = self._failed
            # In one step: of results that end at the same time exactly one completes the group.
            group = [] if failed else self._complete(future, level, index)
        if failed:
            return discard_result(future, self._discard)
        if level == len(self._levels) - 1:
            self._outer._account = future._account
            return self._outer.set_result(future.result())
        if not group:
            return None
        parent, last = index // self._fan_in, level == len(self._levels) - 2
        if len(group) == 1 and not last:
            return self._there(group[0], level + 1, parent)
        try:
            self._watch(self._reduce(group, last), level + 1, parent)
        except Exception as problem:  # the executor has been shut down in the meantime
            for member in group:
                discard_result(member, self._discard)
            self._fail(problem)
        return None

    def _complete(self, future: Future[Any], level: int, index: int) -> list[Future[Any]]:
        """Put a result in its place, and return its group if that is complete now."""
        self._levels[level][index] = future
        if level == len(self._levels) - 1:
            return []
        parent = index // self._fan_in
        self._missing[level][parent] -= 1
        if self._missing[level][parent]:
            return []
        first = parent * self._fan_in
        members = self._levels[level][first : first + self._fan_in]
        self._levels[level][first : first + self._fan_in] = [None] * len(members)
        return [member for member in members if member is not None]

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            # Only the first failure is told: the cancellations that follow from it come here as well.
            first, self._failed = not self._failed, True
            calls, self._calls = self._calls, set()
            there = [future for level in self._levels for future in level if future is not None]
            self._levels = [[None] * len(level) for level in self._levels]
        if first:
            self._outer.set_exception(error)
        for future in there:
            discard_result(future, self._discard)
        # Without the lock: a call that is cancelled comes here again, in this thread, and takes it.
        for call in calls:
            call.cancel()


def discard_result(future: concurrent.futures.Future[Any], discard: Callable[[Any], None]) -> None:
    """Free the result of a future that has ended, if it has one."""
    if not future.cancelled() and future.exception() is None:
        discard(future.result())
