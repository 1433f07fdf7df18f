"""`wl.compute`, `wl.plan`: several matrices in one run; common parts are computed once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wrenla.evaluate.evaluation import compute_nodes
from wrenla.evaluate.options import Options
from wrenla.executors.base import Executor
from wrenla.forecast.engine import Engine
from wrenla.forecast.forecast import Forecast, forecast
from wrenla.matrices.matrix import BigMatrix
from wrenla.tracebacks import short

__all__ = ["compute", "plan"]


@short
def compute(*matrices: Any, executor: Executor | None = None, **options: Any) -> tuple[Any, ...]:
    """Compute several matrices in one run, and their common parts once.

    Parameters
    ----------
    *matrices : BigMatrix, or list, tuple or dict of such
        The last argument may be the executor.
    executor, **options
        As in `BigMatrix.compute`.

    Returns
    -------
    tuple
        One item for each argument, as from `dask.compute`: an ndarray for a matrix, a list for a list, ….

    Raises
    ------
    TypeError
        There is something else than matrices among them.

    Examples
    --------
    >>> import wrenla as wl
    >>> L = wl.eye(2).shift(3.0).cholesky()
    >>> print(*wl.compute(L.trace(), L.norm("max")))
    4.0 2.0
    >>> (found,) = wl.compute({"trace": L.trace(), "norm": L.norm("max")})
    >>> print(found["trace"], found["norm"])
    4.0 2.0
    """
    matrices, executor = _apart("compute", matrices, executor)
    leaves = list(_leaves("compute", matrices))
    arrays = iter(compute_nodes([A._node for A in leaves], executor, Options.of(**options)))
    return tuple(_filled(each, arrays) for each in matrices)


@short
def plan(*matrices: Any, executor: Executor | Engine | None = None) -> Forecast:
    """Return the plan of a computation, with its tasks, memory, time and price, without computing anything.

    Parameters
    ----------
    *matrices : BigMatrix, or list, tuple or dict of such
        The last argument may be the executor.
    executor : Executor or Engine, optional
        By default the executor that would be used. An engine describes one that need not be there:
        ``wl.Engine.aws_lambda(workers=1000)``.

    Examples
    --------
    >>> import wrenla as wl
    >>> wl.plan(wl.random((512, 512), tile=128).gram().cholesky()).waves
    8
    """
    matrices, executor = _apart("plan", matrices, executor)
    leaves = list(_leaves("plan", matrices))
    if not leaves:
        raise TypeError("plan() needs a BigMatrix")
    return forecast([A._node for A in leaves], executor)


def _apart(name: str, arguments: tuple[Any, ...], executor: Any) -> tuple[tuple[Any, ...], Any]:
    """Return matrices, and the executor, which may stand behind them."""
    kinds = (Executor, Engine) if name == "plan" else (Executor,)
    if not arguments or not isinstance(arguments[-1], kinds):
        return arguments, executor
    if executor is not None:
        raise TypeError(f"{name}() got two executors, {arguments[-1]!r} and {executor!r}")
    return arguments[:-1], arguments[-1]


def _leaves(name: str, given: Any) -> Iterator[BigMatrix]:
    """Yield the matrices in nested lists, tuples and dicts."""
    if isinstance(given, BigMatrix):
        yield given
    elif isinstance(given, list | tuple | dict):
        for each in given.values() if isinstance(given, dict) else given:
            yield from _leaves(name, each)
    else:
        how = "wl.from_array makes a matrix of an array"
        if callable(getattr(given, "solve", None)):
            how = "what a factor is used for is a matrix: its .solve(b), .inv(), .det()"
        raise TypeError(
            f"{name}() takes BigMatrix objects, and lists, tuples and dicts of such, not "
            f"{type(given).__module__}.{type(given).__qualname__}: {how}"
        )


def _filled(given: Any, arrays: Iterator[Any]) -> Any:
    """Return the same nest with arrays in place of matrices."""
    if isinstance(given, BigMatrix):
        return next(arrays)
    if isinstance(given, dict):
        return {key: _filled(each, arrays) for key, each in given.items()}
    items = [_filled(each, arrays) for each in given]
    if hasattr(given, "_fields"):  # a named tuple, as of slogdet
        return type(given)(*items)
    return items if isinstance(given, list) else tuple(items)
