"""Transport to AWS Lambda: makes and ends the channels of an executor."""

from __future__ import annotations

import threading
import time
import weakref

from wrenla.executors.aws_lambda.channel import LambdaChannel
from wrenla.executors.aws_lambda.client import Function
from wrenla.executors.aws_lambda.function_state import LambdaService
from wrenla.executors.aws_lambda.prices import Prices
from wrenla.executors.transport.scratch import ScratchSpace

__all__ = ["LambdaTransport"]

_LEAVING = 30.0
"""Seconds for which the end of an executor waits for an attempt after another one has overtaken it."""


class LambdaTransport(LambdaService):
    """Carries calls and tile tasks to a function on AWS Lambda.

    Parameters
    ----------
    scratch : ScratchSpace
    function : Function
    prices : Prices
    max_dollars : float, optional
    """

    keeps_limits = True
    keeps_channels = False

    def __init__(
        self, scratch: ScratchSpace, function: Function, prices: Prices, *, max_dollars: float | None = None
    ) -> None:
        super().__init__(scratch, function, prices, max_dollars=max_dollars)
        self._channels: weakref.WeakSet[LambdaChannel] = weakref.WeakSet()
        self._closed = False
        self._lock = threading.Lock()

    def channel(self) -> LambdaChannel:
        """Return a channel for the current thread."""
        channel = LambdaChannel(self)
        with self._lock:
            self._channels.add(channel)
        return channel

    def ending(self) -> None:
        """Wait for superseded invocations, but not for ever."""
        with self._lock:
            # A copy: to break a connection takes the channel's own lock, and new channels come meanwhile.
            channels = list(self._channels)
        now = time.monotonic()
        for channel in channels:
            channel.leave_superseded(now - _LEAVING)
        if not self._closed:
            self.clock.at(now + _LEAVING / 6, self.ending)

    def close(self) -> None:
        """Remove what is stored, and close the connections."""
        self._closed = True
        super().close()
