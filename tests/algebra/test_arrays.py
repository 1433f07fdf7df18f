"""Arrays are named by their content; small ones are copied, and large ones must stay as they are."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wrenla as wl
from wrenla import arrays
from wrenla.errors import ChangedArrayError
from wrenla.matrices.operands import as_node
from wrenla_handler.stores.urls import open_store

from . import gallery
from .gallery import DTYPES


def identity(a: Any, **more: Any) -> str:
    return str(wl.from_array(a, **more)._node.op.spec.identity)


OPERANDS: dict[str, Callable[[wl.BigMatrix, Any], wl.BigMatrix]] = {
    "A @ b": lambda A, b: A @ b,
    "b @ A": lambda A, b: b @ A,
    "A + B": lambda A, b: A + np.diag(b)[:],
    "solve": lambda A, b: A.solve(b),
    "scale_rows": lambda A, b: A.scale_rows(b),
    "scale_columns": lambda A, b: A.scale_columns(b),
    "gram": lambda A, b: A.gram(weights=b),
    "map_tiles": lambda A, b: wl.map_tiles(np.add, wl.from_array(b), b),
    "block": lambda A, b: wl.block([[A, b]]),
    "linalg": lambda A, b: wl.linalg.solve(A, b),
    "from_array": lambda A, b: wl.from_array(b),
    "a slice": lambda A, b: A @ b[::-1],
    "big endian": lambda A, b: A @ b.astype(">f8"),
}


def test_a_small_array_may_change_after_use() -> None:
    A, b = wl.eye(4, tile=3), np.zeros(4)
    for name, make in OPERANDS.items():
        made, expected = [], []
        for k in range(3):
            b[:] = k
            made.append(make(A, b))
            expected.append(make(A, b.copy()).compute())
        for lazy, eager in zip(made, expected, strict=True):
            np.testing.assert_array_equal(lazy.compute(), eager, name)
        assert not np.array_equal(expected[1], expected[2]), name


@given(data=st.data())
def test_arrays_of_equal_content_have_one_name(data: st.DataObject) -> None:
    """Whatever the strides, the order of axes and that of bytes are."""
    dtype = data.draw(st.sampled_from(DTYPES))
    shape = tuple(data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=2)))
    a = gallery.normal(shape, dtype)
    swapped = np.dtype(dtype).newbyteorder()
    room = np.zeros([3 * n + 2 for n in shape], data.draw(st.sampled_from([dtype, swapped])))
    view = np.asarray(room, order=data.draw(st.sampled_from("CF")))
    for axis, n in enumerate(shape):
        step, sign = data.draw(st.integers(1, 3)), data.draw(st.sampled_from([1, -1]))
        view = np.moveaxis(np.moveaxis(view, axis, 0)[1 : 1 + step * n : step][::sign], 0, axis)
    view[...] = a
    large = arrays._name_of_content(view)  # as it is without a copy
    assert large == arrays._name_of_content(a)
    assert identity(view, tile=4) == identity(a, tile=4)
    if a.size:
        at = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
        view[at] = data.draw(st.sampled_from([0.0, -0.0, np.nan, 7.0]))
        assert arrays._name_of_content(view) != large
        assert identity(view, tile=4) != identity(a, tile=4)


def test_array_name_depends_on_layout_and_dtype() -> None:
    """Tiles are kept at hand by the name of the array, so what decides what is in a tile is part of it."""
    zeros = np.zeros((6, 4))
    alike = [
        zeros,
        zeros.T,
        zeros[:, :2],
        zeros.astype("f4"),
        zeros.astype("c16"),
        zeros.ravel(),
        zeros[:, :1],
    ]
    names = [identity(a, tile=tile) for a in alike for tile in (2, 3)]
    names += [identity(zeros, tile=(2, 3)), identity(zeros.reshape(24, 1), tile=2)]
    assert len({*names}) == len(names)
    assert identity(np.zeros((6, 4), int), tile=2) == identity([[0] * 4] * 6, tile=2) == names[0]


def test_two_equal_arrays_in_one_expression() -> None:
    a = gallery.normal((7, 7))
    A, B = wl.from_array(a, tile=3), wl.from_array(a.copy("F"), tile=3)
    assert np.array_equal((A @ B + B).compute(), (A @ A + A).compute())
    assert np.array_equal(wl.from_array(a, tile=3, structure="lower", check=False).compute(), np.tril(a))
    assert np.array_equal((A - B).compute(), np.zeros((7, 7)))


@pytest.fixture
def uncopied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every array counts as a large one."""
    monkeypatch.setattr(arrays, "_COPIED", -1)


