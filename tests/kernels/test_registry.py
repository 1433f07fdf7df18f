"""The list of kernels is whole, and its counts are those of the textbook."""

import numpy as np
import pytest

import wrenla_kernels
from wrenla_kernels import KERNELS, blas3, elementwise, flops, lapack, reductions

NOT_KERNELS = {"Op", "Side", "Triangle", "split"}


def test_every_kernel_is_listed_and_exported():
    public = {
        name for module in (blas3, lapack, elementwise, reductions) for name in module.__all__
    } - NOT_KERNELS
    assert set(KERNELS) == public
    assert public <= set(wrenla_kernels.__all__)
    for name, kernel in KERNELS.items():
        assert kernel.name == name
        assert kernel.call is getattr(wrenla_kernels, name)


def test_every_count_is_a_count():
    for name in KERNELS:
        assert flops(name, 10, 10, 10, np.float32) >= 0
        assert flops(name, 0, 0, 0, np.float32) == 0


def test_potrf_counts_what_the_loops_do():
    # Column j: a root, n−j−1 divisions, and for each of its n−j entries j multiplications and additions.
    n = 9
    counted = sum(1 + (n - j - 1) + 2 * j * (n - j) for j in range(n))
    assert flops("potrf", n, n, n, np.float64) == pytest.approx(counted)


@pytest.mark.parametrize(
    ("name", "real"), [("gemm", 2 * 3 * 4 * 5), ("herk", 4 * 5 * 5), ("trsm", 60), ("add", 12), ("mirror", 0)]
)
def test_counts(name, real):
    assert flops(name, 3, 4, 5, np.float64) == real
    assert flops(name, 3, 4, 5, np.complex64) == 4 * real
