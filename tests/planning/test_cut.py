"""Cutting sums: whatever the cut, each product is applied once, in the same order."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wrenla.planning.cut import Cut, piece
from wrenla_handler.tiles.arrays import TileRef
from wrenla_handler.tiles.task import Finish, Read, Task, Term

CUTS = st.one_of(
    st.just(Cut()),
    st.builds(Cut, st.just("fixed"), st.integers(1, 40)),
    st.builds(Cut, st.just("doubling"), st.integers(1, 40)),
)


@given(CUTS, st.integers(0, 300), st.booleans())
def test_bounds_cover_every_term_once_in_order(cut: Cut, length: int, finishes: bool) -> None:
    bounds = cut.bounds(length, finishes)
    assert bounds[0][0] == 0
    assert bounds[-1][1] == length
    assert all(a[1] == b[0] for a, b in pairwise(bounds))
    # only the piece with the finishing kernel may be without terms
    assert all(start < stop for start, stop in bounds[:-1])
    assert bounds[-1][0] < length or length == 0 or (finishes and cut.kind == "fixed")
    if cut.kind != "none" and length:
        assert max(stop - start for start, stop in bounds) <= cut.size


@given(st.integers(1, 40), st.integers(1, 300))
def test_fixed_groups_are_of_one_size(size: int, length: int) -> None:
    lengths = [stop - start for start, stop in Cut("fixed", size).bounds(length)]
    assert lengths[:-1] == [size] * (length // size)
    assert lengths[-1] == length % size


@given(st.integers(1, 40), st.integers(1, 300))
def test_doubling_grows_from_the_end(size: int, length: int) -> None:
    lengths = [stop - start for start, stop in Cut("doubling", size).bounds(length)][::-1]
    assert lengths[0] == 1
    for k, n in enumerate(lengths[:-1]):
        assert n == min(2**k, size)
    assert lengths[-1] <= min(2 ** (len(lengths) - 1), size)


@pytest.mark.parametrize("kind", ["fixed", "doubling"])
@pytest.mark.parametrize("size", [0, -3])
def test_cut_of_size_zero_is_refused(kind: str, size: int) -> None:
    with pytest.raises(ValueError, match="at least one term"):
        Cut(kind, size)  # type: ignore[arg-type]


def a_read(array: str) -> st.SearchStrategy[Read]:
    index = st.integers(50, 60)
    ref = st.builds(TileRef, st.just(array), index, index)
    return st.builds(
        Read,
        ref,
        st.sampled_from("NTCR"),
        rows=st.none() | st.builds(TileRef, st.just("w"), index, st.just(0)),
    )


STEP = st.tuples(*[st.integers(-2, 2)] * 4)
TERM = st.builds(
    Term, a_read("A"), a_read("B"), st.sampled_from([1, -1, 0.5]), st.integers(1, 12), STEP, STEP
)
TASK = st.builds(
    Task,
    st.just(TileRef("C", 3, 4)),
    st.just((5, 6)),
    st.just("float64"),
    st.lists(a_read("D"), max_size=2).map(tuple),
    st.lists(TERM, max_size=4).map(tuple),
    st.sampled_from([Finish(), Finish("potrf")]),
    st.lists(a_read("E"), max_size=1).map(tuple),
    st.just((7, 8)),
)


def applied(task: Task) -> list[tuple[Read, Read, object]]:
    return [(a, b, term.alpha) for term in task.terms for a, b in term.products()]


@given(TASK, CUTS, st.sampled_from([(5, 6), (9, 6)]))
def test_pieces_of_a_task_are_the_task(task: Task, cut: Cut, extent: tuple[int, int]) -> None:
    bounds = cut.bounds(task.length, bool(task.finish.kernel))
    pieces = [piece(task, a, b, c == len(bounds) - 1, extent) for c, (a, b) in enumerate(bounds)]
    assert [one for part in pieces for one in applied(part)] == applied(task)
    assert pieces[0].base == task.base
    assert pieces[-1].out == task.out
    assert (pieces[-1].finish, pieces[-1].args) == (task.finish, task.args)
    for (_, stop), before, after in zip(bounds, pieces, pieces[1:], strict=False):
        # a partial sum is named by how many terms it holds, whichever way the sum was cut
        assert before.out == TileRef("C", 3, 4, stop)
        # of a tile that a sum fills a corner of, the corner is read
        assert after.base == (Read(before.out, window=None if extent == (5, 6) else (0, 5, 1, 0, 6, 1)),)
        assert (before.finish, before.args) == (Finish(), ())
    assert all(part.length == b - a for part, (a, b) in zip(pieces, bounds, strict=True))
    assert all((part.shape, part.dtype, part.origin) == ((5, 6), "float64", (7, 8)) for part in pieces)


@given(TERM, st.data())
def test_part_of_a_term(term: Term, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, term.n))
    stop = data.draw(st.integers(start, term.n))
    assert list(term.part(start, stop).products()) == list(term.products())[start:stop]


def test_an_uncut_task_is_itself() -> None:
    task = Task(TileRef("C", 0, 0), (1, 1), "float64")
    assert piece(task, 0, 0, True, (1, 1)) is task
