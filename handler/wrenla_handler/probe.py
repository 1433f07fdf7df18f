"""Store probe: look for, put, read and delete one object, as every task does."""

from __future__ import annotations

import os
import statistics
import time
import uuid
from collections.abc import Callable
from typing import Any

from wrenla_handler.aws_errors import error_status
from wrenla_handler.errors import TransientStoreError
from wrenla_handler.stores.base import Store
from wrenla_handler.stores.urls import open_store

__all__ = ["probe"]

_NBYTES, _TIMES = 8 << 20, 3


def probe(url: str) -> dict[str, Any]:
    """Try a store, and say how it went. Whatever goes wrong is an answer, not an error.

    Parameters
    ----------
    url : str
        Where one object is put, and deleted again.

    Returns
    -------
    dict
        ``nbytes``, and by name the seconds of what went well, the median of three times: ``look``, ``put``,
        ``get``, ``delete``. If one did not, also ``failed`` (its name) and ``error``; if it was S3 that
        refused, its ``code`` and what it ``said``, which names a boundary, or a key that the role has no
        right to.

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
    tile, spent = os.urandom(_NBYTES), list[dict[str, float]]()
    try:
        for _ in range(_TIMES):  # again only if all went well: what cannot be deleted stays
            seconds, failures = _try(store, tile)
            if failures:
                # That it may not look says least: S3 does not tell then which permission is lacking.
                failed = next(name for name in ("put", "get", "delete", "look") if name in failures)
                return {**found, **seconds, **_failure(failed, failures[failed])}
            spent.append(seconds)
    finally:
        store.close()
    return {**found, **{name: statistics.median(each[name] for each in spent) for name in spent[0]}}


def _try(store: Store, tile: bytes) -> tuple[dict[str, float], dict[str, Exception]]:
    """Return by name the seconds of what went well, and why the rest did not."""
    key = f"doctor-{uuid.uuid4().hex}"
    trials: dict[str, Callable[[], object]] = {
        "look": lambda: store.exists(key),  # first, as connecting takes longer than putting
        "put": lambda: store.put(key, tile, create=True),
        "get": lambda: store.get(key),
        "delete": lambda: store.delete(key),  # also if it cannot be read
    }
    seconds, failures = dict[str, float](), dict[str, Exception]()
    for name, trial in trials.items():
        begun = time.perf_counter()
        try:
            trial()
        except Exception as error:
            failures[name] = error
            if name == "put" or isinstance(error, TransientStoreError):
                break
        else:
            seconds[name] = time.perf_counter() - begun
    return seconds, failures


def _failure(name: str, error: Exception) -> dict[str, Any]:
    cause = error.__cause__ or error
    said = getattr(cause, "response", {}).get("Error", {}).get("Message", "")
    text = " ".join(str(error).split()) or type(error).__name__
    return {"failed": name, "error": text, "code": error_status(cause)[1], "said": " ".join(said.split())}
