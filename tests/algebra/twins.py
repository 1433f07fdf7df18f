"""Matrices that are evaluated twice: lazily on tiles, and by NumPy in extended precision.

Beside the exact value stands the same expression of absolute values, and how many roundings went into an
entry: their product bounds the error (Higham, Accuracy and Stability, section 3.1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import wrenla as wl

from .gallery import DTYPES, Array, unit_roundoff, wide

Draw = Callable[[st.SearchStrategy[Any]], Any]

RANDOM = settings(deadline=None, derandomize=True, max_examples=60, suppress_health_check=list(HealthCheck))


@dataclass(frozen=True)
class Twin:
    """A lazy matrix and what it should be."""

    A: wl.BigMatrix
    native: Array
    """NumPy's own result, for shape and dtype."""
    exact: Array
    size: Array
    """The expression of absolute values."""
    roundings: float
    u: float

    @classmethod
    def of(cls, A: wl.BigMatrix, a: Array) -> Twin:
        return cls(A, a, wide(a), np.abs(wide(a)), 0, unit_roundoff(a.dtype.name))

    def map(self, f: Callable[[Any], Any], roundings: float = 0) -> Twin:
        """Apply what moves entries about, to all."""
        return Twin(
            f(self.A), f(self.native), f(self.exact), f(self.size), self.roundings + roundings, self.u
        )

    @property
    def bound(self) -> Array:
        return np.asarray(4 * (self.roundings + 1) * self.u * self.size)


def tiles(draw: Draw) -> tuple[int, int]:
    edge = st.integers(1, 17)
    return draw(edge), draw(edge)


def numbers(draw: Draw, shape: tuple[int, ...], dtype: str) -> Array:
    """Return multiples of 1/8 in [−1, 1]: large enough sums of them are exact in float64."""
    source = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    a = source.integers(-8, 9, shape) / 8
    return (a + 1j * source.integers(-8, 9, shape) / 8 if dtype[0] == "c" else a).astype(dtype)


def leaf(draw: Draw, shape: tuple[int, ...]) -> Twin:
    dtype = draw(st.sampled_from(DTYPES))
    a = numbers(draw, shape, dtype)
    kinds = ["array", "array", "function", "zeros", "random", "memory order"]
    if len(shape) == 2 and shape[0] == shape[1]:
        kinds += ["eye", "lower", "upper", "hermitian"]
    kind = draw(st.sampled_from(kinds))
    tile = tiles(draw)
    square = (tile[0], tile[0])
    one_or_two: Any = shape if len(shape) == 2 else shape[0]
    match kind:
        case "function":
            f = (lambda i, j: a[np.ix_(i, j)]) if len(shape) == 2 else (lambda i: a[i])
            return Twin.of(wl.from_function(f, shape, tile=tile, dtype=dtype), a)
        case "zeros":
            return Twin.of(wl.zeros(one_or_two, tile=tile, dtype=dtype), np.zeros(shape, dtype))
        case "eye":
            return Twin.of(wl.eye(shape[0], tile=square, dtype=dtype), np.eye(shape[0], dtype=dtype))
        case "random":
            R = wl.random(one_or_two, tile=tile, dtype=dtype, distribution="uniform")
            return Twin.of(R, R.compute())
        case "lower":
            return Twin.of(wl.from_array(a, tile=square, structure="lower", check=False), np.tril(a))
        case "upper":
            return Twin.of(wl.from_array(a, tile=square, structure="upper", check=False), np.triu(a))
        case "hermitian":
            h = (a + a.conj().T).astype(dtype)
            return Twin.of(wl.from_array(h, tile=square, structure="hermitian"), h)
        case "memory order":
            return Twin.of(wl.from_array(np.asfortranarray(a), tile=tile), a)
    return Twin.of(wl.from_array(a, tile=tile), a)


def same(x: wl.BigMatrix, expected: Any) -> None:
    """Compare bit for bit; one NaN is as good as another."""
    value, expected = x.compute(), np.asarray(expected)
    assert x.shape == expected.shape == np.shape(value)
    assert x.dtype == expected.dtype == value.dtype
    parts = (value.real, value.imag) if expected.dtype.kind == "c" else (value,)
    wanted = (expected.real, expected.imag) if expected.dtype.kind == "c" else (expected,)
    for found, right in zip(parts, wanted, strict=True):
        assert np.array_equal(found, right, equal_nan=True)
        there = ~np.isnan(right)
        assert np.array_equal(np.signbit(found)[there], np.signbit(right)[there])
