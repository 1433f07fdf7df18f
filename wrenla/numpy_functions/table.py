"""Table of NumPy's functions that take a `BigMatrix`, complete, and the way in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from wrenla.matrices.operands import Handle
from wrenla.numpy_functions import arrays, linear_algebra, making
from wrenla.numpy_functions.dispatch import FUNCTIONS, name_of, remedy

__all__ = ["FUNCTIONS", "MODULES", "array_function"]

MODULES = (arrays, linear_algebra, making)
"""Have filled the table when they were imported."""


def array_function(function: Any, kinds: Iterable[type], args: Any, kwargs: Any) -> Any:
    """Call one of NumPy's functions with matrices: `BigMatrix.__array_function__`.

    Parameters
    ----------
    function : callable
        NumPy's.
    kinds : iterable of type
        Of the arguments that have ``__array_function__``.
    args, kwargs
        As NumPy was called.

    Raises
    ------
    TypeError
        There is no such function, or argument, of matrices. Nothing is ever computed to be handed to NumPy.
    """
    if not all(issubclass(kind, np.ndarray | Handle) for kind in kinds):
        return NotImplemented
    found = FUNCTIONS.get(function)
    if found is None:
        name = name_of(function)
        raise TypeError(f"{name} of a BigMatrix is not there: {remedy(name)}")
    return found(*args, **kwargs)
