"""Tasks are plain values: they travel as JSON, and come out as they went in."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wrenla_handler.tiles.arrays import (
    ArraySpec,
    FormulaArray,
    FunctionArray,
    HostArray,
    StoredArray,
    TileRef,
)
from wrenla_handler.tiles.grid import Grid
from wrenla_handler.tiles.messages import decode, encode
from wrenla_handler.tiles.task import Apply, Finish, Read, Task, Term

INDEX = st.integers(0, 1 << 20)
NAME = st.text(max_size=20)
FLOAT = st.floats(allow_nan=False)
SCALAR = st.one_of(FLOAT, st.integers(-(1 << 60), 1 << 60), st.complex_numbers(allow_nan=False))
STEP = st.tuples(*[st.integers(-3, 3)] * 4)
PAIR = st.tuples(INDEX, INDEX)
REF = st.builds(TileRef, NAME, INDEX, INDEX, INDEX)
DTYPE = st.sampled_from(["float32", "float64", "complex64", "complex128"])


def reads(tile: st.SearchStrategy[Any]) -> st.SearchStrategy[Read]:
    return st.builds(
        Read,
        tile,
        st.sampled_from("NTCR"),
        st.sampled_from(["", "lower", "upper"]),
        SCALAR,
        SCALAR,
        st.none() | REF,
        st.none() | REF,
        st.none() | st.tuples(*[st.integers(-10, 10)] * 6),
        PAIR,
        st.booleans(),
        st.just("") | DTYPE,
    )


APPLY = st.builds(
    lambda name, read, other, dtype, steps: Apply(name, (read, other), dtype, steps),
    NAME,
    reads(REF),
    SCALAR | reads(REF),
    DTYPE,
    st.tuples(STEP, STEP),
)
READ = reads(REF | APPLY)
TERM = st.builds(Term, READ, READ, SCALAR, st.integers(1, 9), STEP, STEP, st.booleans())
TASK = st.builds(
    Task,
    REF,
    PAIR,
    DTYPE,
    st.lists(READ, max_size=3).map(tuple),
    st.lists(TERM, max_size=3).map(tuple),
    st.builds(Finish, NAME, NAME),
    st.lists(READ, max_size=2).map(tuple),
    PAIR,
)
GRID = st.builds(Grid, PAIR, st.tuples(st.integers(1, 99), st.integers(1, 99)))
ARRAY = GRID, DTYPE, st.integers(0, 2), NAME
SPEC = st.one_of(
    st.builds(StoredArray, *ARRAY, NAME, NAME, st.sampled_from("/."), NAME),
    st.builds(FunctionArray, *ARRAY, NAME, NAME, NAME, NAME),
    st.builds(FormulaArray, *ARRAY, NAME),
    st.builds(HostArray, *ARRAY, NAME),
)


def same_types(a: Any, b: Any) -> bool:
    """1 == 1.0 == (1+0j) and 0.0 == -0.0, but their bits, and so the results', are not the same."""
    if isinstance(a, complex):
        return type(a) is type(b) and same_types(a.real, b.real) and same_types(a.imag, b.imag)
    if isinstance(a, float):
        return type(a) is type(b) and math.copysign(1, a) == math.copysign(1, b)
    if isinstance(a, tuple):
        return type(a) is type(b) and all(map(same_types, a, b))
    if hasattr(a, "__dataclass_fields__"):
        return all(same_types(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    return type(a) is type(b)


@given(st.one_of(TASK, SPEC))
def test_task_message_survives_json(value: Task | ArraySpec) -> None:
    text = json.dumps(encode(value))
    back = decode(json.loads(text))
    assert back == value
    assert same_types(back, value)
    assert hash(back) == hash(value)


@given(TASK)
def test_tasks_pickle(task: Task) -> None:
    assert pickle.loads(pickle.dumps(task)) == task


def test_a_task_in_json_can_be_read() -> None:
    read = Read(TileRef("A", 1, 0), "T", scale=2 - 1j, window=(0, 4, 2, 5, -1, -1))
    task = Task(TileRef("C", 1, 2), (3, 4), "complex128", terms=(Term(read, read, -1, 2),))
    plain = json.loads(json.dumps(encode(task)))
    assert plain[:4] == ["Task", ["TileRef", "C", 1, 2, 0], ["", 3, 4], "complex128"]
    assert plain[5][1][1] == encode(read)
    assert encode(read)[4] == ["complex", 2.0, -1.0]
    assert decode(plain) == task


@pytest.mark.parametrize(
    "text",
    [
        '["os.system", "true"]',
        '["Worker", 1]',
        '["TileRef", ["eval", "1"], 0, 0, 0]',
        '["", ["__import__", "os"]]',
        "[[1, 2], 3]",
        "[null]",
        "[]",
        '["TileRef"]',
        '["TileRef", "A", 1, 2, 3, 4, 5]',
        '["complex", 1, 2, 3]',
        '["complex", "a", "b"]',
        '["Grid", ["", 2, 2], ["", 0, 1]]',
    ],
)
def test_decode_of_bad_task_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        decode(json.loads(text))


def test_values_stay_as_they_are() -> None:
    ref = TileRef("A", 0, 0)
    for value in (ref, Read(ref), Term(Read(ref), Read(ref)), Task(ref, (1, 1), "float64")):
        with pytest.raises((FrozenInstanceError, TypeError)):
            value.array = "B"  # type: ignore[misc,union-attr]


# runs of products


@given(READ, STEP, st.integers(0, 5), st.integers(0, 5))
def test_moving_twice_is_moving_once(read: Read, step: tuple[int, int, int, int], s: int, t: int) -> None:
    assert read.moved(s, step).moved(t, step) == read.moved(s + t, step)


@given(reads(REF), STEP, st.integers(1, 5))
def test_a_moved_read_reads_alike(read: Read, step: tuple[int, int, int, int], t: int) -> None:
    moved, (di, dj, dr, dc) = read.moved(t, step), step
    assert isinstance(read.tile, TileRef)
    assert moved.tile == replace(read.tile, i=read.tile.i + t * di, j=read.tile.j + t * dj)
    for mine, theirs, d in ((moved.rows, read.rows, dr), (moved.cols, read.cols, dc)):
        assert (mine is None) == (theirs is None)
        if mine is not None and theirs is not None:
            assert (mine.array, mine.i, mine.j) == (theirs.array, theirs.i + t * d, theirs.j)
    same = ("op", "mask", "scale", "shift", "window", "offset", "accumulate")
    assert all(getattr(moved, name) == getattr(read, name) for name in same)


@given(READ, STEP, st.integers(1, 5))
def test_the_tiles_of_a_run_move_by_their_steps(read: Read, step: tuple[int, int, int, int], t: int) -> None:
    moving = list(read.moving(step))
    assert [ref for ref, _ in moving] == list(read.refs())
    moved = [replace(ref, i=ref.i + t * di, j=ref.j + t * dj) for ref, (di, dj) in moving]
    assert [(ref.array, ref.i, ref.j) for ref in moved] == [
        (ref.array, ref.i, ref.j) for ref in read.moved(t, step).refs()
    ]


@given(TERM)
def test_products_of_a_run(term: Term) -> None:
    products = list(term.products())
    assert len(products) == term.n
    assert products[0] == (term.a, term.b)
    assert [p for t in range(term.n) for p in term.part(t, t + 1).products()] == products


@given(TASK)
def test_tiles_in_the_order_in_which_they_are_read(task: Task) -> None:
    expected = list(task.base)
    for term in task.terms:
        for a, b in term.products():
            expected += [a] if term.lower else [a, b]  # there b is a
    assert list(task.refs()) == [ref for read in (*expected, *task.args) for ref in read.refs()]
    assert task.length == sum(term.n for term in task.terms)


def test_the_tiles_of_a_read() -> None:
    ref, rows, cols = TileRef("A", 0, 0), TileRef("r", 1, 0), TileRef("c", 2, 0)
    assert list(Read(ref).refs()) == [ref]
    assert list(Read(ref, rows=rows, cols=cols).refs()) == [ref, rows, cols]


@pytest.mark.parametrize(
    ("change", "plain"),
    [
        ({}, True),
        ({"op": "C"}, True),
        ({"scale": -1}, True),
        ({"scale": 2.0}, False),
        ({"offset": (1, 1), "accumulate": True}, True),
        ({"mask": "lower"}, False),
        ({"shift": 1.0}, False),
        ({"rows": TileRef("w", 0, 0)}, False),
        ({"cols": TileRef("w", 0, 0)}, False),
        ({"window": (0, 1, 1, 0, 1, 1)}, False),
    ],
)
def test_plain_read_is_one_that_blas_takes(change: dict[str, Any], plain: bool) -> None:
    assert Read(TileRef("A", 0, 0), **change).plain is plain
