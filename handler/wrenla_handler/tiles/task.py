"""Tile task: assemble a base, accumulate products, finish with a kernel, commit one tile.

Tasks are plain values. They travel as JSON and name arrays only by the short names that
a run's table of `ArraySpec` explains, so the same plan serves every iteration of a loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from wrenla_handler.tiles.arrays import TileRef
from wrenla_handler.tiles.grid import Pair

__all__ = [
    "Apply",
    "Finish",
    "Mask",
    "Op",
    "Read",
    "Scalar",
    "Step",
    "Task",
    "Term",
    "Window",
]

Op: TypeAlias = Literal["N", "T", "C", "R"]
"""BLAS's letters: as it is, transposed, conjugate transposed; R is conjugated, not transposed."""

Mask: TypeAlias = Literal["", "lower", "upper", "unit"]
"""The triangle of the stored tile that counts; the other one reads as zero, whatever is there. "unit" is the
lower one with ones on its diagonal: L of a tile that holds L and U."""

Scalar: TypeAlias = float | complex
Step: TypeAlias = tuple[int, int, int, int]
"""From one tile of a run to the next: change of tile row, tile column, `rows` weight, `cols` weight."""

Window: TypeAlias = tuple[int, int, int, int, int, int]
"""Part of a tile: row start, stop, step, column start, stop, step (steps may be negative)."""


@dataclass(frozen=True, slots=True)
class Apply:
    """Elementwise function in place of a stored tile: ``function(*args)``, made where it is read.

    Parameters
    ----------
    function : str
        One of `wrenla_kernels.UFUNCS`; "" for one argument as it is: reads of reads; or "is " and a claim
        for the first one as it is, once all have been looked at: `claims.check_tiles`.
    args : tuple of Read or number
        Each in a dtype of its own, then converted to `dtype`. One row or column stands for all, as in NumPy.
    dtype : str
        The dtype in which the function computes.
    steps : tuple of Step
        From one tile of a run to the next, for each of `args`.
    """

    function: str
    args: tuple[Read | Scalar, ...]
    dtype: str
    steps: tuple[Step, ...]

    @property
    def claim(self) -> str:
        """Claimed structure of the matrix; "" if its tiles are not checked."""
        return self.function.removeprefix("is ") if self.function.startswith("is ") else ""

    def moved(self, t: int) -> Apply:
        """Return what lies `t` steps further along a run."""
        args = (
            arg.moved(t, step) if isinstance(arg, Read) else arg
            for arg, step in zip(self.args, self.steps, strict=True)
        )
        return replace(self, args=tuple(args))

    def reads(self) -> Iterator[tuple[Read, Step]]:
        """Yield the arguments that are no numbers, and their steps."""
        for arg, step in zip(self.args, self.steps, strict=True):
            if isinstance(arg, Read):
                yield arg, step


@dataclass(frozen=True, slots=True)
class Read:
    """Read of a tile: ``diag(rows) · (scale · op(mask(tile)) + shift · I) · diag(cols)``, then `window`.

    In this order, and in `dtype` ("": that of the task), so that each number is rounded as NumPy does it.
    What does not fit is a read of an `Apply`. `offset` is where the result goes in the base; with
    `accumulate` it is added to what is there.
    """

    tile: TileRef | Apply
    op: Op = "N"
    mask: Mask = ""
    scale: Scalar = 1
    shift: Scalar = 0
    rows: TileRef | None = None
    cols: TileRef | None = None
    window: Window | None = None
    offset: Pair = (0, 0)
    accumulate: bool = False
    dtype: str = ""

    @property
    def plain(self) -> bool:
        """Whether BLAS can take the stored tile as it is, with `op` and the sign as its own arguments.

        A scale is not among those: BLAS applies it to the product, which may overflow where the scaled tile
        would not, and for zero does not look at the tile, which may hold NaN.
        """
        return (
            (self.scale == 1 or self.scale == -1)
            and not self.mask
            and self.shift == 0
            and self.rows is None
            and self.cols is None
            and self.window is None
        )

    def moved(self, t: int, step: Step) -> Read:
        """Return the read that lies `t` steps further along a run."""
        if t == 0:
            return self
        di, dj, dr, dc = step
        ref, rows, cols = self.tile, self.rows, self.cols
        if isinstance(ref, Apply):
            ref = ref.moved(t)
        else:
            ref = TileRef(ref.array, ref.i + t * di, ref.j + t * dj, ref.partial)
        if rows is not None and dr:
            rows = TileRef(rows.array, rows.i + t * dr, rows.j, rows.partial)
        if cols is not None and dc:
            cols = TileRef(cols.array, cols.i + t * dc, cols.j, cols.partial)
        # not by `replace`, which takes five times as long: a worker does this for each factor of a sum
        marks = (self.op, self.mask, self.scale, self.shift, rows, cols)
        return Read(ref, *marks, self.window, self.offset, self.accumulate, self.dtype)

    def refs(self) -> Iterator[TileRef]:
        """Yield the tiles that this read needs, in the order in which they are read."""
        return (ref for ref, _ in self.moving((0, 0, 0, 0)))

    def moving(self, step: Step) -> Iterator[tuple[TileRef, Pair]]:
        """Yield the tiles that this read needs, and how far each moves with a step of a run."""
        di, dj, dr, dc = step
        if isinstance(self.tile, Apply):
            for arg, its_step in self.tile.reads():
                yield from arg.moving(its_step)
        else:
            yield self.tile, (di, dj)
        if self.rows is not None:
            yield self.rows, (dr, 0)
        if self.cols is not None:
            yield self.cols, (dc, 0)


