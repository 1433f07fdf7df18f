"""Names of results: a killed run goes on only where its tiles have the names that they had before."""

from __future__ import annotations

import numpy as np
import pytest

import wrenla as wl

pytestmark = pytest.mark.unit

A = np.arange(36.0).reshape(6, 6) / 7  # no sum of products: its bits are not the same on all machines
B = wl.from_array(np.arange(12.0).reshape(6, 2), tile=3)
S = wl.from_array(np.minimum.outer(np.arange(1.0, 7), np.arange(1.0, 7)), tile=3, structure="pos")
Z = wl.from_array(A + 1j * A.T, tile=3)
G = wl.from_array(A, tile=3)

EXPRESSIONS = {
    "array": G,
    "zeros": wl.zeros((6, 6), tile=3),
    "cholesky": S.cholesky(),
    "solve": S.solve(B),
    "gram": G.gram(),
    "weighted gram": G.gram(wl.from_array(np.arange(6.0), tile=3)),
    "product": G @ B,
    "long sum": wl.zeros((3, 60), tile=3) @ wl.zeros((60, 3), tile=3),
    "views": (2 * G - G.T).shift(1.5).tril(),
    "elementwise": np.exp(G) / (G + 1),
    "sum": G.sum(0),
    "norm": Z.norm("fro"),
    "determinant": S.slogdet()[1],
    "largest": G.max(1),
    "variance": G.var(0),
    "cast": Z.astype("complex64"),
    "slice": G[1:5:2, ::-1],
    "other tiles": G.rechunk(4),
}

KEYS = {
    "array": "0ecbbecbc69e7f0d6c92ffcf",
    "zeros": "836e72a77d0393bc239724af",
    "cholesky": "0e56a8f710a14fd2d4b6b82c",
    "solve": "8539cdb3f05774c709a1577b",
    "gram": "b14dec10ba3afbc94db887d0",
    "weighted gram": "7edc5712aa29846b57a8bc57",
    "product": "910249b8c891eac97aea93aa",
    "long sum": "419611815432a60e60dc24ae",
    "views": "89a01fc72d59ab2906511dcd",
    "elementwise": "0ee9f449af6eb6b0e1f0c932",
    "sum": "a2f8c4f7c5bd459504803f1d",
    "norm": "147d42b801e73529fac060ed",
    "determinant": "28fc8de6afbebb68191c0e84",
    "largest": "4059b55350e03ac9042e467c",
    "variance": "6453a828f13e80d51926e454",
    "cast": "66c3ae24c5235cd6eb3f2737",
    "slice": "42a83cb1ca37361ada4944cb",
    "other tiles": "afcb8298da0877d710c07098",
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_key_stays_until_the_numbers_change(name: str) -> None:
    """Raise `version` where numbers change, and put the new key here; else it must be the same for ever."""
    assert EXPRESSIONS[name]._node.key == KEYS[name]
