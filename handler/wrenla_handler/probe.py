"""Store probe: look for, put, read and delete one object, as every task does."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from typing import Any

from wrenla_handler.aws_errors import error_status
from wrenla_handler.errors import TransientStoreError
from wrenla_handler.stores.urls import open_store

__all__ = ["probe"]

_NBYTES = 8 << 20


def probe(url: str) -> dict[str, Any]:
    """Try a store, and say how it went. Whatever goes wrong is an answer, not an error.

    Parameters
    ----------
    url : str
        Where one object is put, and deleted again.

    Returns
    -------
    dict
        ``nbytes``, and by name the seconds of what went well: ``look``, ``put``, ``get``, ``delete``. If one
        did not, also ``failed`` (its name) and ``error``; if it was S3 that refused, its ``code`` and what it
        ``said``, which names a boundary, or a key that the role has no right to.

    Examples
    --------
    >>> sorted(probe("memory://probe"))
    ['delete', 'get', 'look', 'nbytes', 'put']
    """
    found: dict[str, Any] = {"nbytes": _NBYTES}
    try:
        store = open_store(url)
    except ValueError as error:
        return {**found, "failed": "open", "error": str(error)}
    key, tile = f"doctor-{uuid.uuid4().hex}", os.urandom(_NBYTES)
    trials: dict[str, Callable[[], object]] = {
        "look": lambda: store.exists(key),  # first, as connecting takes longer than putting
        "put": lambda: store.put(key, tile, create=True),
        "get": lambda: store.get(key),
        "delete": lambda: store.delete(key),  # also if it cannot be read
    }
    failures: dict[str, Exception] = {}
    try:
        for name, trial in trials.items():
            begun = time.perf_counter()
            try:
                trial()
            except Exception as error:
                failures[name] = error
                if name == "put" or isinstance(error, TransientStoreError):
                    break
            else:
                found[name] = time.perf_counter() - begun
    finally:
        store.close()
    # That it may not look says least: S3 does not tell then which permission is lacking.
    failed = next((name for name in ("put", "get", "delete", "look") if name in failures), "")
    return {**found, **_failure(failed, failures[failed])} if failed else found


def _failure(name: str, error: Exception) -> dict[str, Any]:
    cause = error.__cause__ or error
    said = getattr(cause, "response", {}).get("Error", {}).get("Message", "")
    text = " ".join(str(error).split()) or type(error).__name__
    return {"failed": name, "error": text, "code": error_status(cause)[1], "said": " ".join(said.split())}
