"""Faults on demand: which of the calls goes wrong, or which change of a function, and how."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

__all__ = ["Fault", "FaultKind", "Faults", "Operation"]

FaultKind = Literal[
    "kill-before",
    "kill-during",
    "kill-after",
    "delay",
    "throttle",
    "answer-twice",
    "drop-connection",
    "key-denied",
    "role-unknown",
    "grant-refused",
    "pending",
    "update-failed",
]

Operation = Literal["creation", "update"]
"""Requests that change functions: CreateFunction; UpdateFunctionCode and UpdateFunctionConfiguration."""

_HITS: dict[str, tuple[Operation, ...]] = {
    "role-unknown": ("creation",),
    "grant-refused": ("creation",),
    "pending": ("creation", "update"),
    "update-failed": ("update",),
}
"""The operations that a rule may hit; all other rules hit calls."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A rule that makes some of the calls go wrong, or some of the requests that create or update functions.

    Calls are numbered from 1 on, from when the rules were given; what is throttled counts, too. So are
    creations and updates, together, but apart from calls.

    Parameters
    ----------
    kind : str
        ``kill-before``, ``kill-during``, ``kill-after``: the environment is killed before the function has
        begun, `seconds` after that, or when its response is in; the caller gets ``Runtime.ExitError``.
        ``delay``: the call begins `seconds` late. ``throttle``: it is refused with status 429.
        ``answer-twice``: the function runs twice, side by side. ``drop-connection``: it runs, but the
        caller's connection is closed instead of an answer. ``key-denied``: it is refused with status 502 and
        KMSAccessDeniedException, as on AWS when the function's role was deleted and made anew. Of
        asynchronous calls only the first three and ``answer-twice`` are noticed.

        ``role-unknown``, ``grant-refused``: the function is not created, since its role may not be assumed by
        Lambda, or used with a key, which is what AWS says of a role of the last seconds. ``pending``: for
        `seconds`, a function that was created is not active, and calls are refused with
        ResourceConflictException (409); or an update is in progress, and calls run as before it; updates are
        refused with 409. ``update-failed``: the same, and then the update has failed: calls run as before it
        until the next one, although the configuration shows what was asked for.
    share : float
        Share of the calls that it hits; which ones depends on `seed` alone.
    calls : sequence of int
        Numbers of the calls that it hits.
    first : int
        It hits so many of the first calls.
    seconds : float
    seed : int

    Examples
    --------
    >>> rule = Fault("throttle", share=0.25, seed=1)
    >>> [number for number in range(1, 17) if rule.hits(number)]
    [1, 2, 5, 7, 11, 12]
    """

    kind: FaultKind
    share: float = 0.0
    calls: tuple[int, ...] = ()
    first: int = 0
    seconds: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            raise ValueError(
                f"{self.kind!r} is no kind of fault: it is one of {', '.join(get_args(FaultKind))}"
            )
        if not 0 <= self.share <= 1 or self.seconds < 0:
            raise ValueError(f"{self}: a share is between 0 and 1, and seconds are not negative")
        if not (self.share or self.calls or self.first):
            raise ValueError(f"{self} hits no call: give share, calls or first")

    @staticmethod
    def of(rule: Fault | Mapping[str, Any]) -> Fault:
        """Return a rule that may have been written as a dictionary."""
        if isinstance(rule, Fault):
            return rule
        known = [field.name for field in fields(Fault)]
        unknown = set(rule) - set(known)
        if unknown:
            raise ValueError(f"a fault has no {', '.join(sorted(unknown))}: it has {', '.join(known)}")
        return Fault(**{**rule, "calls": tuple(rule.get("calls", ()))})

    def hits(self, number: int) -> bool:
        """Tell whether the call with this number goes wrong."""
        if number in self.calls or number <= self.first:
            return True
        return self.share > 0 and random.Random(f"{self.seed}/{self.kind}/{number}").random() < self.share


class Faults:
    """The rules in force; the first that hits a call decides."""

    def __init__(self) -> None:
        self._rules: tuple[Fault, ...] = ()
        self._number = self._changes = 0
        self._lock = threading.Lock()

    def set(self, rules: Sequence[Fault]) -> None:
        """Replace the rules, and count calls from 1 on."""
        with self._lock:
            self._rules, self._number, self._changes = tuple(rules), 0, 0

    def next(self) -> Fault | None:
        """Return what happens to the next call."""
        if not self._rules:
            return None
        with self._lock:
            # Each call gets a number of its own, or the same rules would not hit the same calls again.
            self._number += 1
            return self._first(self._number, [rule for rule in self._rules if rule.kind not in _HITS])

    def next_change(self, operation: Operation) -> Fault | None:
        """Return what happens to the next request that creates or updates a function."""
        if not self._rules:
            return None
        with self._lock:
            self._changes += 1
            able = [rule for rule in self._rules if operation in _HITS.get(rule.kind, ())]
            return self._first(self._changes, able)

    def _first(self, number: int, rules: Sequence[Fault]) -> Fault | None:
        return next((rule for rule in rules if rule.hits(number)), None)
