"""Sparse matrices of SciPy: content, names, structures, absent tiles, memory, errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

import wrenla as wl
from tests.run.saves import stop_after
from wrenla.errors import MetadataError, MissingTileError, StructureError
from wrenla.run import execute
from wrenla.run.events import Event, RunStarted
from wrenla_handler.stores.base import Reach
from wrenla_handler.stores.urls import open_store
from wrenla_handler.tiles.arrays import TileRef
from wrenla_handler.tiles.grid import absent_in_text, absent_tiles
from wrenla_handler.tiles.messages import decode, encode

Place = Callable[[str], str]

FORMATS = ("csr", "csc", "coo", "bsr", "dia", "lil", "dok")
KINDS = ("float32", "float64", "complex64", "complex128", "int64", "int8", "bool")


def entries(shape: Any, dtype: str = "float64", density: float = 0.2, seed: int = 0) -> Any:
    """Return a dense array that is mostly zeros."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal(shape) * 9
    a = a + 1j * rng.standard_normal(shape) if np.dtype(dtype).kind == "c" else a
    return np.where(rng.random(shape) < density, a, 0).astype(dtype)


def blocks(n: int = 24) -> Any:
    """Return a positive definite matrix with some tiles of 4 that are zero."""
    a = np.diag(np.arange(8.0, 8 + n))
    a[8:12, 0:4] = a[0:4, 8:12] = 1
    a[n - 1, 4] = a[4, n - 1] = -2
    return a


