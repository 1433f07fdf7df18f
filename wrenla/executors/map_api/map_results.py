"""Results of a `map`: in order or as completed, with bounded calls under way."""

from __future__ import annotations

import itertools
import queue
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any

from wrenla.executors.calls.future import Future
from wrenla.executors.calls.retry_policy import raised
from wrenla.executors.map_api.map_progress import MapCounts, counting
from wrenla.executors.map_api.submitting import Submitter

__all__ = ["mapped"]

Submit = Callable[[tuple[Any, ...]], Future[Any]]


def mapped(
    submit: Submitter,
    inputs: Iterator[tuple[Any, ...]],
    stop: Callable[[set[Future[Any]]], None],
    finish: Callable[[], None],
    label: str,
    *,
    timeout: float | None,
    chunksize: int,
    buffersize: int | None,
    ordered: bool,
    return_exceptions: bool,
    counts: MapCounts | None = None,
) -> Generator[Any, None, None]:
    """Submit the calls of a `map`, and return an iterator over what they return.

    Parameters
    ----------
    submit : Submitter
        Of the function, or of a `Chunk` of it.
    inputs : iterator of tuple
        Arguments.
    stop, finish : callable
        As for `results`.
    label : str
        What messages call the function.
    timeout, chunksize, buffersize, ordered, return_exceptions
        As for `Executor.map`.
    counts : MapCounts, optional
        Is told of calls.
    """
    lengths: dict[Future[Any], int] = {}

    def begin(arguments: tuple[Any, ...]) -> Future[Any]:
        future = submit(arguments, {})
        if chunksize > 1:
            lengths[future] = len(arguments[0])
        if counts is not None:
            counts.add(future, len(arguments[0]) if chunksize > 1 else None)
        return future

    def close() -> None:
        submit.close()
        if counts is not None:
            counts.complete()

    try:
        ended = results(
            begin,
            inputs if chunksize == 1 else chunks(inputs, chunksize),
            stop,
            finish,
            close,
            timeout=timeout,
            buffersize=None if buffersize is None else max(1, buffersize // chunksize),
            ordered=ordered,
        )
    except BaseException:
        if counts is not None:
            counts.leave(at_the_end=False)
        raise
    ended = _in_time(ended, label, timeout, chunksize)
    if chunksize > 1:
        taken = results_of_chunks(ended, lengths, label, return_exceptions)
    else:
        taken = values(ended, return_exceptions)
    return taken if counts is None else counting(taken, counts)


def results(
    submit: Submit,
    inputs: Iterator[tuple[Any, ...]],
    stop: Callable[[set[Future[Any]]], None],
    finish: Callable[[], None],
    close: Callable[[], None],
    *,
    timeout: float | None,
    buffersize: int | None,
    ordered: bool,
) -> Generator[Future[Any], None, None]:
    """Submit calls, and return an iterator over their futures when they have ended.

    The first ones are submitted at once: all, or `buffersize`; each result that is taken submits one more.
    As in `concurrent.futures`, an iterator that nobody has asked for a result cancels nothing when it goes:
    the calls were for their side effects. One that has begun cancels what has not.

    Parameters
    ----------
    submit : callable
        Submits one call.
    inputs : iterator of tuple
        Arguments.
    stop : callable
        Ends some calls, running ones, too: after Ctrl-C.
    finish : callable
        Is told when there are no more inputs.
    close : callable
        Is told, perhaps again, when no more calls will be submitted.
    timeout : float, optional
        Seconds from now after which waiting for the next result is a TimeoutError.
    buffersize : int, optional
    ordered : bool
        In the order of the inputs; otherwise as they end.
    """
    end = None if timeout is None else time.monotonic() + timeout
    window = _InOrder() if ordered else _AsTheyEnd()
    try:
        for arguments in itertools.islice(inputs, buffersize):
            window.add(submit(arguments))
    except BaseException as error:
        window.cancel()
        close()
        if isinstance(error, KeyboardInterrupt):
            stop(window.futures())
        raise
    if buffersize is None:
        finish()
        close()

    def more() -> Generator[Future[Any], None, None]:
        try:
            while window:
                window.wait(None if end is None else end - time.monotonic())
                # The next call before this result: a consumer that takes long must not leave a worker idle.
                if buffersize is not None:
                    for arguments in itertools.islice(inputs, 1):
                        window.add(submit(arguments))
                        break
                    else:
                        finish()
                        close()
                yield window.take()  # which nothing here refers to while it is used
        except KeyboardInterrupt:
            stop(window.futures())
            raise
        finally:
            window.cancel()
            close()

    taken = more()
    weakref.finalize(taken, close).atexit = False  # if it never begins
    return taken


class _InOrder:
    """Futures in the order in which they were added."""

    def __init__(self) -> None:
        self._futures: deque[Future[Any]] = deque()

    def __len__(self) -> int:
        return len(self._futures)

    def add(self, future: Future[Any]) -> None:
        self._futures.append(future)

    def wait(self, timeout: float | None) -> None:
        """Wait until the next one has ended."""
        _wait(self._futures[0], timeout)

    def take(self) -> Future[Any]:
        """Return the one that has been waited for."""
        return self._futures.popleft()

    def futures(self) -> set[Future[Any]]:
        """Return those that have not been taken."""
        return set(self._futures)

    def cancel(self) -> None:
        """Cancel those that have not begun."""
        for future in self.futures():
            future.cancel()


class _AsTheyEnd(_InOrder):
    """Futures in the order in which they end."""

    def __init__(self) -> None:
        super().__init__()
        self._left: set[Future[Any]] = set()
        self._ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()

    def __len__(self) -> int:
        return len(self._left)

    def add(self, future: Future[Any]) -> None:
        self._left.add(future)
        # It is called by the thread that ends the call, or by a finalizer in the middle of anything: a
        # SimpleQueue allows both.
        future.add_done_callback(self._ended.put)  # type: ignore[arg-type]

    def wait(self, timeout: float | None) -> None:
        try:
            self._futures.append(self._ended.get(timeout=None if timeout is None else max(0.0, timeout)))
        except queue.Empty:
            raise TimeoutError from None

    def take(self) -> Future[Any]:
        future = self._futures.popleft()
        self._left.discard(future)
        return future

    def futures(self) -> set[Future[Any]]:
        return set(self._left)


def _wait(future: Future[Any], timeout: float | None) -> None:
    """Wait for the end of a future, whatever it is."""
    try:
        future.exception(None if timeout is None else max(0.0, timeout))
    except TimeoutError:
        # It may have ended a moment after the time was over: then there is a result.
        if not future.done():
            raise
    except BaseException:
        if not future.cancelled():
            raise


def chunks(inputs: Iterable[tuple[Any, ...]], size: int) -> Iterator[tuple[Any, ...]]:
    """Yield arguments for a `Chunk`: a tuple of one list, of up to `size` inputs.

    Examples
    --------
    >>> list(chunks([(1,), (2,), (3,)], 2))
    [([(1,), (2,)],), ([(3,)],)]
    """
    inputs = iter(inputs)
    while chunk := list(itertools.islice(inputs, size)):
        yield (chunk,)


def results_of_chunks(
    futures: Generator[Future[Any], None, None],
    lengths: dict[Future[Any], int],
    label: str,
    return_exceptions: bool,
) -> Generator[Any, None, None]:
    """Yield the results in the futures of chunks, of so many inputs each."""
    with closing(futures):  # at once, not when the traceback of an exception lets go of it
        for future in futures:
            length = lengths.pop(future)
            error = future.exception()
            if isinstance(error, Exception) and return_exceptions:
                yield from [error] * length
                continue
            if error is not None:
                raise error
            outcomes, notes = deque(enumerate(future.result())), future._notes
            del future, error  # a result belongs to whoever takes it
            while outcomes:
                yield _value_of(outcomes.popleft(), notes, label, return_exceptions)


def _value_of(
    outcome: tuple[int, tuple[bool, Any]],
    notes: Mapping[int, Callable[[BaseException], None]],
    label: str,
    return_exceptions: bool,
) -> Any:
    """Return what a call of a chunk has returned; what it has raised is returned as well, or raised."""
    number, (succeeded, result) = outcome
    if succeeded:
        return result
    error = raised(result, label)
    if number in notes:
        notes[number](error)
    if return_exceptions:
        return error
    raise error


def values(
    futures: Generator[Future[Any], None, None], return_exceptions: bool
) -> Generator[Any, None, None]:
    """Yield the results of futures that have ended."""
    with closing(futures):
        while held := [*itertools.islice(futures, 1)]:
            held.append(_value(held.pop(), return_exceptions))
            yield held.pop()  # a result belongs to whoever takes it


def _value(future: Future[Any], return_exceptions: bool) -> Any:
    try:
        if return_exceptions and not future.cancelled():
            error = future.exception()
            if isinstance(error, Exception):
                return error
        return future.result()
    finally:
        del future  # its exception, whose traceback has this frame, would live in a circle with it


def _in_time(
    futures: Generator[Future[Any], None, None], label: str, timeout: float | None, chunksize: int
) -> Generator[Future[Any], None, None]:
    """Return futures as they come; let the TimeoutError of one that does not say what was waited for.

    Parameters
    ----------
    futures : generator of Future
        Of one `map`.
    label : str
        What messages call the function.
    timeout : float, optional
    chunksize : int
        Results in each future.
    """
    if timeout is None:
        return futures
    return _told(futures, label, timeout, chunksize)


def _told(
    futures: Generator[Future[Any], None, None], label: str, timeout: float, chunksize: int
) -> Generator[Any, None, None]:
    taken = 0
    with closing(futures):
        try:
            while held := [*itertools.islice(futures, 1)]:
                yield held.pop()  # which nothing here refers to while it is used
                taken += chunksize
        except TimeoutError as error:
            if not error.args:  # one with a message is that of whoever yields the inputs
                error.args = (_message(label, timeout, taken),)
            raise


def _message(label: str, timeout: float, taken: int) -> str:
    """Return what to say.

    Examples
    --------
    >>> _message("simulate", 60.0, 3)
    'map of simulate: 3 results were there after its timeout of 60 s, the next one was not'
    """
    there = f"{taken or 'no'} result{' was' if taken == 1 else 's were'} there"
    tail = ", the next one was not" if taken else ""
    return f"map of {label}: {there} after its timeout of {timeout:g} s{tail}"
