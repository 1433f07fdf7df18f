"""Random butterflies: orthogonal but for random weights, they mix the rows of a matrix at little cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from wrenla_kernels.layout import Matrix, checked

__all__ = ["butterfly", "butterfly_logdet"]

_AT_ONCE = 1 << 13
"""Numbers of a column, or of several short ones, that are worked on at a time: they stay in the cache."""


def butterfly(a: Matrix, seed: int, depth: int, *, transposed: bool = False) -> None:
    """Replace a matrix by W a or Wᵀ a, with a recursive random butterfly W.

    Parameters
    ----------
    a
        (m, n) matrix, overwritten.
    seed
        Non-negative number that the random weights come from.
    depth
        Layers: the first one mixes the halves of a column, the next one the halves of each of them.
    transposed
        Whether Wᵀ is meant.

    Raises
    ------
    TypeError
        If the dtype is none of float32, float64, complex64, complex128.
    ValueError
        If `a` is not in Fortran order, or read-only.

    Notes
    -----
    Parker 1995; Baboulin, Dongarra, Herrmann, Tomov 2013. A layer is ``[[R, S], [R, −S]] / √2`` with diagonal
    R and S of random numbers from 0.95 to 1.05. Of an odd number of rows the one in the middle is only
    weighed (Lindquist, Luszczek, Dongarra 2023). Weights come from a counter and whole-number arithmetic:
    they are the same on each machine, whatever its NumPy.

    Examples
    --------
    >>> import numpy as np
    >>> a = np.array([[1.0], [0.0]], order="F")
    >>> butterfly(a, 0, 1)
    >>> bool(0.6 < a[0, 0] < 0.8), bool(a[0, 0] == a[1, 0])
    (True, True)
    """
    a = checked("a", a, writable=True)
    m, n = a.shape
    if not m:
        return
    layers = [(_weights(seed, layer, m, a.dtype), list(_segments(m, layer))) for layer in range(depth)]
    step = max(1, _AT_ONCE // m)
    with np.errstate(all="ignore"):  # inf and NaN come and go as in other kernels
        for j in range(0, n, step):
            columns = a[:, j] if step == 1 else a[:, j : j + step]
            for weights, segments in reversed(layers) if transposed else layers:
                for start, stop in segments:
                    across = weights[start:stop] if step == 1 else weights[start:stop, np.newaxis]
                    (_transposed_layer if transposed else _layer)(columns[start:stop], across)


def butterfly_logdet(seed: int, depth: int, m: int) -> float:
    """Return the logarithm of the absolute determinant of W, of order m.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.eye(5, order="F")
    >>> butterfly(w, 3, 2)
    >>> bool(np.isclose(butterfly_logdet(3, 2, 5), np.linalg.slogdet(w).logabsdet))
    True
    """
    total = 0.0
    for layer in range(depth):
        pairs = sum((stop - start) // 2 for start, stop in _segments(m, layer))
        # of a pair of rows with the weights r and s it is -2 r s
        total += float(np.log(_weights(seed, layer, m, np.dtype(np.float64))).sum()) + pairs * np.log(2.0)
    return total


def _segments(m: int, layer: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of m rows that a layer mixes each in itself: all, then halves, then quarters."""
    if layer == 0:
        yield 0, m
        return
    half = (m + 1) // 2
    yield from _segments(half, layer - 1)
    for start, stop in _segments(m - half, layer - 1):
        yield half + start, half + stop


def _layer(x: npt.NDArray[Any], weights: npt.NDArray[Any]) -> None:
    pairs, half = x.shape[0] // 2, (x.shape[0] + 1) // 2
    x *= weights
    top, bottom = x[:pairs], x[half:]
    difference = top - bottom
    top += bottom
    bottom[...] = difference


def _transposed_layer(x: npt.NDArray[Any], weights: npt.NDArray[Any]) -> None:
    pairs, half = x.shape[0] // 2, (x.shape[0] + 1) // 2
    top, bottom = x[:pairs], x[half:]
    difference = top - bottom
    top += bottom
    bottom[...] = difference
    x *= weights


def _weights(seed: int, layer: int, m: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return the weights of the rows in one layer, from 0.95 to 1.05, over √2 where rows are mixed.

    Numbers: Vigna's splitmix64 of a counter.
    """
    with np.errstate(over="ignore"):  # modulo 2⁶⁴ is what is meant
        z = np.arange(1, m + 1, dtype=np.uint64) + (np.uint64(seed) << np.uint64(44))
        z = (z + (np.uint64(layer) << np.uint64(40))) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    weights = 0.95 + (z >> np.uint64(11)).astype(np.float64) * (0.1 * 2.0**-53)
    for start, stop in _segments(m, layer):
        pairs = (stop - start) // 2
        weights[start : start + pairs] *= np.sqrt(0.5)
        weights[stop - pairs : stop] *= np.sqrt(0.5)
    return weights.astype(np.empty(0, dtype).real.dtype)
