"""Deployments, and the end of them, that are interrupted again and again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

__all__ = ["one_at_a_time"]


def one_at_a_time(do: Callable[..., object], count: int) -> tuple[str, ...]:
    """Interrupt something after each change, and go on with it; return the lines of so many changes."""
    done: list[str] = []
    while len(done) < count:
        lines: list[str] = []

        def tell(line: str, lines: list[str] = lines) -> None:
            if lines:
                raise KeyboardInterrupt
            lines.append(line)

        with contextlib.suppress(KeyboardInterrupt):
            do(tell=tell)
        assert lines, "it ended before it had done what it said it would"
        done += lines
    return tuple(done)
