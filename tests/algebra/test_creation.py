"""Matrices from arrays, functions, formulas and other matrices."""

from __future__ import annotations

import functools
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl

from . import gallery
from .gallery import DTYPES


def boom(rows: Any, cols: Any) -> Any:
    raise ZeroDivisionError(f"at {rows[0]}, {cols[0]}")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_from_array(dtype: str, order: Any) -> None:
    for shape in ((21, 13), (1, 1), (0, 0), (0, 3), (3, 0), (5,), (0,)):
        a = np.asarray(gallery.normal(shape, dtype), order=order)
        for tile in (None, 1, 4, (3, 8), 100):
            A = wl.from_array(a, tile=tile)
            assert np.array_equal(A.compute(), a)
            assert A.dtype == dtype
        view = np.repeat(a, 2, axis=0)[::-2]
        assert np.array_equal(wl.from_array(view, tile=4).compute(), view)


def test_from_array_of_other_types() -> None:
    for a in ([[1, 2], [3, 4]], np.eye(3, dtype=bool), np.arange(6, dtype="u1").reshape(2, 3), [1, 2]):
        A = wl.from_array(a)
        assert A.dtype == np.float64
        assert np.array_equal(A.compute(), a)
    big_endian = np.arange(6, dtype=">f4").reshape(2, 3)
    assert np.array_equal(wl.from_array(big_endian).compute(), big_endian)
    bad: Any
    for bad in (np.ones((2, 2), np.float16), np.ones((2, 2), np.longdouble), np.array([["a"]]), [[None]]):
        with pytest.raises(
            TypeError, match=r"dtype .* is not one of float32, float64, complex64, complex128"
        ):
            wl.from_array(bad)
    for shape in ((), (2, 2, 2)):
        with pytest.raises(ValueError, match=f"not an array of {len(shape)} dimensions"):
            wl.from_array(np.ones(shape))


def test_structures() -> None:
    a = gallery.normal((7, 7), "complex128")
    hermitian = np.tril(a, -1) + np.tril(a, -1).conj().T + np.diag(a.diagonal().real)
    for structure, expected in (
        ("lower", np.tril(a)),
        ("upper", np.triu(a)),
        ("hermitian", hermitian),
        ("pos", hermitian),
    ):
        A = wl.from_array(
            hermitian if structure in ("hermitian", "pos") else a, tile=3, structure=structure, check=False
        )  # type: ignore[arg-type]
        assert A.structure == structure
        assert np.array_equal(A.compute(), expected)
        assert np.array_equal(A.H.compute(), expected.conj().T)
        assert np.array_equal(A.rechunk(2).compute(), expected)
        assert np.array_equal(A.rechunk((2, 3)).compute(), expected)
    with pytest.raises(ValueError, match="structure is one of"):
        wl.from_array(a, structure="banded")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a lower matrix is square"):
        wl.from_array(a[:3], structure="lower")
    with pytest.raises(ValueError, match="has square tiles"):
        wl.from_array(a, tile=(2, 3), structure="pos")


def test_bad_tiles() -> None:
    a: Any
    for a in (0, -1, (0, 2), (1, 2, 3)):
        with pytest.raises(ValueError, match="tile="):
            wl.zeros((4, 4), tile=a)
        with pytest.raises(ValueError, match="tile="):
            wl.eye(4).rechunk(a)
    for a in (2.0, (2.5, 2), (2, None), "22", ("2", "2"), np.array([2.0, 2.0]), 1j):
        for use in (lambda tile: wl.zeros((4, 4), tile=tile), wl.eye(4).rechunk):
            with pytest.raises(TypeError, match=r"whole numbers are needed: tile=\(512, 256\)"):
                use(a)
    for a in (np.int8(2), np.array(2), [2, 2], np.array([2, 2]), (np.uint8(2), np.array(2))):
        assert wl.zeros((4, 4), tile=a).tile == wl.eye(4).rechunk(a).tile == (2, 2)


def test_shapes_as_numpy_has_them() -> None:
    """A second length, or a dtype, is not taken for a tile."""
    make: Any
    for make, given, remedy in (
        (wl.eye, (3, 4), r"an identity is square"),
        (wl.zeros, (3, 3), r"wl\.zeros\(\(3, 3\)\); tile=… and dtype=…"),
        (wl.zeros, ((2, 2), "f4"), r"dtype=… go by name"),
        (wl.random, (3, 3, 3), r"wl\.random\(\(3, 3\)\)"),
    ):
        with pytest.raises(TypeError, match=remedy):
            make(*given)


