"""Names above whoever needs them: handed down by the package, and found when one is first used.

Imports go down (ADR 0001), but NumPy asks a matrix for functions that stand above matrices:
``numpy.linalg.cond(A, 1)`` factors, ``numpy.block`` makes a matrix of matrices. They cannot register
themselves, as whoever unpickles a matrix has imported none of the modules there. `wrenla` itself is always
imported first, and knows how to find a name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["find", "hand_down"]

_finders: list[Callable[[str], Any]] = []


def hand_down(finder: Callable[[str], Any]) -> None:
    """Say how names are found; `wrenla` does when it is imported."""
    _finders[:] = [finder]


def find(name: str) -> Any:
    """Return the object of a name among those in `wrenla/__init__.py`, and import its module if need be."""
    return _finders[0](name)
