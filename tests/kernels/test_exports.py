"""Every kernel is a name of the package."""

import wrenla_kernels
from wrenla_kernels import blas2, blas3, elementwise, lapack, reductions

NOT_KERNELS = {"Op", "Side", "Triangle", "split"}


def test_every_kernel_is_exported():
    public = {
        name for module in (blas2, blas3, lapack, elementwise, reductions) for name in module.__all__
    } - NOT_KERNELS
    public = {name for name in public if not name.startswith(("library_", "recursive_"))}  # ways of a kernel
    assert public <= set(wrenla_kernels.__all__)
