"""All of NumPy's functions that take a `BigMatrix`: the modules that have them, and the way in."""

from __future__ import annotations

from wrenla.numpy_functions import arrays, linear_algebra
from wrenla.numpy_functions.dispatch import FUNCTIONS, called
from wrenla.tracebacks import short

__all__ = ["FUNCTIONS", "MODULES", "array_function"]

MODULES = (arrays, linear_algebra)
"""Importing them fills the table."""

array_function = short(called)