@settings(max_examples=40)
@given(
    st.integers(0, 9),
    st.integers(0, 9),
    st.one_of(st.integers(1, 10), st.tuples(st.integers(1, 5), st.integers(1, 5))),
    st.sampled_from(KINDS),
    st.sampled_from(FORMATS),
    st.booleans(),
    st.integers(0, 2**16),
)
def test_matrices_have_the_entries_of_all_formats(
    m: int, n: int, tile: Any, dtype: str, kind: str, old: bool, seed: int
) -> None:
    a = entries((m, n), dtype, seed=seed)
    if kind in ("bsr", "dia") and 0 in (m, n):
        kind = "csr"  # SciPy has no empty ones of these
    make = getattr(scipy.sparse, f"{kind}_{'matrix' if old else 'array'}")
    A = wl.from_sparse(make(a), tile=tile)
    expected = wl.from_array(a, tile=tile)
    assert (A.shape, A.dtype, A.tile, A.structure) == (a.shape, expected.dtype, expected.tile, "general")
    assert np.array_equal(A.compute(), expected.compute())
    assert np.array_equal(A.T.compute(), a.T)
    assert np.array_equal(A[m // 3 :, ::2].compute(), expected.compute()[m // 3 :, ::2])


@pytest.mark.parametrize("kind", ["coo", "csr", "dok"])
def test_vectors_stay_vectors(kind: str) -> None:
    v = entries(11, seed=3)
    x = wl.from_sparse(getattr(scipy.sparse, f"{kind}_array")(v), tile=4)
    assert (x.shape, x.ndim) == ((11,), 1)
    assert np.array_equal(x.compute(), v)
    assert float(x @ x) == pytest.approx(v @ v)


def test_sparse_matrices_are_operands_of_all_that_dense_ones_are() -> None:
    a, b = blocks(), entries((24, 5), density=1.0)
    A = wl.from_sparse(scipy.sparse.csr_array(a), tile=4, structure="pos")
    G = wl.from_sparse(scipy.sparse.csr_array(a), tile=4)
    for M in (A, G):
        assert np.allclose((M @ b).compute(), a @ b)
        assert np.allclose((b.T @ M).compute(), b.T @ a)
        assert np.allclose((M.T @ M + 1).compute(), a.T @ a + 1)
        assert np.allclose(M.solve(b).compute(), np.linalg.solve(a, b))
        assert np.allclose(M.sum(axis=0).compute(), a.sum(axis=0))
        assert float(M.norm("max")) == np.abs(a).max()
        assert np.allclose(np.exp(M).compute(), np.exp(a))
        assert np.allclose(M.rechunk(5).compute(), a)
        assert np.allclose(wl.block([[M, M]]).compute(), np.block([[a, a]]))
    assert np.allclose(A.cholesky().compute(), np.linalg.cholesky(a))
    assert np.allclose(G.tril().compute(), np.tril(a))
    L = wl.from_sparse(scipy.sparse.csr_array(np.tril(a)), tile=4, structure="lower")
    assert np.allclose(L.solve(b).compute(), np.linalg.solve(np.tril(a), b))


def test_duplicates_are_summed_and_zeros_do_not_count() -> None:
    S = scipy.sparse.coo_array(([1.0, 2.0, 5.0, -5.0, 0.0], ([0, 0, 1, 1, 2], [1, 1, 0, 0, 2])), shape=(3, 3))
    A, B = wl.from_sparse(S), wl.from_sparse(scipy.sparse.csr_array([[0, 3.0, 0], [0, 0, 0], [0, 0, 0]]))
    assert A.compute().tolist() == [[0, 3, 0], [0, 0, 0], [0, 0, 0]]
    assert A._node.key == B._node.key
    S.data[:] = 7  # it was copied
    assert A.compute()[0, 1] == 3


def test_nan_and_infinity_are_entries() -> None:
    a = np.array([[0.0, np.nan, 0.0], [np.inf, 0.0, 0.0]])
    assert np.array_equal(wl.from_sparse(scipy.sparse.csr_array(a), tile=1).compute(), a, equal_nan=True)


@pytest.mark.parametrize(("given_dtype", "dtype"), [("int32", "float32"), ("float32", "complex128")])
def test_entries_are_converted_to_a_dtype_that_is_asked_for(given_dtype: str, dtype: str) -> None:
    a = entries((5, 5), given_dtype)
    A = wl.from_sparse(scipy.sparse.csr_array(a), dtype=dtype)
    assert A.dtype == dtype
    assert np.array_equal(A.compute(), a.astype(dtype))


# names


def test_content_names_a_matrix_whatever_its_format() -> None:
    a = entries((9, 9))
    keys = {wl.from_sparse(getattr(scipy.sparse, f"{kind}_array")(a), tile=4)._node.key for kind in FORMATS}
    assert len(keys) == 1
    others = (
        wl.from_sparse(scipy.sparse.csr_array(a), tile=3),
        wl.from_sparse(scipy.sparse.csr_array(a.T), tile=4),
        wl.from_sparse(scipy.sparse.csr_array(2 * a), tile=4),
        wl.from_sparse(scipy.sparse.csr_array(a), tile=4, dtype="float32"),
        wl.from_sparse(scipy.sparse.csr_array(a), tile=4, dtype="complex128"),
    )
    assert len(keys | {A._node.key for A in others}) == 6


def test_indices_of_another_type_are_the_same_matrix() -> None:
    S = scipy.sparse.csr_array(entries((9, 9)))
    T = S.copy()
    T.indices, T.indptr = T.indices.astype(np.int64), T.indptr.astype(np.int64)
    assert wl.from_sparse(S)._node.key == wl.from_sparse(T)._node.key


def test_name_is_the_same_in_every_process() -> None:
    A = wl.from_sparse(scipy.sparse.diags_array([1.0, 2.0, 3.0]), tile=2)
    assert A._node.key == "57ce759d1157dd850120f52f"


# structures


@pytest.mark.parametrize(
    ("structure", "change", "message"),
    [
        ("hermitian", (3, 1, 5.0), r"entry \(3, 1\) is 5.0, entry \(1, 3\) is 0.0"),
        ("pos", (1, 3, 5.0), r"entry \(3, 1\) is 0.0, entry \(1, 3\) is 5.0"),
        ("lower", (1, 3, 5.0), r"entry \(1, 3\) is 5.0"),
        ("upper", (3, 1, 5.0), r"entry \(3, 1\) is 5.0"),
    ],
)
def test_structure_that_is_not_there_is_an_error(structure: str, change: Any, message: str) -> None:
    a = np.diag([2.0, 3.0, 4.0, 5.0])
    wl.from_sparse(scipy.sparse.csr_array(a), structure=structure)
    i, j, value = change
    a[i, j] = value * 1e-12  # rounding
    wl.from_sparse(scipy.sparse.csr_array(a), structure=structure)
    a[i, j] = value
    with pytest.raises(StructureError, match=message):
        wl.from_sparse(scipy.sparse.csr_array(a), structure=structure)
    wl.from_sparse(scipy.sparse.csr_array(a), structure=structure, check=False)


def test_complex_hermitian_matrices_have_conjugate_mates() -> None:
    a = entries((7, 7), "complex128")
    h = a + a.conj().T
    A = wl.from_sparse(scipy.sparse.csr_array(h), tile=3, structure="hermitian")
    assert np.array_equal(A.compute(), h)
    with pytest.raises(StructureError, match="Hermitian"):
        wl.from_sparse(scipy.sparse.csr_array(a + a.T), structure="hermitian")
    with pytest.raises(StructureError, match="not real"):
        wl.from_sparse(scipy.sparse.csr_array(np.diag([1.0, 1j])), structure="hermitian")


def test_of_an_unchecked_hermitian_matrix_the_lower_triangle_counts(place: Place) -> None:
    a = blocks()
    A = wl.from_sparse(scipy.sparse.csr_array(np.tril(a)), tile=4, structure="pos", check=False)
    assert np.array_equal(A.save(place("A")).compute(), a)


# absent tiles


def test_tiles_without_entries_are_not_saved(place: Place) -> None:
    a = blocks()
    for structure, stored in (("general", 10), ("pos", 10), ("lower", 8)):
        b = np.tril(a) if structure == "lower" else a
        A = wl.from_sparse(scipy.sparse.csr_array(b), tile=4, structure=structure).save(place(structure))
        store = open_store(place(structure))
        assert len([key for key in store.list() if key.startswith("c/")]) == stored
        again = wl.open(place(structure))
        for M in (A, again, again.save(place(f"{structure} again"))):
            assert np.array_equal(M.compute(), b)
            assert np.allclose((M @ M.T).compute(), b @ b.T)
        assert len([key for key in open_store(place(f"{structure} again")).list() if "c/" in key]) == stored
        meta = json.loads(bytes(store.get("zarr.json")))
        assert meta["fill_value"] == 0
        assert absent_tiles(meta["attributes"]["wrenla"]["absent"], (6, 6)).sum() >= 36 - 10


def test_absent_tiles_travel_with_an_array(place: Place) -> None:
    A = wl.from_sparse(scipy.sparse.csr_array(blocks()), tile=4).save(place("A"))
    spec = A._node.op.spec  # type: ignore[union-attr]
    assert decode(encode(spec)) == spec
    assert decode(encode(spec)).is_absent(TileRef("A", 3, 0))
    assert not spec.is_absent(TileRef("A", 2, 0))


def test_zarr_reads_zeros_where_tiles_are_absent(tmp_path: Any) -> None:
    zarr = pytest.importorskip("zarr")
    a = blocks()
    for structure in ("general", "pos"):
        path = str(tmp_path / structure)
        wl.from_sparse(scipy.sparse.csr_array(a), tile=4, structure=structure).save(path)
        assert np.array_equal(zarr.open_array(path, mode="r")[:], a)


def test_lost_tile_is_an_error_and_is_saved_again(place: Place) -> None:
    S = scipy.sparse.csr_array(blocks())
    wl.from_sparse(S, tile=4).save(place("A"))
    open_store(place("A")).delete("c/2/0")
    with pytest.raises(MissingTileError, match=r"tile \(2, 0\)"):
        wl.open(place("A")).compute()
    with pytest.raises(FileExistsError):
        wl.from_sparse(S, tile=4).save(place("A"))
    wl.from_sparse(S, tile=4).save(place("A"), overwrite=True)
    assert np.array_equal(wl.open(place("A")).compute(), blocks())


def test_saving_the_same_again_does_nothing_and_dense_results_replace_sparse_ones(place: Place) -> None:
    S = scipy.sparse.csr_array(blocks())
    wl.from_sparse(S, tile=4).save(place("A"))
    before = wl.open(place("A"))
    wl.from_sparse(S, tile=4).save(place("A"))
    assert before._node.key == wl.open(place("A"))._node.key
    (wl.from_sparse(S, tile=4) + 1).save(place("A"), overwrite=True)
    assert np.array_equal(wl.open(place("A")).compute(), blocks() + 1)
    wl.from_sparse(S, tile=4).save(place("A"), overwrite=True)
    assert np.array_equal(wl.open(place("A")).compute(), blocks())


@pytest.mark.parametrize("structure", ["general", "pos"])
def test_interrupted_save_goes_on_where_it_was(structure: str, place: Place) -> None:
    def matrix() -> wl.BigMatrix:
        return wl.from_sparse(scipy.sparse.csr_array(blocks()), tile=4, structure=structure)

    with pytest.raises(KeyboardInterrupt):
        matrix().save(place("A"), callbacks=[stop_after(4, KeyboardInterrupt())])
    events: list[Event] = []
    assert np.array_equal(matrix().save(place("A"), callbacks=[events.append]).compute(), blocks())
    (begun,) = (event for event in events if isinstance(event, RunStarted))
    assert begun.tasks == 10
    assert begun.todo <= 6


def test_sparse_and_dense_matrices_replace_each_other_on_s3(s3_bucket: str) -> None:
    url, a = f"s3://{s3_bucket}/A", blocks()
    A = wl.from_sparse(scipy.sparse.csr_array(a), tile=4)
    with wl.LocalExecutor(2, allowed_mem="200 MiB") as executor:
        for saved, n, expected in ((A + 1, 36, a + 1), (A, 10, a), (2 * A, 36, 2 * a)):
            saved.save(url, executor, overwrite=True)
            assert len(list(open_store(url).list())) == n + 1
            assert np.array_equal(wl.open(url).compute(executor), expected)


@pytest.mark.parametrize("where", ["memory", "folder"])
def test_matrix_without_any_entry_is_saved_without_tiles(where: str, place: Place, tmp_path: Any) -> None:
    url = place("Z") if where == "memory" else str(tmp_path / "Z")
    for overwrite in (False, True):
        Z = wl.from_sparse(scipy.sparse.csr_array((5, 6)), tile=2).save(url, overwrite=overwrite)
        assert not Z.compute().any()
        assert list(open_store(url).list()) == ["zarr.json"]
    x = wl.from_sparse(scipy.sparse.coo_array((5,)), tile=2).save(f"{url}x")
    assert x.compute().tolist() == [0.0] * 5


def test_persisted_tiles_are_those_with_entries(own_settings: str) -> None:
    A = wl.from_sparse(scipy.sparse.csr_array(blocks()), tile=4).persist()
    assert A._node.op.spec.absent  # type: ignore[union-attr]
    assert np.array_equal(A.compute(), blocks())
    assert len([key for key in open_store(f"memory://{own_settings}").list() if "/c/" in key]) == 10


@pytest.mark.parametrize("text", ["x", "QA==", 3, [1]])
def test_damaged_list_of_absent_tiles_is_an_error(text: Any, place: Place) -> None:
    wl.from_sparse(scipy.sparse.csr_array(blocks()), tile=4).save(place("A"))
    store = open_store(place("A"))
    meta = json.loads(bytes(store.get("zarr.json")))
    meta["attributes"]["wrenla"]["absent"] = text
    store.put("zarr.json", json.dumps(meta).encode())
    with pytest.raises(MetadataError, match="absent"):
        wl.open(place("A"))


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 2**16))
def test_text_of_absent_tiles_is_read_as_it_was_written(rows: int, cols: int, seed: int) -> None:
    absent = np.random.default_rng(seed).random((rows, cols)) < 0.5
    assert np.array_equal(absent_tiles(absent_in_text(absent), (rows, cols)), absent)


