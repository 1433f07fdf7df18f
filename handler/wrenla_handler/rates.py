"""Rates of a worker: what its kernels, its memory and its store do in a second."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

__all__ = ["CURVES", "DIRECT_FROM", "DTYPES", "PASSES", "SMALLEST", "Curve", "Rates", "fitted"]

CURVES = ("gemm", "herk", "trsm_left", "trsm_right", "potrf", "getrf", "inverse")
"""Kernels that are measured for themselves. What others do is counted as one of these, or by its bytes."""

DTYPES = ("float32", "float64", "complex64", "complex128")

PASSES = ("copied", "fresh", "streamed", "exchanged", "looked", "called", "read", "written", "direct")
"""What is measured by its bytes."""

SMALLEST = 160
"""Edge of the smallest tiles on which kernels are measured."""

DIRECT_FROM = 1 << 20
"""Bytes of a tile from which it is worth writing past the page cache: each such write waits for the disk."""

_REQUESTS, _SAVING = 12, 43
"""Requests to S3, one after the other, of a run beside its tasks, and of saving one result: as counted."""

_DRIVER = ("request", "sent", "gathered")

_TABLES = ("kernels", "dtypes")


@dataclass(frozen=True, slots=True)
class Curve:
    """Rate of a kernel: it rises with the size of tiles.

    Parameters
    ----------
    flops : float
        Operations a second on the largest tiles, in double precision.
    half : float
        Edge of square tiles on which it reaches half of that.

    Examples
    --------
    >>> Curve(60e9, 40.0).rate(360) / 1e9
    54.0
    """

    flops: float
    half: float = 0.0

    def rate(self, edge: float) -> float:
        """Return the operations a second on square tiles."""
        return self.flops / (1 + self.half / edge)


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates of one worker while the others work, too.

    Parameters
    ----------
    kernels : tuple of Curve
        In the order of `CURVES`.
    dtypes : tuple of float
        How many times as fast operations are as in float64, in the order of `DTYPES`.
    copied : float
        Bytes a second that a tile takes to be copied to another one.
    fresh : float
        Bytes a second of memory that the system hands out for the first time, and a tile is copied to.
    streamed : float
        Bytes a second of a tile that is multiplied with a vector.
    exchanged : float
        Bytes a second of a panel whose rows are exchanged.
    looked : float
        Bytes a second of a tile whose entries are looked at: sums, maxima.
    called : float
        Bytes a second of a tile that a function makes entry by entry, of which `exp` is the larger part.
    read, written : float
        Bytes a second from and to the store.
    direct : float
        Bytes a second to it past the page cache; as `written` where there is no such way.
    task : float
        Seconds that a task takes beside all that, and `tile`.
    tile : float
        Seconds that each tile which a task reads takes beside what is done with it.
    start : float
        Seconds that a run takes beside its tasks.
    handing : float
        Seconds of `task` in which something is handed to a worker: tasks that go together have them once.
    request, sent, gathered : float
        Seconds of a request of the driver to a store elsewhere, and bytes a second that go there and come
        from there; 0 where there is none.
    mine : float
        Part of the time in which its processor was its own while kernels were measured, at most 1: less if
        others work on the machine.
    virtual : float
        1 on a virtual machine, else 0: its host may take back memory that it does not use.
    """

    kernels: tuple[Curve, ...]
    dtypes: tuple[float, ...]
    copied: float
    fresh: float
    streamed: float
    exchanged: float
    looked: float
    called: float
    read: float
    written: float
    direct: float
    task: float
    tile: float
    start: float
    handing: float = 0.0
    request: float = 0.0
    sent: float = 0.0
    gathered: float = 0.0
    mine: float = 1.0
    virtual: float = 0.0

    def __post_init__(self) -> None:
        if len(self.kernels) != len(CURVES) or len(self.dtypes) != len(DTYPES):
            raise ValueError("a rate for each kernel and each dtype")
        if not 0 <= self.mine <= 1 or self.virtual not in (0, 1):
            raise ValueError("mine is a part, and virtual 0 or 1")
        if not 0 <= self.handing <= self.task:
            raise ValueError("handing is a part of task")
        if not all(0 <= getattr(self, name) < math.inf for name in _DRIVER):
            raise ValueError(f"{', '.join(_DRIVER)} are at least 0")
        numbers = [*self._numbers(), *self.dtypes, *(curve.flops for curve in self.kernels)]
        halves = [curve.half for curve in self.kernels]
        if not all(0 < number < math.inf for number in numbers) or not all(0 <= h < math.inf for h in halves):
            raise ValueError("rates are positive numbers")

    def _numbers(self) -> list[float]:
        return [
            getattr(self, each.name)
            for each in fields(self)
            if each.name not in (*_TABLES, *_DRIVER, "handing", "mine", "virtual")
        ]

    def curve(self, kernel: str) -> Curve:
        """Return the curve of a kernel of `CURVES`."""
        return self.kernels[CURVES.index(kernel)]

    def factor(self, dtype: str) -> float:
        """Return how many times as fast operations are as in float64."""
        return self.dtypes[DTYPES.index(dtype)] if dtype in DTYPES else 1.0

    def beside(self, runs: int, saved: int, nbytes: float, uploaded: float = 0.0) -> float:
        """Return the seconds that runs take beside their tasks.

        Parameters
        ----------
        runs : int
        saved : int
            How many results go to an address of their own, which asks for more requests.
        nbytes : float
            Bytes of the others, which come into the driver's memory.
        uploaded : float
            Bytes that the driver brings to the store before, if it is known how fast.
        """
        begun = runs * (self.start + _REQUESTS * self.request) + saved * _SAVING * self.request
        moved = nbytes / (self.gathered or self.fresh) + (uploaded / self.sent if self.sent else 0.0)
        return begun + moved

    def behind(self, handing: float) -> Rates:
        """Return the rates of a worker to which something is handed in so many seconds."""
        return replace(self, task=self.task - self.handing + handing, handing=handing)

    def at_store(self, read: float, written: float) -> Rates:
        """Return these rates with those of another store."""
        return replace(self, read=read, written=written, direct=written)

    @property
    def past_cache(self) -> bool:
        """Whether results that are saved are written past the page cache: not for a little.

        Right after others have let go of memory, a virtual machine writes to the cache at many times the rate
        that it has when its host must give each page first. So there the disk need not be the faster one.
        """
        return self.direct > (0.25 if self.virtual else 1.25) * self.written

    @property
    def saved(self) -> float:
        """Bytes a second of results that are saved."""
        return self.direct if self.past_cache else self.written

    def shared(self, times: float) -> Rates:
        """Return the rates of each of so many times more workers than there are processors."""
        if times == 1:
            return self
        curves = tuple(replace(curve, flops=curve.flops / times) for curve in self.kernels)
        slower = {name: getattr(self, name) / times for name in PASSES}
        slower |= {name: getattr(self, name) * times for name in ("task", "tile", "handing")}
        return replace(self, kernels=curves, **slower)

    def plain(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        curves = {name: [c.flops, c.half] for name, c in zip(CURVES, self.kernels, strict=True)}
        rest = {each.name: getattr(self, each.name) for each in fields(self)}
        return rest | {"kernels": curves, "dtypes": dict(zip(DTYPES, self.dtypes, strict=True))}

    @classmethod
    def from_plain(cls, found: Mapping[str, Any]) -> Rates:
        """Return the rates that `plain` wrote.

        Raises
        ------
        ValueError, TypeError, KeyError
            It was something else.

        Examples
        --------
        >>> rates = Rates((Curve(1e9, 9.0),) * 7, (2.0, 1.0, 2.0, 1.0), *[1e9] * 9, 1e-4, 1e-5, 0.1)
        >>> Rates.from_plain(rates.plain()) == rates
        True
        """
        curves, dtypes = found["kernels"], found["dtypes"]
        return cls(
            kernels=tuple(Curve(*map(float, curves[name])) for name in CURVES),
            dtypes=tuple(float(dtypes[name]) for name in DTYPES),
            **{e.name: float(found[e.name]) for e in fields(cls) if e.name not in _TABLES},
        )


def fitted(edges: Sequence[float], rates: Sequence[float]) -> Curve:
    """Return the curve through the rates on tiles of two sizes, the smaller one first.

    Where the larger tiles are no faster it is flat, and no tile is promised twice the rate of the larger
    ones: a measurement may have been disturbed.

    Examples
    --------
    >>> curve = fitted((100, 400), (20e9, 40e9))
    >>> round(curve.flops / 1e9, 3), round(curve.half, 3), round(curve.rate(100) / 1e9, 3)
    (60.0, 200.0, 20.0)
    >>> fitted((100, 400), (50e9, 40e9))
    Curve(flops=40000000000.0, half=0.0)
    """
    (small, large), (slow, fast) = edges, rates
    slope = (1 / slow - 1 / fast) / (1 / small - 1 / large)
    if slope <= 0:
        return Curve(fast)
    flops = 1 / max(1 / fast - slope / large, 0.5 / fast)
    return Curve(flops, slope * flops)
