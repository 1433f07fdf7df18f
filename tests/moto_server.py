"""moto as a server in this process: a stand-in of AWS's services."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def moto_server() -> Iterator[str]:
    """Serve requests for as long as this takes; yield the address."""
    with moto_application() as (url, _):
        yield url


@contextmanager
def moto_application() -> Iterator[tuple[str, Any]]:
    """Serve requests for as long as this takes; yield the address, and what answers."""
    # half a second, which most tests do not need
    from moto.server import ThreadedMotoServer

    from wrenla.emulator.backend.moto_backend import list_services_once

    list_services_once()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}", server._server.app  # type: ignore[union-attr]
    server.stop()
