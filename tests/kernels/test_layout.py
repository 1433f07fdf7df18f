"""Which arrays the kernels take, and what they say of the others."""

import numpy as np
import pytest

from wrenla_kernels import apply_op, gemm, herk, mirror, potrf, row_sums, trsm
from wrenla_kernels.layout import checked, leading_dimension


@pytest.fixture
def good():
    return np.eye(3, order="F")


def c_ordered():
    return np.ones((3, 3))


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_gemm_names_the_argument_in_c_order(good, name):
    arguments = {"a": good, "b": good, "c": good.copy(order="F"), name: c_ordered()}
    arguments[name].flags.writeable = name == "c"
    with pytest.raises(ValueError, match=f"^{name} must be in Fortran order"):
        gemm(1, arguments["a"], "N", arguments["b"], "N", arguments["c"])


@pytest.mark.parametrize(
    "call",
    [
        lambda a, out: gemm(1, a, "N", a, "N", out),
        lambda a, out: herk(1, a, "N", out),
        lambda a, out: trsm("L", a, out, uplo="L", op="N"),
        lambda a, out: apply_op(a, "N", out),
        lambda a, out: potrf(out),
        lambda a, out: mirror(out),
    ],
)
def test_outputs_must_be_writable_and_of_the_same_dtype(good, call):
    read_only = good.copy(order="F")
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        call(good, read_only)
    with pytest.raises(TypeError, match="dtype"):
        call(good, np.asfortranarray(good.astype(int)))


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (np.ones((3, 2)), ValueError, "Fortran order"),
        (np.ones((4, 4), order="F")[::2], ValueError, "Fortran order"),
        (np.ones((4, 4), order="F")[::-1], ValueError, "Fortran order"),
        (np.ones((4, 4), order="F")[:, ::-1], ValueError, "Fortran order"),
        (np.broadcast_to(np.ones((3, 1)), (3, 3)), ValueError, "Fortran order"),
        (np.frombuffer(bytes(8 * 4 + 4), "f8", 4, 4).reshape((2, 2), order="F"), ValueError, "aligned"),
        (np.ones(3), ValueError, "2-D"),
        (np.ones((2, 2), "f2", order="F"), TypeError, "float16"),
        (np.ones((2, 2), ">f8", order="F"), TypeError, ">f8"),
        ([[1.0]], TypeError, "list"),
    ],
)
def test_unusable_arrays_are_refused(array, error, message):
    with pytest.raises(error, match=message):
        checked("a", array)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.ones((1, 4)), 1),
        (np.ones((4, 1)), 4),
        (np.ones((1, 1))[::-1, ::-1], 1),
        (np.ones((7, 7), order="F")[2:3, 1:4], 7),
        (np.ones((7, 7), order="F")[2:5, 1:2], 3),
        (np.ones((7, 7))[2:3, 1:2], 1),
        (np.ones((0, 5)), 1),
        (np.ones((5, 0)), 5),
        (np.lib.stride_tricks.as_strided(np.ones(9), (1, 3), (12345, 24)), 3),
        (np.lib.stride_tricks.as_strided(np.ones(9), (3, 1), (8, -7)), 3),
    ],
)
def test_strides_along_one_entry_mean_nothing(array, expected):
    assert leading_dimension(checked("a", array)) == expected


def test_rows_and_columns_of_one_entry_compute():
    big = np.arange(1.0, 26).reshape(5, 5, order="F")
    row, column = big[1:2, :], big[:, 2:3]
    c = np.zeros((1, 1))
    gemm(1, row, "N", column, "N", c)
    assert c[0, 0] == (big[1] * big[:, 2]).sum()


def test_memory_maps_are_read_and_not_copied(tmp_path):
    np.asfortranarray(np.full((3, 3), 2.0)).T.tofile(tmp_path / "tile")
    tile = np.memmap(tmp_path / "tile", "f8", "r", shape=(3, 3), order="F")
    assert type(checked("a", tile)) is np.ndarray
    assert np.shares_memory(checked("a", tile), tile)
    assert row_sums(tile).tolist() == [[6.0]] * 3
