"""Strips: runs of tiles along a row or column that are read alike, and the products of two of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from wrenla_handler.tiles.task import Apply, Read, Scalar, Step, Term

__all__ = ["Strip", "combined", "nested", "products", "reverse"]


@dataclass(frozen=True, slots=True)
class Strip:
    """A run of `n` tiles along a row or column of tiles, from index `start`, read alike."""

    start: int
    n: int
    read: Read
    step: Step

    def part(self, start: int, stop: int) -> Strip:
        """Return the tiles from index `start` to index `stop`."""
        return Strip(start, stop - start, self.read.moved(start - self.start, self.step), self.step)


def nested(function: str, loop: str, dtype: str, args: Sequence[Strip | Scalar]) -> Strip:
    """Return a function of runs of the same tiles, which is computed in `loop`, as one run in `dtype`."""
    strips = [arg for arg in args if isinstance(arg, Strip)]
    apply = Apply(
        function,
        tuple(arg.read if isinstance(arg, Strip) else arg for arg in args),
        loop,
        tuple(arg.step if isinstance(arg, Strip) else (0, 0, 0, 0) for arg in args),
    )
    return Strip(strips[0].start, strips[0].n, Read(apply, dtype=dtype), (0, 0, 0, 0))


def combined(
    sides: Sequence[Sequence[Strip]], start: int, stop: int, cuts: Iterable[int] = ()
) -> Iterator[tuple[int, int, list[Strip | None]]]:
    """Yield ranges of tiles in which each of some rows (or columns) of tiles is one run, or zero: None.

    At `cuts` that lie inside, a range ends in any case.
    """
    ends = {end for side in sides for strip in side for end in (strip.start, strip.start + strip.n)}
    marks = sorted({start, stop, *ends, *(cut for cut in cuts if start < cut < stop)})
    for first, last in pairwise(marks):
        found = [
            next((strip for strip in side if strip.start <= first < strip.start + strip.n), None)
            for side in sides
        ]
        yield first, last, [None if strip is None else strip.part(first, last) for strip in found]


def products(
    a: Iterable[Strip], b: Iterable[Strip], alpha: Scalar = 1, *, lower: bool = False
) -> tuple[Term, ...]:
    """Return Σ_t a[t] b[t] over the indices that both have: runs of products, first index first.

    The strips of each side are in ascending order, and none of one side overlap.
    """
    terms = []
    left, right = list(a), list(b)
    n = m = 0
    while n < len(left) and m < len(right):
        x, y = left[n], right[m]
        start, stop = max(x.start, y.start), min(x.start + x.n, y.start + y.n)
        if start < stop:
            p, q = x.part(start, stop), y.part(start, stop)
            terms.append(Term(p.read, q.read, alpha, stop - start, p.step, q.step, lower))
        # whichever ends first meets nothing any more
        n, m = n + (x.start + x.n == stop), m + (y.start + y.n == stop)
    return tuple(terms)


def reverse(terms: Iterable[Term]) -> tuple[Term, ...]:
    """Return the same products, last one first."""

    def back(step: Step) -> Step:
        di, dj, dr, dc = step
        return -di, -dj, -dr, -dc

    def turned(read: Read) -> Read:
        """Nested reads have steps of their own."""
        apply = read.tile
        if not isinstance(apply, Apply):
            return read
        args = tuple(turned(arg) if isinstance(arg, Read) else arg for arg in apply.args)
        return replace(read, tile=replace(apply, args=args, steps=tuple(map(back, apply.steps))))

    return tuple(
        replace(
            term,
            a=turned(term.a.moved(term.n - 1, term.a_step)),
            b=turned(term.b.moved(term.n - 1, term.b_step)),
            a_step=back(term.a_step),
            b_step=back(term.b_step),
        )
        for term in reversed(list(terms))
    )