def test_products_leave_out_tiles_without_entries(place: Place) -> None:
    a, b = blocks(), entries((24, 4), density=1.0)
    lazy = wl.from_sparse(scipy.sparse.csr_array(a), tile=4)
    known = wl.from_sparse(scipy.sparse.csr_array(a), tile=4, structure="pos")
    for M in (lazy, lazy.save(place("A")), lazy.T, known, known.save(place("B"))):
        for product, expected, n in (
            (M @ b, a @ b, {10}),
            (b.T @ M, b.T @ a, {10}),
            (M.H @ M, a @ a, {18, 14}),  # a Gram matrix is half
            (M @ M.shift(1), a @ (a + np.eye(24)), {60}),
        ):
            assert np.allclose(product.compute(), expected)
            assert sum(task.length for task in wl.plan(product).graph.tiles.tasks) in n
    assert np.allclose(lazy.gram().compute(), a @ a.T)
    assert np.allclose(lazy.gram(np.arange(24.0)).compute(), a * np.arange(24) @ a.T)


def test_long_sums_leave_out_tiles_without_entries() -> None:
    b = entries((96, 6), density=0.02, seed=5)
    b[:40] = 0
    S = scipy.sparse.csr_array(b)
    B = wl.from_sparse(S, tile=(2, 6))
    assert np.allclose((B.T @ B).compute(), b.T @ b)
    assert np.allclose((B.T @ np.ones(96)).compute(), b.T @ np.ones(96))
    assert not (B[:40].rechunk((2, 6)).T @ B[:40]).compute().any()
    assert not (wl.from_sparse(scipy.sparse.csr_array((96, 6)), tile=(2, 6)).T @ B).compute().any()


