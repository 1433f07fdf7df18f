"""Shared state of all calls of a function: client, prices, rate limiter and scratch space."""

from __future__ import annotations

from collections.abc import Sequence

from wrenla.executors.aws_lambda.budget import Budget
from wrenla.executors.aws_lambda.client import Function
from wrenla.executors.aws_lambda.handshake import Handshake
from wrenla.executors.aws_lambda.prices import Prices
from wrenla.executors.aws_lambda.rate_limiter import AdaptiveRateLimiter
from wrenla.executors.calls.timer import Timer
from wrenla.executors.transport.missing_modules import explain_import
from wrenla.executors.transport.remote import RemoteTransport, SentArguments
from wrenla.executors.transport.scratch import ScratchSpace
from wrenla_handler.serialize.blobs import Blob, Packed

__all__ = ["LambdaService"]

_RECORD_FROM = 1.0
"""Seconds from which on an answer is worth a request to the store: were it lost, they would be, too."""

_GATHERED = 2 << 20
"""Bytes of results that travel inside a message to the call that gathers them."""


class LambdaService(RemoteTransport):
    """Service that channels share: function, budget, limiter, handshake, timer.

    Parameters
    ----------
    scratch : ScratchSpace
    function : Function
    prices : Prices
    max_dollars : float, optional
    """

    unrecorded = _RECORD_FROM

    def __init__(
        self, scratch: ScratchSpace, function: Function, prices: Prices, *, max_dollars: float | None = None
    ) -> None:
        super().__init__(scratch)
        self.invoked = function
        self.limiter = AdaptiveRateLimiter()
        self.clock = Timer()
        self.budget = Budget(function.facts, prices, max_dollars)
        self.handshake = Handshake(function, self.budget)

    def explain(self, error: BaseException) -> None:
        explain_import(error, "lambda")

    def gathered(self, results: Sequence[Packed]) -> SentArguments:
        """Return results as the one argument of a call; what is too much for a message goes to the store."""
        kept, inside = [], 0
        for packed in results:
            inline = sum(len(blob.data) for blob in packed)
            if inside + inline > _GATHERED:
                packed = tuple(self._stored_blob(blob) for blob in packed)
            else:
                inside += inline
            kept.append(packed)
        return super().gathered(kept)

    def _stored_blob(self, blob: Blob) -> Blob:
        return self.scratch.send([blob.data], "arguments", inline=0)[0] if blob.data else blob

    def close(self) -> None:
        """Remove what is stored, and close the connections."""
        self.clock.close()
        self.scratch.close()
        self.invoked.close()
