"""`map`: results of many calls, in order or as they come, with no more under way than is asked for."""

from __future__ import annotations

import itertools
import queue
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import Any, TypeVar

from wrenla.executors.endings import raised
from wrenla.executors.future import Future

__all__ = ["chunks", "results", "results_of_chunks", "values"]

_T = TypeVar("_T")

Submit = Callable[[tuple[Any, ...]], Future[Any]]


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
            yield Future()
            while window:
                future = window.next(None if end is None else end - time.monotonic())
                if buffersize is not None:
                    for arguments in itertools.islice(inputs, 1):
                        window.add(submit(arguments))
                        break
                    else:
                        finish()
                        close()
                yield future
                del future  # the result belongs to whoever took it
        except KeyboardInterrupt:
            stop(window.futures())
            raise
        finally:
            window.cancel()
            close()

    return _begun(more())


class _InOrder:
    """Futures in the order in which they were added."""

    def __init__(self) -> None:
        self._futures: deque[Future[Any]] = deque()

    def __len__(self) -> int:
        return len(self._futures)

    def add(self, future: Future[Any]) -> None:
        self._futures.append(future)

    def next(self, timeout: float | None) -> Future[Any]:
        """Wait for the next one to end."""
        future = self._futures[0]
        _wait(future, timeout)
        self._futures.popleft()
        return future

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
        future.add_done_callback(self._ended.put)  # type: ignore[arg-type]

    def next(self, timeout: float | None) -> Future[Any]:
        try:
            future = self._ended.get(timeout=None if timeout is None else max(0.0, timeout))
        except queue.Empty:
            raise TimeoutError from None
        self._left.discard(future)
        return future

    def futures(self) -> set[Future[Any]]:
        return set(self._left)


def _wait(future: Future[Any], timeout: float | None) -> None:
    """Wait for the end of a future, whatever it is."""
    try:
        future.exception(None if timeout is None else max(0.0, timeout))
    except TimeoutError:
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


def _begun(generator: Generator[Any, None, None]) -> Generator[Any, None, None]:
    """Return a generator without its first item: one that has not begun clears nothing up when closed."""
    next(generator)
    return generator


def results_of_chunks(
    futures: Generator[Future[Any], None, None],
    lengths: dict[Future[Any], int],
    label: str,
    return_exceptions: bool,
) -> Iterator[Any]:
    """Return an iterator over the results in the futures of chunks, of so many inputs each."""
    return _begun(_results_of_chunks(futures, lengths, label, return_exceptions))


def _results_of_chunks(
    futures: Generator[Future[Any], None, None],
    lengths: dict[Future[Any], int],
    label: str,
    return_exceptions: bool,
) -> Generator[Any, None, None]:
    with closing(futures):  # at once, not when the traceback of an exception lets go of it
        yield None
        for future in futures:
            length = lengths.pop(future)
            error = future.exception()
            if isinstance(error, Exception) and return_exceptions:
                yield from [error] * length
                continue
            if error is not None:
                raise error
            for number, (succeeded, result) in enumerate(future.result()):
                if succeeded:
                    yield result
                    continue
                error = raised(result, label)
                if number in future._notes:
                    future._notes[number](error)
                if not return_exceptions:
                    raise error
                yield error


def values(futures: Generator[Future[_T], None, None], return_exceptions: bool) -> Iterator[_T]:
    """Return an iterator over the results of futures that have ended."""
    return _begun(_values(futures, return_exceptions))


def _values(
    futures: Generator[Future[Any], None, None], return_exceptions: bool
) -> Generator[Any, None, None]:
    with closing(futures):
        yield None
        for future in futures:
            if future.cancelled() or not return_exceptions:
                yield future.result()
            else:
                error = future.exception()
                if error is None:
                    yield future.result()
                elif isinstance(error, Exception):
                    yield error
                else:
                    raise error
            del future
