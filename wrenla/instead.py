"""Names of linear algebra that NumPy or SciPy have and wrenla has not, and what there is instead."""

from __future__ import annotations

import numpy as np
import scipy

__all__ = ["no_such_name", "remedy_of"]

_OPERATOR = "wrenla.linalg.aslinearoperator(A)"


def _krylov(name: str, arguments: str, what: str) -> str:
    return f"scipy.sparse.linalg.{name}({_OPERATOR}, {arguments}) {what}"


_PARTLY = {
    "eig": _krylov("eigs", "k", "finds k eigenvalues and vectors"),
    "eigh": _krylov("eigsh", "k", "finds k eigenvalues and vectors"),
    "eigvals": _krylov("eigs", "k", "finds k eigenvalues"),
    "eigvalsh": _krylov("eigsh", "k", "finds k eigenvalues"),
    "expm": _krylov("expm_multiply", "b, traceA=A.trace().compute()", "is expm(A) @ b"),
    "lstsq": "(A.H @ A).solve(A.H @ b) solves the normal equations, if A is well conditioned, and "
    + _krylov("lsmr", "b", "iterates"),
    "matrix_rank": "wrenla.linalg.rcond(A) tells whether a square A is singular to working precision",
    "pinv": "(A.H @ A).solve(A.H) is that of a tall A that is well conditioned",
    "pinvh": "wrenla.linalg.inv(A) is that of a regular A",
    "qr": "wrenla.linalg.cholesky(A.H @ A, upper=True) is R, its diagonal positive, of a well-conditioned A",
    "svd": _krylov("svds", "k", "finds the k largest singular values and their vectors"),
    "svdvals": _krylov("svds", "k, return_singular_vectors=False", "finds the k largest"),
}
"""What does a part of it, or does it for some matrices."""

_WHOLLY = {
    "LinAlgWarning": "it is scipy.linalg.LinAlgWarning",
    "block_diag": "wrenla.block takes rows of blocks, and wrenla.zeros makes those between them",
    "ishermitian": "float((A - A.H).norm('max')) is 0 then",
    "issymmetric": "float((A - A.T).norm('max')) is 0 then",
    "ldl": "wrenla.linalg.ldl_factor(A) makes an object that solves with A",
    "multi_dot": "numpy.linalg.multi_dot([A, B, C]) takes matrices",
    **{
        name: _krylov(name, "b", "takes the matrix")
        for name in ("bicgstab", "cg", "gmres", "lsmr", "lsqr", "minres")
    },
    **{name: _krylov(name, "k", "takes the matrix") for name in ("eigs", "eigsh", "svds")},
    "expm_multiply": _krylov("expm_multiply", "b, traceA=A.trace().compute()", "takes the matrix"),
}

_MAKERS = {
    *("circulant", "companion", "convolution_matrix", "dft", "fiedler", "fiedler_companion", "hadamard"),
    *("hankel", "helmert", "hilbert", "invhilbert", "invpascal", "leslie", "pascal", "toeplitz"),
}
"""Functions of `scipy.linalg` that make a matrix."""


def remedy_of(function: str) -> str:
    """Return what to do instead of calling ``numpy.linalg.svd``, or another function, with a matrix."""
    module, _, name = function.rpartition(".")
    array = f"give it an array, if that fits into memory: {function}(A.compute())"
    return f"{_PARTLY[name]}; or {array}" if module == "numpy.linalg" and name in _PARTLY else array


def no_such_name(name: str) -> AttributeError:
    """Return the error of a name that `wrenla.linalg` has not."""
    function = _function(name)
    if name in _WHOLLY:
        text = _WHOLLY[name]
    elif not function:
        return AttributeError(f"module 'wrenla.linalg' has no attribute {name!r}")
    elif name in _MAKERS:
        text = f"wrenla.from_array takes what {function} makes, wrenla.from_function makes it tile by tile"
    else:
        array = f"{function} takes arrays: A.compute() is one, if it fits into memory"
        text = f"{_PARTLY[name]}; {array}" if name in _PARTLY else array
    # of no object, or Python would add that inv may be meant
    return AttributeError(f"wrenla.linalg.{name} is not there: {text}", name=name, obj=None)


def _function(name: str) -> str:
    """Return the function of NumPy or SciPy of this name, "" if there is none."""
    if name.startswith("_") or name == "test":
        return ""
    if callable(getattr(np.linalg, name, None)):
        return f"numpy.linalg.{name}"
    # imported now, by SciPy itself
    return f"scipy.linalg.{name}" if callable(getattr(scipy.linalg, name, None)) else ""
