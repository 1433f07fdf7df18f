"""Cut: into how many tasks a sum is split. It never changes a bit of the result."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from wrenla_handler.tiles.grid import Pair
from wrenla_handler.tiles.task import Finish, Read, Task, Term

__all__ = ["Bounds", "Cut", "piece"]

Bounds = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Cut:
    """A way to cut sums.

    Parameters
    ----------
    kind : {"none", "fixed", "doubling"}
        `none`: a tile is one task. `fixed`: groups of `size` terms from the first one on; what is left over
        goes with the finishing kernel. `doubling`: from the last term backwards groups of 1, 2, 4, … up to
        `size`, so that little work waits for the last terms, and few intermediates are written.
    size : int
        Terms in the largest group.
    """

    kind: Literal["none", "fixed", "doubling"] = "none"
    size: int = 0

    def __post_init__(self) -> None:
        if self.kind != "none" and self.size < 1:
            raise ValueError(f"groups have at least one term, not {self.size}")

    def __str__(self) -> str:
        return {"none": "not cut", "fixed": f"groups of {self.size}", "doubling": f"doubling to {self.size}"}[
            self.kind
        ]

    def in_words(self) -> str:
        """Return the number of tasks of a sum, in words."""
        return {
            "none": "all in one task",
            "fixed": f"in tasks of up to {self.size}" if self.size > 1 else "in a task each",
            "doubling": f"in tasks of up to {self.size}, fewer towards the end",
        }[self.kind]

    def bounds(self, length: int, finishes: bool = True) -> Bounds:
        """Return start and stop of each piece of a sum of `length` terms.

        The last piece carries the finishing kernel, if there is one, and may then have no terms.

        Examples
        --------
        >>> Cut("doubling", 4).bounds(10)
        ((0, 3), (3, 7), (7, 9), (9, 10))
        >>> Cut("fixed", 4).bounds(8), Cut("fixed", 4).bounds(8, finishes=False)
        (((0, 4), (4, 8), (8, 8)), ((0, 4), (4, 8)))
        """
        return _bounds(self, length, finishes)


@lru_cache(maxsize=4096)
def _bounds(cut: Cut, length: int, finishes: bool) -> Bounds:
    if cut.kind == "none" or length == 0:
        return ((0, length),)
    if cut.kind == "fixed":
        marks = list(range(0, length + 1, cut.size))
        if marks[-1] != length or finishes:
            marks.append(length)
        return tuple(pairwise(marks))
    # From the end: the short pieces come last, so that little is left to do when the last factor is there.
    marks, size = [length], 1
    while marks[-1] > 0:
        marks.append(max(0, marks[-1] - size))
        size = min(2 * size, cut.size)
    marks.reverse()
    return tuple(pairwise(marks))


def piece(task: Task, start: int, stop: int, last: bool, extent: Pair) -> Task:
    """Return the task that applies terms `start` to `stop` of a tile's sum.

    A partial sum is named by how many terms it holds: it is the same whichever way the sum was cut. `extent`
    is that of the tile; the sum of a task may fill a corner of it only.
    """
    if start == 0 and last:
        return task
    out = task.out if last else replace(task.out, partial=stop)
    window = None if task.shape == extent else (0, task.shape[0], 1, 0, task.shape[1], 1)
    base = task.base if start == 0 else (Read(replace(task.out, partial=start), window=window),)
    return replace(
        task,
        out=out,
        base=base,
        terms=_between(task.terms, start, stop),
        finish=task.finish if last else Finish(),
        args=task.args if last else (),
    )


def _between(terms: tuple[Term, ...], start: int, stop: int) -> tuple[Term, ...]:
    kept, first = [], 0
    for term in terms:
        a, b = max(start - first, 0), min(stop - first, term.n)
        if a < b:
            kept.append(term.part(a, b))
        first += term.n
    return tuple(kept)
