"""Functions entry by entry are made as tiles are read: how many tasks, reads and bytes that takes."""

from __future__ import annotations

import numpy as np

import wrenla as wl
from wrenla.evaluate.storing import made
from wrenla.planning.cost_model import ExecutorModel
from wrenla.planning.cut import Cut
from wrenla.planning.plan import Plan, make_plan


def plan(x: wl.BigMatrix) -> Plan:
    return make_plan([made(x._node)], ExecutorModel(2, 60e9, 2e9, 1e-4, 60.0, 1 << 50), cut=Cut())[0]


def test_chains_are_one_pass() -> None:
    A, B, v = wl.random((24, 18), tile=6), wl.random((24, 18), tile=6, seed=1), wl.random(18, tile=6)
    M, N = 4, 3
    chain = np.exp(-((A * 0.5 - B) ** 2) / 3) + 1
    for x, tasks, reads, waves in (
        (chain, M * N, 2 * M * N, 1),
        (chain.sum(1), M * N + M, 3 * M * N, 2),
        (chain.norm(), M * N + M + 1, 3 * M * N + M, 3),
        (chain @ v, M, 3 * M * N, 1),  # each tile is needed once
        (chain.T @ wl.random((24, 12), tile=6), M * N + 2 * N, 2 * M * N + 2 * 2 * M * N, 2),  # made once
        ((A / 3) @ wl.random((18, 12), tile=6), 2 * M, 2 * 2 * M * N, 1),  # cheaper than a copy
        ((A * A).sum(axis=0), M * N + N, 2 * M * N, 2),  # one tile is read once
        ((A - v) / (A - v).std(axis=0), None, None, None),
        (np.exp(wl.random((24, 24), tile=6).gram()).cholesky(), 20, None, 8),
    ):
        found = plan(x)
        if tasks is not None:
            assert found.tasks == tasks
        if reads is not None:
            assert found.reads == reads
        if waves is not None:
            assert found.waves == waves
    assert np.allclose((chain @ v).compute(), chain.compute() @ v.compute(), rtol=1e-12)


def test_runs_of_what_is_made_on_the_way() -> None:
    """A plan stays small: terms that are read alike are one object, forwards and backwards."""
    n = 24
    A, L = wl.random((n, n), tile=2), wl.random((n, n), tile=2, seed=1).tril().shift(n)
    v, column = wl.random(n, tile=2), wl.random((n, 1), tile=2)
    a, low, b = A.compute(), L.compute(), v.compute()
    for x, expected, most in (
        (np.exp(A.T) @ v, np.exp(a.T) @ b, 1),
        ((A * column / 7) @ v, (a * column.compute() / 7) @ b, 1),
        ((A.scale_columns(v).scale_rows(v).T / 7) @ v, ((a * b) * b[:, None]).T / 7 @ b, 1),
        (np.sin(L) @ v, np.sin(low) @ b, 2),
        ((L / 3).T.solve(v), np.linalg.solve((low / 3).T, b), 1),
        (np.exp(A + A.T) @ v, np.exp(a + a.T) @ b, 1),
    ):
        tasks = plan(x).graph.tiles.tasks
        assert max(len(task.terms) for task in tasks) <= most
        assert np.allclose(x.compute(), expected, rtol=1e-12)


def test_chain_used_twice_in_one_expression_is_made_once() -> None:
    A = wl.random((12, 12), tile=6)
    E = np.exp(A)
    x, y = E * (1 - E), A * (1 - A)
    assert (plan(x).tasks, plan(x).reads) == (4 + 4, 4 + 2 * 4)
    assert (plan(y).tasks, plan(y).reads) == (4, 2 * 4)
    e = np.exp(A.compute())
    assert np.array_equal(x.compute(), e * (1 - e))
    for _ in range(30):  # it would be read 2³⁰ times
        E = E * (1 - abs(E)) / (2 + E)
        e = e * (1 - abs(e)) / (2 + e)
    assert plan(E).reads < 30 * 4 * 8
    assert np.array_equal(E.compute(), e)


def test_memory_is_priced() -> None:
    tile = 64 * 64 * 8
    A, B = wl.random((256, 256), tile=64), wl.random((256, 256), tile=64, seed=1)
    one, two = plan(np.exp(A) * 2), plan(A * B)
    assert one.projected == 3 * tile  # the result, the tile, and what is made of it
    assert two.projected == 4 * tile
    assert plan(np.exp(np.exp(np.exp(A)))).projected == one.projected  # in place


def test_variance_of_a_gaussian_process() -> None:
    x, y = np.linspace(0, 1, 20), np.linspace(0, 1, 13)
    k = np.exp(-((x[:, None] - x) ** 2) * 8) + 0.1 * np.eye(20)
    s = np.exp(-((x[:, None] - y) ** 2) * 8)
    K, S = wl.from_array(k, tile=6, structure="pos"), wl.from_array(s, tile=6)
    V = K.cholesky().solve(S)
    variance = 1.0 - (V * V).sum(axis=0)
    assert np.allclose(variance.compute(), 1 - np.einsum("ij,ij->j", s, np.linalg.solve(k, s)))


def test_resumed_runs_and_many_plans_know_the_function() -> None:
    A = wl.random((6, 6), tile=3)
    different = (
        A * 0.1,
        A * 0.2,
        A + 0.1,
        A / 0.1,
        np.exp(A),
        A * np.float32(0.1),
        A * 0.1 * 0.1,
        0.1 - A,
        A - 0.1,
    )
    assert len({x._node.key for x in different}) == len(different)
    assert (A * 0.1)._node.key == (A * 0.1)._node.key
