"""Functions that close the standard streams, or log what cannot be formatted."""

from __future__ import annotations

import logging
import sys

import pytest

import wrenla as wl

pytestmark = pytest.mark.timeout(60)


def close(name: str, how: str) -> int:
    print("before", file=getattr(sys, name))
    getattr(getattr(sys, name), how)()
    return 1


def talk() -> int:
    print("out")  # noqa: T201
    print("error ü \udc80", file=sys.stderr)  # noqa: T201
    logging.getLogger("mine").warning("logged")
    return 2


@pytest.mark.parametrize("how", ["close", "detach"])
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_the_next_call_can_print(name: str, how: str) -> None:
    with wl.LocalExecutor(1, allowed_mem="300 MiB") as executor:
        assert executor.submit(talk).result(timeout=20) == 2
        first = executor.submit(close, name, how)
        assert first.result(timeout=20) == 1
        assert first.logs == "before\n"
        second = executor.submit(talk)
        assert second.result(timeout=20) == 2
        assert second.logs == "out\nerror ü \\udc80\nWARNING mine: logged\n"


def log_badly() -> int:
    logging.getLogger("mine").warning("%d is no number", "x")
    logging.getLogger("mine").warning("%d is one", 5)
    return 7


def test_a_message_that_does_not_fit_its_arguments(
    executor: wl.LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own raises
    future = executor.submit(log_badly)
    assert future.result(timeout=20) == 7
    assert "WARNING mine: 5 is one\n" in future.logs
    assert "--- Logging error ---" in future.logs
