"""Map API of executors: `submit`, `map`, `submit_many`, `map_reduce`, `broadcast`."""

from __future__ import annotations

import concurrent.futures
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from types import EllipsisType
from typing import Any, Literal, Never, ParamSpec, Self, TypeVar

from wrenla.config import settings
from wrenla.errors import NestedCallError
from wrenla.executors.calls.call import Batch
from wrenla.executors.calls.dispatcher import Dispatcher
from wrenla.executors.calls.future import Future
from wrenla.executors.calls.options import (
    CallOptions,
    at_least,
    at_least_one,
    buffer_size,
    check_names,
    finite,
    truth,
)
from wrenla.executors.calls.stats import Stats
from wrenla.executors.map_api.map_progress import MapCounts, known_length
from wrenla.executors.map_api.map_reduce import reduced
from wrenla.executors.map_api.map_results import mapped
from wrenla.executors.map_api.submitting import Submitter
from wrenla.executors.transport.functions import check_function, label_of, refuse_keywords
from wrenla.progress_bar.pictures import picture_for
from wrenla_handler.calls.broadcast import Ref
from wrenla_handler.calls.chunk import Chunk
from wrenla_handler.calls.context import current_call
from wrenla_handler.stores.base import Store

__all__ = ["CallingExecutor"]

_OF_MAP = ("timeout", "chunksize", "buffersize", "ordered", "return_exceptions", "progress", "logs")

_P = ParamSpec("_P")
_T = TypeVar("_T")


