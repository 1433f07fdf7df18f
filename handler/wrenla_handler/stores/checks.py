"""Argument checks that all stores share."""

from __future__ import annotations

import re

from wrenla_handler.stores.base import Data

__all__ = ["check_key", "check_range", "flat_view", "is_key", "why_no_key"]

# A segment is not empty, not `.` or `..`, and not the name of a half-written local file (`.….tmp`).
# Control characters and lone surrogates are out because S3 cannot list them.
_SEGMENT = r"(?!\.{1,2}(?:/|\Z)|\.[^/]*\.tmp(?:/|\Z))[^/\x00-\x1f\x7f\ud800-\udfff]+"
_KEY = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")


def is_key(text: str) -> bool:
    """Tell whether `text` can name an object.

    Examples
    --------
    >>> [is_key(text) for text in ("c/0/1", "", "/c", "c/", "a//b", "a/../b", ".half.tmp")]
    [True, False, False, False, False, False, False]
    """
    return _KEY.fullmatch(text) is not None


def check_key(key: str) -> str:
    """Return `key`, or raise ValueError if it cannot name an object."""
    if not is_key(key):
        raise ValueError(
            f"{key!r} is not a key: keys are relative and '/'-separated, without empty, '.' or '..' "
            "segments, control characters, or names like '.name.tmp'"
        )
    return key


def why_no_key(text: str) -> str:
    """Return why `text`, which may be the name of a file, is no key.

    Examples
    --------
    >>> why_no_key("caf\\udce9"), why_no_key("a\\nb"), why_no_key("a//b")
    ('its name is not UTF-8', 'its name has a control character', 'its name is no key')
    """
    if re.search(r"[\ud800-\udfff]", text):
        return "its name is not UTF-8"
    if re.search(r"[\x00-\x1f\x7f]", text):
        return "its name has a control character"
    return "its name is no key"


def check_range(start: int, stop: int | None) -> None:
    """Raise ValueError if `[start, stop)` counts from the end, which a store cannot do in one request."""
    if start < 0 or (stop is not None and stop < 0):
        raise ValueError(f"a byte range counts from the beginning: [{start}, {stop}) is negative")


def flat_view(data: Data) -> memoryview:
    """Return the bytes of `data` as a flat view, without a copy.

    Raises TypeError if `data` is a view that is not C-contiguous: its bytes have no single order.

    Examples
    --------
    >>> len(flat_view(memoryview(b"12345678").cast("d")))
    8
    """
    view = memoryview(data)
    # `cast` refuses shapes that contain a zero.
    return view.cast("B") if view.nbytes else memoryview(b"")
