"""What is said of a matrix and is not so: found where its entries are read."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla.linalg import StructureError

from . import gallery
from .gallery import Array

N = 21

LARGE: Any = "wrenla.algorithms.claims._AT_ONCE"


def of(a: Array) -> Callable[[Array, Array], Array]:
    return lambda i, j: a[np.ix_(i, j)]


def sources(a: Array, structure: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[], object]]:
    """Every way in which such a matrix comes to a number."""
    b = np.ones(len(a))

    def large() -> object:
        with monkeypatch.context() as patch:
            patch.setattr(LARGE, 0)
            return wl.from_array(a, tile=8, structure=structure).compute()

    def stored() -> object:
        with monkeypatch.context() as patch:
            patch.setattr(LARGE, 0)
            return wl.from_array(a, tile=8, structure=structure).save("memory://claims", overwrite=True)

    ways = {
        "array": lambda: wl.from_array(a, tile=8, structure=structure),
        "list": lambda: wl.from_array(a.tolist(), structure=structure),
        "large array": large,
        "large array, saved": stored,
        "function": lambda: (
            wl.from_function(of(a), a.shape, 8, a.dtype, structure).solve(b)
            if structure != "hermitian"
            else wl.from_function(of(a), a.shape, 8, a.dtype, structure)
        ).compute(),
    }
    if structure != "hermitian":
        f = wl.from_function(of(a), a.shape, 8, a.dtype)
        ways |= {
            "assumed": lambda: wl.linalg.solve(a, b, assume_a=structure),
            "assumed of a function": lambda: f.solve(b, structure).compute(),
            "assumed of a shifted function": lambda: f.shift(1.0).solve(b, structure).compute(),
        }
    return ways


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_a_wrong_entry_is_found_and_shown(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One entry of a diagonal tile, in each of the ways."""
    full = gallery.well_conditioned(N, dtype)
    for structure, a, at in (
        ("pos", full, (9, 14)),
        ("pos", full, (14, 9)),
        ("hermitian", full, (20, 16)),
        ("lower", np.tril(full), (9, 14)),
        ("upper", np.triu(full), (14, 9)),
    ):
        wrong = a.copy()
        wrong[at] += 0.01 * np.abs(full).max()
        for way, use in sources(wrong, structure, monkeypatch).items():
            with pytest.raises(StructureError) as caught:
                use()
            error = caught.value
            assert {error.i, error.j} == set(at), way
            assert error.value == wrong[error.i, error.j]
            assert f"({error.i}, {error.j})" in str(error)
            assert "check=False" in str(error)
            assert str(pickle.loads(pickle.dumps(error))) == str(error)
            assert isinstance(error, np.linalg.LinAlgError)
        # whoever knows better says so
        quiet = wl.from_array(wrong, tile=8, structure=structure, check=False)  # type: ignore[arg-type]
        assert quiet.compute().shape == (N, N)
        f = wl.from_function(of(wrong), (N, N), 8, dtype, structure, check=False)  # type: ignore[arg-type]
        assert f.compute().shape == (N, N)
        if structure != "hermitian":
            wl.linalg.solve(wrong, np.ones(N), assume_a=structure, check=False).compute()


def test_a_matrix_of_another_kind_is_found_in_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Diagonal tiles are right, all the rest is not."""
    full = gallery.well_conditioned(40, "float64")
    for structure in ("pos", "lower", "upper"):
        a = {"pos": full, "lower": np.tril(full), "upper": np.triu(full)}[structure].copy()
        for i in range(5):
            for j in range(5):
                if i < j if structure != "upper" else i > j:
                    a[8 * i : 8 * i + 8, 8 * j : 8 * j + 8] += 1
        for way, use in sources(a, structure, monkeypatch).items():
            with pytest.raises(StructureError) as caught:
                use()
            assert caught.value.i // 8 != caught.value.j // 8, way


@pytest.mark.filterwarnings("ignore:Ill-conditioned")
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_claim_that_holds_up_to_rounding_is_accepted(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where rows and columns are of very different sizes, and where entries are noise."""
    u = gallery.unit_roundoff(dtype)
    g = gallery.normal((N, N), dtype)
    sizes = (10.0 ** np.linspace(-12, 12, N)).astype(g.real.dtype)
    q = np.linalg.qr(g)[0]
    nearly_diagonal = np.array((q * np.linspace(1, 2, N).astype(g.real.dtype)) @ q.conj().T, dtype)
    turned = q @ q.conj().T  # the identity, and noise
    gram = (g * 0.37) @ (g.conj().T / 0.37)
    noise = 1 + 30 * u * gallery.normal((N, N), "float64", 5)
    wide = sizes[:, None] * gallery.well_conditioned(N, dtype) * sizes
    for a in (gram + N * np.eye(N), nearly_diagonal, turned + np.eye(N), wide * noise):
        for structure in ("pos", "hermitian"):
            matrix = a.astype(dtype)
            for name, use in sources(matrix, structure, monkeypatch).items():
                if name != "list":  # of which float64 is made, and from that more is expected
                    use()
    triangle = np.triu(g) + u * np.tril(g)
    wl.from_array(triangle.astype(dtype), structure="upper")


def test_claim_of_zarr_copy_is_checked(place: Callable[[str], str]) -> None:
    zarr = pytest.importorskip("zarr")
    a = gallery.well_conditioned(N, "float64")
    a[17, 2] += 1
    a[9, 8] += 1
    theirs = zarr.array(a, chunks=(4, 4))
    with pytest.raises(StructureError, match=r"entry \(9, 8\)"):
        wl.from_zarr(theirs, place("a"), tile=8, structure="spd")  # type: ignore[arg-type]
    assert wl.from_zarr(theirs, place("b"), tile=8, structure="pos", check=False).structure == "pos"


