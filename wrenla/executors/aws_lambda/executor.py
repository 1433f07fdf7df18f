"""`LambdaExecutor`: a function on AWS Lambda as executor."""

from __future__ import annotations

import threading
import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Literal, Never

from wrenla.config import settings, store_for
from wrenla.executors.aws_lambda.client import Function, FunctionFacts
from wrenla.executors.aws_lambda.function_model import FunctionSpec
from wrenla.executors.aws_lambda.names import check_bucket, check_function
from wrenla.executors.aws_lambda.prices import Prices, default_prices
from wrenla.executors.aws_lambda.transport import LambdaTransport
from wrenla.executors.base import Executor
from wrenla.executors.calls.dispatcher import Dispatcher
from wrenla.executors.calls.options import (
    NOT_OF_EXECUTORS,
    CallOptions,
    at_least_one,
    check_names,
    one_of,
    positive,
)
from wrenla.executors.calls.shutdown import ended_at_exit, let_go
from wrenla.executors.measured import function_rates
from wrenla.executors.tile_calls import TileRun
from wrenla.executors.transport.scratch import ScratchSpace
from wrenla.planning.cost_model import ExecutorModel
from wrenla_handler.stores.base import Reach
from wrenla_handler.stores.s3.client import expect_owner, use_session
from wrenla_handler.stores.urls import join
from wrenla_handler.tiles.arrays import ArraySpec, TileRef
from wrenla_handler.tiles.cache import Tile
from wrenla_handler.tiles.task import Task
from wrenla_handler.tiles.worker import Report, Worker

__all__ = ["LambdaExecutor"]

_ARGUMENTS = ("function", "bucket", "session", "concurrency", "max_dollars", "prices", "logs")

_CONCURRENCY = 100

_DEPLOYED = "it is the deployment's: wrenla deploy --{} …"

_SESSION = "say it by session=boto3.Session({}=…)"

_ELSEWHERE = {
    **NOT_OF_EXECUTORS,
    **dict.fromkeys(("workers", "n_jobs", "n_workers", "max_concurrency"), "did you mean 'concurrency'?"),
    **dict.fromkeys(("memory", "memory_size", "runtime_memory", "allowed_mem"), _DEPLOYED.format("memory")),
    "storage": _DEPLOYED.format("storage"),
    "timeout": f"{_DEPLOYED.format('timeout')}, or executor.options(timeout=…) for calls",
    "requirements": _DEPLOYED.format("requirements"),
    "role": _DEPLOYED.format("role"),
    "region": _SESSION.format("region_name"),
    "region_name": _SESSION.format("region_name"),
    "profile": _SESSION.format("profile_name"),
    "profile_name": _SESSION.format("profile_name"),
    "budget": "did you mean 'max_dollars'?",
    "kind": "calls run in processes of AWS",
    "store": "the setting `store` (WRENLA_STORE) says where temporaries go",
}
"""Words of other libraries, and of `wrenla deploy`."""

_HOME_CACHE = 256 << 20
"""Bytes of tiles that are kept here while a result is gathered."""


