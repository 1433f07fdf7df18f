"""S3 clients: one per process, each request naming the account that the bucket must belong to."""

from __future__ import annotations

import os
import random
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

from wrenla_handler.stores.s3.credentials import KEYS, renewing_session
from wrenla_handler.stores.s3.keep_alive import keep_alive
from wrenla_handler.stores.s3.truncated import refuse_cut_answers

__all__ = [
    "close_clients",
    "expect_owner",
    "new_client",
    "owner",
    "pauses",
    "prepare",
    "shared_client",
    "use_session",
]

_clients: dict[tuple[Any, ...], Any] = {}
_sessions: dict[str, Any] = {}
_clients_lock = threading.Lock()
_owners: dict[str, str] = {}


def expect_owner(bucket: str, account: str) -> None:
    """Let every request of this process to a bucket fail unless the bucket belongs to an AWS account.

    A bucket's name is free again once it is deleted, and whoever takes it would be sent our tiles. Inside a
    deployed function ``WRENLA_BUCKET`` and ``WRENLA_BUCKET_OWNER`` say the same, as nobody calls this there.

    Parameters
    ----------
    bucket : str
    account : str
        Its 12 digits.
    """
    if not re.fullmatch(r"[0-9]{12}", account):
        raise ValueError(f"{account!r} is not an AWS account: those have 12 digits")
    _owners[bucket] = account


def owner(bucket: str) -> str | None:
    """Return the expected owner account of a bucket, None if none was set."""
    account = _owners.get(bucket)
    if account is None and bucket == os.environ.get("WRENLA_BUCKET"):
        account = os.environ.get("WRENLA_BUCKET_OWNER") or None
    return account


def prepare(client: Any) -> Any:
    """Let an S3 client name the expected owner with every request, and refuse cut answers; return it."""
    # Before a request is built from its parameters, so that no caller, and no page of a list, is forgotten.
    client.meta.events.register("before-parameter-build.s3", _add_owner, unique_id="wrenla-owner")
    refuse_cut_answers(client)
    return client


def _add_owner(params: dict[str, Any], model: Any, **_: Any) -> None:
    account = owner(params.get("Bucket", ""))
    if account is not None and "ExpectedBucketOwner" in model.input_shape.members:
        params.setdefault("ExpectedBucketOwner", account)


def use_session(bucket: str, session: Any) -> None:
    """Let stores that this process opens from now on reach a bucket by a boto3 session's credentials."""
    _sessions[bucket] = session


def new_client(session: Any = None) -> Any:
    """Make an S3 client from boto3's own settings: environment, `~/.aws`, the role of the machine.

    ``AWS_ENDPOINT_URL_S3`` (or ``AWS_ENDPOINT_URL``) points it at another S3.

    Parameters
    ----------
    session : boto3.Session, optional
        With credentials and a region of its own. By default credentials may be renewed meanwhile: each
        request uses those of the moment.
    """
    # boto3 takes 0.3 s to import, which those who use no S3 need not wait for.
    from botocore.config import Config

    # A session of our own: boto3's default session is not safe to use from several threads.
    client = (session or renewing_session()).client(
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
    return prepare(keep_alive(client))


def shared_client(bucket: str = "") -> Any:
    """Return this process's client for a bucket: making one takes 50 ms, and connections are worth keeping.

    A client reads ``AWS_*`` only when it is made, so there is one for each state of these variables, but for
    those of credentials, which it looks at itself: whoever sets the forgotten ones in a running notebook goes
    on with them.
    """
    session = _sessions.get(bucket)
    others = (item for item in os.environ.items() if item[0].startswith("AWS_") and item[0] not in KEYS)
    settings = (session, *sorted(others))
    with _clients_lock:
        if settings not in _clients:
            _clients[settings] = new_client(session)
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
