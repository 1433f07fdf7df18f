"""One BLAS thread for all tests of kernels: on busy machines small calls lose by waiting for a second."""

import pytest

from tests.kernels.ways import WAYS, take
from wrenla_kernels import blas_threads


@pytest.fixture(autouse=True, scope="module")
def one_blas_thread():
    with blas_threads(1):
        yield


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """Compute by the library's own routines, and by our recursions."""
    take(request.param, monkeypatch)
    return request.param
