"""Blocks returned by users' functions: check shape and dtype."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import numpy.typing as npt

from wrenla_handler.plain_arrays import plain_array

__all__ = ["as_block"]


def as_block(value: Any, what: str) -> npt.NDArray[Any]:
    """Return what a function has returned as an array.

    Parameters
    ----------
    value
    what : str
        What the function was given to, for messages.

    Raises
    ------
    TypeError
        There is no array of numbers in it, or more than that: see `plain_array`.
    ValueError
        It is a masked array.
    """
    hint = ""
    if value is None:
        hint = ": it may lack a return"
    elif inspect.isgenerator(value):
        hint = ": return np.array(list(…))"
    elif inspect.iscoroutine(value):
        value.close()
        hint = ": it has to be a plain function, not an async one"
    if not hint:
        block = plain_array(value)
        if block.dtype != object or isinstance(value, np.ndarray):  # of which the dtype is said
            return block
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    raise TypeError(f"the function of a {what} returned {kind}, not numbers in the block's shape{hint}")
