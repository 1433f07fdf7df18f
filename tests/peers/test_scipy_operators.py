"""SciPy's own tests of operators, with `wrenla.linalg.aslinearoperator` in the place of theirs."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import wrenla as wl

from .stand_in import NotThere, known, matrix

tests = pytest.importorskip(
    "scipy.sparse.linalg.tests.test_interface", reason="SciPy was installed without its tests"
)

pytestmark = pytest.mark.peers

# those that make operators of matrices
TestLinearOperator = tests.TestLinearOperator
TestDotTests = tests.TestDotTests
TestAsLinearOperator = tests.TestAsLinearOperator
test_attributes = tests.test_attributes
test_dtypes_of_operator_sum = tests.test_dtypes_of_operator_sum
test_adjoint_conjugate = tests.test_adjoint_conjugate
test_transpose_noconjugate = tests.test_transpose_noconjugate
test_ndim = tests.test_ndim
test_batch = getattr(tests, "test_batch", lambda: pytest.skip("SciPy before 1.18"))


@pytest.fixture
def xp() -> ModuleType:
    """NumPy, among the array namespaces of SciPy's tests."""
    from scipy._lib._array_api import np_compat

    return np_compat  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def ours(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with known(request, {}) as stand_in:
        monkeypatch.setattr(tests.interface, "aslinearoperator", stand_in.of(_ours, aslinearoperator))
        yield


def _ours(A: Any) -> Any:
    if not isinstance(A, np.ndarray) or isinstance(A, LinearOperator):
        raise NotThere("operators of operators and of sparse matrices")
    if A.dtype.kind not in "fc":
        raise NotThere("operators of integers")
    return wl.linalg.aslinearoperator(matrix(A))