class CallingExecutor(concurrent.futures.Executor, ABC):
    """Runs calls. What it needs of its kind is `calls`."""

    _options = CallOptions()
    _origin: CallingExecutor | None = None

    @property
    @abstractmethod
    def calls(self) -> Dispatcher:
        """The dispatcher of this executor's calls, with what carries them to workers."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run ``fn(*args, **kwargs)`` on a worker.

        Returns
        -------
        Future

        Raises
        ------
        TypeError, pickle.PicklingError
            If function or arguments cannot be pickled, where they have to.
        RuntimeError
            After `shutdown`.
        NestedCallError
            If asked by a function that runs on this executor.

        Examples
        --------
        >>> import wrenla as wl
        >>> wl.default_executor().submit(pow, 2, 10).result()
        1024
        """
        with self._submitter(fn) as submit:
            return submit(args, kwargs)

    def map(
        self,
        fn: Callable[..., _T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        ordered: bool = True,
        return_exceptions: bool = False,
        logs: Literal["show", "quiet", "stderr"] | None = None,
        progress: bool | None = None,
        **unknown: Never,
    ) -> Iterator[_T]:
        """Call a function with each input, as the built-in `map` does, on many workers.

        All inputs are submitted at once, not when the first result is asked for, and all calls are made if
        nobody asks: ``with executor: executor.map(write_file, range(50))`` makes 50. When an iterator that
        has been asked is closed or forgotten (a `break` in the loop over it), or raises an exception, calls
        that have not begun are cancelled; Ctrl-C while a result is waited for also ends those that run.

        Parameters
        ----------
        fn : callable
        *iterables : iterable
            As many as `fn` has arguments; the shortest one says how many calls there are. What is the same
            for all calls goes into the function: ``functools.partial(fn, k=2)``.
        timeout : float, optional
            Seconds from now. A result that is not there by then is a `TimeoutError`, as in
            `concurrent.futures` also for 0 and less; to limit each call, see `options`.
        chunksize : int
            So many inputs travel and run as one call: worth it for what takes less than a millisecond. What
            `options` says of timeouts is then said of a chunk.
        buffersize : int, optional
            At most so many calls are under way or wait to be taken: inputs are consumed as results are, and
            there may be any number of them. Who takes no results has made so many calls and no more. By
            default all inputs are submitted now.
        ordered : bool
            In the order of the inputs; False: as they end.
        return_exceptions : bool
            Yield exceptions in place of results, instead of raising the first one. A note on each says which
            input it was.
        progress : bool, optional
            True: show on standard error how many calls have ended, failed, and are still to come: a bar on a
            terminal, a line every few seconds elsewhere. By default only if the setting `progress` is true.
        logs : {"show", "quiet", "stderr"}, optional
            Where what the function prints is shown, see `options`.

        Returns
        -------
        iterator

        Examples
        --------
        >>> import wrenla as wl
        >>> list(wl.default_executor().map(pow, [2, 3], [5, 2]))
        [32, 9]
        """
        refuse_keywords("map()", fn, unknown, _OF_MAP)
        check_function(fn)
        timeout = None if timeout is None else finite("timeout", timeout, "a number of seconds")
        chunksize = at_least_one("chunksize", chunksize)
        buffersize = buffer_size(buffersize)
        truth("ordered", ordered)
        truth("return_exceptions", return_exceptions)
        if progress is None:
            progress = settings().progress is True
        picture = picture_for(truth("progress", progress, "True, False or None"))
        batch = Batch(chunksize)
        function = Chunk(fn, self._options.retries, return_exceptions) if chunksize > 1 else fn
        view = self if logs is None else self.options(logs=logs)
        submit = view._submitter(function, batch)
        counts = None
        if picture is not None:
            counts = MapCounts(picture, label_of(fn), self.calls.channels, known_length(iterables))
        return mapped(
            submit,
            zip(*iterables, strict=False),
            # which keeps the executor itself as long as calls are to come, and no longer
            self.calls.stop if buffersize is None else lambda futures: self.calls.stop(futures),
            functools.partial(setattr, batch, "complete", True),
            label_of(fn),
            timeout=timeout,
            chunksize=chunksize,
            buffersize=buffersize,
            ordered=ordered,
            return_exceptions=return_exceptions,
            counts=counts,
        )

    def submit_many(
        self, fn: Callable[..., _T], *iterables: Iterable[Any], **unknown: Never
    ) -> list[Future[_T]]:
        """Call a function with each input, and return a future for each: `submit` for many.

        The function is pickled once.

        Examples
        --------
        >>> import concurrent.futures, wrenla as wl
        >>> futures = wl.default_executor().submit_many(abs, [-1, -2])
        >>> sorted(future.result() for future in concurrent.futures.as_completed(futures))
        [1, 2]
        """
        refuse_keywords("submit_many()", fn, unknown, ())
        if not iterables:
            raise TypeError("submit_many needs at least one iterable of inputs")
        return self._submit_batch(fn, zip(*iterables, strict=False), Batch(1))

    def _submit_batch(
        self, fn: Callable[..., _T], inputs: Iterable[tuple[Any, ...]], batch: Batch
    ) -> list[Future[_T]]:
        """Submit all calls of a batch."""
        futures: list[Future[_T]] = []
        try:
            with self._submitter(fn, batch) as submit:
                futures.extend(submit(arguments, {}) for arguments in inputs)
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        batch.complete = True
        return futures

    def map_reduce(
        self,
        fn: Callable[[Any], Any],
        xs: Iterable[Any],
        reduce: Callable[[list[Any]], _T],
        *,
        fan_in: int = 16,
        **unknown: Never,
    ) -> Future[_T]:
        """Call a function with each input, and reduce the results by a tree of calls.

        Intermediate results stay where workers can read them: only the last one comes home.

        Parameters
        ----------
        fn : callable
        xs : iterable
        reduce : callable
            Gets a list of up to `fan_in` neighbouring results, of `fn` or of itself, and returns one. It must
            be associative (`sum`, `max`, `numpy.vstack`). For no inputs it gets the empty list.
        fan_in : int
            At least 2.

        Returns
        -------
        Future
            It is running from the beginning, so it cannot be cancelled. When a call fails, those that have
            not begun are cancelled.

        Examples
        --------
        >>> import wrenla as wl
        >>> wl.default_executor().map_reduce(lambda x: x * x, range(1, 101), sum).result()
        338350
        """
        refuse_keywords("map_reduce()", fn, unknown, ("fan_in",))
        return reduced(self.calls, self._submitter, fn, xs, reduce, at_least(2, "fan_in", fan_in))

    def options(
        self,
        *,
        timeout: float | EllipsisType | None = ...,
        deadline: float | EllipsisType | None = ...,
        retries: int | EllipsisType = ...,
        idempotent: bool | EllipsisType = ...,
        record: bool | EllipsisType | None = ...,
        logs: Literal["show", "quiet", "stderr"] | EllipsisType | None = ...,
        include_modules: Sequence[str] | EllipsisType = ...,
        exclude_modules: Sequence[str] | EllipsisType = ...,
        **unknown: Never,
    ) -> Self:
        """Return a view of this executor with other options for calls, on the same workers.

        What is not said stays as it is; at first there is no limit, and nothing is tried again.

        Parameters
        ----------
        timeout : float, optional
            Seconds that an attempt may take, from its start: then it is ended, and the call is `TimedOut`. (A
            thread cannot be ended; it is left alone, and another takes its place.)
        deadline : float, optional
            Seconds that the call may take, from its submission, waiting and all attempts included.
        retries : int
            How often a call is tried again when the function raises.
        idempotent : bool
            The function may run twice, also at the same time: a call whose worker died is tried again, and a
            second copy of a straggler is started when most of its batch is done.
        record : bool, optional
            On Lambda, workers also store their answers, so that they survive a worker that dies just then, or
            a connection that breaks. None: if the function has run for a second. Elsewhere none is stored.
        logs : {"show", "quiet", "stderr"}, optional
            What functions print is shown where this process prints, line by line: what went to standard
            output there, what to standard error there, or all of it on standard error; "quiet": it is not.
            None: as the setting `logs` says. It is in the `logs` of futures in any case.
        include_modules, exclude_modules : list of str
            Modules that travel with the function, or do not, where what is local is guessed wrongly.

        Raises
        ------
        TypeError, ValueError
            For an option that there is not, or a value that makes no sense.

        Notes
        -----
        The end of the view, by `shutdown` or a ``with`` block, ends the workers, which are the same.

        Examples
        --------
        >>> import wrenla as wl
        >>> patient = wl.default_executor().options(timeout=60, retries=2)
        >>> patient.submit(abs, -1).result()
        1
        """
        check_names(f"{type(self).__name__}.options()", unknown)
        said = {
            "timeout": timeout,
            "deadline": deadline,
            "retries": retries,
            "idempotent": idempotent,
            "record": record,
            "logs": logs,
            "include_modules": include_modules,
            "exclude_modules": exclude_modules,
        }
        changes: dict[str, Any] = {name: value for name, value in said.items() if value is not ...}
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view._options = replace(self._options, **changes)
        view._origin = self  # which ends its workers when nobody uses it any more
        return view

    def broadcast(self, value: Any) -> Ref:
        """Store a value that many calls read, once; each worker reads it at most once.

        Pass the reference as an argument: the function gets the value, which all calls of a worker share, so
        do not change it. Arrays are read-only there; lists and dicts cannot be. What is stored goes with the
        executor, or by `Ref.delete`.

        Examples
        --------
        >>> import itertools, numpy as np, wrenla as wl
        >>> executor = wl.default_executor()
        >>> table = executor.broadcast(np.arange(10.0))
        >>> list(executor.map(lambda i, t: float(t[i]), [3, 4], itertools.repeat(table)))
        [3.0, 4.0]
        """
        self._refuse_nested()
        ref: Ref = self.calls.transport.broadcast(value)
        return ref

    def store(self) -> Store:
        """Open the store that functions get from `wrenla.store()`. What is in it goes with the executor."""
        return self.calls.transport.scratch.data()

    def stats(self) -> Stats:
        """Return the statistics of calls: their number, endings, and cost."""
        return self.calls.stats()

    def __reduce__(self) -> Any:
        raise TypeError(
            f"{type(self).__name__} cannot travel to a worker: a function that runs there cannot ask for "
            "calls of its own. Does it refer to the executor, perhaps through self or a global name?"
        )

    def _submitter(
        self,
        fn: Callable[..., Any],
        batch: Batch | None = None,
        *,
        raw: bool = False,
        held: bool = False,
        bunch: object = None,
    ) -> Submitter:
        """Make a function ready to travel, and return what submits calls of it."""
        self.calls.check_process()
        self._refuse_nested()
        check_function(fn)
        return Submitter(self.calls, fn, label_of(fn), self._options, batch, raw=raw, held=held, bunch=bunch)

    def _refuse_nested(self) -> None:
        call = current_call()
        if call is not None and call.owner is self.calls.transport:
            raise NestedCallError(
                "a function that runs on an executor asked the same executor for calls, which would wait for "
                "itself: return what is to be done next, and submit it from outside"
            )
