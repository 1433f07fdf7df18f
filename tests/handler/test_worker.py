"""One task, against the formula of its definition: out = finish(base + Σ terms, args)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wrenla_handler.errors import StoreError
from wrenla_handler.stores.base import LEASE, SAVING, Reach
from wrenla_handler.stores.urls import open_store
from wrenla_handler.tiles.arrays import ArraySpec, HostArray, StoredArray, TileRef
from wrenla_handler.tiles.buffers import empty_tile
from wrenla_handler.tiles.grid import Grid
from wrenla_handler.tiles.layout import tile_key
from wrenla_handler.tiles.sources import as_bytes
from wrenla_handler.tiles.task import Read, Task, Term
from wrenla_handler.tiles.worker import Report, Worker

T = 4
GRID = Grid((3 * T, 3 * T), (T, T))
DTYPES = ["float32", "float64", "complex64", "complex128"]


def numbers(shape: tuple[int, int], dtype: str, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if dtype.startswith("c") else 0)
    return np.asfortranarray(x.astype(dtype))


def put(spec: ArraySpec, array: Any) -> None:
    """Store an array as tiles, padded at the edges."""
    store = open_store(spec.url)
    for i in range(spec.grid.counts[0]):
        for j in range(spec.grid.counts[1]):
            (r, c), (m, n) = spec.grid.origin(i, j), spec.grid.extent(i, j)
            tile = empty_tile(*spec.grid.tile, spec.dtype)
            tile[:m, :n] = array[r : r + m, c : c + n]
            store.put(tile_key(i, j, spec.ndim), as_bytes(tile))


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    made = Worker(1 << 20)
    yield made
    made.close()


class Arrays:
    """Some arrays in every kind of source, and their numbers."""

    def __init__(self, worker: Worker, dtype: str, name: str) -> None:
        url = f"memory://{name}"
        self.values = {"A": numbers((12, 12), dtype), "B": numbers((12, 12), dtype, 1)}
        self.values |= {"w": numbers((12, 1), dtype, 2), "H": numbers((12, 12), dtype, 3)}
        vector = Grid((12, 1), (T, 1))
        self.specs = {
            "A": StoredArray(GRID, dtype, 2, f"A {name}", f"{url}/A"),
            "B": StoredArray(GRID, dtype, 2, f"B {name}", f"{url}/B"),
            "w": StoredArray(vector, dtype, 1, f"w {name}", f"{url}/w"),
            "H": HostArray(GRID, dtype, 2, f"H {name}"),
            "out": StoredArray(GRID, dtype, 2, f"out {name}", f"{url}/out"),
        }
        for key in ("A", "B", "w"):
            put(self.specs[key], self.values[key])
        worker.sources.hosts[f"H {name}"] = self.values["H"]

    def tile(self, ref: TileRef) -> Any:
        columns = 1 if ref.array == "w" else T
        return self.values[ref.array][ref.i * T : (ref.i + 1) * T, ref.j * columns : (ref.j + 1) * columns]

    def value(self, read: Read) -> Any:
        """diag(rows) · (scale · op(mask(tile)) + shift · I) · diag(cols), then the window."""
        tile = {"": np.array, "lower": np.tril, "upper": np.triu}[read.mask](self.tile(read.tile))
        tile = {"N": tile, "T": tile.T, "C": tile.conj().T, "R": tile.conj()}[read.op]
        tile = read.scale * tile + read.shift * np.eye(T)
        if read.rows is not None:
            tile = self.tile(read.rows) * tile
        if read.cols is not None:
            tile = tile * self.tile(read.cols).T
        if read.window is not None:
            r0, r1, rs, c0, c1, cs = read.window
            tile = tile[list(range(r0, r1, rs))][:, list(range(c0, c1, cs))]
        return tile

    def result(self, task: Task) -> Any:
        out = np.zeros((T, T), np.result_type(task.dtype, np.float64))
        for read in task.base:
            value, (r, c) = self.value(read), read.offset
            target = out[r : r + value.shape[0], c : c + value.shape[1]]
            target[...] = target + value if read.accumulate else value
        for term in task.terms:
            for a, b in term.products():
                left = self.value(a)
                out += term.alpha * left @ (left.conj().T if term.lower else self.value(b))
        return out


INDEX = st.integers(0, 2)
REF = st.builds(TileRef, st.sampled_from(["A", "B", "H"]), INDEX, INDEX)
WEIGHT = st.none() | st.builds(TileRef, st.just("w"), INDEX, st.just(0))
WINDOW = st.sampled_from([None, (1, 3, 1, 0, 4, 1), (3, -1, -2, 2, 0, -1), (0, 4, 3, 1, 2, 5)])


@st.composite
def reads(draw: st.DrawFn, factor: bool) -> Read:
    window = None if factor else draw(WINDOW)
    at = (0, 0) if window is None else draw(st.sampled_from([(0, 0), (1, 0)]))
    return Read(
        draw(REF),
        draw(st.sampled_from("NTCR")),
        draw(st.sampled_from(["", "lower", "upper"])),
        draw(st.sampled_from([1, 2.5, -1])),
        draw(st.sampled_from([0, 0, 3.0])),
        draw(WEIGHT),
        draw(WEIGHT),
        window,
        at,
        draw(st.booleans()),
    )


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    terms = []
    for _ in range(draw(st.integers(0, 3))):
        a, lower = draw(reads(factor=True)), False
        n = draw(st.integers(1, 2))
        steps = [(0, 1, 0, 0), (1, 0, 0, 0), (0, 0, 0, 0)]
        a = Read(TileRef(a.tile.array, 1, 1), a.op, a.mask, a.scale, a.shift, a.rows, a.cols)
        b = draw(reads(factor=True))
        b = Read(TileRef(b.tile.array, 0, 0), b.op, b.mask, b.scale, b.shift, b.rows, b.cols)
        alpha = draw(st.sampled_from([1, -1, 0.5]))
        terms.append(Term(a, b, alpha, n, draw(st.sampled_from(steps)), draw(st.sampled_from(steps)), lower))
    base = tuple(draw(st.lists(reads(factor=False), max_size=3)))
    return Task(TileRef("out", 0, 0), (T, T), draw(st.sampled_from(DTYPES)), base, tuple(terms))


def execute(worker: Worker, task: Task, specs: dict[str, ArraySpec]) -> tuple[Report, Any]:
    store = open_store(specs["out"].url)
    key = tile_key(task.out.i, task.out.j, 2, task.out.partial)
    store.delete(key)
    report = worker.run(task, specs)
    spec = specs["out"]
    return report, np.frombuffer(store.get(key), spec.dtype).reshape(spec.grid.tile, order="F")


@settings(max_examples=250, deadline=None)
@given(task=tasks())
def test_any_task_is_what_its_definition_says(worker: Worker, task: Task) -> None:
    arrays = Arrays(worker, task.dtype, f"definition-{task.dtype}")
    report, found = execute(worker, task, arrays.specs)
    expected = arrays.result(task)
    tolerance = 200 * np.finfo(task.dtype).eps * (1 + abs(expected).max() + 1000)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    refs = list(task.refs())
    assert report.committed
    assert report.gets + report.cache_hits >= sum(ref.array != "H" for ref in refs)
    assert report.bytes_written == T * T * np.dtype(task.dtype).itemsize


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ["N", "T", "C", "R"])
def test_lower_products_are_those_of_a_hermitian_sum(worker: Worker, dtype: str, op: Any) -> None:
    arrays = Arrays(worker, dtype, f"lower-{dtype}")
    a = Read(TileRef("A", 1, 0), op, scale=2.0)
    b = Read(TileRef("A", 1, 0), {"N": "C", "T": "R", "C": "N", "R": "T"}[op], scale=2.0)  # type: ignore[arg-type]
    task = Task(TileRef("out", 0, 0), (T, T), dtype, (), (Term(a, b, -1, 2, lower=True),))
    report, found = execute(worker, task, arrays.specs)
    np.testing.assert_allclose(np.tril(found), np.tril(arrays.result(task)), rtol=1e-4, atol=1e-4)
    assert report.gets + report.cache_hits == 2  # one read for each product


def test_a_tile_is_committed_once(worker: Worker) -> None:
    arrays = Arrays(worker, "float64", "once")
    task = Task(TileRef("out", 0, 0), (T, T), "float64", (Read(TileRef("A", 0, 0)),))
    first, tile = execute(worker, task, arrays.specs)
    other = Task(task.out, task.shape, task.dtype, (Read(TileRef("B", 0, 0)),))
    second = worker.run(other, arrays.specs)
    assert (first.committed, second.committed, second.bytes_written) == (True, False, 0)
    assert bytes(open_store(arrays.specs["out"].url).get("c/0/0")) == as_bytes(tile)


def test_counts_of_a_report() -> None:
    before = set(threading.enumerate())
    own = Worker(1 << 20)
    arrays = Arrays(own, "float64", "counts")
    a, b = Read(TileRef("A", 0, 0)), Read(TileRef("B", 0, 0))
    task = Task(TileRef("out", 0, 0), (T, T), "float64", (a,), (Term(a, b, 1, 3),))
    report, _ = execute(own, task, arrays.specs)
    assert (report.gets, report.cache_hits) == (6, 1)
    assert report.bytes_read == 6 * T * T * 8
    again, _ = execute(own, task, arrays.specs)
    assert (again.gets, again.cache_hits) == (0, 7)
    own.close()
    assert set(threading.enumerate()) <= before


# large tiles, which are mapped, read ahead and worked on in buffers that were used before


def test_reused_buffer_shows_nothing_of_earlier_task(tmp_path: Path) -> None:
    grid = Grid((1100, 700), (400, 400))
    own = Worker(0)
    specs = {name: StoredArray(grid, "float64", 2, name, str(tmp_path / name)) for name in ("A", "out")}
    A = numbers((1100, 700), "float64")
    put(specs["A"], A)
    window = (0, 100, 1, 0, 50, 1)
    for base in (
        (Read(TileRef("A", 2, 1)),),
        (),
        (Read(TileRef("A", 0, 0), window=window, offset=(7, 5)),),
        (Read(TileRef("A", 2, 1), accumulate=True),),
    ):
        dirty = own.buffers.take(400, 400, "float64")
        dirty[...] = np.nan
        own.buffers.give(dirty)
        term = Term(Read(TileRef("A", 2, 0)), Read(TileRef("A", 0, 1)))
        task = Task(TileRef("out", 2, 1), (300, 300), "float64", base, (term,))
        report, tile = execute(own, task, specs)
        expected = A[800:, :400] @ A[:400, 400:]
        if base and base[0].window:
            expected[7:107, 5:55] += A[:100, :50]
        elif base:
            expected += A[800:, 400:]
        np.testing.assert_allclose(tile[:300, :300], expected, rtol=1e-12, atol=1e-11)
        assert not tile[300:].any(), "padding is zero"
        assert not tile[:, 300:].any()
        assert report.gets == 2 + len(base)
    # a sum that fills a corner of its tile
    dirty = own.buffers.take(400, 400, "float64")
    dirty[...] = np.nan
    own.buffers.give(dirty)
    corner = Task(TileRef("out", 0, 0), (300, 300), "float64", (), (term,))
    _, tile = execute(own, corner, specs)
    np.testing.assert_allclose(tile[:300, :300], A[800:, :400] @ A[:400, 400:], rtol=1e-12, atol=1e-11)
    assert not tile[300:].any()
    assert not tile[:, 300:].any()
    own.close()


class Owning:
    """What a worker asks of a store in which tiles of two results can meet."""

    def __init__(self, standing: str) -> None:
        self.reach, self.url, self.standing = Reach.ANYWHERE, "s3://b/out", standing
        self.lease: bytes | None = None
        self.written = 0

    def put_owned(self, key: str, data: object, owner: str, still_ours: Callable[[], None]) -> bool:
        if self.standing == owner:
            return False
        if self.standing:
            still_ours()
        self.written += 1
        return True

    def owner(self, key: str) -> str:
        return self.standing

    def list(self, prefix: str = "") -> Iterator[str]:
        return iter([f"{SAVING}/{LEASE}00000000"] if self.lease is not None else [])

    def get(self, key: str) -> bytes:
        assert self.lease is not None
        return self.lease


def test_a_late_task_does_not_write_over_another_matrix(tmp_path: Path) -> None:
    """An invocation that outlives its driver may end when something else is being saved in its place."""
    specs = {
        "A": StoredArray(GRID, "float64", 2, "A", str(tmp_path / "A")),
        "out": StoredArray(GRID, "float64", 2, "key", "s3://b/out", "mine"),
    }
    put(specs["A"], numbers(GRID.shape, "float64"))
    own = Worker(0)
    task = Task(TileRef("out", 0, 0), (T, T), "float64", (Read(TileRef("A", 0, 0)),))
    mine, another = (f'{{"note": {{"owner": "{name}"}}}}'.encode() for name in ("mine", "another"))
    for standing, lease, outcome in (
        ("", None, True),
        ("mine", None, False),
        ("another", mine, True),
        ("another", another, StoreError),
        ("another", None, StoreError),
        ("another", b"broken", StoreError),
        ("another", b'{"note": 3}', StoreError),
    ):
        store = Owning(standing)
        store.lease = lease
        own.sources._stores.put("s3://b/out", store)  # type: ignore[arg-type]
        if outcome is StoreError:
            with pytest.raises(StoreError, match="something else is being saved there"):
                own.run(task, specs)
        else:
            assert own.run(task, specs).committed is outcome
        assert store.written == (outcome is True)
    own.sources._stores.clear()
    own.close()
