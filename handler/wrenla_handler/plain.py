"""Plain arrays: refuse masks, units and sparse patterns, which NumPy would drop silently."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["cast_hint", "plain_array", "refuse_lossy"]

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
    return np.asarray(value)


def refuse_lossy(value: Any) -> None:
    """Raise, with the remedy, if `numpy.asarray` of a value, or of a list, would drop a part of its meaning.

    Masked arrays are refused whether an entry is masked or not, as SciPy does: what a program does must not
    depend on that.
    """
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
    if not isinstance(value, np.ndarray) and any(hasattr(value, name) for name in ("toarray", "todense")):
        way = "toarray" if hasattr(value, "toarray") else "todense"
        raise TypeError(
            f"matrices are dense here, and a {kind} is sparse: a.{way}() is the dense one, and "
            "wrenla.from_function makes tiles of it where they are used"
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
