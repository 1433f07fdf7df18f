"""What travels: what goes in comes out, and nothing is loaded that its sender did not write."""

from __future__ import annotations

import gc
import hashlib
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from wrenla_handler.errors import IntegrityError
from wrenla_handler.serialize.blobs import INLINE, Blob, bare, checked, digest, dump, load, pack, size
from wrenla_handler.stores.base import Data

RNG = np.random.default_rng(0)


class Objects:
    """A store as small as can be."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.asked: list[str] = []

    def put(self, number: int, part: Data) -> str:
        self.kept[f"part-{number}"] = bytes(part)
        return f"part-{number}"

    def get(self, key: str) -> bytes:
        self.asked.append(key)
        return self.kept[key]


def same(a: Any, b: Any) -> bool:
    """Equality that looks into containers and arrays, and takes nan for nan."""
    if isinstance(a, np.ndarray):
        return (
            isinstance(b, np.ndarray)
            and a.dtype == b.dtype
            and a.shape == b.shape
            and (a.tolist() == b.tolist() if a.dtype.hasobject else a.tobytes() == b.tobytes())
        )
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and (a == b or (a != a and b != b))


def round_trip(value: Any, **more: Any) -> Any:
    objects = Objects()
    return load(pack(dump(value), objects.put, **more), objects.get)


special = [
    np.asfortranarray(RNG.standard_normal((130, 90))),
    RNG.standard_normal((400, 300))[::2, 1::3],
    RNG.standard_normal((300, 200))[::-1],
    np.full((), 3.0),
    np.empty((0, 7), np.complex64),
    np.array([{"a": 1}, None, [2.5]], dtype=object),
    np.array([(1, 2.5, b"ab")] * 5, dtype=[("i", "<i4"), ("x", "<f8"), ("s", "S3")]),
    np.array(["2026-01-01", "NaT"], dtype="datetime64[D]"),
    RNG.standard_normal(9 << 10),  # 72 KiB: out of band, inline
    RNG.standard_normal((300, 300)),  # 703 KiB: out of band, in the store
    np.ones((40, 50), ">f8").T,
]

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary(max_size=50)
    | st.complex_numbers()
    | st.sampled_from(special)
    | arrays(st.sampled_from([np.float64, np.int8, np.complex64, "U3", bool]), array_shapes(max_dims=3)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        | st.tuples(inner, inner)
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(values, st.sampled_from([0, 100, 70 << 10, INLINE]))
def test_dumped_value_is_loaded_equal(value: Any, inline: int) -> None:
    assert same(round_trip(value, inline=inline), value)


@pytest.mark.parametrize("array", special, ids=str)
def test_arrays_that_come_back_can_be_written_to(array: np.ndarray) -> None:
    found = round_trip([array])[0]
    assert found.flags.writeable
    assert found.flags.f_contiguous == array.flags.f_contiguous or not array.flags.forc
    if found.dtype == float and found.size:
        before = array.copy()
        found[...] = -1
        np.testing.assert_array_equal(array, before)


def test_two_loads_share_no_memory() -> None:
    objects = Objects()
    packed = pack(dump(np.zeros(200_000)), objects.put)
    first, second = load(packed, objects.get), load(packed, objects.get)
    first[:] = 1
    assert not second.any()
    assert not load(packed, objects.get).any()


def test_without_a_copy_arrays_are_read_only() -> None:
    objects = Objects()
    found = load(pack(dump(np.zeros(200_000)), objects.put), objects.get, writable=False)
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1


def test_a_large_pickle_is_given_up_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a circle, as with a traceback: a view of a `BytesIO` made Python 3.12 crash, and 3.13 complain."""
    complaints: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    parts: list[Any] = list(dump(b"x" * (2 * INLINE)))
    parts.append(parts)
    del parts
    gc.collect()
    assert complaints == []


def test_the_same_array_twice_is_one() -> None:
    array = np.zeros(100_000)
    parts = dump([array, array])
    assert len(parts) == 2
    first, second = round_trip([array, array])
    assert first is second


