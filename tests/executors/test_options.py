"""Options: what can be said of calls, and views that say it."""

from __future__ import annotations

import gc
import os
import time
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla.errors import TimedOut
from wrenla.executors.calls.options import CallOptions


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"timeout": 0}, ValueError, "timeout=0"),
        ({"timeout": -1.5}, ValueError, "timeout=-1.5"),
        ({"timeout": float("inf")}, ValueError, "timeout=inf"),
        ({"timeout": float("nan")}, ValueError, "timeout=nan"),
        ({"timeout": "10"}, (TypeError, ValueError), "timeout='10'"),
        ({"deadline": 0}, ValueError, "deadline=0"),
        ({"deadline": -1}, ValueError, "deadline=-1"),
        ({"deadline": float("inf")}, ValueError, "deadline=inf"),
        ({"retries": -1}, ValueError, "retries=-1"),
        ({"retries": 1.0}, ValueError, "retries=1.0"),
        ({"retries": True}, ValueError, "retries=True"),
        ({"retries": None}, ValueError, "retries=None"),
        ({"timeout": True}, ValueError, "timeout=True: a number of seconds"),
        ({"idempotent": "no"}, TypeError, "idempotent='no': True or False"),
        ({"idempotent": 1}, TypeError, "idempotent=1: True or False"),
        ({"record": "no"}, TypeError, "record='no': True, False or None"),
        ({"include_modules": 3}, TypeError, "include_modules=3: a list of names"),
        ({"include_modules": "numpy"}, TypeError, "include_modules='numpy'"),
        ({"include_modules": [1]}, TypeError, "include_modules"),
        ({"exclude_modules": "numpy"}, TypeError, "exclude_modules='numpy'"),
        ({"exclude_modules": [os]}, TypeError, "exclude_modules"),
        ({"retry": 1}, TypeError, "retry"),
    ],
)
def test_bad_options(options: dict[str, Any], kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        CallOptions(**options)
    with wl.LocalExecutor(1, "thread", allowed_mem="300 MiB") as executor:
        with pytest.raises(kind, match=message):
            executor.options(**options)
        with pytest.raises(TypeError):
            executor.options(3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "memory",
            r"LocalExecutor\.options\(\) has no option 'memory'; there are: timeout, deadline, retries, ",
        ),
        ("retry", r"LocalExecutor\.options\(\) has no option 'retry'; did you mean 'retries'\? there are: "),
    ],
)
def test_options_that_there_are_not(name: str, message: str) -> None:
    with (
        wl.LocalExecutor(1, "thread", allowed_mem="300 MiB") as executor,
        pytest.raises(TypeError, match=message),
    ):
        executor.options(**{name: 3})  # type: ignore[arg-type]


def test_numbers_of_numpy() -> None:
    made = CallOptions(timeout=np.int64(5), deadline=np.float32(0.5), retries=np.int64(2))  # type: ignore[arg-type]
    assert made == CallOptions(timeout=5, deadline=0.5, retries=2)
    assert [type(value) for value in (made.timeout, made.deadline, made.retries)] == [float, float, int]


def test_good_options() -> None:
    made = CallOptions(timeout=1, deadline=0.5, retries=3, include_modules=["a", "b.c"], exclude_modules=())
    assert made.include_modules == ("a", "b.c")
    assert CallOptions() == CallOptions(timeout=None, deadline=None, retries=0, idempotent=False, record=None)
    assert hash(made) == hash(CallOptions(timeout=1, deadline=0.5, retries=3, include_modules=("a", "b.c")))


def test_views_share_workers(executor: wl.LocalExecutor) -> None:
    view = executor.options(retries=2)
    other = view.options(timeout=30)
    assert isinstance(view, wl.LocalExecutor)
    assert view.workers == executor.workers
    pids = {each.submit(os.getpid).result() for each in (executor, view, other) for _ in range(5)}
    assert len(pids) <= 2
    assert executor.stats() == view.stats() == other.stats()
    assert executor.stats().workers <= 2
    assert executor.stats().submitted == 15
    ref = view.broadcast(3)
    assert executor.submit(abs, ref).result() == 3
    view.store().put("a", b"b")
    assert bytes(executor.store().get("a")) == b"b"


def test_views_say_one_thing_more(executor: wl.LocalExecutor) -> None:
    def fail() -> None:
        raise ValueError

    def attempts(each: Any) -> int:
        future = each.submit(fail)
        future.exception(timeout=30)
        return len(future.attempts)

    view = executor.options(retries=2)
    assert [
        attempts(each) for each in (executor, view, view.options(timeout=20), view.options(retries=0))
    ] == [
        1,
        3,
        3,
        1,
    ]
    with pytest.raises(TimedOut, match=r"sleep: still running after its timeout of 0\.2 s"):
        view.options(timeout=0.2).submit(time.sleep, 1.0).result(timeout=30)


def test_a_view_outlives_its_executor(nothing_left: None) -> None:
    view = wl.LocalExecutor(1, allowed_mem="300 MiB").options(retries=1).options(timeout=30)
    gc.collect()
    assert view.submit(abs, -1).result(timeout=30) == 1
    del view
    gc.collect()


def test_the_end_of_a_view_is_the_end(nothing_left: None) -> None:
    executor = wl.LocalExecutor(1, "thread", allowed_mem="300 MiB")
    with executor.options(retries=1) as view:
        assert wl.default_executor() is view
        assert view.submit(abs, -1).result() == 1
    with pytest.raises(RuntimeError, match="shutdown"):
        executor.submit(abs, -1)


def test_a_view_computes_too(executor: wl.LocalExecutor) -> None:
    assert float(wl.eye(4, tile=2).trace().compute(executor.options(retries=1))) == 4.0


def test_words_of_other_libraries() -> None:
    with wl.LocalExecutor(max_workers=2, max_tasks_per_child=3, allowed_mem="300 MiB") as executor:
        assert executor.workers == 2
        assert executor.calls.transport.wears_out  # type: ignore[attr-defined]
    rows: list[tuple[Any, dict[str, Any], str]] = [
        (wl.LocalExecutor, {"workers": 2, "max_workers": 2}, "they are the same, say one of them"),
        (wl.LocalExecutor, {"n_jobs": 2}, "no argument 'n_jobs'; did you mean 'workers'"),
        (wl.LocalExecutor, {"worker": 2}, "no argument 'worker'; did you mean 'workers'"),
        (wl.LocalExecutor, {"memory": "1 GiB"}, "did you mean 'allowed_mem'"),
        (wl.LocalExecutor, {"initializer": print}, "functools.cache"),
        (wl.LocalExecutor, {"retries": 2}, r"executor.options\("),
        (wl.LocalExecutor, {"fruit": 2}, "there are: workers, kind, allowed_mem"),
        (wl.LambdaExecutor, {"memory": 2000}, "wrenla deploy --memory"),
        (wl.LambdaExecutor, {"workers": 2}, "did you mean 'concurrency'"),
        (wl.LambdaExecutor, {"concurency": 2}, "did you mean 'concurrency'"),
        (wl.LambdaExecutor, {"region": "eu-west-1"}, r"session=boto3.Session\(region_name=…\)"),
        (wl.LambdaExecutor, {"max_workers": 2, "concurrency": 2}, "they are the same"),
    ]
    for kind, arguments, message in rows:
        with pytest.raises(TypeError, match=message):
            kind(**arguments)
    for kind, arguments in ((wl.LocalExecutor, {"max_workers": 0}), (wl.LambdaExecutor, {"max_workers": 0})):
        with pytest.raises(ValueError, match=r"max_workers=0: .*max_workers must be greater than 0"):
            kind(**arguments)
