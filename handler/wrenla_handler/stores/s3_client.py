"""One S3 client per process."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

__all__ = ["close_clients", "new_client", "pauses", "shared_client"]

_clients: dict[tuple[tuple[str, str], ...], Any] = {}
_clients_lock = threading.Lock()


def new_client() -> Any:
    """Make an S3 client from boto3's own settings: environment, `~/.aws`, the role of the machine.

    ``AWS_ENDPOINT_URL_S3`` (or ``AWS_ENDPOINT_URL``) points it at another S3.
    """
    # boto3 takes 0.3 s to import, which those who use no S3 need not wait for.
    import boto3
    from botocore.config import Config

    # A session of our own: boto3's default session is not safe to use from several threads.
    return boto3.session.Session().client(
        "s3",
        config=Config(
            connect_timeout=5,
            read_timeout=30,
            max_pool_connections=32,
            # Exponential backoff with full jitter; "legacy", the default, does not retry all throttling.
            retries={"mode": "standard", "total_max_attempts": 5},
            # We send and check a CRC32 of our own; botocore's would be a second pass over the same bytes.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def shared_client() -> Any:
    """Return this process's client: making one takes 50 ms, and its connections are worth keeping.

    A client reads ``AWS_*`` only when it is made, so there is one for each state of these variables:
    whoever sets the forgotten credentials in a running notebook goes on with them.
    """
    settings = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    with _clients_lock:
        if settings not in _clients:
            _clients[settings] = new_client()
        return _clients[settings]


def close_clients() -> None:
    """Close the connections of all shared clients; stores that are still open connect again."""
    with _clients_lock:
        for client in _clients.values():
            client.close()
        _clients.clear()


def _forget_clients() -> None:
    # A forked child would share its parent's sockets, and perhaps inherit the lock while it is held.
    global _clients_lock
    _clients_lock = threading.Lock()
    _clients.clear()


os.register_at_fork(after_in_child=_forget_clients)


def pauses(attempts: int) -> Iterator[int]:
    """Count `attempts`, and sleep between them: about 0.1 s, 0.2 s, 0.4 s, …, jittered."""
    for attempt in range(attempts):
        if attempt:
            time.sleep(random.uniform(0.05, 0.1) * 2**attempt)
        yield attempt
