"""Silent connections are probed: read back from sockets that are in use."""

from __future__ import annotations

import contextlib
import logging
import socket
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from wrenla_handler.stores.s3.client import new_client
from wrenla_handler.stores.s3.keep_alive import keep_alive


def options(sock: socket.socket) -> dict[str, int]:
    names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_NODELAY")
    found = {name: sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names}
    return {"SO_KEEPALIVE": sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), **found}


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, int]]:
    """The options of the sockets that have been connected, in order."""
    found: list[dict[str, int]] = []
    connect = socket.socket.connect

    def recording(self: socket.socket, address: Any) -> None:
        connect(self, address)
        found.append(options(self))

    monkeypatch.setattr(socket.socket, "connect", recording)
    return found


EXPECTED = {"SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 30, "TCP_KEEPCNT": 4, "TCP_NODELAY": 1}


def test_connections_of_stores_are_kept_alive(s3_bucket: str, connected: list[dict[str, int]]) -> None:
    client = new_client()
    client.head_bucket(Bucket=s3_bucket)
    assert connected == [EXPECTED]
    client.close()


@pytest.mark.parametrize("service", ["s3", "sts"])
@pytest.mark.parametrize("proxied", [False, True])
def test_connections_of_any_client_are_kept_alive(
    service: str,
    proxied: bool,
    s3_environment: None,
    s3_endpoint: str,
    connected: list[dict[str, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if proxied:  # a server is not much of a proxy, but it is connected to
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("HTTP_PROXY", s3_endpoint)
    client = boto3.session.Session().client(service, endpoint_url=s3_endpoint)
    assert keep_alive(client) is client
    with contextlib.suppress(ClientError):  # not every server knows every service, but it answers
        client.list_buckets() if service == "s3" else client.get_caller_identity()
    assert connected == [EXPECTED]
    client.close()


def test_a_botocore_that_cannot_be_told_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "wrenla_handler"):
        keep_alive(object())
    assert "keep silent connections alive" in caplog.text
