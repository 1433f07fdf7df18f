"""Calls and tile tasks on AWS Lambda: the lanes of an executor, and the end of them."""

from __future__ import annotations

import threading
import time
import weakref

from wrenla.executors.aws_lambda.client import Function
from wrenla.executors.aws_lambda.channel import LambdaLane
from wrenla.executors.aws_lambda.service import LambdaService
from wrenla.executors.aws_lambda.prices import Prices
from wrenla.executors.transport.scratch import Place

__all__ = ["LambdaCarrier"]

_LEAVING = 30.0
"""Seconds for which the end of an executor waits for an attempt after another one has overtaken it."""


class LambdaCarrier(LambdaService):
    """Carries calls and tile tasks to a function on AWS Lambda.

    Parameters
    ----------
    place : Place
    function : Function
    prices : Prices
    max_dollars : float, optional
    """

    keeps_limits = True
    keeps_lanes = False

    def __init__(
        self, place: Place, function: Function, prices: Prices, *, max_dollars: float | None = None
    ) -> None:
        super().__init__(place, function, prices, max_dollars=max_dollars)
        self._lanes: weakref.WeakSet[LambdaLane] = weakref.WeakSet()
        self._closed = False
        self._lock = threading.Lock()

    def lane(self) -> LambdaLane:
        """Return a lane for the current thread."""
        lane = LambdaLane(self)
        with self._lock:
            self._lanes.add(lane)
        return lane

    def ending(self) -> None:
        """Wait for invocations whose answers nobody needs, but not for ever."""
        with self._lock:
            lanes = list(self._lanes)
        now = time.monotonic()
        for lane in lanes:
            lane.leave_superseded(now - _LEAVING)
        if not self._closed:
            self.clock.at(now + _LEAVING / 6, self.ending)

    def close(self) -> None:
        """Remove what is stored, and close the connections."""
        self._closed = True
        super().close()
