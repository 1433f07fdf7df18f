"""Many calls at a time need many open files, and what happens when there are no more."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from wrenla.emulator.api.server import Server
from wrenla.emulator.isolation.open_files import Spare
from wrenla.emulator.options import Options

from .stand import Stand

TOO_MANY = " files open, and may have no more: call fewer at a time, or raise ulimit -Hn"


@pytest.fixture
def few() -> Iterator[Stand]:
    """An emulator that was started where few files may be open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 30, hard))
    try:
        stand = Stand(Options(os.getpid(), isolation="plain", memory_guard="watcher"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    yield stand
    stand.close()


def test_the_emulator_raises_its_limit_and_functions_have_lambdas(few: Stand) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert resource.prlimit(few.ready.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    assert few.call(few.function("open_files")).value == [1024, 1024]


def test_the_want_of_files_is_said_and_passes(few: Stand) -> None:
    function = few.function("sleeps", MemorySize=128)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    used = len(os.listdir(f"/proc/{few.ready.pid}/fd"))
    resource.prlimit(few.ready.pid, resource.RLIMIT_NOFILE, (used + 30, hard))

    def call(_: int) -> str:
        try:
            return str(few.call(function, {"seconds": 1}).value)
        except ClientError as error:
            return str(error)

    with ThreadPoolExecutor(12) as threads:
        found = list(threads.map(call, range(12)))
    refused = [answer for answer in found if answer != "awake"]
    assert 0 < len(refused) < 12
    for answer in refused:
        assert TOO_MANY in answer
    resource.prlimit(few.ready.pid, resource.RLIMIT_NOFILE, (hard, hard))
    with ThreadPoolExecutor(12) as threads:
        assert list(threads.map(call, range(12))) == ["awake"] * 12


def test_connections_are_refused_instead_of_turning_in_circles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The listener is there still when there is no descriptor for what it accepts."""
    refused = []
    plain = Spare.refuse

    def refuse(spare: Spare, listener: socket.socket) -> None:
        refused.append(time.monotonic())
        plain(spare, listener)

    monkeypatch.setattr(Spare, "refuse", refuse)
    server = Server(lambda _: None)
    client = socket.socket()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 5, hard))
        with contextlib.suppress(OSError):
            while True:
                files.append(os.dup(0))
        server.start()
        client.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        client.settimeout(10)
        answer = client.recv(1 << 16)
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        client.close()
        server.close()
    assert b"may have no more" in answer
    assert len(refused) == 1
