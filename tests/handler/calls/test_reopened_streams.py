"""Standard streams that a function has closed, where they are copied."""

from __future__ import annotations

import io
import sys

import pytest

from wrenla_handler.calls.capture import CopiedOutput


def test_the_hosts_streams_stay_open(monkeypatch: pytest.MonkeyPatch) -> None:
    real = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", real[0])
    monkeypatch.setattr(sys, "stderr", real[1])
    output = CopiedOutput()
    sys.stdout.close()
    sys.stderr.close()
    assert not sys.stdout.closed
    print("still")  # noqa: T201
    print("here", file=sys.stderr)  # noqa: T201
    assert output.take() == b"still\nhere\n"
    assert (real[0].getvalue(), real[1].getvalue()) == ("still\n", "here\n")
