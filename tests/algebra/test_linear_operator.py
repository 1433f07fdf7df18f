"""SciPy's `LinearOperator` over matrices in tiles: products, solvers, reads, bits, errors."""

from __future__ import annotations

import gc
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import scipy.sparse.linalg as sparse
from hypothesis import given, settings
from hypothesis import strategies as st

import wrenla as wl
from wrenla.errors import (
    MissingTileError,
    NestedCallError,
    PlanError,
    StaleMatrixError,
    TransientStoreError,
    TruncatedTileError,
)
from wrenla.evaluate import products
from wrenla.run import execute
from wrenla_handler.stores.base import Reach
from wrenla_handler.stores.memory import MemoryStore
from wrenla_handler.stores.urls import open_store

Workers = Callable[[int], wl.LocalExecutor]

DTYPES = ("float32", "float64", "complex64", "complex128")


def array(shape: Any, dtype: str, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    a = rng.standard_normal(shape)
    return (a + 1j * rng.standard_normal(shape) if np.dtype(dtype).kind == "c" else a).astype(dtype)


def positive(n: int, seed: int = 0) -> Any:
    a = array((n, n), "float64", seed)
    return a @ a.T + n * np.eye(n)


def check(y: Any, expected: Any, a: Any, x: Any) -> None:
    """Compare two products, whose errors are at most u n |A| |x| each, whatever the order of their sums."""
    assert y.dtype == expected.dtype
    assert y.shape == expected.shape
    x = x[:, None] if x.ndim == 1 else x
    bound = 4 * np.finfo(y.dtype).eps * (a.shape[1] + 2) * (np.abs(a).astype(float) @ np.abs(x).astype(float))
    assert (np.abs(y - expected) <= bound.reshape(y.shape)).all()


def views(a: Any, tile: Any) -> list[tuple[Any, wl.BigMatrix]]:
    A = wl.from_array(a, tile=tile)
    found = [(a, A), (a.T, A.T), (a.conj().T, A.H), (a.conj(), A.conj()), (-a, -A)]
    if A.tile[0] == A.tile[1] and a.shape[0] == a.shape[1]:
        h = a + a.conj().T
        H = wl.from_array(h, tile=tile, structure="hermitian")
        w = np.linspace(1, 2, len(a)).astype(a.real.dtype)
        found += [
            (h, H),
            (h.conj(), H.conj()),
            (h + 2 * np.eye(len(a), dtype=a.dtype), H.shift(2)),
            (np.triu(h), H.triu()),
            (np.tril(a), wl.from_array(np.tril(a), tile=tile, structure="lower")),
            (np.triu(a).conj().T, wl.from_array(np.triu(a), tile=tile, structure="upper").H),
            (w[:, None] * a, A.scale_rows(w)),
            (a + h, A + H),
        ]
    return found


@settings(max_examples=30)
@given(
    st.integers(1, 13),
    st.integers(1, 13),
    st.one_of(st.integers(1, 15), st.tuples(st.integers(1, 9), st.integers(1, 9))),
    st.sampled_from(DTYPES),
    st.sampled_from([*DTYPES, "int32", "float16"]),
    st.sampled_from([None, 1, 3]),
    st.booleans(),
    st.integers(0, 20),
)
def test_products_are_those_of_scipys_operator(
    m: int, n: int, tile: Any, dtype: str, other: str, k: int | None, square: bool, view: int
) -> None:
    found = views(array((m, m if square else n), dtype), tile)
    a, A = found[view % len(found)]
    ours, theirs = wl.linalg.aslinearoperator(A), sparse.aslinearoperator(a)
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    columns = () if k is None else (k,)
    x, z = array((a.shape[1], *columns), other, 1), array((a.shape[0], *columns), other, 2)
    adjoint = a.conj().T
    check(ours @ x, theirs @ x, a, x)
    check(ours.H @ z, theirs.H @ z, adjoint, z)
    check(ours.H.H @ x, theirs @ x, a, x)
    check(ours.T @ z, theirs.T @ z, a.T, z)
    if k is None:
        check(ours.matvec(x), theirs.matvec(x), a, x)
        check(ours.rmatvec(z), theirs.rmatvec(z), adjoint, z)
    else:
        check(ours.matmat(x), theirs.matmat(x), a, x)
        check(ours.rmatmat(z), theirs.rmatmat(z), adjoint, z)


def test_stacks_and_columns_have_the_shapes_that_scipy_gives_them() -> None:
    a = array((5, 7), "float64")
    op = wl.linalg.aslinearoperator(wl.from_array(a, tile=3))
    stack, column = array((2, 3, 7, 4), "float64"), array((7, 1), "float64")
    assert np.allclose(op._matmat(stack), a @ stack)
    assert np.allclose(op._matvec(stack[..., 0]), (a @ stack[..., :1])[..., 0])
    assert op._matvec(column).shape == (5, 1)  # SciPy before 1.18
    assert np.allclose(op._matvec(column), a @ column)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_empty_matrices_have_products(shape: tuple[int, int]) -> None:
    op = wl.linalg.aslinearoperator(wl.zeros(shape))
    assert (op @ np.ones(shape[1])).tolist() == [0.0] * shape[0]
    assert op.rmatmat(np.ones((shape[0], 2))).shape == (shape[1], 2)


def test_expressions_and_functions_are_computed_once() -> None:
    calls = Counter[str]()

    def entry(i: Any, j: Any) -> Any:
        calls["f"] += 1
        return 1.0 / (1 + i[:, None] + j)

    A = wl.from_function(entry, (20, 20), tile=8, structure="pos", check=False)
    op = wl.linalg.aslinearoperator(A @ A)
    a = 1.0 / (1 + np.arange(20)[:, None] + np.arange(20))
    before = calls["f"]
    for seed in range(3):
        x = array(20, "float64", seed)
        check(op @ x, a @ a @ x, np.abs(a) @ np.abs(a), x)
    assert calls["f"] == before
    assert op.A.compute() == pytest.approx(a @ a)


# SciPy's solvers


def _cg(op: Any, a: Any, b: Any) -> Any:
    return sparse.cg(op, b, rtol=1e-12)[0]


def _gmres(op: Any, a: Any, b: Any) -> Any:
    return sparse.gmres(op, b, rtol=1e-12)[0]


def _minres(op: Any, a: Any, b: Any) -> Any:
    return sparse.minres(op, b, rtol=1e-12)[0]


def _bicgstab(op: Any, a: Any, b: Any) -> Any:
    return sparse.bicgstab(op, b, rtol=1e-12)[0]


def _lsqr(op: Any, a: Any, b: Any) -> Any:
    return sparse.lsqr(op, b, atol=1e-14, btol=1e-14)[0]


def _lsmr(op: Any, a: Any, b: Any) -> Any:
    return sparse.lsmr(op, b, atol=1e-14, btol=1e-14)[0]


@pytest.mark.parametrize("structure", ["pos", "general"])
@pytest.mark.parametrize("solver", [_cg, _gmres, _minres, _bicgstab, _lsqr, _lsmr])
def test_scipys_solvers_solve_systems(solver: Callable[..., Any], structure: str) -> None:
    a, b = positive(30), array(30, "float64", 1)
    x = solver(wl.linalg.aslinearoperator(wl.from_array(a, tile=8, structure=structure)), a, b)
    assert np.linalg.norm(b - a @ x) <= 1e-9 * (np.linalg.norm(a) * np.linalg.norm(x) + np.linalg.norm(b))


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_scipys_eigenvalues_singular_values_and_exponential(dtype: str) -> None:
    g = array((24, 24), dtype)
    h = g + g.conj().T
    H = wl.linalg.aslinearoperator(wl.from_array(h, tile=7, structure="hermitian"))
    G = wl.linalg.aslinearoperator(wl.from_array(g, tile=7))
    start = np.ones(24)
    tolerance = 1e-9 * np.linalg.norm(h)
    largest = sorted(np.linalg.eigvalsh(h), key=abs)[-3:]
    assert np.allclose(sorted(sparse.eigsh(H, 3, v0=start)[0]), sorted(largest), atol=tolerance)
    radius = max(abs(np.linalg.eigvals(g)))
    assert max(abs(sparse.eigs(G, 4, v0=start.astype(dtype))[0])) == pytest.approx(radius)
    singular = np.linalg.svd(g)[1]
    assert np.allclose(sparse.svds(G, 2, v0=start)[1][::-1], singular[:2], atol=tolerance)
    expected = scipy_expm(h / 50) @ start
    moved = sparse.expm_multiply(H * 0.02, start.astype(dtype), traceA=float(np.trace(h).real) / 50)
    assert np.allclose(moved, expected, atol=tolerance)


def scipy_expm(a: Any) -> Any:
    from scipy.linalg import expm

    return expm(a)


def test_operators_can_be_added_scaled_and_multiplied() -> None:
    a, b = array((9, 9), "float64"), array((9, 9), "complex128", 1)
    A, B = (wl.linalg.aslinearoperator(wl.from_array(c, tile=4)) for c in (a, b))
    x = array(9, "float64", 2)
    assert np.allclose((A + 2 * B) @ x, (a + 2 * b) @ x)
    assert np.allclose((A @ B).H @ x, (a @ b).conj().T @ x)
    assert np.allclose((A.T - B**2) @ x, (a.T - b @ b) @ x)
    assert (A + 2 * B).dtype == np.complex128


# reads and bits


@contextmanager
def counted(executor: wl.LocalExecutor, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[Any]]:
    """Count the tiles that come from a store; none is at hand."""
    reads, read = Counter[Any](), executor.home.sources.read

    def counting(spec: Any, ref: Any) -> Any:
        reads[ref.i, ref.j] += 1
        return read(spec, ref)

    executor.home.cache.clear()
    with monkeypatch.context() as patch:
        patch.setattr(executor.home.sources, "read", counting)
        yield reads


@pytest.mark.parametrize("structure", ["general", "pos", "lower"])
def test_each_tile_is_read_once_for_a_product(
    structure: str, workers: Workers, place: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    executor, a = workers(2), positive(50)
    a = np.tril(a) if structure == "lower" else a
    A = wl.from_array(a, tile=6, structure=structure).save(place("A"), executor)
    op = wl.linalg.aslinearoperator(A, executor=executor)
    stored = {(i, j) for i in range(9) for j in range(9) if structure == "general" or i >= j}
    for multiply, x in (
        (op.matvec, a[0]),
        (op.matmat, a[:, :5]),
        (op.rmatvec, a[1]),
        (op.rmatmat, a[:, 1:3]),
    ):
        with counted(executor, monkeypatch) as reads:
            multiply(x)
        assert reads == dict.fromkeys(stored, 1)
    with monkeypatch.context() as patch:  # and not at all if they are at hand
        patch.setattr(executor.home.sources, "read", None)
        op @ a[0]


def test_cache_that_is_too_small_keeps_as_many_tiles_as_fit(
    place: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wrenla.planning.plan._KNOWN", {})  # plans of tests before count as memory
    a = array((1000, 1000), "float64")
    with wl.LocalExecutor(1, allowed_mem="30 MiB") as executor:  # 6 MiB for tiles; all are 7.6
        op = wl.linalg.aslinearoperator(
            wl.from_array(a, tile=125).save(place("A"), executor), executor=executor
        )
        op @ a[0]
        reads, read = Counter[Any](), executor.home.sources.read
        monkeypatch.setattr(
            executor.home.sources, "read", lambda spec, ref: (reads.update([ref]), read(spec, ref))[1]
        )
        check(op @ a[1], a @ a[1], a, a[1])
        assert 10 < reads.total() < 32  # of 64


def test_products_leave_nothing_in_the_store_for_temporaries(own_settings: str) -> None:
    op = wl.linalg.aslinearoperator(wl.from_array(positive(20), tile=6))
    before = list(MemoryStore(own_settings).list())
    for _ in range(5):
        op @ np.ones(20)
    assert list(MemoryStore(own_settings).list()) == before


def test_products_have_the_same_bits_whatever_the_workers(workers: Workers) -> None:
    for a, structure in ((positive(150), "pos"), (array((150, 90), "float32"), "general")):
        A, x = wl.from_array(a, tile=8, structure=structure), array((a.shape[1], 2), "float64", 3)
        found = {
            ((op := wl.linalg.aslinearoperator(A, executor=workers(number))) @ x).tobytes()
            + (op @ x[:, 0]).tobytes()
            + op.rmatvec(array(150, "float64", 4)).tobytes()
            for number in (1, 2, 3)
            for _ in range(4)
        }
        assert len(found) == 1


def test_columns_that_do_not_fit_into_memory_go_in_parts() -> None:
    a = array((3000, 4), "float64")
    x = array((4, 700), "float64", 1)
    with wl.LocalExecutor(2, allowed_mem="60 MiB") as executor:
        op = wl.linalg.aslinearoperator(wl.from_array(a, tile=(1000, 4)), executor=executor)
        check(op @ x, a @ x, a, x)


# lifetime


def test_operator_keeps_persisted_tiles_until_it_goes(own_settings: str) -> None:
    a = positive(12)
    A = wl.from_array(a, tile=4)
    op = wl.linalg.aslinearoperator(A @ A)
    adjoint = op.H
    del op
    gc.collect()
    assert list(MemoryStore(own_settings).list()) != []
    assert np.allclose(adjoint @ np.ones(12), (a @ a) @ np.ones(12))
    del adjoint
    gc.collect()
    assert list(MemoryStore(own_settings).list()) == []


def test_closed_executor_is_an_error_with_a_remedy() -> None:
    with wl.LocalExecutor(1, allowed_mem="100 MiB") as executor:
        op = wl.linalg.aslinearoperator(wl.from_array(positive(12), tile=4), executor=executor)
        y = op @ np.ones(12)
    with pytest.raises(RuntimeError, match=r"shutdown: .*aslinearoperator\(operator.A, executor=…\)$"):
        op @ np.ones(12)
    assert np.array_equal(wl.linalg.aslinearoperator(op.A) @ np.ones(12), y)


def test_operator_of_an_operator_is_itself_or_the_same_elsewhere(workers: Workers) -> None:
    a = positive(12)
    op = wl.linalg.aslinearoperator(wl.from_array(a, tile=4))
    assert wl.linalg.aslinearoperator(op) is op
    other = wl.linalg.aslinearoperator(op, executor=workers(1))
    assert other is not op
    assert np.array_equal(other @ a[0], op @ a[0])


def test_two_threads_may_use_an_operator() -> None:
    a = positive(40)
    op = wl.linalg.aslinearoperator(wl.from_array(a, tile=8, structure="pos"))
    xs = [array(40, "float64", seed) for seed in range(8)]
    expected = [op @ x for x in xs]
    with ThreadPoolExecutor(4) as threads:
        assert all(map(np.array_equal, threads.map(op.matvec, xs), expected))


# errors


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (wl.zeros(3), r"not a vector of shape \(3,\); a column is x\[:, None\]"),
        (wl.zeros(3).sum(), r"not a number of shape \(\)"),
    ],
)
def test_only_matrices_become_operators(matrix: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wl.linalg.aslinearoperator(matrix)


def test_vectors_that_do_not_fit_are_refused() -> None:
    op = wl.linalg.aslinearoperator(np.ones((3, 4)))
    with pytest.raises(ValueError, match="ismatch"):
        op @ np.ones(3)
    with pytest.raises(ValueError, match="ismatch"):
        op.rmatmat(np.ones((4, 2)))
    with pytest.raises(TypeError, match=r"float128.* x.astype\(float\)$"):
        op @ np.ones(4, np.longdouble)
    with pytest.raises(TypeError, match="executor=3"):
        wl.linalg.aslinearoperator(np.ones((3, 4)), executor=3)


def test_tiles_too_large_for_the_memory_are_an_error_with_a_remedy() -> None:
    with wl.LocalExecutor(1, allowed_mem="30 MiB") as executor:
        op = wl.linalg.aslinearoperator(wl.zeros((1000, 1000), tile=1000), executor=executor)
        with pytest.raises(PlanError, match=r"tiles of 1000 × 1000 .* A.rechunk"):
            op @ np.ones(1000)


def test_damaged_and_overwritten_matrices_are_errors(place: Callable[[str], str], tmp_path: Any) -> None:
    a, x = positive(12), np.ones(12)
    A = wl.from_array(a, tile=4).save(place("A"))
    op = wl.linalg.aslinearoperator(A)
    store = open_store(place("A"))
    data = bytes(store.get("c/1/2"))
    store.delete("c/1/2")
    with pytest.raises(MissingTileError, match=r"tile \(1, 2\)"):
        op @ x
    store.put("c/1/2", data[:-8])
    with pytest.raises(TruncatedTileError):
        op @ x
    store.put("c/1/2", data)
    assert np.allclose(op @ x, a @ x)
    with pytest.raises(StaleMatrixError):  # the file is another one than when it was opened
        wl.linalg.aslinearoperator(A)
    op = wl.linalg.aslinearoperator(wl.open(place("A")))
    wl.zeros((12, 12), tile=4).save(place("A"), overwrite=True)
    with pytest.raises(StaleMatrixError, match="open it again"):
        op @ x


def test_stores_that_fail_in_passing_are_tried_again(
    workers: Workers, place: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    executor, a = workers(2), positive(12)
    A = wl.from_array(a, tile=4).save(place("A"), executor)
    op = wl.linalg.aslinearoperator(A, executor=executor)
    failures, read = [TransientStoreError("slow down")] * 2, executor.home.sources.read

    def failing(spec: Any, ref: Any) -> Any:
        if failures:
            raise failures.pop()
        return read(spec, ref)

    executor.home.cache.clear()
    monkeypatch.setattr(products, "_BACKOFF", 0.0)
    monkeypatch.setattr(executor.home.sources, "read", failing)
    assert np.allclose(op @ np.ones(12), a @ np.ones(12))
    assert failures == []


def test_interrupted_product_ends_soon_and_the_next_one_is_whole(
    workers: Workers, place: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    executor, a = workers(2), positive(40)
    A = wl.from_array(a, tile=4).save(place("A"), executor)
    op = wl.linalg.aslinearoperator(A, executor=executor)
    read, main = executor.home.sources.read, threading.main_thread().ident
    reads = Counter[str]()

    def interrupting(spec: Any, ref: Any) -> Any:
        reads["all"] += 1
        if reads["all"] == 7:
            signal.pthread_kill(main or 0, signal.SIGINT)
        if reads["all"] >= 7:
            threading.Event().wait(0.05)
        return read(spec, ref)

    executor.home.cache.clear()
    with monkeypatch.context() as patch:
        patch.setattr(executor.home.sources, "read", interrupting)
        with pytest.raises(KeyboardInterrupt):
            op @ np.ones(40)
    assert reads["all"] < 60  # of 100
    assert np.allclose(op @ np.ones(40), a @ np.ones(40))


def test_product_within_a_run_of_its_executor_is_an_error(workers: Workers) -> None:
    op = wl.linalg.aslinearoperator(wl.from_array(positive(12), tile=4), executor=workers(2))
    with pytest.raises(NestedCallError):
        (op.A @ op.A).compute(workers(2), callbacks=[lambda event: op @ np.ones(12)])


# elsewhere


class Distant(wl.LocalExecutor):
    """Workers that do not see this process, as far as anybody knows."""

    reach = Reach.ANYWHERE


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_elsewhere_products_are_runs(dtype: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRENLA_STORE", str(tmp_path))
    monkeypatch.setattr(execute, "check_reach", lambda *args: None)  # in truth they see that folder
    a, x, z = array((11, 7), dtype), array((7, 3), "float64", 1), array(11, "int32", 2)
    with Distant(2, allowed_mem="200 MiB") as executor:
        op = wl.linalg.aslinearoperator(wl.from_array(a, tile=4), executor=executor)
        monkeypatch.setattr(executor, "submit_here", None)
        check(op @ x, a @ x, a, x)
        check(op.rmatvec(z), a.conj().T @ z, a.conj().T, z)
