"""`wrenla solve`, `cholesky` and `matmul`, and `wrenla plan` of each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import click

from wrenla.cli.parts.command import Group
from wrenla.cli.parts.params import Finite
from wrenla.cli.parts.problem import Problem

if TYPE_CHECKING:
    from wrenla.matrices.matrix import BigMatrix

__all__ = ["commands", "plan"]

Op = Literal["N", "T", "C"]

_WORDS = (
    *("gen", "sym", "her", "pos", "lower", "upper", "diagonal"),
    *("general", "symmetric", "hermitian", "positive definite", "lower triangular", "upper triangular"),
)
"""What SciPy's `assume_a` takes."""

_OPS = click.Choice(["N", "T", "C"])

_shift = click.option(
    "--shift",
    type=Finite(),
    metavar="C",
    help="Take A + C·I in place of A (ridge, nugget, jitter).",
)


def _solution(
    A: BigMatrix,
    b: BigMatrix,
    *,
    assume_a: str | None,
    trans: Op,
    shift: float | None,
    check: bool,
    precision: Literal["full", "mixed"],
    method: Literal["lu", "rbt"] | None,
) -> BigMatrix:
    if precision == "mixed" and method == "rbt":
        raise click.UsageError("--precision mixed factors in its own way: leave --method rbt out")
    A = _shifted(A, shift)
    kind = (assume_a or A.structure).split()[0]
    if trans != "N" and kind in ("lower", "upper"):
        # what is said to be a triangle is A, not what is solved with
        A, assume_a = _turned(A, trans), "upper" if kind == "lower" else "lower"
    elif kind in ("sym", "symmetric"):
        A = A.conj() if trans == "C" else A
    elif kind in ("her", "hermitian", "pos", "positive"):
        A = A.conj() if trans == "T" else A
    else:
        A = _turned(A, trans)
    return A.solve(b, assume_a, check=check, precision=precision, method=method)


def _factor(A: BigMatrix, *, upper: bool, shift: float | None) -> BigMatrix:
    return _shifted(A, shift).cholesky(upper)


def _product(A: BigMatrix, B: BigMatrix, *, trans_a: Op, trans_b: Op) -> BigMatrix:
    return _turned(A, trans_a) @ _turned(B, trans_b)


def _shifted(A: BigMatrix, shift: float | None) -> BigMatrix:
    return A if shift is None else A.shift(shift)


def _turned(A: BigMatrix, op: Op) -> BigMatrix:
    return A if op == "N" else A.T if op == "T" else A.H


_solve = Problem(
    "solve",
    ("matrix", "vector"),
    _solution,
    [
        click.option(
            "--assume-a",
            type=click.Choice(_WORDS, case_sensitive=False),
            metavar="KIND",
            help="gen, sym, her, pos, lower, upper, diagonal or SciPy's other words; of pos, sym and her the "
            "lower triangle is read.  [default: as the matrix is stored, else gen]",
        ),
        click.option("--trans", type=_OPS, default="N", help="Solve with A, Aᵀ (T) or Aᴴ (C).  [default: N]"),
        _shift,
        click.option(
            "--check/--no-check",
            default=True,
            help="Look whether A is what --assume-a says.  [default: check]",
        ),
        click.option(
            "--precision",
            type=click.Choice(["full", "mixed"]),
            default="full",
            help="mixed factors in half the precision, and refines.  [default: full]",
        ),
        click.option(
            "--method",
            type=click.Choice(["lu", "rbt"]),
            help="LU with partial pivoting, or random butterflies.  [default: the plan decides]",
        ),
    ],
    "Solve A X = B, look at the solution, and write it.\n\n"
    "A and B are .npy files, Zarr arrays or stored matrices; B has one column or many. Prints the report of "
    "the solution: how it was found, its residual, and an estimate of the condition of A. A solution whose "
    "residual is too large is an error (exit code 3), never a file.\n\n"
    "A run that was killed goes on where it was when the same command runs again.",
    "Solve a linear system.",
    (
        "wrenla solve A.npy b.npy -o x.npy",
        "wrenla solve K.zarr y.npy -o weights.npy --assume-a pos --shift 1e-3",
        "wrenla solve A.zarr b.npy -o x.zarr --precision mixed --json",
        "wrenla solve s3://bucket/A s3://bucket/b -o s3://bucket/x --executor lambda --max-dollars 2",
    ),
    (
        "wrenla plan solve K.npy b.npy --assume-a pos",
        "wrenla plan solve 40000 40000 --assume-a pos --tile 2048 --allowed-mem '4 GiB'",
    ),
    "method     substitution, since A is a triangle or diagonal: of a Cholesky factor L, this solves with L, "
    "not with L Lᴴ",
)

_cholesky = Problem(
    "cholesky",
    ("matrix",),
    _factor,
    [click.option("--upper", is_flag=True, help="Write U with Uᴴ U = A, not L with L Lᴴ = A."), _shift],
    "Write the Cholesky factor L of a Hermitian (symmetric) positive definite matrix A.\n\n"
    "Only the lower triangle of A is read. A matrix that is not positive definite ends with exit code 3; the "
    "message names the row.\n\n"
    "A run that was killed goes on where it was when the same command runs again.",
    "Factor a positive definite matrix.",
    (
        "wrenla cholesky K.npy -o L.zarr",
        "wrenla cholesky K.zarr -o U.npy --upper --shift 1e-6",
        "wrenla cholesky s3://bucket/K -o s3://bucket/L --executor lambda",
    ),
    (
        "wrenla plan cholesky K.npy --compare",
        "wrenla plan cholesky 100000 --tile 2048 --functions 1769 --workers 1000 --simulate",
    ),
)

_matmul = Problem(
    "matmul",
    ("left", "right"),
    _product,
    [
        click.option("--trans-a", type=_OPS, default="N", help="Take A, Aᵀ (T) or Aᴴ (C).  [default: N]"),
        click.option("--trans-b", type=_OPS, default="N", help="Take B, Bᵀ (T) or Bᴴ (C).  [default: N]"),
    ],
    "Multiply two matrices, or a matrix and a vector, and write the product.\n\n"
    "A run that was killed goes on where it was when the same command runs again.",
    "Multiply two matrices.",
    (
        "wrenla matmul A.npy A.npy -o S.zarr --trans-a T",
        "wrenla matmul A.zarr b.npy -o z.npy --workers 2",
    ),
    ("wrenla plan matmul A.npy A.npy --trans-a T", "wrenla plan matmul 20000x500 500x20000"),
)

_problems = (_solve, _cholesky, _matmul)

commands: Mapping[str, click.Command] = {problem.name: problem.command() for problem in _problems}


@click.group(cls=Group, short_help="Show tasks, memory, time and cost without computing.")
def plan() -> None:
    """Show what a computation would take, without computing: tasks, memory, time and cost."""


for _problem in _problems:
    plan.add_command(_problem.plan_command())