class LambdaExecutor(Executor):
    """Executor on AWS Lambda: calls and tile tasks invoke a function that `wrenla deploy` has made.

    Calls are synchronous invocations: an answer tells by itself that a call has ended, so nothing is polled.
    A call that the service refuses (429) is offered again, more slowly. Functions cannot be stopped: what
    Ctrl-C or a timeout gives up runs on for itself, until its own limit.

    Parameters
    ----------
    function : str
        Name, or ARN, of the function. Its memory and time limit are the deployment's and are read from it.
    bucket : str, optional
        The bucket for temporaries; by default the deployment's.
    session : boto3.Session, optional
        Credentials and region; by default boto3's own chain of environment variables and profiles, in which
        credentials may be renewed meanwhile: each request uses those of the moment. A session's own are up
        to it.
    concurrency : int, optional
        Invocations at the same time; 100 if it is not said. An account may have 1,000 by default, over all
        its functions.
    max_dollars : float, optional
        `spent` never exceeds it. For each call under way the most that it can cost is kept: its memory for
        the function's whole time limit and 10 s of a cold start, $0.026 with 1,769 MB and 900 s. Calls wait
        until that much is left; when it never will be, they end as `OverBudget`. S3's requests are not part
        of it.
    prices : Prices, optional
        Of your region; by default those of us-east-1.
    max_workers : int, optional
        `concurrency`, as `concurrent.futures` calls it.
    logs : {"show", "quiet", "stderr"}, optional
        Where what functions print is shown, those of matrices included; see `options`.

    Raises
    ------
    ServiceError
        If there is no such function, or the credentials do not allow to ask; the message says what to do.

    Examples
    --------
    With a function of your own, after ``wrenla deploy``::

        with wl.LambdaExecutor(concurrency=200, max_dollars=1.0) as executor:
            list(executor.map(simulate, range(1000)))
            print(executor.stats().dollars)
    """

    reach = Reach.ANYWHERE

    def __init__(
        self,
        function: str = "wrenla",
        bucket: str | None = None,
        session: Any = None,
        *,
        concurrency: int | None = None,
        max_dollars: float | None = None,
        prices: Prices | None = None,
        logs: Literal["show", "quiet", "stderr"] | None = None,
        max_workers: int | None = None,
        **unknown: Never,
    ) -> None:
        check_names("LambdaExecutor", unknown, _ARGUMENTS, kind="argument", elsewhere=_ELSEWHERE)
        said = "concurrency" if max_workers is None else "max_workers"
        concurrency = one_of("concurrency", concurrency, "max_workers", max_workers)
        check_function(function)
        if bucket is not None:
            check_bucket(bucket)
        if session is not None and (isinstance(session, type) or not hasattr(session, "client")):
            raise TypeError(f"session={session!r}: a boto3.Session, or None for boto3's own settings")
        self.workers = _CONCURRENCY if concurrency is None else at_least_one(said, concurrency)
        if max_dollars is not None:
            max_dollars = positive("max_dollars", max_dollars)
        if prices is not None and not isinstance(prices, Prices):
            raise TypeError(f"prices={prices!r}: wl.Prices(…), or None for those of the settings")
        self._options = CallOptions(logs=logs)
        self.prices = prices or default_prices()
        invoked = Function(function, session, self.workers)
        self.facts: FunctionFacts = invoked.facts
        mine = bucket or self.facts.bucket
        if mine:
            expect_owner(mine, self.facts.account)
            if session is not None:
                use_session(mine, session)
            self.own_store = join(f"s3://{mine}", self.facts.prefix)
        name = f"calls-{uuid.uuid4().hex[:12]}"
        scratch = ScratchSpace(name, Reach.ANYWHERE, partial(store_for, self.own_store))
        self._transport = LambdaTransport(scratch, invoked, self.prices, max_dollars=max_dollars)
        self._calls = Dispatcher(self.workers, self._transport, name)
        self._home = Worker(_HOME_CACHE, readers=8)
        self._run = TileRun(self._calls, 0, self._options)
        self._lock = threading.Lock()
        self._finalizer = weakref.finalize(self, let_go, self._calls, self._home)
        self._finalizer.atexit = False
        ended_at_exit(self._calls)

    @property
    def calls(self) -> Dispatcher:
        """The queue of calls, and what carries them to the function."""
        return self._calls

    @property
    def spent(self) -> float:
        """Dollars that all invocations so far have cost."""
        return self._transport.budget.spent

    @property
    def model(self) -> ExecutorModel:
        """Cost model by the function's memory; 75 MB/s to and from S3, 30 ms for an invocation."""
        facts = self.facts
        return FunctionSpec(
            facts.memory, self.prices, timeout=facts.timeout, arm=facts.arm, storage=facts.storage
        ).model(self.workers)

    def measured(self) -> ExecutorModel:
        """Return the cost model with the function's rates, if `wrenla doctor` has measured them.

        Nothing is invoked, and so nothing paid, because of a plan.
        """
        found = function_rates(self.facts.arn, self.facts.memory) if settings().measure else None
        if found is None:
            return self.model
        return replace(self.model, rates=found)

    @property
    def home(self) -> Worker:
        return self._home

    def numerics(self) -> dict[str, Any]:
        """Return the function's BLAS and NumPy, from its first ping."""
        pong = self._transport.handshake.ready()
        return {"blas": pong["blas"], "numpy": pong["packages"]["numpy"]}

    @contextmanager
    def session(self, hosts: Mapping[str, Tile], projected: int) -> Iterator[None]:
        # one run at a time: a second one would only wait for the same invocations
        with self._lock, self._home.holding(hosts):
            self._run = TileRun(self._calls, projected, self._options)
            try:
                yield
            finally:
                self._run.end()

    def submit_task(self, task: Task, arrays: Mapping[str, ArraySpec]) -> Future[Report]:
        return self.submit_tasks([task], arrays)[0]

    def submit_tasks(self, tasks: Sequence[Task], arrays: Mapping[str, ArraySpec]) -> list[Future[Report]]:
        return self._run.submit(tasks, arrays)

    def forget(self, spec: ArraySpec, ref: TileRef) -> None:
        """Do nothing: caches of workers drop old tiles by themselves."""

    def forget_array(self, spec: ArraySpec) -> None:
        self._home.cache.drop_array(spec.name)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the executor when all submitted calls have ended, and remove what was stored for them.

        Parameters
        ----------
        wait : bool
            Ctrl-C while it waits gives up what is running.
        cancel_futures : bool
            Cancel what has not begun.
        """
        try:
            self._calls.shutdown(wait=wait, cancel_futures=cancel_futures)
        finally:
            if wait:
                self._home.close()
                self._finalizer.detach()

    def __repr__(self) -> str:
        facts = self.facts
        return f"LambdaExecutor({facts.name!r}, concurrency={self.workers}, memory={facts.memory} MB)"
