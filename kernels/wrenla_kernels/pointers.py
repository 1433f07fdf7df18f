"""BLAS and LAPACK as C functions that run without the GIL.

`scipy.linalg.blas` and `scipy.linalg.lapack` hold the GIL while they compute: two threads are as fast as one,
and a download stalls behind a product. SciPy also exports the plain C pointers (the documented C API of
`cython_blas` and `cython_lapack`), and ctypes gives the GIL away during a call, so we call those.

The two are loaded without the package around them: `import scipy.linalg` takes 0.1 s and 240 modules in
every worker process and cold function, and not one of its functions is needed.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy

__all__ = ["Routine", "blas", "cython_blas", "flag", "integer", "lapack", "scalar"]

Routine: TypeAlias = Callable[..., None]


def _without_the_package() -> tuple[ModuleType, ModuleType] | None:
    """Load the two without `scipy.linalg`, unless that is loaded, or cannot be gone round."""
    if "scipy.linalg" in sys.modules:
        return None
    try:
        return _extension("cython_blas"), _extension("cython_lapack")
    except (ImportError, RuntimeError):  # an importer that we do not know; another thread that imports them
        return None


def _extension(name: str) -> ModuleType:
    """Load an extension module of `scipy.linalg`, and not the package."""
    full = f"scipy.linalg.{name}"
    spec = PathFinder.find_spec(full, [os.path.join(folder, "linalg") for folder in scipy.__path__])
    if spec is None or spec.loader is None:
        raise ImportError(f"this SciPy ({scipy.__version__}) has no {full}", name=full)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    # It has entered itself. Left there, a later `import scipy.linalg` would not make it an attribute of the
    # package; taken out, that import finds the same module, which is never initialized twice.
    sys.modules.pop(full, None)
    return module


_alone = _without_the_package()
if _alone is None:
    from scipy.linalg import cython_blas, cython_lapack
else:
    cython_blas, cython_lapack = _alone

_PREFIXES = {"float32": "s", "float64": "d", "complex64": "c", "complex128": "z"}

# What conjugates has another name where nothing is conjugated.
_REAL_NAMES = {"herk": "syrk", "hetrf": "sytrf", "hetri": "sytri"}

_capsule_name = ctypes.pythonapi.PyCapsule_GetName
_capsule_name.restype = ctypes.c_char_p
_capsule_name.argtypes = [ctypes.py_object]
_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype = ctypes.c_void_p
_capsule_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]


def blas(name: str, dtype: npt.DTypeLike) -> Routine:
    """Return the BLAS routine `name` for `dtype`.

    Parameters
    ----------
    name
        The name without its type letter, such as "gemm"; "herk" is `syrk` for real types, "hetrf" `sytrf`.
    dtype
        float32, float64, complex64 or complex128.

    Returns
    -------
    Routine
        A C function that takes pointers only, as Fortran does, and runs without the GIL. Nothing is
        checked: a wrong argument is a crash.

    Raises
    ------
    TypeError
        If `dtype` is none of the four.
    LookupError
        If there is no such routine, or if it does not take 32-bit integers.

    Examples
    --------
    >>> x = np.array([3.0, 4.0])
    >>> blas("scal", x.dtype)(integer(2), scalar(10, x.dtype), x.ctypes.data, integer(1))
    >>> x
    array([30., 40.])
    """
    return _routine(cython_blas, name, np.dtype(dtype))


def lapack(name: str, dtype: npt.DTypeLike) -> Routine:
    """Return the LAPACK routine `name` for `dtype`; see `blas`.

    Examples
    --------
    >>> a, info = np.array([[4.0]]), ctypes.c_int()
    >>> lapack("potrf", a.dtype)(flag("L"), integer(1), a.ctypes.data, integer(1), ctypes.byref(info))
    >>> a, info.value
    (array([[2.]]), 0)
    """
    return _routine(cython_lapack, name, np.dtype(dtype))


@cache  # by the dtype: to make its name takes as long as a tenth of a small triangle's solution
def _routine(module: ModuleType, name: str, dtype: np.dtype[Any]) -> Routine:
    prefix = _PREFIXES.get(dtype.name)
    if prefix is None:
        raise TypeError(f"there is no BLAS for dtype {dtype.name}; use one of {', '.join(_PREFIXES)}")
    real = prefix in "sd"
    full_name = prefix + (_REAL_NAMES.get(name, name) if real else name)
    exported: dict[str, Any] = module.__pyx_capi__
    if full_name not in exported:
        raise LookupError(f"{module.__name__} has no {full_name}")
    capsule = exported[full_name]
    signature = _capsule_name(capsule)
    if b" int *" not in signature:
        raise LookupError(f"{full_name} of this SciPy does not take 32-bit integers: {signature.decode()}")
    arguments = [ctypes.c_void_p] * (signature.count(b",") + 1)
    return ctypes.CFUNCTYPE(None, *arguments)(_capsule_pointer(capsule, signature))


def integer(value: int) -> Any:
    """Return a reference to a Fortran integer.

    Examples
    --------
    >>> integer(3)._obj
    c_int(3)
    """
    return ctypes.byref(ctypes.c_int(value))


def flag(value: str) -> ctypes.c_char_p:
    """Return a pointer to a Fortran character.

    Examples
    --------
    >>> flag("L").value
    b'L'
    """
    return ctypes.c_char_p(value.encode())


def scalar(value: complex, dtype: npt.DTypeLike) -> Any:
    """Return a reference to a number of `dtype`.

    Raises
    ------
    TypeError
        If `value` is complex and `dtype` is real.

    Examples
    --------
    >>> scalar(2, np.float32)._obj
    c_float(2.0)
    >>> list(scalar(1 - 2j, np.complex128)._obj)
    [1.0, -2.0]
    """
    dtype = np.dtype(dtype)
    part = ctypes.c_float if dtype.char in "fF" else ctypes.c_double
    if dtype.kind != "c":
        return ctypes.byref(part(value))  # type: ignore[arg-type]  # refuses a complex value, as it should
    value = complex(value)
    return ctypes.byref((part * 2)(value.real, value.imag))