USES: tuple[Callable[[wl.BigMatrix, str], Any], ...] = (
    lambda A, address: A.compute(),
    lambda A, address: A.sum().compute(),
    lambda A, address: A.persist(),
    lambda A, address: A.save(address),
    lambda A, address: wl.compute(wl.eye(2).norm(), A[::2]),
)


def test_a_large_array_changed_before_a_run(uncopied: None, tmp_path: Path) -> None:
    for use, index in product(USES, (np.s_[:, :], np.s_[::-2, 1:], np.s_[:, 2])):
        a = gallery.normal((9, 7))
        A = wl.from_array(a[index], tile=4)
        a[index].flat[1] = np.nan
        with pytest.raises(
            ChangedArrayError, match=r"shape \(.*dtype float64.*test_arrays.py:\d+ .*a\.copy\(\)"
        ):
            use(A, str(tmp_path / "saved"))
    assert not (tmp_path / "saved").exists()
    kept = wl.eye(3).save(tmp_path / "kept")  # nor is anything removed
    for overwrite in (False, True):
        with pytest.raises(ChangedArrayError):
            A.save(tmp_path / "kept", overwrite=overwrite)
        assert np.array_equal(kept.compute(), np.eye(3))


def test_a_large_array_that_stays_as_it_is(uncopied: None) -> None:
    a = gallery.normal((9, 7))
    A = wl.from_array(a, tile=4)
    kept = a.copy()
    a[...] = 0
    a[...] = kept  # nothing but the content counts
    assert np.array_equal((2 * A).compute(), 2 * a)
    assert np.array_equal(A.compute(), a)
    broad = wl.from_array(np.broadcast_to(2.0, (1 << 28, 1 << 28)), tile=2)
    assert broad[:2, -1:].compute().tolist() == [[2.0], [2.0]]


@pytest.mark.parametrize("use", ["compute", "persist", "save"])
def test_a_large_array_changed_during_a_run(use: str, uncopied: None, own_settings: str, place: Any) -> None:
    """Nothing is left that a later run would take for what its name says."""
    a = np.zeros((8, 8))
    calls: list[int] = []

    def change(event: Any) -> None:
        if type(event).__name__ == "TaskFinished":
            calls.append(1)
            a[...] = len(calls)

    with wl.LocalExecutor(1, "thread", allowed_mem="600 MiB") as executor:  # with room for a cache
        A = wl.map_tiles(np.negative, wl.from_array(a, tile=4))
        with pytest.raises(ChangedArrayError, match="has been changed since then"):
            {
                "compute": lambda: A.compute(callbacks=[change]),
                "persist": lambda: A.persist(callbacks=[change]),
                "save": lambda: A.save(place("A"), callbacks=[change]),
            }[use]()
        assert list(open_store(f"memory://{own_settings}").list()) == []
        again = wl.map_tiles(np.negative, wl.from_array(np.zeros((8, 8)), tile=4))
        assert again._node.key == A._node.key
        assert len(executor.home.cache._tiles) == 0
        assert np.array_equal(again.save(place("A")).compute(), np.zeros((8, 8)))


def test_an_interrupted_run_leaves_nothing_of_a_changed_array(uncopied: None, own_settings: str) -> None:
    a = np.zeros((8, 8))

    def interrupt(event: Any) -> None:
        if type(event).__name__ == "TaskFinished":
            a[...] = 1
            raise KeyboardInterrupt

    with pytest.raises(ChangedArrayError) as raised:
        wl.map_tiles(np.negative, wl.from_array(a, tile=4)).compute(callbacks=[interrupt])
    assert isinstance(raised.value.__context__, KeyboardInterrupt)
    assert [*open_store(f"memory://{own_settings}").list()] == []


def test_a_run_with_arrays_goes_on_where_it_was() -> None:
    """A killed one would: the same content has the same name in every process."""
    a = gallery.normal((12, 12))

    def stop(event: Any) -> None:
        if type(event).__name__ == "TaskFinished":
            raise ConnectionAbortedError

    def todo(a: Any) -> tuple[int, int]:
        events: list[Any] = []
        (wl.from_array(a, tile=4) @ a[:, :2]).compute(callbacks=[events.append])
        started = next(event for event in events if type(event).__name__ == "RunStarted")
        return started.tasks, started.todo

    for content, resumed in ((a.copy("F"), True), (a + 1, False)):
        with pytest.raises(ConnectionAbortedError):
            (wl.from_array(a, tile=4) @ a[:, :2]).compute(callbacks=[stop])
        tasks, left = todo(content)
        assert (left < tasks) == resumed
        todo(a)  # which clears up