def test_from_array_of_a_memmap_reads_tile_by_tile(tmp_path: Path) -> None:
    file = np.memmap(tmp_path / "a.bin", "float32", "w+", shape=(50, 30))
    file[...] = gallery.normal((50, 30), "float32")
    A = wl.from_array(file, tile=8)
    assert np.array_equal(A.compute(), file)
    assert np.array_equal(A[3:9, ::2].compute(), file[3:9, ::2])


def test_from_array_into_a_store(tmp_path: Path) -> None:
    a = gallery.normal((9, 5))
    A = wl.from_array(a, tile=4, store=str(tmp_path / "a"))
    expected = a.copy()
    a[...] = 0
    assert np.array_equal(A.compute(), expected)
    assert np.array_equal(wl.open(tmp_path / "a").compute(), expected)


def test_from_array_documents_that_large_arrays_are_not_copied() -> None:
    for words in ("not copied", "do not change it"):
        assert words in " ".join((wl.from_array.__doc__ or "").split())


@pytest.mark.parametrize("dtype", DTYPES)
def test_from_function(dtype: str) -> None:
    a = gallery.normal((21, 13), dtype)
    for tile in (None, 1, 5, (8, 3)):
        A = wl.from_function(lambda i, j: a[np.ix_(i, j)], (21, 13), tile=tile, dtype=dtype)
        assert np.array_equal(A.compute(), a)
        assert np.array_equal(A.T.compute(), a.T)
        v = wl.from_function(
            lambda i: a[i, 2], 21, tile=tile if not isinstance(tile, tuple) else 8, dtype=dtype
        )
        assert np.array_equal(v.compute(), a[:, 2])
    assert wl.from_function(lambda i, j: np.ones((len(i), len(j))), (0, 3)).compute().shape == (0, 3)


def test_run_does_not_use_tiles_cached_by_another_function(tmp_path: Path) -> None:
    """What a function reads from a file may have changed, and no name tells: each run reads it anew."""
    (tmp_path / "k").write_text("1")

    def read(*block: Any) -> Any:
        return np.full([len(x) for x in block], float((tmp_path / "k").read_text()))

    def added(tile: Any) -> Any:
        return tile + float((tmp_path / "k").read_text())

    K = wl.from_function(read, (8, 8), tile=2)
    F = wl.map_tiles(added, K)
    for A, factor in ((K, 2), (F, 2), (K @ K, 4)):
        (tmp_path / "k").write_text("1")
        first = A[:1].compute()
        kept = A.persist()
        (tmp_path / "k").write_text("2")
        assert np.array_equal(np.unique(A.compute()), [factor * first[0, 0]])
        assert np.array_equal(kept.compute(), np.full((8, 8), first[0, 0]))


def test_a_vector_is_not_a_column() -> None:
    """The function is called otherwise, so its tiles are not the same."""

    def count(*block: Any) -> Any:
        return np.full([len(x) for x in block], float(len(block)))

    v, C = wl.from_function(count, 6, tile=2), wl.from_function(count, (6, 1), tile=(2, 1))
    assert np.array_equal((C @ np.ones(1) + v).compute(), np.full(6, 3.0))


def test_from_function_gets_global_indices() -> None:
    def f(rows: Any, cols: Any) -> Any:
        assert rows.ndim == cols.ndim == 1
        assert rows.dtype.kind == cols.dtype.kind == "i"
        return 100.0 * rows[:, None] + cols

    expected = 100.0 * np.arange(9)[:, None] + np.arange(7)
    assert np.array_equal(wl.from_function(f, (9, 7), tile=(2, 3)).compute(), expected)


def test_from_function_converts_what_loses_nothing() -> None:
    for value in (1, True, np.float32(1), [[1]]):
        A = wl.from_function(lambda i, j, value=value: np.full((len(i), len(j)), value), (3, 2), tile=2)
        assert np.array_equal(A.compute(), np.ones((3, 2)))
    assert (
        wl.from_function(lambda i, j: np.ones((len(i), len(j))), (2, 2), dtype="f4").compute().dtype == "f4"
    )


