"""`wrenla solve`, `cholesky`, `matmul`, `plan` and `cp`: results on files, and what is printed of them."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

import wrenla as wl

from .conftest import N, Wrenla, document

pytestmark = pytest.mark.unit


def loaded(path: str) -> np.ndarray:
    """Return what is stored, by readers of others."""
    import zarr

    return np.load(path) if path.endswith(".npy") else np.asarray(zarr.open(path, mode="r")[...])


def error_of(A: np.ndarray, x: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(A @ x - b).max())


@pytest.mark.parametrize("output", ["x.npy", "x.zarr", "x"])
@pytest.mark.parametrize("A", ["K.npy", "K.zarr", "group.zarr/K"])
def test_solve_reads_and_writes_each_kind(wrenla: Wrenla, A: str, output: str) -> None:
    done = wrenla("solve", A, "B.npy", "-o", output, "--assume-a", "pos")
    assert done.exit_code == 0, done.stderr
    assert done.stderr == ""
    assert "method     Cholesky: positive definite" in done.stdout
    assert done.stdout.splitlines()[-1].startswith(f"{output}: {N} × 3, float64, ")
    assert error_of(np.load("K.npy"), loaded(output), np.load("B.npy")) < 1e-12


def test_solve_of_stored_matrices(wrenla: Wrenla) -> None:
    wl.from_npy("K.npy", 16, structure="pos").save("K")
    wl.from_npy("b.npy", 16).save("b")
    assert "Cholesky" in wrenla("solve", "K", "b", "-o", "x.npy").stdout
    assert error_of(np.load("K.npy"), np.load("x.npy"), np.load("b.npy")) < 1e-12


def test_document_of_solve_has_the_report(wrenla: Wrenla) -> None:
    said = document(wrenla("solve", "A.npy", "b.npy", "-o", "x.npy", "--method", "rbt", "--json"))
    assert said["report"].keys() == {field.name for field in fields(wl.linalg.SolveReport)}
    assert "butterflies" in said["report"]["method"]
    assert said["executor"] == "LocalExecutor(workers=2, kind='thread', allowed_mem='1.00 GiB')"
    assert said["output"]["shape"] == [N]
    assert said["warnings"] == []


@pytest.mark.parametrize("assume", ["gen", "sym", "her", "pos", "lower", "upper"])
@pytest.mark.parametrize("trans", ["N", "T", "C"])
def test_transposed_systems(wrenla: Wrenla, trans: str, assume: str) -> None:
    """For triangles and Hermitian matrices the words are of A itself, as in SciPy."""
    A = {"gen": np.load("Z.npy"), "her": np.load("H.npy"), "pos": np.load("K.npy")}.get(assume)
    if A is None:
        L = np.load("L.npy") + 1j * np.diag(np.arange(float(N)))
        A = {"sym": L + L.T, "lower": L, "upper": L.T}[assume]
    np.save("given.npy", A)
    done = wrenla("solve", "given.npy", "b.npy", "-o", "x.npy", "--trans", trans, "--assume-a", assume)
    assert done.exit_code == 0, done.stderr
    op = {"N": A, "T": A.T, "C": A.conj().T}[trans]
    assert error_of(op, np.load("x.npy"), np.load("b.npy")) < 1e-10


@pytest.mark.parametrize("assume", ["lower", "upper", "diagonal", "sym", "her", "pos"])
@pytest.mark.parametrize("trans", ["N", "T", "C"])
def test_claims_about_the_matrix_are_checked_however_it_is_turned(
    wrenla: Wrenla, trans: str, assume: str
) -> None:
    words = ("solve", "A.npy", "b.npy", "-o", "x.npy", "--trans", trans, "--assume-a", assume)
    refused = wrenla(*words)
    assert (refused.exit_code, Path("x.npy").exists()) == (3, False)
    if assume in ("lower", "upper"):
        assert f"said to be {assume} triangular, but is not" in refused.stderr
        A = {"lower": np.tril, "upper": np.triu}[assume](np.load("A.npy"))
        assert wrenla(*words, "--no-check").exit_code == 0
        assert np.allclose({"N": A, "T": A.T, "C": A.T}[trans] @ np.load("x.npy") / np.load("b.npy"), 1)


def test_solution_of_a_triangle_says_how_it_was_found(wrenla: Wrenla) -> None:
    said = wrenla("solve", "lower.zarr", "b.npy", "-o", "x.npy").stdout
    assert said.startswith(
        "method     substitution, since A is a triangle or diagonal: of a Cholesky factor L"
    )
    assert "substitution" not in wrenla("matmul", "lower.zarr", "b.npy", "-o", "z.npy").stdout


def test_shift_is_added_to_the_diagonal(wrenla: Wrenla) -> None:
    wrenla("solve", "indefinite.npy", "b.npy", "-o", "x.npy", "--assume-a", "pos", "--shift", "80")
    assert error_of(np.load("K.npy"), np.load("x.npy"), np.load("b.npy")) < 1e-12
    assert wrenla("cholesky", "indefinite.npy", "-o", "L.zarr", "--shift", str(2 * N)).exit_code == 0
    assert np.allclose(loaded("L.zarr") @ loaded("L.zarr").T, np.load("K.npy"))


def test_unchecked_structure_reads_one_triangle(wrenla: Wrenla) -> None:
    np.save("lower.npy", np.tril(np.load("K.npy")))
    assert wrenla("solve", "lower.npy", "b.npy", "-o", "x.npy", "--assume-a", "pos").exit_code == 3
    assert not Path("x.npy").exists()
    wrenla("solve", "lower.npy", "b.npy", "-o", "x.npy", "--assume-a", "pos", "--no-check")
    assert error_of(np.load("K.npy"), np.load("x.npy"), np.load("b.npy")) < 1e-12


def test_warning_of_an_ill_conditioned_matrix_is_a_line(wrenla: Wrenla) -> None:
    np.save("hilbert.npy", 1 / (np.arange(N)[:, None] + np.arange(N) + 1.0))
    done = wrenla("solve", "hilbert.npy", "b.npy", "-o", "x.npy", "--json")
    (line,) = done.stderr.splitlines()
    assert line.startswith("Warning: ")
    assert document(done)["warnings"] == [line.removeprefix("Warning: ")]


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("output", ["L.out", "L2.npy"])
def test_cholesky(wrenla: Wrenla, output: str, upper: bool) -> None:
    done = wrenla("cholesky", "K.npy", "-o", output, "--tile", "16", *(["--upper"] if upper else []))
    assert done.exit_code == 0, done.stderr
    L = np.linalg.cholesky(np.load("K.npy"))
    assert np.allclose(loaded(output), L.T if upper else L, atol=1e-12)


@pytest.mark.parametrize(("a", "b"), [("N", "N"), ("T", "N"), ("C", "T")])
def test_matmul(wrenla: Wrenla, a: str, b: str) -> None:
    done = wrenla("matmul", "Z.npy", "A.zarr", "-o", "C.npy", "--trans-a", a, "--trans-b", b)
    assert done.exit_code == 0, done.stderr
    Z, A = np.load("Z.npy"), np.load("A.npy")
    expected = {"N": Z, "T": Z.T, "C": Z.conj().T}[a] @ (A.T if b == "T" else A)
    assert np.allclose(np.load("C.npy"), expected, atol=1e-12)


def test_tiles_are_those_that_were_asked_for(wrenla: Wrenla) -> None:
    wrenla("cp", "A.npy", "A16", "--tile", "16")
    wrenla("cp", "A16", "A8", "--tile", "8x20")
    wrenla("cp", "A.zarr", "as-chunks")
    assert [wl.open(name).tile for name in ("A16", "A8", "as-chunks")] == [(16, 16), (8, 20), (32, 32)]


@pytest.mark.parametrize("source", ["A.npy", "A.zarr", "b.npy", "Z.npy", "K.zarr"])
@pytest.mark.parametrize("target", ["copy.npy", "copy.zarr"])
def test_copies_have_the_same_bits(wrenla: Wrenla, source: str, target: str) -> None:
    done = wrenla("cp", source, target, "--tile", "16")
    assert done.exit_code == 0, done.stderr
    assert np.array_equal(loaded(target), loaded(source))
    assert wrenla("cp", target, "again.npy", "--dtype", "complex64").exit_code == 0
    assert np.array_equal(np.load("again.npy"), loaded(source).astype("complex64"))


def test_copies_keep_structure_and_factors(wrenla: Wrenla) -> None:
    A = wl.from_npy("A.npy", 16)
    wl.from_npy("K.npy", 16, structure="pos").save("K")
    wl.linalg.lu_factor(A).save("lu")
    wrenla("cp", "K", "K2")
    done = wrenla("cp", "lu", "lu2")
    assert done.exit_code == 0, done.stderr
    assert wl.open("K2").structure == "pos"
    assert error_of(np.load("A.npy"), wl.open_factor("lu2").solve(np.ones(N)).compute(), np.ones(N)) < 1e-10
    refused = wrenla("cp", "lu", "lu.npy")
    assert (refused.exit_code, "is copied as it is" in refused.stderr) == (2, True)


def test_outputs_are_replaced_only_if_asked(wrenla: Wrenla) -> None:
    for output in ("x.npy", "x.zarr"):
        assert wrenla("matmul", "A.npy", "b.npy", "-o", output).exit_code == 0
        before = loaded(output)
        refused = wrenla("matmul", "A.npy", "y.npy", "-o", output)
        assert refused.exit_code == 2
        assert refused.stderr.endswith("--overwrite replaces it\n")
        assert np.array_equal(loaded(output), before)
        assert wrenla("matmul", "A.npy", "y.npy", "-o", output, "--overwrite").exit_code == 0
        assert not np.array_equal(loaded(output), before)
    again = wrenla("matmul", "A.npy", "y.npy", "-o", "x.zarr")  # that very product is there
    assert (again.exit_code, "is there already; nothing was computed" in again.stdout) == (0, True)
    words = ("matmul", "A.npy", "y.npy", "-o", "x.zarr", "--json")
    assert document(wrenla(*words))["output"]["was_there"]
    assert not document(wrenla(*words, "--overwrite"))["output"]["was_there"]


def test_plan_compared_simulated_and_drawn(wrenla: Wrenla) -> None:
    words = ("plan", "cholesky", "K.npy", "--tile", "10", "--compare", "--simulate")
    shown = document(wrenla(*words, "--draw", "dag.svg", "--json"))
    assert shown.keys() == {"command", "executor", "plan", "options", "simulation", "drawing"}
    assert sum(option["recommended"] for option in shown["options"]) == 1
    assert shown["simulation"]["attempts"] == shown["plan"]["tasks"]
    assert Path(shown["drawing"]).read_text().endswith("</svg>")
    said = wrenla(*words).stdout
    assert "recommended" in said
    assert "simulated run of" in said


def test_plan_for_functions_that_are_not_there(wrenla: Wrenla) -> None:
    words = ("plan", "cholesky", "50000", "--tile", "2048", "--functions", "1769", "--workers", "500")
    shown = document(wrenla(*words, "--json"))
    assert shown["plan"]["workers"] == 500
    assert shown["plan"]["dollars"]["total"] > 0.01
    assert "cost " in wrenla(*words).stdout
    refused = wrenla(*words, "--executor", "dask")
    assert refused.exit_code == 2
    assert "--functions plans for what is not there; dask is" in refused.stderr


def test_a_plan_that_takes_long_says_so_before(wrenla: Wrenla, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wrenla.cli.parts.problem._MANY", 63)
    words = ("plan", "solve", "4000", "4000", "--assume-a", "pos", "--tile")
    many = wrenla(*words, "500", "--json")
    assert many.stderr == "planning 8 × 8 tiles: larger ones (--tile) are planned faster\n"
    assert document(many)["plan"]["tasks"] > 36
    assert wrenla(*words, "600").stderr == ""


def test_run_is_recorded(wrenla: Wrenla) -> None:
    wrenla("cholesky", "K.npy", "-o", "made.npy", "--record", "run.jsonl")
    first, *_, last = Path("run.jsonl").read_text().splitlines()
    assert json.loads(first)["event"] == "wrenla record"
    assert json.loads(last)["event"] == "RecordFinished"
    said = document(wrenla("report", "run.jsonl", "--json"))
    assert (said["report"], round(sum(said["shares"].values()), 6)) == ("run.html", 1)
    assert "what bounded" in Path("run.html").read_text().lower()
    assert "bound by" in wrenla("report", "run.jsonl", "-o", "other.html").stdout
    assert Path("other.html").exists()
    wrenla("cholesky", "K.npy", "-o", "again.npy", "--report", "again.html")
    assert Path("again.html").exists()


@pytest.mark.parametrize(
    ("record", "words"), [("A.npy", "is no record of a run"), ("lines.txt", "is no record")]
)
def test_report_of_what_is_no_record(wrenla: Wrenla, record: str, words: str) -> None:
    refused = wrenla("report", record)
    assert refused.exit_code == 1
    assert words in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not Path(record).with_suffix(".html").exists()


def test_plan_of_matrices_and_of_shapes(wrenla: Wrenla) -> None:
    said = wrenla("plan", "cholesky", "K.npy", "--tile", "10").stdout
    assert said.startswith(f"plan for {N} × {N}, float64, from {N} × {N} in tiles of 10 × 10\n")
    shown = document(wrenla("plan", "solve", "4000", "4000", "--assume-a", "pos", "--tile", "500", "--json"))
    assert shown["plan"]["kernels"]["potrf"] == 8
    assert shown["plan"]["flops"] > 4000**3 / 3
    assert "plan for 4000 × 4000, float64" in wrenla("plan", "cholesky", "4e3").stdout
    assert "from 4000 × 4000" in wrenla("plan", "solve", "4e3", "4e3", "--assume-a", "pos").stdout
    assert "plan for 300 × 300, float64" in wrenla("plan", "matmul", "300x50", "50x300").stdout
    assert "from 4000 × 4000" in wrenla("plan", "solve", "4000", "4000x2", "--method", "lu").stdout
