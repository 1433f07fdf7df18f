"""What functions on AWS Lambda print is shown here, and what they lack is named."""

from __future__ import annotations

import json
import sys
import types
from typing import Any

import pytest

import wrenla as wl
from wrenla_handler.calls.capture import Printed
from wrenla_handler.calls.messages import Request
from wrenla_handler.calls.runner import Runner

from .conftest import Make
from .stub import Answer, Endpoint, pong


def lacking(x: str) -> None:
    raise ModuleNotFoundError(f"No module named {x!r}", name=x)


def broken(x: str) -> None:
    raise ImportError(f"lib{x}.so.1: cannot open shared object file", name=x)


def test_output_is_shown_when_a_call_has_ended(
    stub: Endpoint, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(event: dict[str, Any]) -> Answer:
        if event["kind"] == "ping":
            return pong()
        printed = Printed([("o", b"out\n"), ("e", b"error\n"), ("l", b"INFO x: quiet\n"), ("o", b"end")])
        callee = Runner("stub", lambda: printed)
        try:
            return Answer(json.loads(callee.answer(Request.of(event)).encode()))
        finally:
            callee.close()

    stub.answer = answer
    with make(concurrency=1) as executor:
        future = executor.submit(abs, -1)
        assert future.result(timeout=30) == 1
        assert capsys.readouterr() == ("out\nend\n", "error\n")
        assert future.logs == "out\nerror\nINFO x: quiet\nend"
        assert executor.options(logs="quiet").submit(abs, -1).result(timeout=30) == 1
        assert capsys.readouterr() == ("", "")


def test_a_missing_package_names_the_command(make: Make) -> None:
    rows = [
        (lacking, "no_such_package", "the deployed function has no package no_such_package: "),
        (lacking, "click", "the deployed function has no package click: "),
        (lacking, "scipy.nothing", "the deployed function has another scipy, without scipy.nothing: "),
        (broken, "click", "a compiled part of click does not fit the deployed function: "),
    ]
    with make(concurrency=1) as executor:
        for function, name, begin in rows:
            for error in (
                executor.submit(function, name).exception(timeout=30),
                *executor.map(function, [name], chunksize=2, return_exceptions=True),
            ):
                assert isinstance(error, ImportError)
                note = error.__notes__[-1]
                assert note.startswith(begin)
                assert note.endswith(
                    " into a file of requirements and run: wrenla deploy --requirements FILE"
                )
        assert not hasattr(executor.submit(int, "x").exception(timeout=30), "__notes__")
        own = executor.submit(lacking, "tests.aws.stub").exception(timeout=30)
        assert "include_modules=['tests.aws.stub']" in own.__notes__[-1]  # type: ignore[union-attr]


def test_local_workers_lack_what_was_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "only_here", types.ModuleType("only_here"))
    with wl.LocalExecutor(1, allowed_mem="300 MiB") as executor:
        error = executor.submit(lacking, "only_here").exception()
        assert "in the memory of this process only" in error.__notes__[-1]  # type: ignore[union-attr]
        assert not hasattr(executor.submit(lacking, "no_such_package").exception(), "__notes__")
