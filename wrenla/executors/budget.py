"""What invocations cost, and how much they may."""

from __future__ import annotations

import threading

from wrenla.errors import NeverStarted, OverBudget
from wrenla.executors.invocation import Billing, FunctionFacts
from wrenla.executors.prices import Prices

__all__ = ["Budget"]

_LOOK = 0.5
"""Seconds after which a call that waits for others looks whether it is told to stop."""


class Budget:
    """Dollars that the invocations of a function have cost.

    Parameters
    ----------
    facts : FunctionFacts
    prices : Prices
    most : float, optional
        Dollars; when they are spent nothing more begins.
    """

    def __init__(self, facts: FunctionFacts, prices: Prices, most: float | None = None) -> None:
        self.spent = 0.0
        self._facts = facts
        self._prices = prices
        self._most = most
        self._worst = prices.call(facts.timeout, facts.memory, arm=facts.arm)
        self._risked = 0.0
        self._flying = 0
        self._mean = 0.0
        self._landing = threading.Condition()

    def afford(self, label: str, told: threading.Event) -> None:
        """Count a call in that begins now; wait while those under way may cost all that is left.

        Before anything has ended, each of them may last as long as the function can.

        Raises
        ------
        OverBudget
            If all is spent.
        NeverStarted
            If told not to wait.
        """
        with self._landing:
            while self._most is not None:
                gone = self.spent + self._risked
                if gone >= self._most:
                    lost = f", and invocations that we have lost may cost ${self._risked:.4f}"
                    raise OverBudget(
                        f"{label}: not begun: ${self.spent:.4f} of max_dollars={self._most:g} are spent"
                        f"{lost if self._risked else ''}; what is done is kept: allow more and run it again"
                    )
                each = self._mean or self._worst
                if not self._flying or gone + (self._flying + 1) * each <= self._most:
                    break
                self._landing.wait(_LOOK)
                if told.is_set():
                    raise NeverStarted(f"{label}: told to stop before it began")
            self._flying += 1

    def landed(self) -> None:
        """Count a call out."""
        with self._landing:
            self._flying -= 1
            self._landing.notify_all()

    def risk(self, seconds: float) -> None:
        """Count what an invocation may still cost of which we do not know any more whether it runs.

        It is not spent as far as anybody knows, but no other call gets it.
        """
        facts = self._facts
        more = self._prices.call(abs(seconds), facts.memory, arm=facts.arm) - self._prices.call(
            0.0, facts.memory, arm=facts.arm
        )
        with self._landing:
            self._risked = max(0.0, self._risked + (more if seconds > 0 else -more))

    def pay(self, billing: Billing, elapsed: float) -> tuple[float, float]:
        """Add what an invocation costs. Returns its seconds and dollars; without a report, by the clock."""
        facts = self._facts
        seconds = billing.billed or elapsed
        dollars = self._prices.call(seconds, facts.memory, arm=facts.arm)
        with self._landing:
            self.spent += dollars
            if elapsed:  # no ping
                self._mean += (dollars - self._mean) * (0.1 if self._mean else 1.0)
        return seconds, dollars
