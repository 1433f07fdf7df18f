"""Array-likes: arrays in memory, and arrays that are read on demand if small."""

from __future__ import annotations

import contextlib
import math
import os
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from wrenla_handler.plain_arrays import cast_hint, plain_array, refuse_lossy
from wrenla_handler.tiles.layout import DTYPES

__all__ = ["as_array", "flag", "is_block", "is_flag", "is_truth", "tile_dtype"]

Array: TypeAlias = npt.NDArray[Any]

_LOADED = 16 << 20
"""Bytes up to which an array that is read on demand is loaded without a word."""


def as_array(value: Any) -> tuple[Array, bool]:
    """Return what NumPy makes of a value, and whether nobody else has it.

    Parameters
    ----------
    value : array_like
        An array, of any kind that NumPy reads. An array that is read when it is indexed, as those of Dask,
        Zarr, h5py and netCDF are, is loaded up to 16 MiB.

    Raises
    ------
    TypeError
        A larger one, which may not fit into memory; or it is a path, or more than its numbers.
    ValueError
        It is masked.
    """
    if isinstance(value, tuple) and len(value) == 2 and is_truth(value[1]):
        raise TypeError("a matrix is needed, not a factor (c, lower): wrenla.linalg.cho_solve takes that")
    refuse_lossy(value)
    if isinstance(value, np.ndarray):
        return value, False
    if isinstance(value, str | os.PathLike):
        raise TypeError(
            f"{os.fspath(value)!r} is a path or a text, not an array: wl.open(path) opens a stored matrix, "
            "wl.from_npy(path) a file of NumPy, and wl.from_zarr(path, url) copies a Zarr array"
        )
    if not is_block(value) or _in_memory(value):
        return plain_array(value), isinstance(value, list | tuple)
    shape = tuple(int(n) for n in value.shape)
    nbytes = math.prod(shape) * np.dtype(value.dtype).itemsize
    if nbytes > _LOADED:
        kind = f"{type(value).__module__.partition('.')[0]}.{type(value).__name__}"
        raise TypeError(
            f"{kind} of shape {shape} is read when it is indexed, and all of it ({nbytes >> 20} MiB) would "
            "be loaded here: copy it tile by tile with wl.from_zarr(array, url), which takes any array that "
            "can be sliced, one of Dask with wl.from_dask(array); or load it, if it fits into memory: "
            "np.asarray(array)"
        )
    return plain_array(value[(slice(None),) * len(shape)]), False


def is_truth(value: Any) -> bool:
    """Tell whether a value says yes or no, as `lower` of SciPy's `cho_factor` does, which may be an array."""
    if isinstance(value, np.ndarray):
        return value.ndim == 0 and value.dtype == bool
    return isinstance(value, bool | np.bool_)


def is_flag(value: Any) -> bool:
    """Tell whether a value says yes or no, maybe by 0 and 1, as LAPACK's wrappers return them."""
    return isinstance(value, int) or is_truth(value)


def flag(value: Any, what: str) -> bool:
    """Return the truth of an argument. Raises TypeError for a word, which Python takes for true."""
    if not is_flag(value):
        raise TypeError(f"{what} is True or False, not {value!r}")
    return bool(value)


def is_block(value: Any) -> bool:
    """Tell whether a value has what is needed to read parts of it: shape, dtype and indices."""
    return all(hasattr(value, name) for name in ("shape", "dtype", "__getitem__"))


def _in_memory(value: Any) -> bool:
    """Tell whether an array is in memory, as far as its type says so."""
    graph = getattr(value, "__dask_graph__", None)
    if graph is not None and graph() is not None:
        return False
    if any(hasattr(value, name) for name in ("__array_interface__", "__array_struct__", "__dlpack__")):
        return True
    with contextlib.suppress(TypeError):
        memoryview(value).release()
        return True
    if hasattr(value, "variable"):  # of xarray: in memory, or in a file that is not read yet
        return bool(getattr(value.variable, "_in_memory", False))
    return hasattr(value, "to_numpy")  # a column of pandas or Polars


def tile_dtype(dtype: np.dtype[Any]) -> str:
    """Return the data type of the tiles of an array. Integers and truth values become float64.

    Raises
    ------
    TypeError
        There is none that all of its numbers go into.
    """
    if dtype.kind in "biu":
        return "float64"
    if dtype.name in DTYPES:
        return dtype.name
    hint = {"f": "float64", "c": "complex128"}.get(dtype.kind)
    if dtype == np.float16:
        hint = "float32"
    remedy = (
        cast_hint(dtype)
        if hint is None
        else (
            f": convert it, a.astype({hint!r}); what is too large for that, block by block: "
            f"wl.from_function(f, a.shape, dtype={hint!r}), where f opens the file and returns a part of it"
        )
    )
    raise TypeError(f"dtype {dtype} is not one of {', '.join(DTYPES)}{remedy}")
