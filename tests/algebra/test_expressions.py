"""Random expressions against NumPy: views on views, mixed dtypes and tilings, from 0 × 0 to 40 × 40."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from . import trees
from .twins import Twin

RANDOM = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

sides = st.one_of(st.integers(0, 40), st.sampled_from([0, 1, 8, 16, 17]))


def check(x: Twin) -> None:
    assert x.A.shape == x.native.shape
    assert x.A.dtype == x.native.dtype
    value = x.A.compute()
    assert value.shape == x.native.shape
    assert value.dtype == x.native.dtype
    assert (np.abs(value - x.exact) <= x.bound).all()


@settings(RANDOM, max_examples=30)
@given(st.data(), sides, sides)
def test_expression_of_depth_one_agrees_with_numpy(data: Any, m: int, n: int) -> None:
    check(trees.matrix(data.draw, m, n, 1))


@settings(RANDOM, max_examples=30)
@given(st.data(), sides, st.integers(1, 2))
def test_square_expression_agrees_with_numpy(data: Any, n: int, depth: int) -> None:
    check(trees.matrix(data.draw, n, n, depth))


@settings(RANDOM, max_examples=30)
@given(st.data(), sides, sides, st.integers(2, 4))
def test_deep_expression_agrees_with_numpy(data: Any, m: int, n: int, depth: int) -> None:
    check(trees.matrix(data.draw, m, n, depth))


@settings(RANDOM, max_examples=30)
@given(st.data(), sides, st.integers(0, 3))
def test_vector_expression_agrees_with_numpy(data: Any, n: int, depth: int) -> None:
    check(trees.vector(data.draw, n, depth))


@settings(RANDOM, max_examples=30)
@given(st.data(), sides, sides, st.integers(0, 2))
def test_number_of_expression_agrees_with_numpy(data: Any, m: int, n: int, depth: int) -> None:
    x = trees.matrix(data.draw, m, n, depth)
    kinds = ["sum", "fro", "trace"]
    if m and n:
        kinds += ["entry", "1", "-1", "inf", "-inf", "max"]
    kind = data.draw(st.sampled_from(kinds))
    match kind:
        case "sum":
            check(x.map(lambda a: a.sum(), m + n))
        case "trace":
            check(x.map(lambda a: a.trace(), m + n))
        case "entry":
            i, j = data.draw(st.integers(-m, m - 1)), data.draw(st.integers(-n, n - 1))
            check(x.map(lambda a: a[i, j]))
        case _:
            order: Any = kind if kind in ("fro", "max") else float(kind)
            value = x.A.norm(order).compute()
            assert value.dtype == x.native.real.dtype

            def norm(a: Any) -> Any:
                return (
                    np.abs(a).max()
                    if order == "max"
                    else np.sqrt((np.abs(a) ** 2).sum())
                    if order == "fro"
                    else np.linalg.norm(a.astype(complex), order)
                )

            size = norm(x.size) if order in ("fro", "max") else max(x.size.sum(0).max(), x.size.sum(1).max())
            expected = norm(x.exact)
            assert abs(value - expected) <= 4 * (x.roundings + m + n + 4) * x.u * size + 1e-14 * size


@pytest.mark.slow
@settings(RANDOM, max_examples=800)
@given(st.data(), sides, sides, st.integers(1, 4))
def test_expression_of_many_examples_agrees_with_numpy(data: Any, m: int, n: int, depth: int) -> None:
    check(trees.matrix(data.draw, m, n, depth))
