"""Bytes and seconds as people write them."""

from __future__ import annotations

import math
import re

__all__ = ["counted", "format_bytes", "format_dollars", "format_time", "parse_bytes"]

_BINARY = (("Pi", 50), ("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10))
_DECIMAL = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_BYTES = re.compile(r"([-+\d.]+(?:e[-+]?\d+)?)\s*(?:([kmgtp])(i?))?(b?)", re.IGNORECASE)


def counted(count: int, one: str, more: str = "") -> str:
    """Return a number and what is counted: in the singular if it is one, else in the plural.

    Examples
    --------
    >>> counted(1, "worker"), counted(2000, "worker"), counted(0, "task that failed", "tasks that failed")
    ('1 worker', '2,000 workers', '0 tasks that failed')
    """
    return f"{count:,} {one if count == 1 else more or f'{one}s'}"


def format_bytes(n: float) -> str:
    """Return a number of bytes with a binary unit.

    Examples
    --------
    >>> format_bytes(12), format_bytes(12345678), format_bytes(0.95 * 2**30)
    ('12 B', '11.77 MiB', '0.95 GiB')
    """
    for prefix, power in _BINARY:
        if n >= 0.9 * 2**power:
            return f"{n / 2**power:.2f} {prefix}B"
    return f"{round(n)} B"


def format_dollars(dollars: float) -> str:
    """Return a sum of money, to the cent or to two digits; of less than a millionth only that.

    Examples
    --------
    >>> format_dollars(0.000123), format_dollars(1.234), format_dollars(1234.5)
    ('$0.00012', '$1.23', '$1,234')
    >>> format_dollars(0.0), format_dollars(4.5e-11)
    ('$0.00', '< $0.000001')
    """
    if 0 < dollars < 1e-6:
        return "< $0.000001"
    if dollars >= 100:
        return f"${dollars:,.0f}"
    digits = 2 if dollars >= 0.1 or not dollars else 1 - math.floor(math.log10(dollars))
    return f"${dollars:.{digits}f}"


def format_time(seconds: float) -> str:
    """Return a duration in its two largest units.

    Examples
    --------
    >>> format_time(0.00123), format_time(61.5), format_time(1234), format_time(12345), format_time(1234567)
    ('1.23 ms', '61.50 s', '20m 34s', '3h 25m', '14d 6h')
    """
    if seconds < 1e-3:
        return f"{seconds * 1e6:.2f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.2f} ms"
    if seconds <= 600:
        return f"{seconds:.2f} s"
    minutes, hours, days = (int(seconds) // unit for unit in (60, 3600, 86400))
    if hours < 2:
        return f"{minutes}m {int(seconds) % 60}s"
    return f"{hours}h {minutes % 60}m" if days < 2 else f"{days}d {hours % 24}h"


def parse_bytes(text: float | str) -> int:
    """Return the number of bytes that a number, or a text as "8 GiB", stands for.

    Units are decimal (kB, MB, GB, TB, PB) or binary (KiB, MiB, …), in capitals or not, with or without the B.

    Raises
    ------
    ValueError
        The text is something else.

    Examples
    --------
    >>> parse_bytes("8 GiB"), parse_bytes("1.5 MB"), parse_bytes("2k"), parse_bytes("1e6"), parse_bytes(7.0)
    (8589934592, 1500000, 2000, 1000000, 7)
    """
    if not isinstance(text, str):
        return int(text)
    found = _BYTES.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no number of bytes: write 2000000, 500 MB or 8 GiB")
    number, prefix, binary, _ = found.groups()
    base = 1024 if binary else 1000
    return int(float(number) * base ** (_DECIMAL[prefix.lower()] if prefix else 0))
