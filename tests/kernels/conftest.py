"""One BLAS thread for all tests of kernels: on busy machines small calls lose by waiting for a second."""

import pytest

from wrenla_kernels import blas_threads


@pytest.fixture(autouse=True, scope="module")
def one_blas_thread():
    with blas_threads(1):
        yield
