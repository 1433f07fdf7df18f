"""The table of finish kernels: what it tells a plan is what the kernels do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wrenla_handler.tiles.arrays import TileRef
from wrenla_handler.tiles.finish import FINISHES, Operand
from wrenla_handler.tiles.reader import Report
from wrenla_handler.tiles.task import Finish, Read, Task

pytestmark = pytest.mark.unit

N = 6

NUMBERS = {
    "getrf": (0,),
    "laswp": (0, 0, -1),
    "tile_sizes": (N, N, 0),
    "row_sizes": (1, 1, 0, 1),
    "all_sizes": (0, 1),
    "butterfly": (1, 2, 0),
    "inverse": (1,),
}
TWO = ("call", "largest_units", "permutation", "times_left", "times_right")
OF_PIVOTS = ("laswp", "parity", "permutation")


class Inputs:
    """Hands out the same triangle for every read."""

    def __init__(self, kernel: str, triangle: Any) -> None:
        ref = TileRef("A", 0, 0)
        numbers = NUMBERS.get(kernel, ())
        self.task = Task(ref, (N, N), "complex128", finish=Finish(kernel, "f", numbers), args=(Read(ref),))
        self.report = Report()
        self._triangle = triangle

    def value(self, read: Read) -> Any:
        return np.zeros((N, 1), np.int64) if self.task.finish.kernel in OF_PIVOTS else self._triangle

    def triangle(self, read: Read) -> Operand:
        return Operand(self._triangle, "N", "lower")

    def function(self) -> Any:
        return lambda a: 2 * a


@pytest.mark.parametrize("name", FINISHES)
def test_a_row_says_what_its_kernel_makes(name: str) -> None:
    a = np.random.default_rng(0).standard_normal((N, N)) * (1 + 0.5j)
    work = np.asfortranarray(a @ a.conj().T + N * np.eye(N))
    takes_pairs = name in ("combine_products", "number_from_product")
    takes_real = name in ("combine_sum_squares", "norm_from_sum_squares", "row_sizes", "all_sizes")
    if takes_real:
        work = np.ones((3 if name == "row_sizes" else 2, N), order="F")
    if takes_pairs:
        work = np.ones((2, N), complex, order="F")
    inputs = Inputs(name, np.asfortranarray(np.tril(a) + 3 * N * np.eye(N)))
    before = work.copy()
    result = FINISHES[name].call(work, inputs)
    assert not FINISHES[name].looks or np.array_equal(work, before), "it may be a tile that others read"
    if isinstance(result, tuple):  # of a bundle the first one is the column of tiles
        result = result[0]
    # a tile of another shape or dtype is made beside the sum
    assert not FINISHES[name].in_place or result is work
    assert FINISHES[name].real == np.isrealobj(result) or takes_real


@pytest.mark.parametrize("name", FINISHES)
def test_every_count_is_a_count(name: str) -> None:
    row = FINISHES[name]
    assert row.flops(10, 10) >= 0
    assert row.flops(0, 0) == 0
    assert row.spare == (0 if name == "" else 2 if name in TWO else 1)


def test_potrf_counts_what_the_loops_do() -> None:
    # Column j: a root, n−j−1 divisions, and for each of its n−j entries j multiplications and additions.
    n = 9
    counted = sum(1 + (n - j - 1) + 2 * j * (n - j) for j in range(n))
    assert FINISHES["potrf"].flops(n, n) == pytest.approx(counted)


@pytest.mark.parametrize(
    ("name", "count"), [("trsm_left", 36), ("trsm_right", 48), ("row_sums", 12), ("mirror", 0), ("", 0)]
)
def test_counts(name: str, count: int) -> None:
    assert FINISHES[name].flops(3, 4) == count


@pytest.mark.parametrize(("m", "n"), [(6, 6), (9, 4), (4, 9), (1, 1)])
def test_getrf_counts_what_the_loops_do(m: int, n: int) -> None:
    """Step k divides m−k−1 entries, and adds a product to (m−k−1)(n−k−1)."""
    counted = sum((m - k - 1) * (1 + 2 * (n - k - 1)) for k in range(min(m, n)))
    assert FINISHES["getrf"].flops(m, n) == pytest.approx(counted)
