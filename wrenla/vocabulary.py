"""Vocabulary: the field's words for structures and solvers, and ours."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from wrenla_handler.tiles.layout import Structure

__all__ = ["Solver", "did_you_mean", "refuse_others", "solver_of", "structure_of"]

Solver: TypeAlias = Literal["general", "symmetric", "hermitian", "pos", "lower", "upper", "diagonal"]
"""What `assume_a` can come to; "general" goes by the structure."""

_KINDS: dict[str, Solver] = {
    "general": "general",
    "gen": "general",
    "symmetric": "symmetric",
    "sym": "symmetric",
    "hermitian": "hermitian",
    "her": "hermitian",
    "pos": "pos",
    "spd": "pos",
    "hpd": "pos",
    "positive definite": "pos",
    "lower": "lower",
    "lower triangular": "lower",
    "upper": "upper",
    "upper triangular": "upper",
    "diagonal": "diagonal",
}
"""Words of SciPy's `solve`, and of papers."""

_NOT_THERE = {
    "tridiagonal": "banded matrices have no solver of their own yet",
    "banded": "banded matrices have no solver of their own yet",
}

_MEANT = {
    "psd": "a semidefinite matrix is 'hermitian'; with A.shift(c), c > 0, it is 'pos'",
    "positive semidefinite": "a semidefinite matrix is 'hermitian'; with A.shift(c), c > 0, it is 'pos'",
    "triangular": "say which: 'lower' or 'upper'",
    "tri": "say which: 'lower' or 'upper'",
    "diagonal": "a diagonal matrix is 'lower' (and 'upper'); wrenla.linalg.solve takes assume_a='diagonal'",
}


_ARE_DEFAULTS = {"sym_pos": False, "transposed": False, "unit_diagonal": False}
"""Arguments of SciPy's that may be said, as they ask for nothing."""

_INSTEAD = {
    "a_max": "say max=",
    "a_min": "say min=",
    "chunks": "rows and columns of a tile are tile=",
    "lower": "of a positive definite matrix the lower triangle is read; cho_factor(A, lower=False) reads the "
    "upper one; of a triangular matrix say assume_a='lower' or 'upper'",
    "sym_pos": "say assume_a='pos'",
    "transposed": "give it the transpose: solve(A.T, b)",
    "unit_diagonal": "give it a matrix with ones on its diagonal; in an array numpy.fill_diagonal(a, 1) "
    "writes them",
}
"""What to say instead of an argument of SciPy, NumPy or Dask."""


def did_you_mean(word: Any, words: Iterable[str]) -> str:
    """Return a hint for a word that is none of those: the nearest one, or all of them.

    Examples
    --------
    >>> did_you_mean("hermitean", ["pos", "hermitian"])
    "did you mean 'hermitian'?"
    >>> did_you_mean("x", ["pos", "hermitian"])
    "there are: 'hermitian', 'pos'"
    """
    words = sorted(words)
    near = difflib.get_close_matches(word, words, 1) if isinstance(word, str) else []
    return f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(map(repr, words))}"


def refuse_others(
    function: str, others: Mapping[str, Any], known: Iterable[str], ignored: Iterable[str] = ()
) -> None:
    """Refuse arguments that a function has not, with what to say instead.

    Parameters
    ----------
    function : str
    others : mapping
        The arguments and their values.
    known : iterable of str
        Arguments that it has.
    ignored : iterable of str
        Those of others that may be given and change nothing.

    Raises
    ------
    TypeError
        There is one that is not ignored.

    Examples
    --------
    >>> refuse_others("solve", {"overwrite_a": True, "transposed": False}, ["check"], ["overwrite_a"])
    >>> refuse_others("solve", {"sym_pos": True}, ["check"])
    Traceback (most recent call last):
    TypeError: solve: there is no sym_pos=; say assume_a='pos'
    """
    for word, value in others.items():
        if word not in ignored and not (word in _ARE_DEFAULTS and value is _ARE_DEFAULTS[word]):
            raise TypeError(
                f"{function}: there is no {word}=; {_INSTEAD.get(word) or did_you_mean(word, known)}"
            )


def structure_of(word: Any, dtype: npt.DTypeLike) -> Structure:
    """Return the structure that a user means.

    Raises
    ------
    ValueError
        The word is unknown, or does not say enough; the message has the right one.

    Examples
    --------
    >>> structure_of("spd", "float64"), structure_of("sym", "float64")
    ('pos', 'hermitian')
    """
    plain = _plain(word)
    kind = _KINDS.get(plain)
    if kind == "symmetric":
        if np.dtype(dtype).kind == "c":
            raise ValueError(
                f"structure={word!r}: of complex matrices 'hermitian' is known (A equal to its conjugate "
                "transpose); one that is merely symmetric is 'general'"
            )
        return "hermitian"
    if kind is None or kind == "diagonal":
        hint = _MEANT.get(plain) or did_you_mean(plain, _KINDS.keys() - {"diagonal"})
        raise ValueError(f"structure is one of {', '.join(get_args(Structure))}, not {word!r}; {hint}")
    return kind


def solver_of(word: Any) -> Solver:
    """Return what SciPy's `assume_a` means.

    Raises
    ------
    NotImplementedError
        There is no such solver yet.
    ValueError
        The word is unknown; the message has the nearest one.

    Examples
    --------
    >>> solver_of("positive definite"), solver_of("gen"), solver_of("lower triangular")
    ('pos', 'general', 'lower')
    """
    if word is None:
        return "general"
    plain = _plain(word)
    if plain in _NOT_THERE:
        raise NotImplementedError(
            f"solve: assume_a={word!r}: {_NOT_THERE[plain]}; if the matrix is positive definite say 'pos'"
        )
    if plain not in _KINDS:
        hint = _MEANT.get(plain) or did_you_mean(plain, _KINDS)
        raise ValueError(f"solve: assume_a is None, 'pos', 'lower' or 'upper', not {word!r}; {hint}")
    return _KINDS[plain]


def _plain(word: Any) -> Any:
    """Return a word in small letters, its parts one space apart."""
    return (
        " ".join(word.lower().replace("_", " ").replace("-", " ").split()) if isinstance(word, str) else word
    )
