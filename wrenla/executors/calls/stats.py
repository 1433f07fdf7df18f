"""Statistics of calls: a record for each, counters for all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from wrenla.errors import Cancelled, RemoteError
from wrenla.executors.calls.call import Call, Outcome
from wrenla.executors.calls.future import Attempt

__all__ = ["CallStatistics", "Stats", "ending_of"]


@dataclass(frozen=True, slots=True)
class Stats:
    """Statistics of an executor's calls so far.

    Attributes
    ----------
    submitted, succeeded, failed, cancelled : int
        Calls.
    waiting, running : int
        Calls, now.
    attempts, retries, copies : int
        Attempts at calls; those after a failure; second copies of stragglers.
    workers : int
        Channels in use: processes or threads.
    seconds : float
        In functions.
    bytes_sent, bytes_received : int
        Functions, arguments and results, pickled.
    gets, hits : int
        Objects that workers read from the store, and broadcast values that they had at hand.
    billed, dollars : float
        Seconds that AWS has billed for all attempts, and what they have cost, requests to S3 aside.
    cold_starts : int
    lost : float
        Seconds of attempts that failed and were followed by another one.
    throttles : int
        Times that the service refused a call, which was offered again.
    backoff : float
        Seconds that calls have waited because of that, all together.
    """

    submitted: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    waiting: int = 0
    running: int = 0
    attempts: int = 0
    retries: int = 0
    copies: int = 0
    workers: int = 0
    seconds: float = 0.0
    bytes_sent: int = 0
    bytes_received: int = 0
    gets: int = 0
    hits: int = 0
    billed: float = 0.0
    dollars: float = 0.0
    cold_starts: int = 0
    lost: float = 0.0
    throttles: int = 0
    backoff: float = 0.0


class CallStatistics:
    """Counts what happens. Whoever uses it sees to it that it is used by one thread at a time."""

    def __init__(self) -> None:
        self.counts: defaultdict[str, float] = defaultdict(int)

    def stats(self, queue: Iterable[Call], active: Iterable[Call], workers: int) -> Stats:
        """Return what has happened so far, and what is the case now."""
        queued = [call for call in queue if not call.ended]
        cancelled = sum(call.future.cancelled() for call in queued)  # and not taken from the queue yet
        counts = defaultdict(int, self.counts)
        counts["cancelled"] += cancelled
        counts["waiting"] = len(queued) - cancelled
        counts["running"] = len({id(call) for call in active})
        counts["workers"] = workers
        zero = Stats()
        return replace(zero, **{name: type(getattr(zero, name))(n) for name, n in counts.items()})

    def attempt_begins(self, call: Call, now: float, *, copy: bool) -> Attempt:
        """Return a new attempt at a call."""
        account = call.future._account
        # one that was undone may have left a gap, but numbers grow
        attempt = Attempt(account.attempts[-1].number + 1 if account.attempts else 1, now, copy=copy)
        if not account.attempts:
            account.stats.waited = now - call.submitted
        account.attempts.append(attempt)
        self.counts["attempts"] += 1
        self.counts["copies"] += int(copy)
        return attempt

    def attempt_undone(self, call: Call, attempt: Attempt) -> None:
        """Forget an attempt that has not begun."""
        call.future._account.attempts.remove(attempt)
        self.counts["attempts"] -= 1

    def attempt_ended(self, call: Call, attempt: Attempt, outcome: Outcome, now: float) -> None:
        """Write down what an attempt has taken, whatever follows from it."""
        attempt.worker = outcome.worker or attempt.worker
        attempt.seconds = now - attempt.started if outcome.seconds is None else outcome.seconds
        counts = self.counts
        counts["seconds"] += attempt.seconds
        if outcome.gets or outcome.hits:
            counts["gets"] += outcome.gets
            counts["hits"] += outcome.hits
        counts["bytes_sent"] += outcome.sent
        if outcome.backoff:
            counts["throttles"] += outcome.throttles
            counts["backoff"] += outcome.backoff
        if outcome.dollars:
            counts["billed"] += outcome.billed
            counts["dollars"] += outcome.dollars
            counts["cold_starts"] += outcome.init > 0
            call.future._account.stats.dollars += outcome.dollars

    def call_ended(self, call: Call, attempt: Attempt, outcome: Outcome, now: float) -> None:
        """Write down what a call has come to with its last attempt."""
        error = outcome.error
        account = call.future._account
        stats = account.stats
        stats.total, stats.seconds = now - call.submitted, attempt.seconds
        stats.bytes_sent, stats.bytes_received, stats.peak = outcome.sent, outcome.received, outcome.peak
        stats.gets, stats.hits = outcome.gets, outcome.hits
        stats.billed, stats.init = outcome.billed, outcome.init
        account.logs = outcome.logs
        attempt.ending = attempt.ending or ("value" if error is None else ending_of(outcome))
        cancelled = isinstance(error, Cancelled) and outcome.function != "raised"
        ended = "succeeded" if error is None else "cancelled" if cancelled else "failed"
        self.counts[ended] += 1
        self.counts["bytes_received"] += outcome.received
        if call.batch is not None and call.options.idempotent and error is None:
            call.batch.add(attempt.seconds)


def ending_of(outcome: Outcome) -> str:
    """Return what an attempt is said to have ended with that has failed."""
    # an error of ours that a function has raised is its own; what could not come here has another's name
    its_own = outcome.function == "raised" and not isinstance(outcome.error, RemoteError)
    ours = type(outcome.error).__module__.startswith("wrenla") and not its_own
    return type(outcome.error).__name__ if ours else "exception"