class Trap:
    """Unpickling it leaves a trace."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_load_of_other_hash_is_refused(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    evil = pickle.dumps(Trap(sprung), 5)
    honest = dump("honest")[0]
    inline = Blob(hashlib.sha256(honest).hexdigest(), len(evil), evil, "")
    with pytest.raises(IntegrityError, match="part of the message"):
        load((inline,), dict[str, bytes]().__getitem__)
    with pytest.raises(IntegrityError, match="the object some/key"):
        load((inline._replace(data=b"", key="some/key"),), {"some/key": evil}.__getitem__)
    assert not sprung.exists()
    load((Blob(hashlib.sha256(evil).hexdigest(), len(evil), evil, ""),), dict[str, bytes]().__getitem__)
    assert sprung.exists()  # it would have been


@pytest.mark.parametrize("writable", [True, False])
@pytest.mark.parametrize("inline", [0, 1 << 30])
@pytest.mark.parametrize("number", [1, 2])
def test_every_buffer_is_looked_at_before_anything_is_loaded(
    tmp_path: Path, number: int, inline: int, writable: bool
) -> None:
    sprung, objects = tmp_path / "sprung", Objects()
    value = [Trap(sprung), np.zeros(10_000), np.ones(10_000)]
    packed = list(pack(dump(value), objects.put, inline=inline))
    if inline:
        packed[number] = packed[number]._replace(data=b"\1" + packed[number].data[1:])
    else:
        objects.kept[f"part-{number}"] = b"\1" + objects.kept[f"part-{number}"][1:]
    with pytest.raises(IntegrityError, match="it was not loaded"):
        load(tuple(packed), objects.get, writable=writable)
    assert not sprung.exists()


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data + b"\0", lambda data: b""])
def test_a_truncated_or_padded_object_is_refused(damage: Callable[[bytes], bytes]) -> None:
    objects = Objects()
    packed = pack(dump(np.zeros(100_000)), objects.put)
    (key,) = objects.kept
    objects.kept[key] = damage(objects.kept[key])
    with pytest.raises(IntegrityError):
        load(packed, objects.get)


def test_inline_limit_is_for_all_parts_together() -> None:
    objects = Objects()
    value = [np.full(100 << 10, number, np.uint8) for number in range(4)]
    packed = pack(dump(value), objects.put)
    assert [bool(blob.key) for blob in packed] == [False, False, False, True, True]
    assert sum(len(blob.data) for blob in packed) <= INLINE
    assert all(bool(blob.key) != bool(blob.data) for blob in packed)
    assert all(blob.nbytes == len(blob.data or objects.kept[blob.key]) for blob in packed)
    assert all(
        blob.sha256 == hashlib.sha256(blob.data or objects.get(blob.key)).hexdigest() for blob in packed
    )
    assert same(load(packed, objects.get), value)


@pytest.mark.parametrize(("nbytes", "inside"), [(0, True), (1, True), (INLINE, True), (INLINE + 1, False)])
def test_the_limit_is_exact(nbytes: int, inside: bool) -> None:
    objects = Objects()
    (blob,) = pack([b"x" * nbytes], objects.put)
    assert (blob.nbytes, not blob.key, not objects.kept) == (nbytes, inside, inside)


def test_no_object_is_read_that_is_not_needed() -> None:
    objects = Objects()
    packed = pack(dump(np.zeros(100_000)), objects.put)
    load(packed, objects.get)
    assert objects.asked == ["part-1"]


def test_digests_tell_values_apart() -> None:
    objects = Objects()

    def of(value: Any, inline: int = INLINE) -> str:
        return digest(pack(dump(value), objects.put, inline=inline))

    a, b = np.zeros(100_000), np.ones(100_000)
    assert of(1) != of(2)
    assert of(a) != of(b)
    assert of([a, b]) != of([b, a])
    assert of(a) == of(a.copy()) == of(a, 0)  # wherever its bytes are
    assert len(of(a)) == len(of(1)) == 64
    assert of(1) == pack(dump(1), objects.put)[0].sha256


def test_bare_values_keep_their_names() -> None:
    objects = Objects()
    packed = pack(dump([1, np.zeros(10_000), np.zeros(100_000)]), objects.put)
    assert [blob.data for blob in bare(packed)] == [b""] * 3
    assert digest(bare(packed)) == digest(packed)
    assert size(bare(packed)) == size(packed) == sum(blob.nbytes for blob in packed)
    assert size(()) == 0


def test_checked_returns_what_it_was_given() -> None:
    data = memoryview(b"abc")
    blob = Blob(hashlib.sha256(b"abc").hexdigest(), 3, b"", "")
    assert checked(data, blob) is data
    with pytest.raises(IntegrityError, match=blob.sha256[:12]):
        checked(b"abd", blob)


def test_functions_and_classes_of_a_script_travel() -> None:
    factor = 3

    class Local:
        def times(self, x: int) -> int:
            return factor * x

    assert round_trip(Local().times)(4) == 12