def test_whole_numbers_are_compared_as_such() -> None:
    for kind in ("i1", "u2", "?", ">i4"):
        a = np.ones((5, 5), kind)
        wl.from_array(a, structure="hermitian")
        a[1, 3] = 0
        with pytest.raises(StructureError, match=r"entry \(3, 1\) is 1\.0, entry \(1, 3\) is 0\.0"):
            wl.from_array(a, structure="hermitian")


def test_claim_with_nan_or_infinity_is_checked() -> None:
    a = np.eye(3)
    for value in (np.nan, np.inf, -np.inf):
        a[2, 0] = a[0, 2] = value
        wl.from_array(a, structure="pos")
        a[0, 2] = 0
        with pytest.raises(StructureError, match=rf"entry \(2, 0\) is {value}, entry \(0, 2\) is 0\.0"):
            wl.from_array(a, structure="pos")
        with pytest.raises(
            StructureError, match=rf"upper triangular.*\(2, 0\) is {value}, not zero.*A\.triu"
        ):
            wl.from_array(a, structure="upper")
    wl.from_array(np.full((2, 2), 1e308), structure="pos")
    wl.from_array(np.zeros((0, 0)), structure="pos")
    with pytest.raises(StructureError, match=r"\(1, 1\) is \(1\+2j\), not real"):
        wl.from_array(np.diag([1, 1 + 2j]), structure="hermitian")
    with pytest.raises(StructureError, match="said to be diagonal"):
        wl.linalg.solve(np.ones((2, 2)), np.ones(2), assume_a="diagonal")


EXPRESSIONS: dict[str, Callable[[wl.BigMatrix], wl.BigMatrix]] = {
    "scaled": lambda A: 2 * A,
    "negative": lambda A: -A,
    "in other tiles": lambda A: A.rechunk(3),
    "in tiles that are not square": lambda A: A.rechunk((2, 3)),
    "in another precision": lambda A: A.astype("complex64"),
    "sliced": lambda A: A[:-1, :-1],
    "a sum": lambda A: A + np.eye(9),
    "persisted": lambda A: A.persist(),
    "a block": lambda A: wl.block([[A]]),
    "mapped": lambda A: wl.map_tiles(lambda t: t, A),
    "a function": lambda A: wl.from_function(of(A.compute()), A.shape, (2, 3)),
}


def test_claim_of_expression_is_checked() -> None:
    full, b = gallery.well_conditioned(9, "float64"), np.ones(9)
    W = wl.from_array(gallery.normal((9, 9)) + 9 * np.eye(9), tile=4)
    for said, right in (("pos", full), ("lower", np.tril(full)), ("diagonal", np.diag(full.diagonal()))):
        A = wl.from_array(right, tile=4)
        for name, make in EXPRESSIONS.items():
            M = make(A)
            if (said, name) != ("pos", "negative"):
                m, x = wl.compute(M, M.solve(b[: len(M)], said))
                assert np.allclose(m @ x, 1, rtol=1e-4), (said, name)
            with pytest.raises(StructureError):
                make(W).solve(b[: len(M)], said).compute()
    (2 * W).solve(b, "upper", check=False).compute()


def test_claim_is_checked_against_known_structure() -> None:
    a, b = gallery.well_conditioned(9, "complex128"), np.ones(9)
    kinds: tuple[tuple[Any, Array], ...] = (
        *(("pos", a), ("hermitian", a)),
        *(("lower", np.tril(a)), ("upper", np.triu(a))),
    )
    for known, matrix in kinds:
        A = wl.from_array(matrix, tile=5, structure=known)
        D = wl.from_array(np.diag(a.diagonal()), tile=5, structure=known)
        for said in ("lower", "upper", "diagonal"):
            if said != known:
                with pytest.raises(StructureError, match=f"said to be {said}"):
                    A.solve(b, said).compute()
            assert np.allclose(D.compute() @ D.solve(b, said).compute(), b), (known, said)


def test_claim_is_checked_on_both_sides_of_the_diagonal() -> None:
    for at in ((0, 5), (5, 0)):
        a = np.eye(6)
        a[at] = 7
        for tile in (2, 3):
            with pytest.raises(StructureError, match=rf"said to be diagonal.*\({at[0]}, {at[1]}\) is 7"):
                wl.from_function(of(a), (6, 6), tile).solve(np.ones(6), "diagonal").compute()


def test_structure_of_saved_matrix_is_not_checked(place: Callable[[str], str]) -> None:
    """Of those the other half may not be there; expressions are as right as their parts, up to rounding."""
    a = gallery.normal((9, 9))
    A = wl.from_array(a, tile=4)
    x = (A + A.T + 40 * wl.eye(9, tile=4)).solve(np.ones(9), "pos").compute()
    assert np.allclose((a + a.T + 40 * np.eye(9)) @ x, 1)
    half = np.tril(gallery.well_conditioned(9, "float64")) + np.triu(np.full((9, 9), 7.0), 1)
    wl.from_array(half, tile=4, structure="pos", check=False).save(place("half"))
    assert wl.open(place("half")).solve(np.ones(9)).compute().shape == (9,)


def test_claim_is_checked_on_cached_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LARGE, 0)
    a = gallery.normal((9, 9))
    wl.from_array(a, tile=4).compute()
    with pytest.raises(StructureError):
        wl.from_array(a, tile=4, structure="pos").compute()