def test_mapped_files(uncopied: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is only read is named by what the file system says of it; other ones by their content."""
    path, shape = tmp_path / "a.bin", (40, 30)
    gallery.normal((41, 30)).tofile(path)
    here = {"dtype": "f8", "shape": shape, "offset": 240}
    read: list[Any] = []
    content = arrays._name_of_content
    monkeypatch.setattr(arrays, "_name_of_content", lambda a: read.append(a) or content(a))

    first, second = (np.memmap(path, mode="r", **here) for _ in range(2))  # type: ignore[call-overload]
    assert identity(first, tile=8) == identity(second, tile=8)
    others = [first[1:], first[:, ::2], first.T, np.memmap(path, "f8", "r", shape=shape), first.view(">f8")]
    assert len({identity(x, tile=8) for x in [first, *others]}) == 6
    assert not read
    A = wl.from_array(first, tile=8)
    assert np.array_equal(A[3:, ::2].compute(), first[3:, ::2])
    for mode in ("r+", "c"):
        mapped = np.memmap(path, mode=mode, **here)  # type: ignore[call-overload]
        B = wl.from_array(mapped, tile=8)
        assert np.array_equal(B.compute(), mapped)
        assert read
        mapped[2, 3] += 1
        with pytest.raises(ChangedArrayError):
            B.compute()
        del read[:]
    mapped = np.memmap(path, mode="r+", **here)  # type: ignore[call-overload]
    with monkeypatch.context() as small:
        small.setattr(arrays, "_half_of_memory", lambda: 0)  # what does not fit is not read for its name
        name = identity(mapped, tile=8)
        assert identity(mapped, tile=8) == name
        assert not read
    A = wl.from_array(first, tile=8)
    os.utime(path, ns=(1, 1))
    with pytest.raises(ChangedArrayError):
        A.compute()
    # another file stands there now: what is mapped is the old one, which has a content but no name
    A = wl.from_array(first, tile=8)
    os.replace(path, tmp_path / "old.bin")
    gallery.normal((41, 30), seed=5).tofile(path)
    with pytest.raises(ChangedArrayError):
        A.compute()
    assert np.array_equal(wl.from_array(first, tile=8).compute(), first)
    assert read
    path.unlink()
    assert identity(first, tile=8) == identity(np.array(first), tile=8)


def test_read_only_array_is_not_hashed_again(uncopied: None, monkeypatch: pytest.MonkeyPatch) -> None:
    a = gallery.normal((9, 7))
    a.flags.writeable = False
    frozen = [a, a[::2], np.frombuffer(a.tobytes()).reshape(9, 7)]
    made = [wl.from_array(x, tile=4) for x in frozen]
    view = gallery.normal((9, 7))[1:]
    view.flags.writeable = False  # its base is open
    open_ = wl.from_array(view, tile=4)

    def refuse(array: Any) -> str:
        raise AssertionError("hashed again")

    monkeypatch.setattr(arrays, "_state", refuse)
    for x, A in zip(frozen, made, strict=True):
        assert np.array_equal(A.compute(), x)
    with pytest.raises(AssertionError, match="hashed again"):
        open_.compute()


def test_large_arrays_are_converted_when_they_are_read(uncopied: None) -> None:
    a = np.arange(12).reshape(4, 3)
    listed = wl.from_array(a.tolist())
    for x in (a, a > 3, a.astype(">i2")):
        for A in (wl.from_array(x), wl.BigMatrix(as_node(x))):
            assert A.dtype == np.float64
            assert np.array_equal(A.compute(), x)
    A = wl.from_array(a)
    a += 1
    with pytest.raises(ChangedArrayError):
        A.compute()
    assert np.array_equal(listed.compute(), a - 1)
    a -= 1
    assert np.array_equal((wl.eye(4) @ a.astype("f2")).compute(), a)


def test_threads_that_use_equal_arrays_do_not_take_them_from_each_other() -> None:
    """Equal arrays have one name; whoever is done first must leave the array to the others."""
    b = np.arange(12.0)
    with wl.LocalExecutor(2, allowed_mem="100 MiB") as executor:
        sources = executor.home.sources
        x = wl.from_array(b, tile=4)
        hosts = {x._node.op.spec.identity: x._node.op.payload}
        with sources.holding(hosts):
            assert np.array_equal((2 * wl.from_array(b.copy(), tile=4)).compute(executor), 2 * b)
            assert np.array_equal(x.compute(executor), b)
            assert sources.hosts.keys() == hosts.keys()
        assert sources.hosts == {}
