"""NumPy's files as matrices: mapped into memory, and read tile by tile."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from wrenla.errors import NotAMatrixError
from wrenla.matrices.creation import Tile, from_array
from wrenla.matrices.matrix import BigMatrix
from wrenla.tracebacks import short

__all__ = ["from_npy", "mapped"]


@short
def from_npy(
    path: str | os.PathLike[str], tile: Tile = None, *, structure: str = "general", check: bool = True
) -> BigMatrix:
    """Make a matrix from a ``.npy`` file, which may be larger than memory.

    Nothing is copied beyond 16 MiB: the file is mapped into memory and read, and converted, tile by tile.

    Parameters
    ----------
    path : str or path
        What `numpy.save` has written: numbers, in one or two dimensions, in any order and byte order. A "~"
        at its beginning is your home.
    tile : int or (int, int), optional
    structure : {"general", "lower", "upper", "hermitian", "pos"}
    check : bool
        All as in `from_array`.

    Returns
    -------
    BigMatrix

    Raises
    ------
    FileNotFoundError
        There is no file.
    NotAMatrixError
        It is no ``.npy`` file, a ``.npz`` archive, or cut short.
    TypeError
        Its entries are Python objects, or of another type that tiles have not.
    ValueError
        It has not one or two dimensions.
    StructureError
        It does not have the structure that is said.
    ChangedArrayError
        When computed: the file has been changed meanwhile.

    Examples
    --------
    >>> import tempfile, numpy as np, wrenla as wl
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/a.npy", [[1.0, 2.0], [3.0, 4.0]])
    ...     wl.from_npy(f"{folder}/a.npy").sum(axis=0).compute()
    array([4., 6.])
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"from_npy: a path is needed, not {type(path).__name__}: wl.from_array takes arrays")
    array = mapped(os.path.expanduser(os.fspath(path)))
    if array.ndim not in (1, 2):
        hint = 'take one matrix of a stack, wl.from_array(np.load(path, mmap_mode="r")[0])'
        raise ValueError(
            f"{path}: a matrix or a vector is needed, not an array of {array.ndim} dimensions, "
            f"{array.shape}{f': {hint}' if array.ndim else ', which is one number'}"
        )
    return from_array(array, tile, structure=structure, check=check)


def mapped(path: str) -> npt.NDArray[Any]:
    """Map the array in a file into memory, if it is one of numbers."""
    if os.path.isdir(path):
        raise NotAMatrixError(f"{path}: this is a folder, not a .npy file: wl.open opens a stored matrix")
    try:
        file = open(path, "rb")  # noqa: SIM115
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such file; numpy.save adds .npy to names") from None
    with file:
        start = file.read(6)
        if start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            raise NotAMatrixError(
                f"{path}: this is a .npz archive, which cannot be mapped into memory: take one of its "
                f'arrays, wl.from_array(np.load({path!r})["name"])'
            )
        if start != b"\x93NUMPY":
            raise NotAMatrixError(
                f"{path}: this is not a .npy file (it begins with {start!r}): wl.from_array takes what other "
                "readers return, as np.fromfile or np.loadtxt"
            )
        shape, dtype, offset = _header(file, path)
    if dtype.hasobject:
        raise TypeError(
            f"{path}: its entries are Python objects, which are pickled, and not loaded: save numbers, "
            "np.save(path, a.astype(float))"
        )
    nbytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
    there = os.path.getsize(path) - offset
    if there < nbytes:
        raise NotAMatrixError(
            f"{path}: the file is cut short: {there} bytes of {nbytes} of an array of shape {shape} are "
            "there; write it again"
        )
    if nbytes == 0:  # there is nothing to map
        return np.empty(shape, dtype)
    return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]


def _header(file: Any, path: str) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Return shape and dtype of the array in an open file, and where its entries begin."""
    file.seek(0)
    try:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        if any(length < 0 for length in shape):
            raise ValueError(f"its shape is {shape}")
    except (ValueError, EOFError) as error:
        raise NotAMatrixError(f"{path}: this is not a whole .npy file: {error}") from None
    return shape, dtype, file.tell()