def test_operator_reads_no_tiles_without_entries(place: Place) -> None:
    a = blocks()
    lazy = wl.from_sparse(scipy.sparse.csr_array(a), tile=4)
    for M in (lazy, lazy.save(place("A")), lazy.T):
        op = wl.linalg.aslinearoperator(M)
        assert np.allclose(op @ a, a @ a)
        assert sum(len(lane.steps) for lane in op._products._lanes) == 10


class Distant(wl.LocalExecutor):
    """Workers that do not see this process, as far as anybody knows."""

    reach = Reach.ANYWHERE


def test_tiles_without_entries_are_not_brought_to_distant_workers(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRENLA_STORE", str(tmp_path))
    monkeypatch.setattr(execute, "check_reach", lambda *args: None)  # in truth they see that folder
    uploaded = set[tuple[str, ...]]()

    def seen(event: Any) -> None:
        uploaded.update(path.parts[-2:] for path in tmp_path.rglob("array-*/c/*/*"))

    a = blocks()
    with Distant(2, allowed_mem="200 MiB") as executor:
        A = wl.from_sparse(scipy.sparse.csr_array(a), tile=4)
        assert np.allclose((A @ A).compute(executor, callbacks=[seen]), a @ a)
    present = {(str(k), str(k)) for k in range(6)} | {("0", "2"), ("2", "0"), ("1", "5"), ("5", "1")}
    assert uploaded == present


# memory


def test_memory_is_that_of_the_entries_and_of_tiles_at_work() -> None:
    import tracemalloc

    n = 200_000  # dense, 320 GB
    S = scipy.sparse.diags_array([np.ones(n), np.full(n - 1, 0.5)], offsets=[0, -1], format="csr")
    tracemalloc.start()
    try:
        A = wl.from_sparse(S, tile=1000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * S.nnz * 8
    assert A[150_000:150_003, 149_999:150_003].compute().tolist() == [
        [0.5, 1.0, 0.0, 0.0],
        [0.0, 0.5, 1.0, 0.0],
        [0.0, 0.0, 0.5, 1.0],
    ]


# errors


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (np.eye(3), TypeError, r"not ndarray: wl.from_array\(a\)"),
        (wl.eye(3), TypeError, "a matrix already"),
        (scipy.sparse.coo_array((3, 3, 3)), ValueError, "3 dimensions"),
        (scipy.sparse.csr_array(np.eye(3, dtype=np.longdouble)), TypeError, "longdouble|float128"),
    ],
)
def test_what_is_no_sparse_matrix_is_refused_with_a_remedy(value: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        wl.from_sparse(value)


def test_dtypes_and_structures_that_do_not_fit_are_refused() -> None:
    S = scipy.sparse.csr_array(entries((3, 4), "complex64"))
    with pytest.raises(TypeError, match="imaginary"):
        wl.from_sparse(S, dtype="float64")
    with pytest.raises(TypeError, match="int32"):
        wl.from_sparse(S, dtype="int32")
    with pytest.raises(ValueError, match="square"):
        wl.from_sparse(S, structure="pos")
    with pytest.raises(ValueError, match="did you mean"):
        wl.from_sparse(S, structure="hermitean")


def test_sparse_operands_are_refused_with_the_remedy() -> None:
    with pytest.raises(TypeError, match=r"wrenla.from_sparse\(S\)"):
        wl.from_array(scipy.sparse.eye_array(3))
    with pytest.raises(TypeError, match=r"wrenla.from_sparse\(S\)"):
        wl.eye(3) @ scipy.sparse.eye_array(3)
