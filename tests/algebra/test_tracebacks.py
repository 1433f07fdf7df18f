"""What a user sees of an error: the line that asked, and a user's own functions, whole."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wrenla as wl

INDEFINITE = np.diag([1.0, -1.0, 3.0])


def fails(rows: Any, cols: Any) -> Any:
    return np.linalg.inv(np.zeros((len(rows), len(cols))))  # this line is the user's


def frames(error: BaseException) -> list[str]:
    """Files of a traceback from the first frame below this one on."""
    found = [frame.filename.rpartition("/")[2] for frame in traceback.extract_tb(error.__traceback__)]
    assert found[0] == "test_tracebacks.py"
    return found[1:]


def caught(use: Callable[[], object]) -> BaseException:
    try:
        use()
    except Exception as error:
        return error
    raise AssertionError("no error")


def test_errors_of_ours_end_at_the_users_line(place: Callable[[str], str]) -> None:
    wl.eye(3).save(place("there"))
    P, T = wl.from_array(INDEFINITE, structure="pos"), wl.from_array(np.diag([0.0, 1.0]), structure="lower")
    rows: tuple[tuple[str, Callable[[], object]], ...] = (
        ("NotPositiveDefiniteError", lambda: P.cholesky().compute()),
        ("NotPositiveDefiniteError", lambda: wl.compute(P.cholesky(), P.norm())),
        ("NotPositiveDefiniteError", lambda: np.asarray(P.solve(np.ones(3)))),
        ("NotPositiveDefiniteError", lambda: float(P.slogdet().logabsdet)),
        ("NotPositiveDefiniteError", lambda: wl.linalg.cho_factor(P).save(place("f"))),
        ("SingularMatrixError", lambda: T.solve(np.ones(2)).persist()),
        ("StructureError", lambda: wl.from_array(np.ones((2, 2)), structure="upper")),
        ("FileExistsError", lambda: wl.zeros((3, 3)).save(place("there"))),
        ("NotAMatrixError", lambda: wl.open(place("nowhere"))),
        ("TooLargeError", lambda: wl.zeros((3, 3)).compute(max_compute_bytes=1)),
        ("NotImplementedError", lambda: wl.linalg.solve(np.eye(2), np.ones(2), assume_a="banded")),
        ("ValueError", lambda: wl.eye(3) @ np.ones(4)),
        ("ValueError", lambda: wl.eye(3) + np.ones((2, 2))),
        ("ValueError", lambda: wl.eye(3) - np.ma.array([1.0])),
        ("IndexError", lambda: wl.eye(3)[7]),
        ("TypeError", lambda: wl.eye(3)["a"]),  # type: ignore[index]
    )
    for name, use in rows:
        error = caught(use)
        assert type(error).__name__ == name
        assert frames(error) == ["test_tracebacks.py"], name
        assert error.__cause__ is None
    error = caught(rows[0][1])
    assert (error.minor, len(traceback.format_exception(error)) <= 6) == (2, True)  # type: ignore[attr-defined]


def test_functions_of_users_are_shown_whole(place: Callable[[str], str]) -> None:
    for use in (
        lambda: wl.from_function(fails, (3, 3)).compute(),
        lambda: wl.map_tiles(lambda tile: fails(tile, tile), wl.eye(3)).save(place("x")),
        lambda: np.asarray(wl.from_function(fails, (3, 3))),
        lambda: wl.eye(3).norm().compute(callbacks=[lambda event: fails([1], [1])]),
    ):
        error = caught(use)
        text = "".join(traceback.format_exception(error))
        assert isinstance(error, np.linalg.LinAlgError)
        assert "this line is the user's" in text
        assert {"worker.py", "sources.py", "loop.py"}.isdisjoint(frames(error))
    assert "of a map_tiles" in "".join(caught(lambda: rows_of_map()).__notes__)


def rows_of_map() -> object:
    return wl.map_tiles(lambda tile: fails(tile, tile), wl.eye(3)).compute()


def test_whole_traceback_goes_to_the_logger(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "wrenla.tracebacks"):
        caught(lambda: wl.from_array(INDEFINITE, structure="pos").cholesky().compute())
    assert "in _potrf" in caplog.text


def test_traceback_of_unexpected_error_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("wrenla.matrices.matrix.compute_nodes")
    error = caught(lambda: wl.eye(3).compute())
    assert isinstance(error, NameError)
    assert frames(error)[-1] == "matrix.py"


def test_names_and_signatures_stay() -> None:
    assert wl.BigMatrix.solve.__name__ == "solve"
    assert "assume_a" in (wl.linalg.solve.__doc__ or "")
    assert wl.from_array.__wrapped__.__module__ == "wrenla.matrices.creation"  # type: ignore[attr-defined]
