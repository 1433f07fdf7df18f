"""TCP keep-alive: idle connections stay open, and end when the other side is gone."""

from __future__ import annotations

import logging
import socket
from typing import Any

__all__ = ["keep_alive"]

logger = logging.getLogger("wrenla_handler.stores")

_IDLE_SECONDS = 60  # Routers on the way forget a silent connection: NAT gateways of AWS after 350 s.
_INTERVAL_SECONDS = 30
_PROBES = 4


def keep_alive(client: Any) -> Any:
    """Let the connections of a boto3 client probe the other side after 60 s of silence; return the client.

    A Lambda call may be silent for 15 minutes. Linux's own 2 hours, which are all that botocore's
    ``tcp_keepalive`` gives, are longer than any router remembers. Call it before the first request.

    Parameters
    ----------
    client : boto3 client
        Of any service.
    """
    # botocore has no public way to set options of its sockets. The list is the one that its pools will use.
    session = getattr(getattr(client, "_endpoint", None), "http_session", None)
    options = getattr(session, "_socket_options", None)
    if not isinstance(options, list):
        logger.warning("this version of botocore does not let us keep silent connections alive")
        return client
    options.append((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
    for name, value in (
        ("TCP_KEEPIDLE", _IDLE_SECONDS),
        ("TCP_KEEPINTVL", _INTERVAL_SECONDS),
        ("TCP_KEEPCNT", _PROBES),
    ):
        if hasattr(socket, name):  # macOS has other names
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return client
