"""Results: pickle what a function returned, or explain why it cannot be pickled."""

from __future__ import annotations

import pickle

from wrenla_handler.serialize.blobs import dump
from wrenla_handler.stores.base import Data

__all__ = ["dump_result"]

_NOTE = "while pickling the result of the call"

_INSTEAD = {
    "generator": "return list(…) of it",
    "async_generator": "return a list of what it yields",
    "coroutine": "return asyncio.run(…) of it",
}
"""What to return in place of objects that many functions return and that no process can send to another."""


def dump_result(result: object) -> list[Data]:
    """Return the pickle of what a function returned, and the buffers that are no part of it.

    Raises
    ------
    TypeError, pickle.PicklingError
        If it cannot be pickled. The message says that it is the result: pickle's own would look like an
        error of the function.

    Examples
    --------
    >>> try:
    ...     dump_result(x for x in "ab")
    ... except TypeError as error:
    ...     print(error)
    the result cannot be sent back: cannot pickle 'generator' object; return list(…) of it
    """
    try:
        return dump(result)
    except Exception as error:
        told = error
        # others are of whoever wrote the `__reduce__` that raised them
        if type(error) in (TypeError, AttributeError, pickle.PicklingError):
            hints = [hint for kind, hint in _INSTEAD.items() if f"'{kind}' object" in str(error)]
            instead = hints[0] if hints else f"it is of type {type(result).__name__}"
            told = type(error)(f"the result cannot be sent back: {error}; {instead}")
        told.add_note(_NOTE)
        raise told.with_traceback(error.__traceback__) from None
