"""Both ways of computing a kernel, whatever this machine's core type is."""

import pytest

from wrenla_kernels import blas3, lapack

WAYS = ("library", "recursion")
LEAVES = {"getrf": 32, "potrf": 256, "trsm left": 64, "trsm right": 64}


def take(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all kernels go this way."""

    def leaf_order_here(kernel, dtype, order, width):
        return LEAVES[kernel] if way == "recursion" and order > LEAVES[kernel] else None

    for module in (blas3, lapack):
        monkeypatch.setattr(module, "leaf_order_here", leaf_order_here)
