"""Kernels for determinants of triangular tiles: logarithms, and products that do not overflow on the way.

As in `wrenla_kernels.reductions` each makes a small new matrix, which is stored as a tile itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from wrenla_kernels.layout import Matrix, checked

__all__ = ["combine_products", "logdet_part", "number_from_product", "product_part"]

_BEYOND = 100_000
"""Exponent of two beyond those of all dtypes."""


def product_part(a: Matrix) -> Matrix:
    """Return the product of a diagonal as a mantissa and an exponent of two.

    Parameters
    ----------
    a
        (m, n) matrix, of which only the diagonal is read. Never written.

    Returns
    -------
    Matrix
        (2, 1) matrix of the dtype of `a`: a number whose larger part is in [½, 1), or 0, and the exponent.
        Beside the rounding of the products themselves nothing is rounded.

    Examples
    --------
    >>> product_part(np.array([[2.0**600, 9.0], [0.0, -3 * 2.0**600]], order="F"))
    array([[-7.500e-01],
           [ 1.202e+03]])
    """
    return _multiplied(checked("a", a).diagonal(), 0.0)


def combine_products(parts: Matrix) -> Matrix:
    """Multiply products.

    Parameters
    ----------
    parts
        (2, k) matrix: k results of `product_part` side by side.

    Returns
    -------
    Matrix
        (2, 1) matrix, as from `product_part`; [½, 1], which is 1, for k = 0.

    Examples
    --------
    >>> combine_products(np.array([[0.5, -0.5], [2000.0, -1998.0]], order="F"))
    array([[-0.5],
           [ 1. ]])
    """
    parts = checked("parts", parts)
    if parts.shape[0] != 2:
        raise ValueError(f"parts must have two rows, but has shape {parts.shape}")
    return _multiplied(parts[0], float(parts[1].real.sum(dtype=np.float64)))


def number_from_product(parts: Matrix) -> Matrix:
    """Return the number that products multiply to: infinity or 0 beyond the range of the dtype.

    Parameters
    ----------
    parts
        (2, k) matrix: k results of `product_part` or `combine_products` side by side.

    Returns
    -------
    Matrix
        (1, 1) matrix.

    Examples
    --------
    >>> number_from_product(np.array([[-0.5], [3.0]], order="F"))
    array([[-4.]])
    """
    part = combine_products(parts)
    exponent = int(np.clip(part[1, 0].real, -_BEYOND, _BEYOND))
    return _column(part.dtype, _scaled(part[0], exponent)[0])


def logdet_part(a: Matrix) -> Matrix:
    """Return sign and logarithm of the product of a diagonal: the determinant of a triangular tile.

    Parameters
    ----------
    a
        (m, n) matrix, of which only the diagonal is read. Never written.

    Returns
    -------
    Matrix
        (2, 1) matrix of the dtype of `a`: the product of the signs (complex numbers of modulus 1 if `a` is
        complex), and the sum of the logarithms of the absolute values. A zero gives sign 0 and -inf, as
        from `numpy.linalg.slogdet`.

    Examples
    --------
    >>> logdet_part(np.array([[1.0, 9.0], [0.0, -1.0]], order="F"))
    array([[-1.],
           [ 0.]])
    """
    entries = checked("a", a).diagonal()
    sizes = np.abs(entries)
    with np.errstate(all="ignore"):
        signs = _phases(entries, sizes) if a.dtype.kind == "c" else np.sign(entries)
        return _column(a.dtype, signs.prod(), np.log(sizes).sum())


def _multiplied(values: npt.NDArray[Any], exponent: float) -> Matrix:
    """Return the product of some numbers, and 2 to an exponent: neighbours in halves, so nothing is far."""
    values = values if values.size else np.ones(1, values.dtype)
    while True:
        far = _exponents(values)
        values, exponent = _scaled(values, -far), exponent + float(far.sum())
        if values.size == 1:
            return _column(values.dtype, values[0], exponent)
        half = (values.size + 1) // 2
        with np.errstate(all="ignore"):
            values = np.append(
                values[: values.size - half] * values[half:], values[values.size - half : half]
            )


def _exponents(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the exponents of two of the larger parts; 0 of what is zero or not finite."""
    sizes = np.maximum(np.abs(values.real), np.abs(values.imag))
    sizes[~np.isfinite(sizes)] = 0
    return np.frexp(sizes)[1].astype(np.int64)


def _scaled(values: npt.NDArray[Any], exponents: npt.NDArray[np.int64] | int) -> npt.NDArray[Any]:
    """Return numbers times powers of two, which rounds nothing within the range."""
    with np.errstate(all="ignore"):
        scaled = np.empty_like(values)
        if values.dtype.kind != "c":
            np.ldexp(values, exponents, out=scaled)
            return scaled
        scaled.real, scaled.imag = np.ldexp(values.real, exponents), np.ldexp(values.imag, exponents)
        return scaled


def _phases(entries: Matrix, sizes: Matrix) -> Matrix:
    # Division by a complex number would round: the sign of a positive number is 1, not 0.99999994.
    sizes = np.where(sizes == 0, 1, sizes)
    phases = np.empty_like(entries)
    phases.real, phases.imag = entries.real / sizes, entries.imag / sizes
    return phases


def _column(dtype: np.dtype[Any], *values: Any) -> Matrix:
    return np.array(values, dtype).reshape(-1, 1)
