"""Budget: cost of invocations, and the limit `max_dollars`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

from wrenla.errors import NeverStarted, OverBudget
from wrenla.executors.aws_lambda.client import Billing, FunctionFacts
from wrenla.executors.aws_lambda.prices import Prices

__all__ = ["Budget", "Reserved"]

logger = logging.getLogger("wrenla.calls")

_LOOK = 0.5
"""Seconds after which a call that waits for others looks whether it is told to stop."""

_COLD_START = 10.0
"""Seconds that Lambda bills at most before a function's own time limit begins."""


class Budget:
    """Dollars that the invocations of a function have cost.

    Each invocation has the most that it can cost kept for it until it has ended: so what is spent never
    exceeds what may be, however long calls come to take.

    Parameters
    ----------
    facts : FunctionFacts
    prices : Prices
    most : float, optional
        Dollars; nothing begins that might cost more than is left of them.
    """

    def __init__(self, facts: FunctionFacts, prices: Prices, most: float | None = None) -> None:
        self.longest = facts.timeout + _COLD_START
        self._facts = facts
        self._prices = prices
        self._most = most
        self._worst = Fraction(self.price(self.longest))
        # exact, since what is left over by rounding may be what one call too many needs
        self._spent = Fraction(0)
        self._risked = Fraction(0)
        self._flying = 0
        self._said = False
        self._ended = threading.Condition()

    @property
    def spent(self) -> float:
        """Dollars."""
        return float(self._spent)

    @property
    def risked(self) -> float:
        """Dollars reserved for lost invocations, which may still be running."""
        return float(self._risked)

    def price(self, seconds: float) -> float:
        """Return the price of an invocation by its billed seconds."""
        facts = self._facts
        return self._prices.call(seconds, facts.memory, arm=facts.arm, storage=facts.storage)

    @contextmanager
    def reserve(self, label: str, told: threading.Event) -> Iterator[Reserved]:
        """Keep what one invocation can cost at most until the context ends; wait until that much is left.

        Raises
        ------
        OverBudget
            If it never will be.
        NeverStarted
            If told not to wait.
        """
        with self._ended:
            # Looked at and taken with one lock: two calls must not both get what is left for one.
            while not self._fits(label):
                if told.is_set():
                    raise NeverStarted(f"{label}: told to stop before it began")
                self._ended.wait(_LOOK)
            self._flying += 1
        try:
            yield Reserved(self)
        finally:
            with self._ended:
                # The price was counted before (`pay`, `lose`): in no moment does the money look free.
                self._flying -= 1
                self._ended.notify_all()

    def count(self, spent: Fraction, risked: Fraction) -> None:
        """Add to what is spent, and to what may be."""
        with self._ended:
            self._spent += spent
            self._risked += risked

    def _fits(self, label: str) -> bool:
        """Tell whether one more may begin now; no if some of those under way have to end before."""
        if self._most is None:
            return True
        gone = self._spent + self._risked
        # what those under way have cost counts twice until they have ended: others wait that moment longer
        if gone + (self._flying + 1) * self._worst <= self._most:
            return True
        if self._flying and self._spent + self._worst <= self._most:
            self._say()
            return False
        raise OverBudget(f"{label}: not begun: {self._why()}")

    def _say(self) -> None:
        """Warn once that calls wait for money."""
        if not self._said:
            self._said = True
            logger.warning(
                "%s: max_dollars=%g lets %d calls run at a time now: %s",
                self._facts.name,
                self._most,
                self._flying,
                self._each(),
            )

    def _each(self) -> str:
        facts = self._facts
        storage = f" and {facts.storage} MB of storage" if facts.storage > 512 else ""
        return (
            f"each may cost ${float(self._worst):.4f}, for {facts.timeout} s, the function's time limit, and "
            f"{_COLD_START:g} s to start, at {facts.memory} MB{storage}"
        )

    def _why(self) -> str:
        lost = f", and invocations that we have lost may cost ${self.risked:.4f}" if self._risked else ""
        return (
            f"${self.spent:.4f} of max_dollars={self._most:g} are spent{lost}; {self._each()}; what is done "
            "is kept: allow more and run it again, or lower time limit or memory (wrenla deploy --timeout, "
            "--memory)"
        )


class Reserved:
    """Reservation for one invocation, and its cost so far. Belongs to one thread.

    Attributes
    ----------
    unknown : bool
        As far as we know it may still be running.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._spent = self._risked = Fraction(0)
        self.unknown = False

    def pay(self, billing: Billing, elapsed: float) -> tuple[float, float]:
        """Note how long it was; without a report, by the clock. Returns its seconds and dollars.

        Another time it is what is known better by now, and takes the place of what was noted before.
        """
        # by the clock it may be longer than Lambda lets it run: answers travel, too
        return self._note(billing.billed or min(elapsed, self._budget.longest), unknown=False)

    def lose(self, elapsed: float) -> tuple[float, float]:
        """Reserve the worst-case cost of an invocation whose connection was lost: it may run on to its limit.

        A time limit of a call does not count here: what never returns to Python is not interrupted by it.
        """
        return self._note(min(elapsed, self._budget.longest), unknown=True)

    def _note(self, seconds: float, *, unknown: bool) -> tuple[float, float]:
        dollars = self._budget.price(seconds)
        spent = Fraction(dollars)
        most = Fraction(self._budget.price(self._budget.longest)) if unknown else spent
        self._budget.count(spent - self._spent, most - spent - self._risked)
        self._spent, self._risked, self.unknown = spent, most - spent, unknown
        return seconds, dollars