@dataclass(frozen=True, slots=True)
class Term:
    """A run of `n` products, ``alpha · Σ_t a[t] @ b[t]``, applied one by one, t = 0 first.

    A run instead of single products keeps a plan small: a sum over 256 tiles is one object.
    With `lower` only the lower triangle of the sum is wanted and `b[t]` is `a[t]` conjugate transposed.
    """

    a: Read
    b: Read
    alpha: Scalar = 1
    n: int = 1
    a_step: Step = (0, 1, 0, 0)
    b_step: Step = (1, 0, 0, 0)
    lower: bool = False

    def part(self, start: int, stop: int) -> Term:
        """Return products `start` to `stop` of this run."""
        return replace(
            self,
            a=self.a.moved(start, self.a_step),
            b=self.b.moved(start, self.b_step),
            n=stop - start,
        )

    def products(self) -> Iterator[tuple[Read, Read]]:
        """Yield the factors of each product, in the order in which they are applied."""
        for t in range(self.n):
            yield self.a.moved(t, self.a_step), self.b.moved(t, self.b_step)


@dataclass(frozen=True, slots=True)
class Finish:
    """Finish of a sum before it is stored: nothing, if it names no kernel.

    Parameters
    ----------
    kernel : str
        A key of `wrenla_handler.tiles.finish.FINISHES`.
    function : str
        Array name of the user's function that the kernel calls, if it calls one.
    numbers : tuple of int
        Further parameters of the kernel.
    """

    kernel: str = ""
    function: str = ""
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """One tile, or a bundle: ``out = finish(base + Σ terms, args)``.

    Parameters
    ----------
    out : TileRef
        The one object that this task commits.
    shape : (int, int)
        Rows and columns of the base, before `finish`. What of the tile a smaller sum leaves is zero.
    dtype : str
        The dtype in which the sum is made; that of `out`'s array unless `finish` changes it.
    base : tuple of Read
        What is laid into the base; where nothing is, it is zero.
    terms : tuple of Term
        What is added, strictly in this order.
    finish : Finish
    args : tuple of Read
        Further tiles that the finishing kernel takes.
    origin : (int, int)
        Global index of the tile's corner, for error messages.

    A bundle has no terms: its sum, of the shape of the column of tiles, is cut into tiles at its end.
    """

    out: TileRef
    shape: Pair
    dtype: str
    base: tuple[Read, ...] = ()
    terms: tuple[Term, ...] = ()
    finish: Finish = Finish()
    args: tuple[Read, ...] = ()
    origin: Pair = (0, 0)

    @property
    def length(self) -> int:
        """Number of products in the sum."""
        return sum(term.n for term in self.terms)

    @property
    def kernel(self) -> str:
        """Name of its work: the finishing kernel, else `gemm` for products, `add` for sums, `copy`.

        The lower triangle of a product A Aᴴ, which is mirrored at the end, is a `syrk`.
        """
        if self.finish.kernel not in ("", "mirror"):
            return self.finish.kernel
        if not self.terms and any(read.accumulate for read in self.base):
            return "add"
        return "syrk" if self.finish.kernel else "gemm" if self.terms else "copy"

    def refs(self) -> Iterator[TileRef]:
        """Yield every tile that is read, in the order in which the worker reads them."""
        for read in self.base:
            yield from read.refs()
        for term in self.terms:
            moving = list(term.a.moving(term.a_step))
            if not term.lower:  # there b is a
                moving += term.b.moving(term.b_step)
            for t in range(term.n):
                for ref, (di, dj) in moving:
                    yield TileRef(ref.array, ref.i + t * di, ref.j + t * dj, ref.partial)
        for read in self.args:
            yield from read.refs()

    def arrays(self) -> set[str]:
        """Return the names of the arrays that this task reads, writes or calls."""
        factors = (read for term in self.terms for read in (term.a, term.b))
        names = {ref.array for read in (*self.base, *factors, *self.args) for ref in read.refs()}
        names.add(self.out.array)
        return names | {self.finish.function} if self.finish.function else names
