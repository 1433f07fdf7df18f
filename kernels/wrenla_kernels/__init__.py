"""Kernels on tiles: numbers in, numbers out."""

from wrenla_kernels.blas2 import gemv
from wrenla_kernels.blas3 import Side, gemm, herk, trsm
from wrenla_kernels.butterflies import butterfly, butterfly_logdet
from wrenla_kernels.determinants import (
    combine_products,
    logdet_part,
    number_from_product,
    product_part,
)
from wrenla_kernels.elementwise import (
    add_diagonal,
    apply_op,
    keep_triangle,
    mirror,
    scale,
    scale_columns,
    scale_rows,
)
from wrenla_kernels.inverses import getri, hetri
from wrenla_kernels.lapack import getrf, laswp, potrf
from wrenla_kernels.layout import DTYPES, Matrix, Op, Triangle
from wrenla_kernels.reductions import (
    abs_column_sums,
    abs_row_sums,
    abs_sizes,
    column_sums,
    combine_sum_squares,
    diagonal,
    max_abs,
    norm_from_sum_squares,
    row_maxima,
    row_minima,
    row_sums,
    sum_squares,
)
from wrenla_kernels.threads import OLD_CORES, BlasInfo, blas_threads, core_type_warning, scipy_blas_info
from wrenla_kernels.ufuncs import UFUNCS, apply_ufunc, ufunc_dtypes

__all__ = [
    "DTYPES",
    "OLD_CORES",
    "UFUNCS",
    "BlasInfo",
    "Matrix",
    "Op",
    "Side",
    "Triangle",
    "abs_column_sums",
    "abs_row_sums",
    "abs_sizes",
    "add_diagonal",
    "apply_op",
    "apply_ufunc",
    "blas_threads",
    "butterfly",
    "butterfly_logdet",
    "column_sums",
    "combine_products",
    "combine_sum_squares",
    "core_type_warning",
    "diagonal",
    "gemm",
    "gemv",
    "getrf",
    "getri",
    "herk",
    "hetri",
    "keep_triangle",
    "laswp",
    "logdet_part",
    "max_abs",
    "mirror",
    "norm_from_sum_squares",
    "number_from_product",
    "potrf",
    "product_part",
    "row_maxima",
    "row_minima",
    "row_sums",
    "scale",
    "scale_columns",
    "scale_rows",
    "scipy_blas_info",
    "sum_squares",
    "trsm",
    "ufunc_dtypes",
]