def notes(error: BaseException) -> str:
    return "\n".join(getattr(error, "__notes__", ()))


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        (boom, ZeroDivisionError, "at 4, 2"),
        (
            lambda i, j: np.ones((len(i), len(j) + 1)),
            ValueError,
            r"shape \(2, 3\) for a block of shape \(2, 2\)",
        ),
        (lambda i, j: 1.0, ValueError, r"shape \(\) for a block"),
        (lambda i, j: None, (ValueError, TypeError), "shape|object"),
        (
            lambda i, j: np.full((len(i), len(j)), 1j),
            TypeError,
            "complex128, which is no float64; say which dtype the matrix has",
        ),
        (lambda i, j: np.full((len(i), len(j)), "x"), TypeError, "which is no float64"),
        (lambda i: i, TypeError, "argument"),
    ],
)
def test_from_function_that_fails(function: Any, kind: Any, message: str) -> None:
    """The error is the function's own, with a note that names the block."""
    A = wl.from_function(function, (9, 7), tile=2)
    for x in (A[4:6, 2:4], A[4:6, 2:4] @ np.ones(2)):
        with pytest.raises(kind, match=message) as caught:
            x.compute()
        assert "rows 4:6, columns 2:4 of a from_function" in notes(caught.value)


def test_from_function_of_unpicklable_function_is_refused() -> None:
    lock = threading.Lock()
    with pytest.raises(TypeError, match="pickle"):
        wl.from_function(lambda i, j: lock.locked(), (2, 2))


