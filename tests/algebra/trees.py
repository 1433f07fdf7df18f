"""Random expressions: views on views, products, slices, sums, of any shape that is asked for."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

import wrenla as wl

from .gallery import DTYPES, Array, unit_roundoff
from .twins import Draw, Twin, leaf, numbers, tiles

SCALARS = (
    2,
    -1,
    0.3,
    -2.5,
    1 + 0.5j,
    True,
    np.float32(1.5),
    np.float64(0.7),
    np.complex64(0.5j),
    np.int64(3),
    0,
)


def vector(draw: Draw, n: int, depth: int) -> Twin:
    """Return a vector of length n."""
    if depth == 0 or draw(st.booleans()):
        return leaf(draw, (n,))
    kind = draw(st.sampled_from(["sum 0", "sum 1", "row", "column", "diagonal", "scaled", "conj", "slice"]))
    if kind == "sum 0":
        x = matrix(draw, draw(st.integers(0, 12)), n, depth - 1)
        return x.map(lambda a: a.sum(0), x.native.shape[0])
    if kind == "sum 1":
        x = matrix(draw, n, draw(st.integers(0, 12)), depth - 1)
        return x.map(lambda a: a.sum(axis=-1), x.native.shape[1])
    if kind in ("row", "column"):
        i = draw(st.integers(0, 8))
        x = matrix(draw, *((9, n) if kind == "row" else (n, 9)), depth - 1)
        i = draw(st.sampled_from([i, i - 9]))
        return x.map(lambda a: a[i]) if kind == "row" else x.map(lambda a: a[..., i])
    if kind == "diagonal":
        return matrix(draw, n, n + draw(st.integers(0, 5)), depth - 1).map(lambda a: a.diagonal())
    if kind == "scaled":
        return scaled(draw, vector(draw, n, depth - 1))
    if kind == "conj":
        return vector(draw, n, depth - 1).map(lambda a: a.conj())
    return sliced(draw, vector, (n,), depth)


def scaled(draw: Draw, x: Twin) -> Twin:
    c = draw(st.sampled_from(SCALARS))
    match draw(st.sampled_from(["c*A", "A*c", "A/c", "-A"])):
        case "c*A":
            y = x.map(lambda a: c * a, 2)
        case "A*c":
            y = x.map(lambda a: a * c, 2)
        case "A/c" if c:
            y = x.map(lambda a: a / c, 4)
        case _:
            y = x.map(lambda a: -a)
    return replace(y, size=np.abs(y.size))


def sliced(draw: Draw, make: Callable[..., Twin], shape: tuple[int, ...], depth: int) -> Twin:
    """Return a slice of the wanted shape of something larger."""
    index: list[Any] = []
    lengths = []
    for n in shape:
        step = draw(st.sampled_from([1, 1, 2, 3, -1, -2]))
        before, after = draw(st.integers(0, 5)), draw(st.integers(0, 5))
        length = before + max(0, (n - 1) * abs(step) + 1 if n else 0) + after
        if step > 0:
            part = slice(before, length - after, step)
        else:
            part = slice(length - 1 - after, before - 1 if before else None, step)
            if not n:
                part = slice(before, before, step)
        index.append(part)
        lengths.append(length)
    if draw(st.booleans()):
        index.insert(draw(st.integers(0, len(index))), Ellipsis)
    return make(draw, *lengths, depth - 1).map(lambda a: a[tuple(index)])


def add(x: Twin, y: Twin, sign: int = 1) -> Twin:
    # where the other one is an array, it is taken as it is
    return Twin(
        x.A + y.A if sign > 0 else x.A - y.A,
        x.native + sign * y.native,
        x.exact + sign * y.exact,
        x.size + y.size,
        max(x.roundings, y.roundings) + 1,
        max(x.u, y.u),
    )


def product(x: Twin, y: Twin) -> Twin:
    return Twin(
        x.A @ y.A,
        x.native @ y.native,
        x.exact @ y.exact,
        x.size @ y.size,
        x.roundings + y.roundings + x.native.shape[-1] + 4,
        max(x.u, y.u),
    )


def weighed(x: Twin, w: Twin, side: str) -> Twin:
    def times(a: Array, v: Array) -> Array:
        return v[:, None] * a if side == "rows" else a * v

    return Twin(
        getattr(x.A, f"scale_{side}")(w.A),
        times(x.native, w.native),
        times(x.exact, w.exact),
        times(x.size, w.size),
        x.roundings + w.roundings + 2,
        max(x.u, w.u),
    )


def cast(draw: Draw, x: Twin) -> Twin:
    real = x.native.dtype.kind != "c"
    dtype = draw(st.sampled_from(DTYPES if real else DTYPES[2:]))
    return replace(
        x,
        A=x.A.astype(dtype),
        native=x.native.astype(dtype),
        roundings=x.roundings + 1,
        u=max(x.u, unit_roundoff(dtype)),
    )


def gram(draw: Draw, x: Twin, depth: int) -> Twin:
    h = x.map(lambda a: a.conj().T)
    h = replace(h, A=x.A.H)
    kind = draw(st.sampled_from(["gram", "A @ A.H", "weights"]))
    y = product(x, h)
    if kind == "weights":
        w = leaf(draw, (x.native.shape[1],))
        if w.native.dtype.kind != "c":
            y = product(weighed(x, w, "columns"), h)
            return replace(y, A=x.A.gram(w.A if draw(st.booleans()) else w.native))
    return replace(y, A=x.A.gram()) if kind == "gram" else y


ANY = ["T", "H", "conj", "scaled", "cast", "add", "sub", "add array", "product", "array product", "rows"]
ANY += [
    "columns",
    "slice",
    "rechunk",
    "block",
    "negative",
    "square",
    "add by map",
    "persist",
    "vector product",
    "times",
    "plus number",
    "times vector",
]
SQUARE = ["shift", "tril", "triu", "gram", "shift", "tril", "triu", "gram"]


def matrix(draw: Draw, m: int, n: int, depth: int) -> Twin:
    """Return an expression of shape (m, n)."""
    if depth == 0:
        return leaf(draw, (m, n))
    kind = draw(st.sampled_from(ANY + SQUARE if m == n else ANY))
    below = depth - 1
    match kind:
        case "T":
            return matrix(draw, n, m, below).map(lambda a: a.T)
        case "H":
            x = matrix(draw, n, m, below)
            return replace(x.map(lambda a: a.T), A=x.A.H, native=x.native.conj().T, exact=x.exact.conj().T)
        case "conj":
            return matrix(draw, m, n, below).map(lambda a: a.conj())
        case "scaled":
            return scaled(draw, matrix(draw, m, n, below))
        case "cast":
            return cast(draw, matrix(draw, m, n, below))
        case "add" | "sub":
            return add(matrix(draw, m, n, below), matrix(draw, m, n, below), 1 if kind == "add" else -1)
        case "add array":
            x, a = matrix(draw, m, n, below), numbers(draw, (m, n), draw(st.sampled_from(DTYPES)))
            y = add(x, Twin.of(wl.from_array(a), a))
            return replace(y, A=x.A + a if draw(st.booleans()) else operator.add(a, x.A))
        case "product":
            k = draw(st.integers(0, 12))
            return product(matrix(draw, m, k, below), matrix(draw, k, n, below))
        case "array product":
            k = draw(st.integers(0, 12))
            x, a = matrix(draw, k, n, below), numbers(draw, (m, k), draw(st.sampled_from(DTYPES)))
            return replace(product(Twin.of(wl.from_array(a), a), x), A=operator.matmul(a, x.A))
        case "vector product":
            return weighed(
                matrix(draw, m, n, below), product(matrix(draw, m, 5, 0), vector(draw, 5, below)), "rows"
            )
        case "rows":
            return weighed(matrix(draw, m, n, below), vector(draw, m, below), "rows")
        case "columns":
            return weighed(matrix(draw, m, n, below), vector(draw, n, below), "columns")
        case "slice":
            return sliced(draw, matrix, (m, n), depth)
        case "rechunk":
            x = matrix(draw, m, n, below)
            return replace(x, A=x.A.rechunk(tiles(draw)))
        case "persist":
            x = matrix(draw, m, n, below)
            return replace(x, A=x.A.persist())
        case "block":
            i, j = draw(st.integers(0, m)), draw(st.integers(0, n))
            table = [
                [matrix(draw, h, w, draw(st.integers(0, below))) for w in (j, n - j)] for h in (i, m - i)
            ]
            rows = [_joined(line, 1, [[t.A for t in line]]) for line in table]
            return _joined(rows, 0, [[t.A for t in line] for line in table])
        case "negative":
            x = matrix(draw, m, n, below)
            return replace(x, A=wl.map_tiles(np.negative, x.A), native=-x.native, exact=-x.exact)
        case "square":
            x = matrix(draw, m, n, below)
            return Twin(
                wl.map_tiles(np.square, x.A), x.native**2, x.exact**2, x.size**2, 2 * x.roundings + 2, x.u
            )
        case "add by map":
            x, y = matrix(draw, m, n, below), matrix(draw, m, n, below)
            z = add(x, y)
            return replace(z, A=wl.map_tiles(np.add, x.A, y.A, dtype=z.native.dtype))
        case "times":
            x, y = matrix(draw, m, n, below), matrix(draw, m, n, below)
            return Twin(
                x.A * y.A,
                x.native * y.native,
                x.exact * y.exact,
                x.size * y.size,
                x.roundings + y.roundings + 2,
                max(x.u, y.u),
            )
        case "plus number":
            x, c = matrix(draw, m, n, below), draw(st.sampled_from((1, -0.5, 0.3j)))
            return Twin(x.A + c, x.native + c, x.exact + c, x.size + abs(c), x.roundings + 2, x.u)
        case "times vector":
            x, w = matrix(draw, m, n, below), vector(draw, n, below)
            return replace(weighed(x, w, "columns"), A=x.A * w.A)
        case "shift":
            x, c = matrix(draw, m, n, below), draw(st.sampled_from((1, -0.5, 2j)))
            native = x.native + c * np.eye(m, dtype=x.native.dtype)
            return Twin(
                x.A.shift(c),
                native,
                x.exact + c * np.eye(m),
                x.size + abs(c) * np.eye(m),
                x.roundings + 2,
                x.u,
            )
        case "tril":
            x = matrix(draw, m, n, below)
            return replace(x, A=x.A.tril(), exact=np.tril(x.exact), size=np.tril(x.size))
        case "triu":
            x = matrix(draw, m, n, below)
            return replace(x, A=x.A.triu(), exact=np.triu(x.exact), size=np.triu(x.size))
    return gram(draw, matrix(draw, m, draw(st.integers(0, 12)), below), below)


def _joined(parts: list[Twin], axis: int, table: list[list[wl.BigMatrix]]) -> Twin:
    return Twin(
        wl.block(table),
        np.concatenate([t.native for t in parts], axis),
        np.concatenate([t.exact for t in parts], axis),
        np.concatenate([t.size for t in parts], axis),
        max(t.roundings for t in parts),
        max(t.u for t in parts),
    )
