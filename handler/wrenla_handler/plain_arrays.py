"""Plain arrays: refuse masks, units and sparse patterns, which NumPy would drop silently."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["as_block", "cast_hint", "loaded", "plain_array", "refuse_lossy"]

_SIMPLE = (float, int, complex, bool)


def plain_array(value: Any) -> npt.NDArray[Any]:
    """Return `value` as an ndarray, unless that would drop a part of its meaning.

    Raises
    ------
    ValueError
        For a masked array.
    TypeError
        For a sparse one, or one with a unit.

    Examples
    --------
    >>> plain_array([1, 2])
    array([1, 2])
    """
    refuse_lossy(value)
    return np.asarray(_read(value))


def _read(value: Any) -> Any:
    """Return a value, or what is in a list, as an array if it stands for one; see `plain_array`."""
    if isinstance(value, list | tuple):
        return [entry if type(entry) in _SIMPLE else _read(entry) for entry in value]
    if isinstance(value, np.ndarray | np.generic) or not hasattr(value, "__array__"):
        return value
    array = loaded(value)
    refuse_lossy(array)
    return array


def loaded(value: Any) -> npt.NDArray[Any]:
    """Return what `numpy.asanyarray` makes of a value. It keeps the mask that Dask would drop."""
    return np.asanyarray(value if _behind(value) is None else value.compute())


def _behind(value: Any) -> Any:
    """Return the array of Dask that a value is, or has behind it as xarray's; None if there is none."""
    graph = getattr(value, "__dask_graph__", None)
    if graph is None or graph() is None:
        return None
    return value if hasattr(value, "_meta") else getattr(value, "data", value)


def refuse_lossy(value: Any) -> None:
    """Raise, with the remedy, if `numpy.asarray` of a value, or of a list, would drop a part of its meaning.

    Masked arrays are refused whether an entry is masked or not, as SciPy does: what a program does must not
    depend on that.
    """
    if isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 0:
        value = value[()]  # an object, which counts as a number if it is one
    if type(value) is np.ndarray or isinstance(value, (*_SIMPLE, np.generic)):
        return
    if isinstance(value, list | tuple):
        for entry in value:
            if type(entry) not in _SIMPLE:
                refuse_lossy(entry)
        return
    kind = type(value).__name__
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(
            f"masked arrays are not supported: a {kind} would be read with what stands below its mask. Say "
            "what the masked entries are, e.g. a.filled(0.0) or a.filled(numpy.nan); if none is, a.data"
        )
    if isinstance(getattr(_behind(value), "_meta", None), np.ma.MaskedArray):
        raise ValueError(
            "masked arrays are not supported: Dask's would be read with what stands below its mask. Say what "
            "the masked entries are, e.g. dask.array.ma.filled(a, 0.0); if none is, dask.array.ma.getdata(a)"
        )
    if not isinstance(value, np.ndarray) and any(hasattr(value, name) for name in ("toarray", "todense")):
        way = "toarray" if hasattr(value, "toarray") else "todense"
        raise TypeError(
            f"a {kind} is sparse: wrenla.from_sparse(S) makes a matrix of one of SciPy's, whose tiles become "
            f"dense where they are used, and a.{way}() is the dense array"
        )
    unit = getattr(value, "unit", None) if isinstance(value, np.ndarray) else None
    if unit is None and (isinstance(value, np.ndarray) or hasattr(value, "magnitude")):
        unit = getattr(value, "units", None)
    if unit is not None:
        way = next((name for name in ("magnitude", "value") if hasattr(value, name)), "view(numpy.ndarray)")
        raise TypeError(f"a {kind} has a unit ({unit}), which would be lost: give the bare numbers, a.{way}")


def cast_hint(dtype: np.dtype[Any]) -> str:
    """Return what to do with an array whose dtype is none of numbers; "" if there is nothing to say.

    Examples
    --------
    >>> cast_hint(np.dtype("U3"))
    '; to numbers: a.astype(float)'
    """
    match dtype.kind:
        case "O" | "U" | "S" | "T":
            return "; to numbers: a.astype(float)"
        case "V":
            return "; of a structured array take a field, a['name'], or structured_to_unstructured(a)"
        case "M" | "m":
            return "; to numbers: a difference of times over numpy.timedelta64(1, 's')"
        case "f" | "c":
            return f"; a.astype({'complex' if dtype.kind == 'c' else 'float'})"
    return ""


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
