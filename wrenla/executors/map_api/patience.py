"""Timeout messages of `map`."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from contextlib import closing
from typing import Any

from wrenla.executors.calls.future import Future

__all__ = ["in_time"]


def in_time(
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
