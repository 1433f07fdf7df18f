"""What invocations cost, and how much they may."""

from __future__ import annotations

import threading

from wrenla.errors import OverBudget
from wrenla.executors.invocation import Billing, FunctionFacts
from wrenla.executors.prices import Prices

__all__ = ["Budget"]


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
        self._max_dollars = most
        self._flying = 0
        self._mean = 0.0
        self._lock = threading.Lock()

    def afford(self, label: str) -> None:
        """Count a call in that begins now. Raises OverBudget if those under way may cost all that is left."""
        with self._lock:
            spent = self.spent + self._flying * self._mean
            if self._max_dollars is not None and spent >= self._max_dollars:
                raise OverBudget(
                    f"{label}: not begun: ${self.spent:.4f} of max_dollars={self._max_dollars:g} are spent, "
                    f"and {self._flying} calls under way; what is done is kept: allow more and run it again"
                )
            self._flying += 1

    def landed(self) -> None:
        """Count a call out."""
        with self._lock:
            self._flying -= 1

    def pay(self, billing: Billing, elapsed: float) -> tuple[float, float]:
        """Add what an invocation costs. Returns its seconds and dollars; without a report, by the clock."""
        facts = self._facts
        seconds = billing.billed or elapsed
        dollars = self._prices.call(seconds, facts.memory, arm=facts.arm)
        with self._lock:
            self.spent += dollars
            if elapsed:  # no ping
                self._mean += (dollars - self._mean) * (0.1 if self._mean else 1.0)
        return seconds, dollars
