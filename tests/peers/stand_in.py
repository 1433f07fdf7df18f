"""Functions with NumPy's and SciPy's signatures over wrenla, for their own tests.

What wrenla does not have (stacks of matrices, half precision, LU, singular values, …) is handed to the
original, so that the rest of a test still runs; a test in which nothing was left to wrenla is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType, ModuleType
from typing import Any
from unittest import mock

import numpy as np
import pytest

import wrenla as wl

TILE = 3
"""Small enough for most matrices of these tests to have several tiles."""


SEED = 1
"""Of generators made without one. With it, the diagonal of Dask's triangle of integers has no zero."""


class NotThere(Exception):
    """Wrenla has no such thing, and says so."""


def matrix(value: Any) -> wl.BigMatrix:
    """Return what wrenla makes of an argument."""
    array = value if isinstance(value, np.ndarray | np.ma.MaskedArray) else np.asarray(value)
    if array.ndim not in (1, 2):
        raise NotThere("stacks of matrices, and numbers")
    if isinstance(array, np.matrix):
        raise NotThere("results of the type numpy.matrix")
    if array.dtype.kind in "fc" and array.dtype.name not in ("float32", "float64", "complex64", "complex128"):
        raise NotThere(f"dtype {array.dtype}")
    return wl.from_array(array, tile=TILE)


class StandIn:
    """Takes the place of functions, and counts who has answered."""

    def __init__(self) -> None:
        self.ours = 0
        self.missing: list[str] = []

    def of(self, ours: Callable[..., Any], theirs: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that is ours where wrenla has it."""

        def function(*args: Any, **kwargs: Any) -> Any:
            try:
                value = ours(*args, **kwargs)
            except (NotThere, NotImplementedError) as error:
                self.missing.append(str(error))
                return theirs(*args, **kwargs)
            except Exception:
                self.ours += 1
                raise
            self.ours += 1
            return value

        return function


class Module(ModuleType):
    """A module with some names replaced."""

    def __init__(self, original: ModuleType, names: Mapping[str, Any]) -> None:
        super().__init__(original.__name__)
        self._original = original
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


@contextmanager
def known(
    request: pytest.FixtureRequest,
    differences: Mapping[str, str],
    skipped: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[StandIn]:
    """Run one test of theirs. One that differs must fail, and says why; one that only they answer is skipped.

    Their random numbers are the same each time: a test of theirs may pass with some and fail with others.

    Parameters
    ----------
    differences : mapping of str to str
        For a test, ``Class.name``, with or without its parameters, the reason why it fails with wrenla.
    skipped : mapping of str to str
        The same for those that are not even tried.
    """
    node = request.node
    name = node.nodeid.partition("::")[2].replace("::", ".")
    if name in skipped:
        pytest.skip(skipped[name])
    reason = differences.get(name) or differences.get(name.partition("[")[0])
    if reason is not None:
        node.add_marker(pytest.mark.xfail(reason=reason, strict=True))
    stand_in = StandIn()
    default_rng = np.random.default_rng
    np.random.seed(SEED)
    with mock.patch.object(np.random, "default_rng", lambda seed=SEED: default_rng(seed)):
        yield stand_in
    if not stand_in.ours and reason is None and stand_in.missing:
        pytest.skip(f"not there: {stand_in.missing[0][:60]}")
