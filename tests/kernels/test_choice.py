"""Choice of kernels: by core type, dtype and size alone, and the same for the kernels as for the rule."""

import numpy as np
import pytest

from wrenla_kernels import DTYPES, BlasInfo, choice, getrf, potrf, trsm
from wrenla_kernels.blas3 import library_trsm, recursive_trsm
from wrenla_kernels.choice import leaf_order, leaf_order_here
from wrenla_kernels.lapack import library_getrf, library_potrf, recursive_getrf, recursive_potrf


@pytest.fixture
def on(monkeypatch):
    """Let the kernels take SciPy's BLAS for one that names these."""

    def pretend(architecture, internal_api="openblas"):
        info = BlasInfo("", None, internal_api, architecture, 1)
        monkeypatch.setattr(choice, "scipy_blas_info", lambda: info)
        choice._core.cache_clear()

    yield pretend
    choice._core.cache_clear()


@pytest.mark.parametrize(
    ("kernel", "core", "dtype", "order", "width", "expected"),
    [
        ("trsm left", "SkylakeX", "f4", 255, 1000, None),
        ("trsm left", "SkylakeX", "f4", 256, 191, None),
        ("trsm left", "SkylakeX", "f4", 256, 192, 128),
        ("trsm left", "SkylakeX", "f4", 4096, 4096, 128),
        ("trsm left", "SkylakeX", "f8", 767, 767, 128),
        ("trsm left", "SkylakeX", "f8", 768, 767, 64),
        ("trsm left", "SkylakeX", "f8", 768, 1, None),
        ("trsm left", "SkylakeX", "f8", 1536, 1536, None),
        ("trsm right", "SkylakeX", "f8", 1536, 1536, 64),
        ("trsm right", "SkylakeX", "f4", 4096, 4096, 128),
        ("trsm left", "skylakex", "c8", 256, 256, 64),
        ("trsm left", "SkylakeX", "c8", 256, 255, None),
        ("trsm left", "SkylakeX", "c16", 4096, 4096, None),
        ("trsm left", "Haswell", "f4", 4096, 4096, None),
        ("trsm left", "Haswell", "c8", 256, 255, None),
        ("trsm left", "Haswell", "c8", 256, 256, 128),
        ("trsm left", "Haswell", "c8", 511, 4096, 128),
        ("trsm left", "Haswell", "c8", 512, 4096, None),
        ("potrf", "SkylakeX", "f4", 1024, 1024, None),
        ("potrf", "SkylakeX", "f4", 1025, 1025, 1024),
        ("potrf", "SkylakeX", "f8", 1024, 1024, None),
        ("potrf", "SkylakeX", "f8", 1025, 1025, 1024),
        ("potrf", "SkylakeX", "c8", 640, 640, None),
        ("potrf", "SkylakeX", "c8", 641, 641, 640),
        ("potrf", "SkylakeX", "c8", 1792, 1792, None),
        ("potrf", "SkylakeX", "c16", 4096, 4096, None),
        ("potrf", "Haswell", "f4", 4096, 4096, None),
        ("getrf", "SkylakeX", "f4", 895, 8000, None),
        ("getrf", "SkylakeX", "f4", 896, 896, 512),
        ("getrf", "SkylakeX", "f8", 4096, 4096, None),
        ("getrf", "Haswell", "f4", 447, 8000, None),
        ("getrf", "Haswell", "f4", 448, 448, 384),
        ("getrf", "Haswell", "f8", 4096, 4096, None),
    ],
)
def test_measured_cores_take_what_was_faster(kernel, core, dtype, order, width, expected):
    assert leaf_order(kernel, core, np.dtype(dtype), order, width) == expected


@pytest.mark.parametrize("core", [None, "", "Zen", "Sandybridge", "Nehalem", "neoversen1"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_core_that_was_not_measured_takes_the_library(core, dtype):
    for kernel in ("getrf", "potrf", "trsm left", "trsm right"):
        assert leaf_order(kernel, core, dtype, 4096, 4096) is None


def test_leaves_are_smaller_than_what_is_cut():
    for rows in choice._RECURSIONS.values():
        assert all(row.leaf is None or row.leaf < row.order for row in rows)


def test_core_types_of_other_libraries_are_not_openblas(on):
    arguments = ("potrf", np.dtype("f8"), 2000, 2000)
    on("SkylakeX")
    assert leaf_order_here(*arguments) == 1024
    on("skylakex", "blis")
    assert leaf_order_here(*arguments) is None


def random(m, n):
    return np.asfortranarray(np.random.default_rng(m).standard_normal((m, n)).astype("f4"))


@pytest.mark.parametrize(("core", "leaf"), [("Haswell", None), ("SkylakeX", 128)])
def test_trsm_does_what_the_rule_says(on, core, leaf):
    on(core)
    t, b = random(256, 256), random(256, 192)
    t[np.diag_indices(256)] += 64
    solved, expected = b.copy(order="F"), b.copy(order="F")
    trsm("L", t, solved, uplo="L", op="N")
    if leaf is None:
        library_trsm("L", t, expected, "L", "N", False)
    else:
        recursive_trsm("L", t, expected, "L", "N", False, leaf)
    assert np.array_equal(solved, expected)


@pytest.mark.parametrize(("core", "leaf"), [("Haswell", None), ("SkylakeX", 1024)])
def test_potrf_does_what_the_rule_says(on, core, leaf):
    on(core)
    line = np.float32(0.9) ** np.arange(1100, dtype="f4")
    a = np.asfortranarray(line[np.abs(np.subtract.outer(np.arange(1100), np.arange(1100)))])
    factored, expected = a.copy(order="F"), a.copy(order="F")
    assert potrf(factored) == 0
    assert (library_potrf(expected) if leaf is None else recursive_potrf(expected, leaf)) == 0
    assert np.array_equal(factored, np.tril(expected))


@pytest.mark.parametrize(("core", "leaf"), [("Zen", None), ("Haswell", 384)])
def test_getrf_does_what_the_rule_says(on, core, leaf):
    on(core)
    a = random(500, 460)
    factored, expected, pivots = a.copy(order="F"), a.copy(order="F"), np.empty(460, np.int32)
    found = getrf(factored)
    if leaf is None:
        library_getrf(expected, pivots)
    else:
        recursive_getrf(expected, pivots, leaf)
    assert np.array_equal(factored, expected)
    assert np.array_equal(found, pivots - 1)
