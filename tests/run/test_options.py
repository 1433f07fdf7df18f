"""Options of an evaluation: those that it has, and nothing left where it is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import wrenla as wl
from wrenla.errors import PlanError, ReachError, SettingError
from wrenla_handler.stores.base import Reach

evaluations = pytest.mark.parametrize(
    "evaluate",
    [
        lambda matrix, folder, **options: matrix.compute(**options),
        lambda matrix, folder, **options: matrix.persist(**options),
        lambda matrix, folder, **options: matrix.save(folder / "A", **options),
        lambda matrix, folder, **options: wl.compute(matrix, matrix.T, **options),
    ],
    ids=["compute", "persist", "save", "wl.compute"],
)


@evaluations
@pytest.mark.parametrize("name", ["allowed_mem", "workers", "blas_threads", "store", "tile"])
def test_unknown_option_is_refused(evaluate: Callable[..., Any], name: str, tmp_path: Path) -> None:
    """Rather than ignored: whoever limits the memory means it."""
    with pytest.raises(SettingError, match=f"{name} is not a setting of one evaluation; ") as raised:
        evaluate(wl.eye(3), tmp_path, **{name: 1})
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "A").exists()


@evaluations
def test_options(evaluate: Callable[..., Any], tmp_path: Path) -> None:
    events: list[object] = []
    with wl.LocalExecutor(2, allowed_mem="300 MiB"):
        evaluate(
            wl.eye(64, tile=32) @ wl.eye(64, tile=32),
            tmp_path,
            schedule="waves",
            progress=False,
            max_compute_bytes="1 MiB",
            callbacks=[events.append],
        )
    assert events


@evaluations
@pytest.mark.parametrize("executor", [3, "local", wl.LocalExecutor], ids=str)
def test_compute_with_non_executor_is_refused(
    evaluate: Callable[..., Any], executor: object, tmp_path: Path
) -> None:
    with pytest.raises(TypeError, match="executor"):
        evaluate(wl.eye(3), tmp_path, executor=executor)
    with pytest.raises(TypeError, match="executor"):
        wl.plan(wl.eye(3), executor=executor)  # type: ignore[arg-type]


def test_a_refused_save_leaves_nothing(tmp_path: Path) -> None:
    with wl.LocalExecutor(1, allowed_mem="30 MiB") as executor:
        with pytest.raises(PlanError):
            wl.random((4000, 4000), tile=2000).gram().save(tmp_path / "A", executor)
        executor.reach = Reach.ANYWHERE
        with pytest.raises(ReachError, match=r"cannot write there: .*s3://.*LocalExecutor"):
            wl.eye(3).save(tmp_path / "A", executor)
    assert not (tmp_path / "A").exists()