def test_a_function_may_be_anything_callable() -> None:
    A = wl.from_function(functools.partial(np.subtract.outer), (3, 3), tile=2)
    assert np.array_equal(A.compute(), np.subtract.outer(np.arange(3), np.arange(3)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_formulas(dtype: str) -> None:
    shape: Any
    for shape in ((0, 0), (5, 3), (7, 7), 4, (4,)):
        assert np.array_equal(wl.zeros(shape, tile=2, dtype=dtype).compute(), np.zeros(shape))
        r = wl.random(shape, tile=2, dtype=dtype, distribution="uniform").compute()
        assert r.dtype == dtype
        assert ((r.real >= 0) & (r.real < 1)).all()
    for n in (0, 1, 7):
        assert np.array_equal(wl.eye(n, tile=3, dtype=dtype).compute(), np.eye(n))
    two, three = (np.arange(4)[i] for i in (2, 3))
    assert np.array_equal(wl.zeros((three, two), tile=two).compute(), np.zeros((3, 2)))
    assert np.array_equal(wl.zeros(three).compute(), np.zeros(3))


@pytest.mark.parametrize("dtype", DTYPES)
def test_random_moments(dtype: str) -> None:
    r = wl.random((200, 200), tile=64, seed=1, dtype=dtype).compute().astype(np.complex128)
    assert abs(r.mean()) < 0.03
    assert abs((np.abs(r) ** 2).mean() - 1) < 0.05
    assert len(np.unique(r)) > 0.99 * r.size


def test_creation_with_bad_arguments_is_refused() -> None:
    with pytest.raises(ValueError, match="'normal' or 'uniform'"):
        wl.random(3, distribution="cauchy")
    with pytest.raises(ValueError, match="seed"):
        wl.random(3, seed=-1)
    seed: Any
    for seed in (1.5, 1.0, None, "1"):
        with pytest.raises(TypeError, match=r"a whole number is needed; .* secrets\.randbits"):
            wl.random(3, seed=seed)
    assert np.array_equal(wl.random(3, seed=np.array(1)).compute(), wl.random(3, seed=1).compute())
    for make in (wl.zeros, wl.random, lambda shape: wl.from_function(boom, shape)):
        with pytest.raises(ValueError, match="not a shape of 3 lengths"):
            make((1, 2, 3))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="negative"):
            make((-1, 2))
        with pytest.raises((TypeError, ValueError)):
            make((2.5, 2))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="dtype int64 is not one of"):
        wl.zeros(3, dtype="int64")
    with pytest.raises(ValueError, match="negative"):
        wl.eye(-1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_map_tiles(dtype: str) -> None:
    a, b = gallery.normal((9, 7), dtype, 1), gallery.normal((9, 7), dtype, 2)
    A, B = wl.from_array(a, tile=(4, 3)), wl.from_array(b, tile=5)
    assert np.array_equal(wl.map_tiles(np.exp, A).compute(), np.exp(a))
    assert np.array_equal(wl.map_tiles(np.multiply, A, B).compute(), a * b)
    assert np.array_equal(wl.map_tiles(np.multiply, A.T, b.T).compute(), (a * b).T)
    real = wl.map_tiles(np.abs, 2 * A, dtype=a.real.dtype)
    assert real.dtype == a.real.dtype
    assert np.array_equal(real.compute(), np.abs(2 * a))
    v = wl.map_tiles(np.square, A[:, 2])
    assert np.array_equal(v.compute(), a[:, 2] ** 2)
    for structure in ("lower", "upper"):
        T = wl.from_array(a[:7], tile=3, structure=structure, check=False)
        assert np.array_equal(wl.map_tiles(np.cos, T).compute(), np.cos(T.compute()))


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        (lambda t: 1 / 0, ZeroDivisionError, "division"),
        (lambda t: t[:1], ValueError, r"shape \(1, 2\) for tiles of shape \(2, 2\)"),
        (lambda t: t * 1j, TypeError, "complex128, which is no float64"),
        (lambda t: None, (TypeError, ValueError), "shape|object"),
        (lambda t: np.negative(t, out=t), ValueError, "read-only"),
    ],
)
def test_map_tiles_that_fails(function: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        wl.map_tiles(function, wl.zeros((2, 2))).compute()
    assert "rows 0:2, columns 0:2 of a map_tiles" in notes(caught.value)


def test_map_tiles_of_different_shapes() -> None:
    with pytest.raises(ValueError, match=r"shapes .* differ"):
        wl.map_tiles(np.add, wl.zeros((2, 3)), wl.zeros((3, 2)))
    with pytest.raises(ValueError, match="at least one matrix"):
        wl.map_tiles(np.add)


def test_matrices_that_no_address_could_hold_are_still_only_expressions() -> None:
    A = wl.random((10**9, 10**9), tile=512)
    assert A.nbytes == 8 * 10**18
    assert A[5:7, -3:].compute().shape == (2, 3)
    assert (A.shift(2) - A)[10**9 - 1, 10**9 - 1].compute() == pytest.approx(2)


def test_arrays_of_other_types_are_converted_tile_by_tile(tmp_path: Path) -> None:
    """Integers above all, which may be larger than memory; and of any order, strides and byte order."""
    (rows, cols), path = (1000, 4100), tmp_path / "a.bin"
    (np.arange(rows * cols) % 251).astype("u1").tofile(path)
    mapped = np.memmap(path, "u1", "r", shape=(rows, cols))
    expected = np.array(mapped[-3:], float)
    tracemalloc.start()
    try:
        A = wl.from_array(mapped, tile=256)
        assert np.array_equal(A[-3:].compute(), expected)
        assert np.array_equal((wl.zeros((rows, cols), tile=256) + mapped)[-3:].compute(), expected)
        assert tracemalloc.get_traced_memory()[1] < mapped.nbytes * 8 / 2
    finally:
        tracemalloc.stop()
    assert wl.from_array(np.memmap(path, "u1", "r", shape=(rows, cols)), tile=256)._node.key == A._node.key
    part = mapped[:40, :50]
    for a in (
        part,
        part.T,
        part[::-2, 1::3],
        part > 9,
        part.astype(">i4"),
        part[:, 3],
        np.asfortranarray(part),
    ):
        assert np.array_equal(wl.from_array(a, tile=7).compute(), a)
        assert np.array_equal((wl.zeros(a.shape, tile=9) + a).compute(), a)


def test_from_array_of_non_array_is_refused() -> None:
    bad: Any
    for bad, said in (("a.npy", "wl.from_npy"), (Path("a.zarr"), "wl.open"), (wl.eye(3), "a matrix already")):
        with pytest.raises(TypeError, match=said):
            wl.from_array(bad)
    with pytest.raises(TypeError, match=r"convert it, a\.astype\('float32'\)"):
        wl.from_array(np.ones(3, np.float16))
    with pytest.raises(ValueError, match="which is not given"):
        wl.from_array([1.0], overwrite=True)


def test_from_function_without_function_or_array_is_refused() -> None:
    for made in (np.eye(3), wl.eye(3), "f", None):
        with pytest.raises(TypeError, match=r"^from_function\(f, shape\) needs a function, not "):
            wl.from_function(made, (3, 3))  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"^map_tiles\(f, A, …\) needs a function, not "):
            wl.map_tiles(made, np.sqrt)  # type: ignore[arg-type]

    async def later(*block: Any) -> Any:
        return np.ones((3, 3))

    bad: list[tuple[Any, str]] = [
        (lambda *block: None, "returned NoneType, .*: it may lack a return"),
        (lambda *block: (x for x in range(3)), "returned generator, .*list"),
        (later, "returned coroutine, .*not an async one"),
        (lambda *block: [[object()] * 3] * 3, "returned list, not numbers in"),
    ]
    for f, said in bad:
        for A in (wl.from_function(f, (3, 3)), wl.map_tiles(f, wl.eye(3))):
            with pytest.raises(TypeError, match=said):
                A.compute()
